package renew

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptrace"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/internal/deadline"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/ways"
	"github.com/esper-go/esper-go/pkg/wire"
)

// ask calls TokenInfo with a key, and returns the parts of the answer that a document holds.
func (s *Source) ask(ctx context.Context, key esper.Secret) (policy.Document, error) {
	client, limit := s.client, askTime
	if ctx.Value(briefKey{}) != nil {
		client, limit = s.brief, briefTime
	}
	ctx, cancel := context.WithTimeout(withKey(ctx, key), limit)
	defer cancel()
	d, unreadable := policy.Document{Key: key}, false
	info, err := client.TokenInfo(ctx)
	switch {
	case err == nil:
		d.EnterpriseID, d.DeveloperAppID = info.Enterprise.ID, info.DeveloperApp.ID
		d.IssuedAt, d.ExpiresAt, unreadable = times(info.CreatedOn, info.ExpiresAt)
	case errors.Is(err, esper.ErrNotFound):
		d, err = s.way.AskInstead(ctx, key, err)
	}
	if err != nil {
		return policy.Document{}, fmt.Errorf("renew: %w", err)
	}
	if unreadable {
		s.log(slog.LevelWarn, "the server tells the end of the key in a form that is not known; one day from now is assumed")
		d.ExpiresAt = plain(time.Now()).Add(leastLifetime)
	}
	return d, nil
}

// briefKey marks the context of a question that is asked in one attempt, within briefTime.
type briefKey struct{}

const leastLifetime = 24 * time.Hour // how long a key is assumed to live from now on if its end cannot be read

// times returns when a key was made and when it ends, as the server says. issued is now if the server does not say, or
// says something that cannot be true. ends is zero if the server does not say. It is also zero if the server says it in
// an unknown form; then unreadable is set.
func times(created, expires wire.Time) (issued, ends time.Time, unreadable bool) {
	now := plain(time.Now())
	issued, _ = ways.Moment(created)
	ends, unreadable = ways.Moment(expires)
	if issued.IsZero() || now.Sub(issued).Abs() > policy.Skew && !ends.After(issued) {
		issued = now
	}
	return issued, ends, unreadable
}

// post renews the key of state, unless the time of t's attempt is over.
func (s *Source) post(ctx context.Context, state policy.State, t policy.Turn, o *policy.Outcome) error {
	until := t.Begun.Until.Add(-policy.Margin)
	left := until.Sub(plain(time.Now()))
	if left <= 0 {
		o.Rejected = true
		return fmt.Errorf("renew: the attempt to renew the key was taken back, since its time was over before it was sent: %w", context.DeadlineExceeded)
	}
	ctx, cancel := deadline.WithTimeout(context.WithoutCancel(ctx), left)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		// Look at the clock once more, right before the request is written: the process, or the whole machine,
		// may have been stopped since post began. If the attempt's time is over, nothing is sent.
		if now := plain(time.Now()); now.Before(t.Begun.Begun) || !now.Before(until) || ctx.Err() != nil {
			cancel()
			_ = c.Conn.Close()
		}
	}})
	answer, err := s.way.Renew(withKey(ctx, state.Doc.Key), state.Doc, left)
	if err == nil {
		s.update(func(n *snapshot) { n.accepted = time.Now() })
		o.Doc = s.renewed(answer)
		return nil
	}
	failed := (*esper.RenewalError)(nil)
	o.Forbidden = errors.Is(err, esper.ErrForbidden)
	switch {
	case !errors.As(err, &failed) || failed.Outcome == esper.OutcomeNotRenewed:
		o.Rejected = true
		o.Refused = errors.Is(err, esper.ErrUnauthorized) || o.Forbidden && !o.Began.Before(state.End)
	case failed.Outcome == esper.OutcomeUnreadable || bytes.Contains(failed.Body, []byte("token")):
		o.Answer = esper.NewSecret(string(failed.Body[:min(len(failed.Body), mostAnswer)])) // it may hold the new key
	}
	if !strings.HasPrefix(err.Error(), "renew: ") {
		err = fmt.Errorf("renew: %w", err)
	}
	return err
}

const mostAnswer = 64 << 10 // how much is kept of an answer from which no key can be read

// renewed returns what a document holds of the answer to a renewal. An end that cannot be true is left out: then the
// server is asked, and if it says no better, policy.AssumedLifetime is assumed.
func (s *Source) renewed(answer *esper.RenewedToken) policy.Document {
	d := policy.Document{Key: answer.Token, RenewedAt: plain(time.Now())}
	d.IssuedAt, d.ExpiresAt, _ = times(answer.CreatedOn, answer.ExpiresAt)
	if d.RenewedAt.Sub(d.IssuedAt).Abs() > policy.Skew { // created_on is not when the key was renewed
		d.IssuedAt = d.RenewedAt
	}
	if !d.ExpiresAt.IsZero() && (!d.ExpiresAt.After(d.RenewedAt) || !d.ExpiresAt.After(d.IssuedAt)) {
		s.log(slog.LevelWarn, "the answer to the renewal says an end of the new key that cannot be true; the server is asked, and if it says no better, seven days are assumed",
			slog.Time("end", d.ExpiresAt))
		d.ExpiresAt = time.Time{}
	}
	return d
}

// callKeys is the token source of Source.client, which renews and checks keys. Each call has its key in its context, under
// callKeys, since a renewal and a check may be about different keys.
type callKeys struct{}

func withKey(ctx context.Context, key esper.Secret) context.Context {
	return context.WithValue(ctx, callKeys{}, key)
}

// Token is never called: the client calls TokenContext instead.
func (callKeys) Token() (*oauth2.Token, error) { return nil, ErrClosed }

// Reject does nothing: the source looks after the key itself. So no error of the client advises to make a new key, since one
// refusal may be wrong.
func (callKeys) Reject(_ context.Context, token *oauth2.Token) (*oauth2.Token, error) {
	return token, nil
}

func (callKeys) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	key, _ := ctx.Value(callKeys{}).(esper.Secret)
	return &oauth2.Token{AccessToken: key.Reveal()}, nil
}

// Ways asks the server in which ways the key in use can be renewed, as far as that is known without a renewal. A result
// is nil if the key can be renewed in that way. Otherwise it is [ErrNotRenewable], or says that the server could not be
// asked. Ways works with and without [WithPersonalAccessTokens], and changes nothing.
//
// The key can be renewed through renew-token if it belongs to a developer app; whether the server still has that endpoint
// is seen only when it is used. It can be renewed as a personal access token if the server lists the token that the key
// belongs to, and if the unit of that token's expiry_at is certain.
func (s *Source) Ways(ctx context.Context) (renewToken, personalAccessToken error) {
	d := s.now.Load().state.Doc
	tokens := ways.PersonalTokens{Client: s.client}
	return ways.Endpoint{}.Renewable(d), tokens.Sure(withKey(orBackground(ctx), d.Key), d, askTime)
}
