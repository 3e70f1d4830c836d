package esper

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper/internal/body"
)

// RenewRequest says which key to renew. [Client.TokenInfo] returns the two ids.
type RenewRequest struct {
	EnterpriseID   string // required: the UUID of the enterprise that owns the key
	DeveloperAppID string // required: the UUID of the developer app that the key was issued to
	AccessToken    Secret // the key to renew; zero means the client's own, the usual case
}

// RenewedToken is a new key, with the fields of [gen.TokenRenewV0]: ID, Enterprise, DeveloperApp,
// User, Scope, Token, ExpiresAt, CreatedOn and UpdatedOn. Token is always set; any other field may be
// zero. If ExpiresAt is zero, ask [Client.TokenInfo] with the new key.
type RenewedToken = gen.TokenRenewV0

func (r RenewRequest) check() error {
	err := also(checkUUID(r.EnterpriseID, "RenewRequest.EnterpriseID"), checkUUID(r.DeveloperAppID, "RenewRequest.DeveloperAppID"))
	if r.AccessToken.IsZero() {
		return err
	}
	return also(err, checkKey(r.AccessToken.Reveal(), "RenewRequest.AccessToken"))
}

// also puts two errors into one line.
func also(first, second error) error {
	if first == nil || second == nil {
		return errors.Join(first, second)
	}
	return fmt.Errorf("%w; %s", first, reasonOf(second))
}

// RenewToken exchanges a key for a new one (POST …/renew-token/) and returns the new one. Store it before you do
// anything else: no later call shows it again, and the old key may have stopped working.
//
// A 2xx answer whose top-level token arrived whole is a success, even if the rest of the answer is
// malformed or cut short, and whatever a middleware returns. Every failure after the arguments were
// accepted is a [*RenewalError], also when the context ends during the call. Its Outcome says whether
// the server may have replaced the old key. Bad arguments are [ErrInvalidArgument].
//
// The request goes over a new connection. It is sent again only if no connection was made, or the
// server answered 429, because then the key was not renewed. If the client's token source has a
// RenewToken method (see [New]), that method is called for the source's own key.
func (c *Client) RenewToken(ctx context.Context, r RenewRequest) (*RenewedToken, error) {
	const name = "RenewToken"
	if ctx == nil {
		return nil, errNilContext
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if c.source.renew != nil {
		own, _, err := c.source.get(ctx, nil)
		if err != nil {
			return nil, &RenewalError{Outcome: OutcomeNotRenewed, Err: err}
		}
		if r.AccessToken.IsZero() || r.AccessToken == own.key {
			return c.source.renew(ctx, r)
		}
	}
	res, err := c.exchange(ctx, operation{
		name:         name,
		method:       http.MethodPost,
		relativePath: c.renewTokenPath,
		request: func(server string, key Secret) (*http.Request, error) {
			if !r.AccessToken.IsZero() {
				key = r.AccessToken
			}
			params := gen.RenewTokenParams{AccessToken: key.Reveal()}
			return gen.NewRenewTokenRequest(server, r.EnterpriseID, r.DeveloperAppID, &params)
		},
	})
	if err != nil {
		return nil, err
	}
	renewed := new(RenewedToken)
	body.FieldsOf(*renewed).Decode(res.body, renewed)
	renewed.Token = res.key
	res.secrets.Fields(renewed)
	return renewed, nil
}

// exchange makes the call of an operation whose answer holds a new key. The result has that key if the error is nil, even
// if the document around it is malformed or cut short.
func (c *Client) exchange(ctx context.Context, op operation) (result, error) {
	op.retryable = func(r result) bool {
		return r.status == 0 && !r.maybeSent && !r.permanent || r.status == http.StatusTooManyRequests
	}
	r := c.call(ctx, op)
	switch {
	case !r.success():
		return r, &RenewalError{operation: op.name, Outcome: outcome(r), Body: r.body, Err: r.err}
	case !r.key.IsZero():
		return r, nil
	case r.err == nil:
		r.err = &callError{op.name, r.attempts, unreadable(r, "no usable token")}
	}
	return r, &RenewalError{operation: op.name, Outcome: OutcomeUnreadable, Body: r.body, Err: r.err}
}

// outcome is what a renewal without a 2xx answer means for the key. A redirect counts as unknown,
// because frameworks often redirect after a POST that they have processed. So does 408, because
// gateways send it when a server did not answer in time.
func outcome(r result) Outcome {
	refused := r.status/100 == 4 && r.status != http.StatusRequestTimeout
	if refused || r.status == 0 && !r.maybeSent {
		return OutcomeNotRenewed
	}
	return OutcomeUnknown
}
