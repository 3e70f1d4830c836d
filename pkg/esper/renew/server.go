package renew

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/internal/body"
	"github.com/esper-go/esper-go/pkg/esper/internal/deadline"
	"github.com/esper-go/esper-go/pkg/esper/internal/later"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
	"github.com/esper-go/esper-go/pkg/wire"
)

// ask calls TokenInfo with a key, and returns the parts of the answer that a document holds.
func (s *Source) ask(ctx context.Context, key esper.Secret) (policy.Document, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	info, err := s.client.TokenInfo(withKey(ctx, key))
	if s.tokens && errors.Is(err, esper.ErrNotFound) {
		d, err := s.askList(ctx, key)
		if err == nil {
			s.note(&s.accepted, time.Now())
		}
		return d, err
	}
	if err != nil {
		return policy.Document{}, fmt.Errorf("renew: asking the server about the key: %w", err)
	}
	s.note(&s.accepted, time.Now())
	d := policy.Document{Key: key, EnterpriseID: info.Enterprise.ID, DeveloperAppID: info.DeveloperApp.ID}
	var unreadable bool
	d.IssuedAt, d.ExpiresAt, unreadable = times(info.CreatedOn, info.ExpiresAt)
	if unreadable {
		later.Do(ctx, func() {
			s.logger.Warn("the server tells the end of the key in a form that is not known; one day from now is assumed")
		})
		d.ExpiresAt = plain(time.Now()).Add(leastLifetime)
	}
	return d, nil
}

const leastLifetime = 24 * time.Hour // how long a key is assumed to live from now on if its end cannot be read

// times returns when a key was made and when it ends, as the server says. issued is now if the server does not say, or
// says something that cannot be true. ends is zero if the server does not say. It is also zero if the server says it in
// an unknown form; then unreadable is set.
func times(created, expires wire.Time) (issued, ends time.Time, unreadable bool) {
	now := plain(time.Now())
	issued, _ = moment(created)
	ends, unreadable = moment(expires)
	if issued.IsZero() || now.Sub(issued).Abs() > policy.Skew && !ends.After(issued) {
		issued = now
	}
	return issued, ends, unreadable
}

// post renews the key of state, unless the time of t's attempt is over.
func (s *Source) post(ctx context.Context, state policy.State, t policy.Turn, o *policy.Outcome) {
	left := t.Begun.Until.Add(-policy.Margin).Sub(plain(time.Now()))
	if left <= 0 {
		o.Rejected, s.reason = true, fmt.Errorf("renew: the attempt to renew the key was taken back, since its time was over before it was sent: %w", context.DeadlineExceeded)
		return
	}
	ctx, cancel := deadline.WithTimeout(ctx, left)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		// Look at the clock once more, right before the request is written: the process, or the whole machine,
		// may have been stopped since post began. If the attempt's time is over, nothing is sent.
		if now := plain(time.Now()); now.Before(t.Begun.Begun) || !now.Before(t.Begun.Until.Add(-policy.Margin)) || ctx.Err() != nil {
			cancel()
			_ = c.Conn.Close()
		}
	}})
	answer, err := s.exchange(ctx, state.Doc, left)
	if err == nil && answer.Token == state.Doc.Key {
		err = fmt.Errorf("%w: the server answered the renewal with the same key", esper.ErrInvalidResponse)
	}
	if err == nil {
		s.mu.Lock()
		s.answer, s.accepted = answer, time.Now()
		s.mu.Unlock()
		o.Doc = policy.Document{Key: answer.Token, RenewedAt: plain(time.Now())}
		o.Doc.IssuedAt, o.Doc.ExpiresAt, _ = times(answer.CreatedOn, answer.ExpiresAt)
		if o.Doc.RenewedAt.Sub(o.Doc.IssuedAt).Abs() > policy.Skew { // created_on is not when the key was renewed
			o.Doc.IssuedAt = o.Doc.RenewedAt
		}
		return
	}
	if s.reason = err; !strings.HasPrefix(err.Error(), "renew: ") {
		s.reason = fmt.Errorf("renew: %w", err)
	}
	failed := (*esper.RenewalError)(nil)
	o.Forbidden = errors.Is(err, esper.ErrForbidden)
	switch {
	case !errors.As(err, &failed) || failed.Outcome == esper.OutcomeNotRenewed:
		o.Rejected = true
		o.Refused = errors.Is(err, esper.ErrUnauthorized) || o.Forbidden && !o.Began.Before(state.End)
	case failed.Outcome == esper.OutcomeUnreadable || !body.Key(failed.Body, state.Doc.Key).IsZero():
		o.Answer = esper.NewSecret(string(failed.Body)) // it may hold the new key
	}
}

// exchange renews d's key within left, in the way that the options say.
func (s *Source) exchange(ctx context.Context, d policy.Document, left time.Duration) (*esper.RenewedToken, error) {
	if s.tokens {
		return s.renewToken(ctx, d, left)
	}
	answer, err := s.client.RenewToken(withKey(ctx, d.Key), esper.RenewRequest{
		EnterpriseID: d.EnterpriseID, DeveloperAppID: d.DeveloperAppID, AccessToken: d.Key,
	})
	if errors.Is(err, esper.ErrNotFound) {
		err = fmt.Errorf("%w: %w; Esper has announced the end of this endpoint: if this is it, its successor is used with WithPersonalAccessTokens "+
			"(esper-key --via personal-access-token), which is experimental", ErrNotRenewable, err)
	}
	return answer, err
}

// callKeys is the token source of Source.client, which renews and checks keys. Each call has its key in its context,
// since a renewal and a check may be about different keys.
type callKeys struct{}

type callKey struct{}

func withKey(ctx context.Context, key esper.Secret) context.Context {
	return context.WithValue(ctx, callKey{}, key)
}

func (callKeys) Token() (*oauth2.Token, error) {
	return nil, errors.New("renew: no context") // never returned: the client calls TokenContext instead
}

func (callKeys) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	key, _ := ctx.Value(callKey{}).(esper.Secret)
	return &oauth2.Token{AccessToken: key.Reveal()}, nil
}
