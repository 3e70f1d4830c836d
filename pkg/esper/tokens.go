package esper

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper/internal/body"
	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

// TokenInfo is what the server knows of a key. ID and Enterprise are always set. Any other field is zero if the server
// did not send it, or sent it in an unknown form. Token and SourceRefreshToken are secrets. A zero ExpiresAt means that
// the server does not say when the key ends, not that it never does.
type TokenInfo = gen.TokenInfoV1

// TokenInfo returns what the server knows of the client's key (GET /v1/token-info/).
//
// The request is sent again after a connection error, after the timeout of an attempt, after an answer that was cut
// off, after 429, 500, 502, 503 and 504, and after [ErrGateway]; not after an error that another attempt cannot cure,
// such as a certificate of an unknown authority. After a 401, a token source that has a Reject method (see [New]) is
// asked for another key, once.
//
// An answer that is not 2xx is an [*APIError]. A 2xx answer is [ErrInvalidResponse] if it is not a JSON object of at
// most 64 KiB with an id and an enterprise, and [ErrResponseTooLarge] if it is over 1 MiB.
func (c *Client) TokenInfo(ctx context.Context) (*TokenInfo, error) {
	r := c.call(ctx, operation{
		name: "TokenInfo", path: "/v1/token-info/",
		request: func(server string, _ Secret) (*http.Request, error) { return gen.NewGetTokenInfoRequest(server) },
	})
	info := new(TokenInfo)
	switch {
	case r.err != nil:
		return nil, r.err
	case body.Decode(r.body, info) != nil, info.ID == "", info.Enterprise.Raw == "":
		return nil, r.unreadable("no id, or no enterprise")
	}
	return info, nil
}

// unreadable is ErrInvalidResponse with what the 2xx answer lacks, and with the message in its body, if any.
func (r result) unreadable(lacking string) error {
	what := body.What(r.body)
	if what == "" {
		what = "the body has " + lacking
	}
	if message, _ := body.Faults(r.body); message != "" {
		what += "; its message is: " + redact.Text(message, r.last.secrets()...)
	}
	return &callError{r.operation, r.attempts, fmt.Errorf("%w: %s (%d bytes)", ErrInvalidResponse, what, len(r.body))}
}

// RenewRequest says which key to renew. [Client.TokenInfo] returns the two ids.
type RenewRequest struct {
	EnterpriseID   string // required: the UUID of the enterprise that owns the key
	DeveloperAppID string // required: the UUID of the developer app that the key was issued to
	AccessToken    Secret // the key to renew; zero means the client's own, the usual case
}

// RenewedToken is a new key. Token is always set; any other field may be zero, and all of them are if the answer was
// malformed or cut short. If ExpiresAt is zero, ask [Client.TokenInfo] with the new key.
type RenewedToken = gen.TokenRenewV0

// RenewToken exchanges a key for a new one (POST …/renew-token/) and returns the new one. Store it before you do
// anything else: no later call shows it again, and the old key may have stopped working.
//
// A 2xx answer whose top-level token arrived whole is a success, even if the rest of the answer is malformed or cut
// short, and whatever a middleware returns. One behind a malformed place is taken if no other is there. The old key, or
// a text that cannot be sent, is no new key. Every failure after the arguments were accepted is a [*RenewalError], also
// when the context ends during the call. Its Outcome says whether the server may have replaced the old key. Bad
// arguments are [ErrInvalidArgument].
//
// The request goes over a new connection. It is sent again only if no connection was made, or the server answered 429,
// because then the key was not renewed. If the client's token source has a RenewToken method (see [New]), that method
// is called for the source's own key, and its error is returned as it is.
func (c *Client) RenewToken(ctx context.Context, r RenewRequest) (*RenewedToken, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	err := cmp.Or(checkUUID(r.EnterpriseID, "RenewRequest.EnterpriseID"),
		checkUUID(r.DeveloperAppID, "RenewRequest.DeveloperAppID"))
	if err == nil && !r.AccessToken.IsZero() {
		err = checkKey(r.AccessToken.Reveal(), "RenewRequest.AccessToken")
	}
	if err != nil {
		return nil, err
	}
	if c.source.renew != nil {
		own, err := c.source.get(ctx) // only to compare
		if err != nil {
			return nil, &RenewalError{Outcome: OutcomeNotRenewed, Err: err}
		}
		if r.AccessToken.IsZero() || r.AccessToken.Reveal() == own.AccessToken {
			return c.source.renew(ctx, r)
		}
	}
	return renew(ctx, c, operation{
		name: "RenewToken", path: "/v0/enterprise/{enterprise_id}/developerapp/{developerapp_id}/renew-token/",
		request: func(server string, key Secret) (*http.Request, error) {
			if !r.AccessToken.IsZero() {
				key = r.AccessToken
			}
			params := gen.RenewTokenParams{AccessToken: key.Reveal()}
			return gen.NewRenewTokenRequest(server, r.EnterpriseID, r.DeveloperAppID, &params)
		},
	}, func(t *RenewedToken) *Secret { return &t.Token })
}

