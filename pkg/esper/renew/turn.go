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
	compareAgain = 10 * time.Second       // the shortest time from a question about another key that failed to the next
	saveAgain    = 100 * time.Millisecond // the pause after a failed save of a new key
	stopTime     = 105 * time.Second      // how long turns may go on after Close, or after the end of Run's context
	leastStop    = 3 * time.Second        // the same for Close if Run has used up stopTime
)

// turn carries out what the policy decides until the turn ends, and returns the last action with what had happened. Once
// stop has ended, it begins nothing more. The end of ctx interrupts a question to the server and a read of the store, but
// not a renewal that has begun, nor the saves of that renewal. Busy is the channel that enter returned.
func (s *Source) turn(ctx, stop context.Context, t policy.Turn, busy chan struct{}) (last policy.Action, ended policy.Turn) {
	defer s.release(busy) // also if a function of the caller panics
	before := s.now.Load()
	state := before.state
	s.serverErr, s.readErr, s.saveErr, s.tried = nil, nil, nil, false
	s.mu.Lock()
	limit := s.limit
	s.mu.Unlock()
	unhurried, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	detach := context.AfterFunc(limit, cancel)
	defer detach()
	for {
		t.Stop = stop.Err() != nil || s.now.Load().closed
		now := time.Now()
		last = policy.Decide(state, t, now)
		if last == policy.Wait && unhurried.Err() != nil {
			last = policy.Fail // all the time that the caller has is over
		}
		free := policy.Idle(state, t)
		act := unhurried
		if free {
			act = ctx
		}
		act = later.With(context.WithValue(act, turnKey{}, s), s.tell.record)
		o := s.do(act, last, state, t, now)
		if o.Err && free && ctx.Err() != nil {
			last, t.Stop = policy.Rest, true // the caller gave it up, which is not a failure
		}
		ended = t
		state, t = policy.Evolve(state, t, last, o, time.Now())
		switch {
		case last.Ends() && state.Lost() && !t.Stop && s.initialKey(act, &state, &t):
			continue
		case last.Ends():
			s.finish(before, state, ended, last)
			return last, ended
		case state.Saved() && state != s.now.Load().state: // callers get a new key only after it is saved
			s.update(func(n *snapshot) { n.state = state })
		}
	}
}

// release ends the turn.
func (s *Source) release(busy chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = nil
	close(busy)
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// hurry has the turns from now on end within stopTime. Close right after Run gets what Run has left. The caller calls
// relax when it has finished.
func (s *Source) hurry() (relax func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left, cancel := stopTime, s.cancel
	if since := time.Since(s.stopped); since < 2*stopTime {
		left = max(stopTime-since, leastStop)
	} else {
		s.stopped = time.Now()
	}
	timer := time.AfterFunc(left, cancel)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !timer.Stop() {
			s.limit, s.cancel = context.WithCancel(context.Background()) //nolint:gosec // Close calls it
		}
	}
}

// hurryAfter calls hurry when ctx ends, and relax when the caller has finished.
func (s *Source) hurryAfter(ctx context.Context) (finish func()) {
	relax := make(chan func(), 1)
	cancel := context.AfterFunc(ctx, func() { relax <- s.hurry() })
	return func() {
		if !cancel() {
			(<-relax)()
		}
	}
}

// turnKey marks the contexts with which a turn calls, so that a call back into the source does not wait for the turn.
type turnKey struct{}

func inTurn(ctx context.Context, s *Source) bool { return ctx.Value(turnKey{}) == s }

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
		s.question(ctx, &o, state.Doc.Key, !now.Before(state.End))
	case policy.Compare:
		s.compare(ctx, &o, policy.Compared(state, t))
	case policy.Begin:
		o.Begun = s.newAttempt(state, now)
	case policy.Post:
		if err := s.post(ctx, state, t, &o); err != nil {
			s.serverErr = err
		}
	case policy.Wait:
		<-after(ctx, saveAgain)
	case policy.Fail:
		api := (*esper.APIError)(nil)
		if errors.As(s.serverErr, &api) {
			o.RetryAfter, o.Forbidden = api.RetryAfter, errors.Is(api, esper.ErrForbidden)
		}
	case policy.Rest, policy.Lose:
	}
	return o
}

// question asks the server about a key. A 403 is a refusal of a key that has ended.
func (s *Source) question(ctx context.Context, o *policy.Outcome, key esper.Secret, ended bool) {
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
}

// compare asks the server about another key. If that failed a moment ago, it fails again without a question: callers may
// begin one turn after the other.
func (s *Source) compare(ctx context.Context, o *policy.Outcome, key esper.Secret) {
	if last := s.unanswered; last.key == key && o.Began.Sub(last.at) < compareAgain {
		o.Err, s.serverErr = true, last.err
		return
	}
	s.question(ctx, o, key, true)
	s.unanswered = failedQuestion{}
	if o.Err && ctx.Err() == nil { // what its caller ended says nothing to others
		s.unanswered = failedQuestion{key, o.Began, s.serverErr}
	}
}

type failedQuestion struct {
	key esper.Secret
	at  time.Time
	err error
}

// initialKey asks the server about the key of WithInitialToken once the stored one is lost. If the server accepts it, the
// turn goes on with that key as one that a person gave.
func (s *Source) initialKey(ctx context.Context, state *policy.State, t *policy.Turn) bool {
	d := state.Doc
	if s.initial.IsZero() || s.readOnly || s.tried || s.initial == d.Key || d.Replaced(s.initial) || d.Initial == policy.Hash(s.initial) {
		return false
	}
	s.tried = true
	given, err := s.given(ctx, s.initial)
	if err != nil {
		s.log(slog.LevelWarn, "the stored key is lost, and the key given with WithInitialToken cannot be used either", slog.Any("error", err))
		return false
	}
	*t = policy.Turn{Given: given}
	return true
}

func (s *Source) newAttempt(state policy.State, now time.Time) policy.Attempt {
	begun := plain(now)
	return policy.Attempt{
		ID: rand.Text()[:16], Host: hostname(), PID: os.Getpid(),
		Begun: begun, Until: begun.Add(state.AttemptLength(now)),
	}
}

// finish takes the state at the end of a turn into use, and reports what has changed.
func (s *Source) finish(before *snapshot, state policy.State, t policy.Turn, last policy.Action) {
	now := time.Now()
	next := state.Next(now, mathrand.Float64()).Round(0) //nolint:gosec // spreads many processes; not a secret
	failed := before.failed
	// What would the turn do next if nobody had stopped it?
	goOn := t
	goOn.Stop = false
	switch waits := now.Before(state.Retry); {
	case last == policy.Rest && t.Stop && policy.Decide(state, goOn, now) != policy.Rest:
		next = now // the turn was stopped early, so the next caller goes on
	case last == policy.Fail:
		if failed = both(s.serverErr, cmp.Or(s.saveErr, s.readErr)); failed == nil {
			failed = s.why(state, now)
		}
	case last == policy.Rest && !waits:
		failed = nil
	}
	s.update(func(n *snapshot) { n.state, n.next, n.failed, n.worked = state, next, failed, now })
	after := s.now.Load()
	s.report(kindOf(before, after, last == policy.Fail), after, last == policy.Fail)
}
