package renew

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

const (
	checkInterval = 24 * time.Hour        // how often Run asks the server about the key
	awaitMin      = 50 * time.Millisecond // the first pause between two reads of the store while another process renews
	awaitMax      = time.Second           // the longest such pause
)

// Run renews the key, takes over keys that other processes save, and asks the server about the key once a
// day. It returns nil when ctx ends or [Source.Close] is called. Before that it finishes a renewal that has
// begun, which takes two minutes at most, together with Close: give units and pods that long to stop. The error is
// [ErrNotSaved] if a new key cannot be saved in that time. While Run is running, no call waits for a renewal before the
// last minutes of the key.
func (s *Source) Run(ctx context.Context) error {
	ctx = orBackground(ctx)
	s.running.Add(1)
	defer s.running.Add(-1)
	s.mu.Lock()
	if !s.now.Load().closed {
		s.stopBy = time.Time{} // that of an earlier Run
	}
	s.mu.Unlock()
	defer context.AfterFunc(ctx, s.hurry)()
	for checked := time.Now(); !s.now.Load().closed && ctx.Err() == nil; {
		var want policy.Turn
		next, now := s.now.Load().next, time.Now()
		switch {
		case now.Sub(checked) >= checkInterval:
			checked, want.Ask = now, policy.AskLast
		case !isDue(next, now):
			select {
			case <-ctx.Done():
			case <-s.closing:
			case <-s.changed:
			case <-time.After(min(next.Sub(now), policy.Poll)): // short, since a timer stands still while the machine sleeps
			}
			continue
		}
		_, _, _ = s.run(ctx, want)
	}
	s.hurry() // also if that of ctx is yet to come
	return s.settle()
}

// settle waits for a turn that is under way, saves what came from the server and is in this process alone, and waits
// until all is told.
func (s *Source) settle() error {
	defer s.tell.wait()
	limit, cancel := s.hurried(context.Background(), true)
	defer cancel()
	if v, busy := s.look(); v.closed && busy != nil {
		<-busy // it ends in time
	} else if busy != nil {
		wait(limit, busy) // a caller has begun it
	}
	if s.now.Load().state.Unsaved() {
		if busy, err := s.reserve(limit, true); err == nil {
			cancel() // the turn begins nothing more
			s.turn(limit, limit, policy.Turn{}, busy)
		}
	}
	return s.notSaved(s.now.Load())
}

// notSaved returns ErrNotSaved if something that came from the server is in this process alone.
func (s *Source) notSaved(v *snapshot) error {
	switch {
	case !v.state.Unsaved():
		return nil
	case v.failed == nil:
		return ErrNotSaved
	case v.state.Doc.Answer != v.state.Stored.Answer && v.state.Saved():
		return fmt.Errorf("%w: an answer to its renewal, which may hold it: %w", ErrNotSaved, v.failed)
	}
	return fmt.Errorf("%w: %w", ErrNotSaved, v.failed)
}

// run waits for the turn that is under way, if there is one, and then runs a turn in this goroutine.
func (s *Source) run(ctx context.Context, want policy.Turn) (last policy.Action, ended policy.Turn, err error) {
	busy, err := s.reserve(ctx, false)
	if err == nil {
		last, ended = s.turn(ctx, ctx, want, busy)
	}
	return last, ended, err
}

// RenewIfDue does what is due, a renewal, a save or a check, and waits for its end. Use it from cron, and
// before a program exits. If another process is renewing the key, RenewIfDue waits for that too. Since it may be the only
// look that anybody takes, it also asks the server whether the key works, once and for ten seconds at most. If the server
// refuses the key, RenewIfDue asks again a minute later. When ctx ends, it begins nothing more, and finishes a renewal
// that has begun.
//
// It returns nil if the key works and nothing is left to do; also if the server gives no answer and nothing is due.
// Otherwise the error is the reason why the key was not renewed, [esper.ErrUnauthorized] if the server refuses it,
// [ErrNotSaved], [ErrKeyLost] or [ErrClosed].
func (s *Source) RenewIfDue(ctx context.Context) error {
	ctx = orBackground(ctx)
	return s.until(context.WithValue(ctx, briefKey{}, true), policy.Turn{Ask: policy.AskLast})
}

// Renew renews the key now, however long it is still valid: because it leaked, or because now is a good
// time. A renewal by another process in the meantime counts as well. The errors are those of
// [Source.RenewIfDue], and [ErrReadOnly].
func (s *Source) Renew(ctx context.Context) error {
	if s.readOnly {
		return ErrReadOnly
	}
	return s.until(orBackground(ctx), policy.Turn{Force: true})
}