// renew makes the call of an operation whose answer holds a new key. Field says where the key stands in a T. The other
// fields are set as far as they can be read.
func renew[T any](ctx context.Context, c *Client, op operation, field func(*T) *Secret) (*T, error) {
	op.renewal = true
	r := c.call(ctx, op)
	failed := &RenewalError{operation: op.name, Body: r.body, Err: r.err}
	switch {
	case r.success() && !r.key.IsZero():
		renewed := new(T)
		_ = json.Unmarshal(body.Trim(r.body), renewed) // only the key is promised
		*field(renewed) = r.key
		return renewed, nil
	case r.success():
		failed.Outcome = OutcomeUnreadable
		if r.err == nil {
			failed.Err = r.unreadable("no usable new token")
		}
	// All else stays OutcomeUnknown, its zero value: a redirect, because frameworks often redirect after a POST that they
	// have processed; 408, which gateways send when a server did not answer in time; ErrGateway; and 5xx.
	case r.status == 0 && !r.maybeSent,
		r.status/100 == 4 && r.status != http.StatusRequestTimeout && !errors.Is(r.err, ErrGateway):
		failed.Outcome = OutcomeNotRenewed
	}
	return nil, failed
}

// PersonalAccessToken is a key with an ID and a name. A renewal replaces the key; ID and name stay. Esper declares
// personal access tokens as the successor of its two token endpoints.
//
// Any field may be zero. Token is the key and Prefix its beginning, so both are secrets. ExpiryAt is a number in a unit
// that Esper does not name, or "-1" for never.
//
// Experimental: the authors of this package have not seen the server answer. Esper's description may turn out to be
// wrong, and this type, [Client.ListPersonalAccessTokens] and [Client.RenewPersonalAccessToken] may change.
type PersonalAccessToken = gen.PersonalAccessToken

// ListPersonalAccessTokens returns the personal access tokens of the user who owns the client's key (GET
// /authn2/v0/personal-access-token/). The list may hold the keys of all of them: take from it what you need, and keep
// nothing else.
//
// Retries and errors are those of [Client.TokenInfo], except that an [*APIError] has no Body. A 2xx answer without a
// list is [ErrInvalidResponse].
//
// Experimental: see [PersonalAccessToken].
func (c *Client) ListPersonalAccessTokens(ctx context.Context) ([]PersonalAccessToken, error) {
	r := c.call(ctx, operation{
		name: "ListPersonalAccessTokens", path: "/authn2/v0/personal-access-token/",
		request: func(server string, _ Secret) (*http.Request, error) {
			return gen.NewListPersonalAccessTokensRequest(server)
		},
	})
	if api := (*APIError)(nil); errors.As(r.err, &api) {
		api.Body = nil // it may hold keys that have nothing to do with the call
	}
	if r.err != nil {
		return nil, r.err
	}
	var found struct { // tells a list that is empty from one that is not there
		List json.RawMessage `json:"personal_access_tokens"`
	}
	var items []json.RawMessage
	if json.Unmarshal(body.Trim(r.body), &found) != nil || json.Unmarshal(found.List, &items) != nil {
		return nil, r.unreadable("no list of personal access tokens")
	}
	list := make([]PersonalAccessToken, len(items))
	for i, item := range items {
		_ = json.Unmarshal(item, &list[i]) // one that cannot be read does not spoil the others
	}
	return list, nil
}

// RenewPersonalAccessToken gives a personal access token a new key, and returns the token with the new key (PUT
// /authn2/v0/personal-access-token/{id}). Id is the token's ID in the list, not a key. Expiry is when the new key is to
// end, in the unit that the list has for this token, or -1 for never.
//
// Store the new key before you do anything else. Answers, errors and retries are as [Client.RenewToken] describes them.
// If the client's token source has a RenewToken method (see [New]), the call returns [ErrInvalidArgument], because id
// may name the token whose key the source renews.
//
// Experimental: see [PersonalAccessToken].
func (c *Client) RenewPersonalAccessToken(ctx context.Context, id string, expiry int64) (*PersonalAccessToken, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	if err := checkUUID(id, "the id of the personal access token"); err != nil {
		return nil, err
	}
	if expiry <= 0 && expiry != -1 {
		return nil, invalid("expiry is %d; it is a moment in the future, or -1 for never", expiry)
	}
	if c.source.renew != nil {
		return nil, errOwnRenewal
	}
	return renew(ctx, c, operation{
		name: "RenewPersonalAccessToken", path: "/authn2/v0/personal-access-token/{id}",
		request: func(server string, _ Secret) (*http.Request, error) {
			return gen.NewRenewPersonalAccessTokenRequest(server, id, gen.PersonalAccessTokenRenewal{ExpiryAt: expiry})
		},
	}, func(t *PersonalAccessToken) *Secret { return &t.Token })
}

var (
	errNilContext = invalid("the context is nil")
	errOwnRenewal = invalid("the token source renews its key itself; call Client.RenewToken, " +
		"or use another client for the tokens of other keys")
)
