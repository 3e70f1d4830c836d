package renew

import (
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
// begun, which takes two minutes at most: give units and pods that long to stop. The error is [ErrNotSaved]
// if a new key cannot be saved in that time. While Run is running, no call waits for a renewal before the
// last minutes of the key.
func (s *Source) Run(ctx context.Context) error {
	s.running.Add(1)
	defer s.running.Add(-1)
	for {
		v := s.look()
		if v.closed || ctx.Err() != nil {
			break
		}
		now := time.Now()
		check := now.Sub(s.lastAsked()) >= checkInterval
		if v.due(now) || check {
			if check {
				s.note(&s.asked, now)
			}
			_, _ = s.run(ctx, policy.Turn{Check: check})
			continue
		}
		// A timer stands still while the machine sleeps, so this one is short.
		timer := time.NewTimer(min(v.next.Sub(now), policy.Poll))
		select {
		case <-ctx.Done():
		case <-s.closing:
		case <-s.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
	return s.settle()
}

func (s *Source) lastAsked() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// settle saves the key if its only copy is in this process.
func (s *Source) settle() error {
	if v := s.look(); v.state.Saved() || v.state.Lost || s.readOnly {
		return nil
	}
	ended, stop := context.WithCancel(context.Background())
	stop()
	for busy, mine := s.reserve(true); ; busy, mine = s.reserve(true) {
		if mine {
			s.turn(ended, ended, policy.Turn{}, busy)
			s.report()
			break
		}
		<-busy
	}
	if v := s.look(); !v.state.Saved() && !v.state.Lost {
		return fmt.Errorf("%w: %w", ErrNotSaved, v.failed)
	}
	return nil
}

// run waits for the turn that is under way, if there is one, and then runs a turn in this goroutine.
func (s *Source) run(ctx context.Context, want policy.Turn) (policy.Action, error) {
	for {
		if err := ctx.Err(); err != nil {
			return policy.Rest, err
		}
		busy, mine := s.enter()
		if mine {
			action := s.turn(ctx, ctx, want, busy)
			s.report()
			return action, nil
		}
		if s.look().closed {
			return policy.Rest, ErrClosed
		}
		wait(ctx, busy)
	}
}

// RenewIfDue does what is due, a renewal, a save or a check, and waits for its end. Use it from cron, and
// before a program exits. If another process is renewing the key, RenewIfDue waits for that too. When ctx
// ends, it begins nothing more, and finishes a renewal that has begun. It returns nil if nothing is left to
// do. Otherwise the error is the reason why the key was not renewed, [ErrNotSaved], [ErrKeyLost] or
// [ErrClosed].
func (s *Source) RenewIfDue(ctx context.Context) error { return s.until(ctx, policy.Turn{}) }

// Renew renews the key now, however long it is still valid: because it leaked, or because now is a good
// time. A renewal by another process in the meantime counts as well. The errors are those of
// [Source.RenewIfDue], and [ErrReadOnly].
func (s *Source) Renew(ctx context.Context) error {
	if s.readOnly {
		return ErrReadOnly
	}
	return s.until(ctx, policy.Turn{Force: s.look().state.Doc.Key})
}

// until runs turns until no process is renewing the key any more.
func (s *Source) until(ctx context.Context, want policy.Turn) error {
	for n := 0; ; n++ {
		action, err := s.run(ctx, want)
		if err != nil {
			return err
		}
		v := s.look()
		forced := !want.Force.IsZero() && v.state.Doc.Key == want.Force
		switch {
		case action == policy.Await:
			await(ctx, n)
		case v.state.Lost:
			return s.lost(v)
		case !v.state.Saved() && !s.readOnly:
			return fmt.Errorf("%w: %w", ErrNotSaved, v.failed)
		case v.failed != nil:
			return v.failed
		case ctx.Err() != nil && (forced || v.due(time.Now())): // ctx ended before the renewal began
			return ctx.Err()
		case forced:
			return errors.New("renew: the key was not renewed")
		default:
			return nil
		}
	}
}

// Adopt stores a key that a person gives in place of any other key, once the server has accepted it. Running
// processes take it over within a minute. If the given key is stored already, or if a renewal has replaced it
// since, Adopt changes nothing: configuration management may give the same key at each deploy. The error is
// [esper.ErrUnauthorized] if the server refuses the key, [ErrNotRenewable] if the key belongs to no developer
// app, [ErrReadOnly], or what went wrong with the store or the server.
func (s *Source) Adopt(ctx context.Context, key esper.Secret) error {
	switch _, err := esper.APIKey(key.Reveal()).Token(); {
	case s.readOnly:
		return ErrReadOnly
	case err != nil:
		return fmt.Errorf("renew: the key to adopt: %w", err)
	}
	known := func() bool {
		d := s.look().state.Doc
		return d.Key == key || d.Replaced(key)
	}
	if _, err := s.run(ctx, policy.Turn{}); err != nil {
		return err
	}
	if known() && !s.look().state.Lost {
		return nil
	}
	d, err := s.given(ctx, key)
	if err != nil {
		return err
	}
	_, err = s.run(ctx, policy.Turn{Given: d})
	switch v := s.look(); {
	case err != nil:
		return err
	case known():
		return nil
	case v.failed != nil:
		return fmt.Errorf("renew: the key is not adopted: %w", v.failed)
	case ctx.Err() != nil:
		return fmt.Errorf("renew: the key is not adopted: %w", ctx.Err())
	}
	return fmt.Errorf("renew: the key is not adopted: %w", ErrConflict)
}

// Check asks the server whether it accepts the key, and reads the store. It returns nil if all is well.
// Otherwise the error is [ErrKeyLost], [esper.ErrUnauthorized] if the server refused the key for the first
// time, or the reason why the server or the store gave no answer.
func (s *Source) Check(ctx context.Context) error {
	_, err := s.run(ctx, policy.Turn{Check: true})
	switch v := s.look(); {
	case err != nil:
		return err
	case v.state.Lost:
		return s.lost(v)
	case v.failed == nil:
		return ctx.Err() // if ctx has ended, the answer may be missing
	default:
		return v.failed
	}
}

// Close ends [Source.Run], waits for a renewal or a save that is under way, two minutes at most, and makes
// every later call return [ErrClosed]. The error is [ErrNotSaved] if a new key cannot be saved. A second
// call does nothing. The functions given with [WithLogger] and [WithOnChange] may still be running when
// Close returns.
func (s *Source) Close() error {
	s.mu.Lock()
	closed, busy := s.closed, s.busy
	s.closed = true
	s.show()
	s.mu.Unlock()
	if !closed {
		close(s.closing)
	}
	if busy != nil {
		<-busy
	}
	if closed {
		return nil
	}
	err := s.settle()
	s.client.CloseIdleConnections()
	s.shared.CloseIdleConnections()
	return err
}

// await waits before the n-th read of the store while another process renews; each wait is longer.
func await(ctx context.Context, n int) {
	wait(ctx, after(ctx, min(awaitMin<<min(n, 10), awaitMax)))
}
