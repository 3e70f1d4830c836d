package renew

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/internal/later"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

const (
	storeTime = 15 * time.Second       // for one read of the store, or one save
	askTime   = 30 * time.Second       // for one question to the server
	saveAgain = 100 * time.Millisecond // the pause after a failed save of a new key
)

// turn carries out what the policy decides until the turn ends. Once stop has ended, it begins nothing more.
// The end of ctx interrupts a question to the server and a read of the store, but not a renewal that has
// begun, nor the saves of that renewal. Busy is the channel that enter returned.
func (s *Source) turn(ctx, stop context.Context, t policy.Turn, busy chan struct{}) (last policy.Action) {
	var logs later.Queue
	s.mu.Lock()
	state, before := s.state, s.state
	s.mu.Unlock()
	s.reason = nil
	for {
		t.Stop = stop.Err() != nil || s.isClosed()
		now := time.Now()
		last = policy.Decide(state, t, now)
		free := policy.Idle(state, t)
		act := later.With(context.WithoutCancel(ctx), &logs)
		if free {
			act = later.With(ctx, &logs)
		}
		o := s.do(context.WithValue(act, turnKey{}, s), last, state, t, now)
		if o.Err && free && ctx.Err() != nil {
			last, t.Stop = policy.Rest, true // the caller gave it up, which is not a failure
		}
		ended := t
		state, t = policy.Evolve(state, t, last, o, time.Now())
		if last.Ends() {
			s.finish(before, state, ended, last, busy)
			logs.Run()
			return last
		}
		if state.Saved() { // callers get a new key only after it is saved
			s.mu.Lock()
			s.state = state
			s.show()
			s.mu.Unlock()
		}
	}
}

// turnKey marks the contexts with which a turn calls, so that a call back into the source does not wait for the turn.
type turnKey struct{}

func inTurn(ctx context.Context, s *Source) bool { return ctx.Value(turnKey{}) == s }

func (s *Source) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// do carries out one action.
func (s *Source) do(ctx context.Context, a policy.Action, state policy.State, t policy.Turn, now time.Time) policy.Outcome {
	o := policy.Outcome{Began: now, Random: mathrand.Float64()} //nolint:gosec // spreads many processes; not a secret
	var err error
	switch a {
	case policy.Load:
		ctx, cancel := context.WithTimeout(ctx, storeTime)
		defer cancel()
		var c content
		c, s.version, err = s.load(ctx)
		o.Doc = c.Document
	case policy.Save:
		ctx, cancel := context.WithTimeout(ctx, storeTime)
		defer cancel()
		err = s.save(ctx, policy.Target(state, t))
		o.Conflict = errors.Is(err, ErrConflict)
	case policy.Probe:
		s.note(&s.asked, now)
		o.Doc, err = s.ask(ctx, state.Doc.Key)
	case policy.Compare:
		key := t.Other.Key
		if key.IsZero() {
			key = state.Initial.Key
		}
		o.Doc, err = s.ask(ctx, key)
	case policy.Begin:
		o.Begun = s.newAttempt(state, now)
	case policy.Post:
		s.post(ctx, state, t, &o)
		err = s.reason
	case policy.Wait:
		<-after(ctx, saveAgain)
	}
	if a == policy.Probe || a == policy.Compare {
		forbidden := errors.Is(err, esper.ErrForbidden)
		o.Forbidden = forbidden
		o.Refused = errors.Is(err, esper.ErrUnauthorized) || forbidden && !now.Before(state.End)
	}
	if err != nil {
		s.reason = err
		o.Err = !o.Refused
	}
	if a == policy.Fail {
		api := (*esper.APIError)(nil)
		if errors.As(s.reason, &api) {
			o.RetryAfter, o.Forbidden = api.RetryAfter, errors.Is(api, esper.ErrForbidden)
		}
	}
	return o
}

func (s *Source) note(at *time.Time, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*at = now
}

func (s *Source) load(ctx context.Context) (content, string, error) {
	data, version, err := s.store.Load(ctx)
	if err == nil && data == nil {
		return content{}, version, nil
	}
	var c content
	if err == nil {
		c, err = decode(data, s.server.String())
	}
	if err != nil {
		return content{}, "", s.storeError("reading", err)
	}
	return c, version, nil
}

func (s *Source) save(ctx context.Context, d policy.Document) error {
	defer s.tellWarnings()
	data, err := encode(d, s.server.String(), time.Now())
	if err == nil {
		var version string
		if version, err = s.store.Save(ctx, data, s.version); err == nil {
			s.version = version
			return nil
		}
	}
	return s.storeError("writing", err)
}

// storeError adds the name of the store to an error, unless the error has it already.
func (s *Source) storeError(doing string, err error) error {
	if n, ok := s.store.(fmt.Stringer); ok && strings.Contains(err.Error(), n.String()) {
		return fmt.Errorf("renew: %s the key document: %w", doing, err)
	}
	return fmt.Errorf("renew: %s %s: %w", doing, s.storeName(), err)
}

func (s *Source) storeName() string {
	if named, ok := s.store.(fmt.Stringer); ok {
		return named.String()
	}
	return "the store"
}

func (s *Source) newAttempt(state policy.State, now time.Time) policy.Attempt {
	begun := plain(now)
	return policy.Attempt{
		ID: state.Me + rand.Text()[:8], Host: hostname(), PID: os.Getpid(),
		Begun: begun, Until: begun.Add(state.AttemptLength(now)),
	}
}

// finish ends a turn: it takes state into use, and remembers what is to be reported.
func (s *Source) finish(before, state policy.State, t policy.Turn, last policy.Action, busy chan struct{}) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.worked = state, now
	s.next = state.Next(now, mathrand.Float64()).Round(0) //nolint:gosec // spreads many processes; not a secret
	// What would the turn do next if nobody had stopped it?
	goOn := t
	goOn.Stop = false
	was := s.failed
	switch waits := now.Before(state.Retry); {
	case last == policy.Rest && t.Stop && policy.Decide(state, goOn, now) != policy.Rest:
		s.next = now // the turn was stopped early, so the next caller goes on
	case last == policy.Fail:
		if s.reason == nil {
			s.reason = s.why(state, now)
		}
		s.failed = s.reason
	case last == policy.Rest && !waits:
		s.failed = nil
	}
	s.remember(event{kind: kindOf(before, state, was, s.failed, last == policy.Fail), before: before, after: state, err: s.failed, failed: last == policy.Fail, accepted: s.accepted})
	s.show()
	s.busy = nil
	close(busy)
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// show makes the key of s.state the key that callers get without a lock, until the next turn is due. The caller
// holds mu.
func (s *Source) show() {
	now := time.Now()
	h := &hot{token: tokenOf(s.state), from: now}
	if old := s.hot.Load(); old != nil && old.token.AccessToken == h.token.AccessToken && old.token.Expiry.Equal(h.token.Expiry) {
		h.token, h.authorization = old.token, old.authorization
	} else {
		h.authorization = "Bearer " + h.token.AccessToken
	}
	until := s.state.Mandatory
	if s.next.Before(until) {
		until = s.next
	}
	if !s.closed && s.state.Usable(now) {
		h.lasts = min(until.Sub(now.Round(0)), hotLasts)
	}
	s.hot.Store(h)
}
