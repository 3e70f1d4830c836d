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

// rejectInterval is the shortest time between two reads of the store because of a 401: an endpoint may
// answer 401 to every request although the key works.
const rejectInterval = time.Second

// Reject looks into a 401. A client calls it with the token that the server refused. Reject reads the store,
// asks the server about the key, at most every 30 seconds, and waits while another process is renewing the
// key. It returns another token if there is one by then, and else the same token. The error is that of ctx,
// [ErrKeyLost], [ErrKeyExpired], [ErrClosed], or [esper.ErrInvalidArgument] if token is nil.
func (s *Source) Reject(ctx context.Context, token *oauth2.Token) (*oauth2.Token, error) {
	if token == nil {
		return nil, fmt.Errorf("renew: %w: the token is nil", esper.ErrInvalidArgument)
	}
	ctx = orBackground(ctx)
	for n, looked := 0, false; ; n, looked = n+1, true {
		v, busy := s.look()
		now := time.Now()
		switch {
		case v.closed:
			return nil, ErrClosed
		case v.state.Doc.Key.Reveal() != token.AccessToken && !v.state.Lost():
			return s.usable(v, now)
		case !looked && busy != nil:
			wait(ctx, busy)
			v = s.now.Load()
		}
		if !looked {
			s.mu.Lock()
			if looked = now.Sub(s.rejected) < rejectInterval; !looked {
				s.rejected = now
			}
			s.mu.Unlock()
		}
		switch {
		case looked && v.state.Lost():
			return nil, s.lost(v)
		case looked && !v.state.Busy(now):
			return token, ctx.Err()
		case looked:
			await(ctx, n)
		}
		if err := s.suspect(ctx); err != nil {
			return nil, err
		}
	}
}

// suspect waits for the turn that is under way, if there is one, and then for a turn that looks into a 401.
func (s *Source) suspect(ctx context.Context) error {
	busy, err := s.reserve(ctx, false)
	if err != nil {
		return err
	}
	go s.turn(context.WithoutCancel(ctx), ctx, policy.Turn{Ask: policy.AskSuspect}, busy)
	wait(ctx, busy)
	return ctx.Err()
}

// RenewToken renews the source's own key, as [Source.Renew] does. [esper.Client.RenewToken] calls it if the
// client uses the source. The two ids in r, and the key if r has one, must be those of the source; otherwise
// the error is [esper.ErrInvalidArgument]. If the renewal fails, the error is an [*esper.RenewalError]. The result
// has only Token, the two times and the two ids, since another process may have made the new key.
func (s *Source) RenewToken(ctx context.Context, r esper.RenewRequest) (*esper.RenewedToken, error) {
	d := s.now.Load().state.Doc
	if r.EnterpriseID != d.EnterpriseID || r.DeveloperAppID != d.DeveloperAppID || !r.AccessToken.IsZero() && r.AccessToken != d.Key {
		return nil, fmt.Errorf("renew: %w: the key, the enterprise or the developer app is not the source's", esper.ErrInvalidArgument)
	}
	if err := s.Renew(ctx); err != nil && s.now.Load().state.Doc.Key == d.Key {
		failed := &esper.RenewalError{Outcome: esper.OutcomeNotRenewed}
		if !errors.As(err, &failed) && s.now.Load().state.InDoubt() {
			failed.Outcome = esper.OutcomeUnknown
		}
		return nil, &esper.RenewalError{Outcome: failed.Outcome, Body: failed.Body, Err: err}
	}
	d = s.now.Load().state.Doc
	return &esper.RenewedToken{
		Token: d.Key, Enterprise: wire.Ref{ID: d.EnterpriseID}, DeveloperApp: wire.Ref{ID: d.DeveloperAppID},
		CreatedOn: wire.Time{Time: d.IssuedAt}, ExpiresAt: wire.Time{Time: d.ExpiresAt},
	}, nil
}