// until runs turns until no process is renewing the key any more.
func (s *Source) until(ctx context.Context, want policy.Turn) error {
	key, force, refusal := s.now.Load().state.Doc.Key, want.Force, error(nil)
	for n := 0; ; n++ {
		last, ended, err := s.run(ctx, want)
		if err != nil {
			return both(refusal, err)
		}
		v, now := s.now.Load(), time.Now()
		want.Force = force && v.state.Doc.Key == key
		refused := v.state.RefusedWait
		switch {
		case last == policy.Rest && v.state.Busy(now) && ctx.Err() == nil && (want.Force || v.state.Due(now)):
			await(ctx, n)
		case !force && !v.state.Lost() && refused.After(now) && ctx.Err() == nil:
			refusal = v.failed
			pause(ctx, refused.Sub(now)) // a refusal was noted: is the next one the second?
		case v.state.Lost():
			return s.lost(v)
		case v.state.Unsaved():
			return s.notSaved(v)
		case last == policy.Fail && ended.Unanswered() && !want.Force:
			return nil // nothing is due
		case v.failed != nil:
			return v.failed
		case ctx.Err() != nil && (want.Force || isDue(v.next, now)): // ctx ended before the renewal began
			return ctx.Err()
		case want.Force:
			return errors.New("renew: the key was not renewed")
		default:
			return nil
		}
	}
}

// Adopt stores a key that a person gives in place of any other key, once the server has accepted it. Running
// processes take it over within a minute. If the given key is stored already, Adopt changes nothing, except that the key
// is no longer lost once the server accepts it. If a renewal has replaced the given key since, Adopt changes nothing,
// unless the server refuses the key that replaced it: configuration management may give the same key at each deploy. The
// error is [esper.ErrUnauthorized] if the server refuses the key, [ErrNotRenewable] if the key belongs to no developer
// app, [ErrReadOnly], or what went wrong with the store or the server.
func (s *Source) Adopt(ctx context.Context, key esper.Secret) error {
	ctx = orBackground(ctx)
	switch _, err := esper.APIKey(key.Reveal()).Token(); {
	case s.readOnly:
		return ErrReadOnly
	case err != nil:
		return fmt.Errorf("renew: the key to adopt: %w", err)
	}
	_, _, err := s.run(ctx, policy.Turn{})
	d := s.now.Load().state.Doc
	if err != nil && (d.Key != key || errors.Is(err, ErrClosed)) {
		return err
	}
	if d.Key == key && d.RefusedAt.IsZero() { // also if ctx has ended: Open may have stored the key
		return nil
	}
	if d.Key == key || d.Replaced(key) {
		_, ended, err := s.run(ctx, policy.Turn{Ask: policy.AskLast})
		v := s.now.Load()
		switch {
		case err != nil:
			return err
		case v.state.Doc.Key == key && !v.state.Doc.RefusedAt.IsZero():
			return v.failed
		case v.state.Doc.Key == key, ended.Said < policy.Refused:
			return nil
		}
	}
	given, err := s.given(ctx, key)
	if err == nil {
		_, _, err = s.run(ctx, policy.Turn{Given: given})
	}
	switch v := s.now.Load(); {
	case err != nil:
		return err
	case v.state.Doc.Key == key, v.state.Doc.Replaced(key):
		return nil
	default:
		return fmt.Errorf("renew: the key is not adopted: %w", cmp.Or(v.failed, ctx.Err(), ErrConflict))
	}
}

// Check asks the server whether it accepts the key, and reads the store. It returns nil if all is well.
// Otherwise the error is [ErrKeyLost], [esper.ErrUnauthorized] if the server refused the key for the first
// time, or the reason why the server or the store gave no answer. A check that fails delays no renewal.
func (s *Source) Check(ctx context.Context) error {
	ctx = orBackground(ctx)
	_, _, err := s.run(ctx, policy.Turn{Ask: policy.AskLast})
	return cmp.Or(err, s.Status().LastError, ctx.Err()) // if ctx has ended, the answer may be missing
}

// Close ends [Source.Run], waits for a renewal or a save that is under way, two minutes at most, together with Run, and
// makes every later call return [ErrClosed]. The error is [ErrNotSaved] if a new key cannot be saved. A second
// call does nothing. Close waits five seconds at most for the functions given with [WithLogger] and [WithOnChange].
func (s *Source) Close() error {
	first := false
	s.update(func(n *snapshot) { first, n.closed = !n.closed, true })
	if !first {
		return nil
	}
	close(s.closing)
	s.hurry()
	err := s.settle()
	for _, c := range []*esper.Client{s.client, s.brief, s.shared} {
		c.CloseIdleConnections()
	}
	return err
}

// await waits before the n-th read of the store while another process renews; each wait is longer.
func await(ctx context.Context, n int) { pause(ctx, min(awaitMin<<min(n, 10), awaitMax)) }
