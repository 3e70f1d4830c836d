package renew

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/internal/later"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

const (
	askTime      = 30 * time.Second       // for one question to the server
	briefTime    = 10 * time.Second       // for the one of RenewIfDue
	compareAgain = 10 * time.Second       // the shortest time from a comparison with another key that failed to the next
	saveAgain    = 100 * time.Millisecond // the pause after a failed save of a new key
	stopTime     = 105 * time.Second      // how long turns may go on after Close, or after the end of Run's context
	leastStop    = 3 * time.Second        // the same for Close, and after a renewal, if stopTime is over
)

// turn carries out what the policy decides until the turn ends, and returns the last action with what had happened. Once
// stop has ended, it begins nothing more. The end of ctx interrupts a question to the server and a read of the store, but
// not a renewal that has begun, nor the saves of that renewal. Busy is the channel that enter returned.
func (s *Source) turn(ctx, stop context.Context, t policy.Turn, busy chan struct{}) (last policy.Action, ended policy.Turn) {
	defer func() { // also if a function of the caller panics
		s.mu.Lock()
		defer s.mu.Unlock()
		s.busy = nil
		close(busy)
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}()
	before := s.now.Load()
	state := before.state
	s.renewErr, s.serverErr, s.readErr, s.saveErr = nil, nil, nil, nil
	tried := false // the server was asked about the initial key
	ctx = later.With(ctx, s.tell.record)
	for {
		t.Stop = stop.Err() != nil || s.now.Load().closed
		now := time.Now()
		last = policy.Decide(state, t, now)
		free := policy.Idle(state, t)
		act, cancel := ctx, func() {}
		if !free {
			act, cancel = s.hurried(context.WithoutCancel(ctx), t.Stop)
		}
		if last == policy.Wait && act.Err() != nil {
			last = policy.Fail // all the time that the caller has is over
		}
		o := s.do(act, last, state, t, now)
		cancel()
		if last == policy.Post && s.now.Load().closed {
			s.hurry() // the time of a Run that ended long ago may be over: a new key has leastStop at least
		}
		if o.Err && free && ctx.Err() != nil {
			last, t.Stop = policy.Rest, true // the caller gave it up, which is not a failure
		}
		ended = t
		state, t = policy.Evolve(state, t, last, o, time.Now())
		switch {
		case last.Ends() && state.Lost() && !ended.Stop && !tried && !s.readOnly && s.initialElse(state.Doc):
			tried = true
			given, err := s.given(ctx, s.initial)
			if err == nil {
				t.Given = given // as one that a person gives now
				continue
			}
			s.log(slog.LevelWarn, "the stored key is lost, and the key given with WithInitialToken cannot be used either", slog.Any("error", err))
			fallthrough
		case last.Ends():
			s.finish(before, state, ended, last)
			return last, ended
		case state.Saved() && state != s.now.Load().state: // callers get a new key only after it is saved
			s.update(func(n *snapshot) { n.state = state })
		}
	}
}

// hurry has turns that begin nothing more end within stopTime. Close right after Run gets what Run has left.
func (s *Source) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.stopBy) > stopTime {
		s.stopBy = now.Add(stopTime)
	}
	if least := now.Add(leastStop); s.stopBy.Before(least) {
		s.stopBy = least
	}
}

// hurried returns a context that ends, if stop is set, at the time that hurry has set. That time is Run's and Close's: a
// program may go on after Run.
func (s *Source) hurried(ctx context.Context, stop bool) (context.Context, context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ending := s.running.Load() > 0 || s.now.Load().closed
	if stop && ending && time.Since(s.stopBy) < stopTime {
		return context.WithDeadline(ctx, s.stopBy)
	}
	return context.WithCancel(ctx)
}

// do carries out one action.
func (s *Source) do(ctx context.Context, a policy.Action, state policy.State, t policy.Turn, now time.Time) policy.Outcome {
	o := policy.Outcome{Began: now, Random: mathrand.Float64()} //nolint:gosec // spreads many processes; not a secret
	switch a {
	case policy.Load:
		var c content
		c, s.version, s.readErr = s.load(ctx)
		o.Doc, o.Err = c.Document, s.readErr != nil
	case policy.Save:
		s.saveErr = s.save(ctx, policy.Target(state, t))
		o.Conflict, o.Err = errors.Is(s.saveErr, ErrConflict), s.saveErr != nil
	case policy.Probe:
		s.question(ctx, &o, state.Doc.Key, t.Other.Key, !now.Before(state.End))
	case policy.Compare:
		other := policy.Compared(state, t)
		s.question(ctx, &o, other, other, true)
	case policy.Begin:
		begun := plain(now)
		o.Begun = policy.Attempt{
			ID: rand.Text()[:16], Host: hostname(), PID: os.Getpid(), Begun: begun, Until: begun.Add(state.AttemptLength(now)),
		}
	case policy.Post:
		s.serverErr, s.renewErr = nil, s.post(ctx, state, t, &o)
	case policy.Wait:
		pause(ctx, saveAgain)
	case policy.Fail:
		api := (*esper.APIError)(nil)
		if errors.As(cmp.Or(s.serverErr, s.renewErr), &api) {
			o.RetryAfter, o.Forbidden = api.RetryAfter, errors.Is(api, esper.ErrForbidden)
		}
	case policy.Rest, policy.Lose:
	}
	return o
}

// question asks the server about a key. A 403 is a refusal of a key that has ended. Other is set if the answer counts in a
// comparison with that other key. If such a question failed a moment ago, question fails again without asking: callers may
// begin one turn after the other.
func (s *Source) question(ctx context.Context, o *policy.Outcome, key, other esper.Secret, ended bool) {
	last := &s.compared
	if !other.IsZero() && other == last.other && o.Began.Sub(last.failedAt) < compareAgain {
		o.Err, s.serverErr = true, last.err
		return
	}
	var err error
	o.Doc, err = s.ask(ctx, key)
	o.Forbidden = errors.Is(err, esper.ErrForbidden)
	o.Refused = errors.Is(err, esper.ErrUnauthorized) || o.Forbidden && ended
	o.Err = err != nil && !o.Refused
	if err == nil {
		s.update(func(n *snapshot) { n.accepted = time.Now() })
	} else {
		s.serverErr = err
	}
	if o.Err && !other.IsZero() && ctx.Err() == nil { // what its caller ended says nothing to others
		last.other, last.failedAt, last.err = other, o.Began, err
	}
}

// initialElse reports whether the key of WithInitialToken is another one than d's, and d's did not come from it.
func (s *Source) initialElse(d policy.Document) bool {
	return !s.initial.IsZero() && s.initial != d.Key && !d.Replaced(s.initial) && d.Initial != policy.Hash(s.initial)
}

// finish takes the state at the end of a turn into use, and reports what has changed.
func (s *Source) finish(before *snapshot, state policy.State, t policy.Turn, last policy.Action) {
	now := time.Now()
	next := state.Next(now, mathrand.Float64()).Round(0) //nolint:gosec // spreads many processes; not a secret
	failed, goOn := before.failed, t
	goOn.Stop = false
	switch {
	case last == policy.Fail:
		failed = cmp.Or(both(both(s.renewErr, s.serverErr), cmp.Or(s.saveErr, s.readErr)), why(state, now))
	case t.Stop && policy.Decide(state, goOn, now) != policy.Rest:
		next = now // the turn was stopped early, so the next caller goes on
	case !now.Before(state.Retry):
		failed = nil
	}
	s.update(func(n *snapshot) { n.state, n.next, n.failed, n.worked = state, next, failed, now })
	s.report(before, s.now.Load(), last == policy.Fail)
}
