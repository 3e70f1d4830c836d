package renew

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
	"github.com/esper-go/esper-go/pkg/wire"
)

// rejectInterval is from one look at the store after a 401 to the next: an endpoint may answer 401 to
// every request, for reasons of its own.
const rejectInterval = time.Second

// Reject is called by a client after a 401, with the token that was refused. It reads the store, asks the
// server about the key, at most every 30 seconds, and waits for a renewal of another process that is
// under way. It returns another token if there is one by then, and else the same. The errors are ctx's,
// [ErrKeyLost] and [ErrClosed].
func (s *Source) Reject(ctx context.Context, token *oauth2.Token) (*oauth2.Token, error) {
	if token == nil {
		return nil, fmt.Errorf("renew: %w: the token is nil", esper.ErrInvalidArgument)
	}
	for n, looked := 0, false; ; n, looked = n+1, true {
		v, now := s.look(), time.Now()
		switch {
		case v.closed:
			return nil, ErrClosed
		case v.state.Doc.Key.Reveal() != token.AccessToken && !v.state.Lost:
			return s.usable(v, now)
		case inTurn(ctx, s):
			return token, nil
		case !looked && v.busy != nil:
			wait(ctx, v.busy)
			v = s.look()
		}
		looked = looked || now.Sub(v.rejected) < rejectInterval
		switch {
		case looked && v.state.Lost:
			return nil, s.lost(v)
		case looked && !v.state.Busy(now):
			return token, ctx.Err()
		case looked:
			await(ctx, n)
		}
		s.note(&s.rejected, now)
		if err := s.suspect(ctx); err != nil {
			return nil, err
		}
	}
}

// suspect has a turn that looks into a 401, after the one that is under way.
func (s *Source) suspect(ctx context.Context) error {
	for {
		ended, mine := s.start(ctx, policy.Turn{Suspect: true})
		wait(ctx, ended)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case s.look().closed:
			return ErrClosed
		case mine:
			return nil
		}
	}
}

// RenewToken renews the source's own key, as [Source.Renew] does, for [esper.Client.RenewToken] of a client
// that uses the source. The two ids and the key, if they are given, have to be the source's. A failure is
// an [*esper.RenewalError]. If another process made the new key, only Token, the two times and the two ids
// are known.
func (s *Source) RenewToken(ctx context.Context, r esper.RenewRequest) (*esper.RenewedToken, error) {
	before := s.look().state
	d := before.Doc
	if r.EnterpriseID != d.EnterpriseID || r.DeveloperAppID != d.DeveloperAppID || !r.AccessToken.IsZero() && r.AccessToken != d.Key {
		return nil, fmt.Errorf("renew: %w: the key, the enterprise or the developer app is not the source's", esper.ErrInvalidArgument)
	}
	if err := s.Renew(ctx); err != nil && s.look().state.Doc.Key == d.Key {
		failed := (*esper.RenewalError)(nil)
		if errors.As(err, &failed) {
			return nil, &esper.RenewalError{Outcome: failed.Outcome, Body: failed.Body, Err: err}
		}
		outcome := esper.OutcomeNotRenewed
		if s.look().state.InDoubt() {
			outcome = esper.OutcomeUnknown
		}
		return nil, &esper.RenewalError{Outcome: outcome, Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d = s.state.Doc; s.answer != nil && s.answer.Token == d.Key {
		answer := *s.answer
		return &answer, nil
	}
	return &esper.RenewedToken{
		Token: d.Key, Enterprise: wire.Ref{ID: d.EnterpriseID}, DeveloperApp: wire.Ref{ID: d.DeveloperAppID},
		CreatedOn: wire.Time{Time: d.IssuedAt}, ExpiresAt: wire.Time{Time: d.ExpiresAt},
	}, nil
}
