package esper

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/esper-go/esper-go/gen"
)

type (
	// TokenInfo is what the server knows of a key, with the fields of [gen.TokenInfoV1]: ID,
	// Enterprise, DeveloperApp, User, Scope, Token, SourceRefreshToken, ExpiresOn, CreatedOn and
	// UpdatedOn. A field that the server did not send, or sent in a form that nobody foresaw, is
	// zero. Token and SourceRefreshToken are secrets. ExpiresOn is zero if the server does not say
	// when the key ends, which does not mean never.
	TokenInfo = gen.TokenInfoV1
	// RenewedToken is a new key, with the fields of [gen.TokenRenewV0]: ID, Enterprise, DeveloperApp,
	// User, Scope, Token, ExpiresAt (so named by the server, which says expires_on in the other
	// answer), CreatedOn and UpdatedOn. Token is always set; any other field may be zero. If ExpiresAt
	// is, ask [Client.TokenInfo] with the new key.
	RenewedToken = gen.TokenRenewV0
)

// RenewRequest says which key to renew. All fields are required; [Client.TokenInfo] tells the
// first two.
type RenewRequest struct {
	EnterpriseID   string // the UUID of the enterprise that owns the key
	DeveloperAppID string // the UUID of the developer app that the key was issued to
	AccessToken    Secret // the key to renew, usually the one that the client authenticates with
}

func (r RenewRequest) check() error {
	return errors.Join(
		checkUUID(r.EnterpriseID, "RenewRequest.EnterpriseID"),
		checkUUID(r.DeveloperAppID, "RenewRequest.DeveloperAppID"),
		checkKey(r.AccessToken.Reveal(), "RenewRequest.AccessToken"))
}

// What stands for the ids in the path of a renewal, also in the log.
const (
	enterpriseParam   = "{enterprise_id}"
	developerAppParam = "{developerapp_id}"
)

// renewalOf returns c.renewal with the ids in its path, where a UUID needs no escape.
func (c *Client) renewalOf(r RenewRequest) *http.Request {
	req, u := *c.renewal, *c.renewal.URL
	before, rest, _ := strings.Cut(c.below(c.renewal), enterpriseParam)
	between, after, _ := strings.Cut(rest, developerAppParam)
	u.Path = c.base.Path + before + r.EnterpriseID + between + r.DeveloperAppID + after
	if u.RawPath != "" {
		u.RawPath = c.base.EscapedPath() + u.Path[len(c.base.Path):]
	}
	req.URL = &u
	return &req
}

// below returns req's path below the base URL's.
func (c *Client) below(req *http.Request) string {
	return strings.TrimPrefix(req.URL.Path, c.base.Path)
}

// TokenInfo returns what the server knows of the client's key (GET /v1/token-info/).
//
// It is tried again after a connection error, the timeout of an attempt and an answer that was cut
// off, and after 429, 500, 502, 503 and 504. An answer that is not 2xx is an [*APIError]; a 2xx
// without a JSON object is [ErrInvalidResponse], one over 1 MiB [ErrResponseTooLarge].
func (c *Client) TokenInfo(ctx context.Context) (*TokenInfo, error) {
	const name = "TokenInfo"
	r := c.call(ctx, operation{
		name:    name,
		request: c.tokenInfo,
		path:    c.below(c.tokenInfo),
		again:   againIdempotent,
	})
	if r.err != nil {
		return nil, r.err
	}
	info, body := new(TokenInfo), trimStart(r.body)
	if !isObject(body) || json.Unmarshal(body, info) != nil {
		return nil, &callError{name, unreadable(r.body)}
	}
	redactFields([]Secret{r.known[0], info.Token, info.SourceRefreshToken}, info.Scope, (*string)(&info.User),
		&info.Enterprise.Raw, &info.DeveloperApp.Raw, &info.ExpiresOn.Raw, &info.CreatedOn.Raw, &info.UpdatedOn.Raw)
	return info, nil
}

// againIdempotent is for an operation that may arrive twice.
func againIdempotent(r result) bool {
	switch r.status {
	case 0, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return r.success() && !errors.Is(r.err, ErrResponseTooLarge)
}

// RenewToken exchanges a key for a new one (POST …/renew-token/) and returns it. Store it before
// anything else: the server shows it once, and the old key may have stopped working.
//
// A 2xx answer whose top-level token arrived whole is a success, whatever the rest of it is like.
// Every failure after the arguments were accepted is a [*RenewalError], whose Outcome says whether
// the old key can be counted on; a context that ends during the call gives one too. Bad arguments
// are [ErrInvalidArgument].
//
// The request goes over a connection of its own and is sent again only if that proves harmless:
// no connection was made, or the answer was 429.
func (c *Client) RenewToken(ctx context.Context, r RenewRequest) (*RenewedToken, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	res := c.call(ctx, operation{
		name:    "RenewToken",
		request: c.renewalOf(r),
		path:    c.below(c.renewal),
		token:   r.AccessToken,
		again:   func(r result) bool { return !r.maySent || r.status == http.StatusTooManyRequests },
	})
	if !res.success() {
		return nil, &RenewalError{Outcome: outcome(res), Body: res.body, Err: res.err}
	}
	if renewed := parseRenewal(res.body); renewed != nil {
		redactFields([]Secret{res.known[0], res.known[1], renewed.Token}, renewed.Scope, (*string)(&renewed.User),
			&renewed.Enterprise.Raw, &renewed.DeveloperApp.Raw, &renewed.ExpiresAt.Raw, &renewed.CreatedOn.Raw, &renewed.UpdatedOn.Raw)
		return renewed, nil
	}
	if res.err == nil {
		res.err = &callError{"RenewToken", unreadable(res.body)}
	}
	return nil, &RenewalError{Outcome: RenewedUnread, Body: res.body, Err: res.err}
}

// outcome is what a renewal without a 2xx answer means for the key. A redirect counts as unknown,
// since frameworks like to redirect after a POST that they have processed; so does 408, which
// gateways send when a server did not answer in time.
func outcome(r result) Outcome {
	refused := r.status/100 == 4 && r.status != http.StatusRequestTimeout
	if r.final || refused || r.status == 0 && !r.maySent {
		return NotRenewed
	}
	return OutcomeUnknown
}
