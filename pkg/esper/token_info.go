package esper

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper/internal/body"
)

// TokenInfo is what the server knows of a key, with the fields of [gen.TokenInfoV1]: ID, Enterprise,
// DeveloperApp, User, Scope, Token, SourceRefreshToken, ExpiresAt, CreatedOn and UpdatedOn. ID and
// Enterprise are always set. Any other field is zero if the server did not send it, or sent it in an
// unknown form. Token and SourceRefreshToken are secrets. A zero ExpiresAt means that the
// server does not say when the key ends, not that it never does.
type TokenInfo = gen.TokenInfoV1

// TokenInfo returns what the server knows of the client's key (GET /v1/token-info/).
//
// The request is sent again after a connection error, after the timeout of an attempt, after an answer
// that was cut off, and after 429, 500, 502, 503 and 504; not after an error that another attempt
// cannot cure, such as a certificate of an unknown authority. After a 401, a token source that has a
// Reject method (see [New]) is asked for another key, once.
//
// An answer that is not 2xx is an [*APIError]. A 2xx answer is [ErrInvalidResponse] if it is not a JSON
// object with an id and an enterprise, and [ErrResponseTooLarge] if it is over 1 MiB.
func (c *Client) TokenInfo(ctx context.Context) (*TokenInfo, error) {
	r := c.call(ctx, operation{
		name:         "TokenInfo",
		method:       http.MethodGet,
		relativePath: c.tokenInfoPath,
		request:      c.tokenInfoRequest,
		retryable:    retryableGet,
		repeatable:   true,
	})
	if r.err != nil {
		return nil, r.err
	}
	info := new(TokenInfo)
	if !c.tokenInfoFields.Decode(r.body, info) || info.ID == "" || info.Enterprise.Raw == "" {
		return nil, &callError{"TokenInfo", r.attempts, unreadable(r, "no id, or no enterprise")}
	}
	r.secrets.Fields(info)
	return info, nil
}

// tokenInfoRequest returns a copy of the request, because middleware may change it.
func (c *Client) tokenInfoRequest(string, Secret) (*http.Request, error) {
	req, u := *c.tokenInfo, *c.tokenInfo.URL
	req.URL, req.Header = &u, make(http.Header, 2)
	return &req, nil
}

// retryableGet reports whether to try an operation again whose request may arrive twice.
func retryableGet(r result) bool {
	switch r.status {
	case 0:
		return !r.permanent
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return r.success() && !errors.Is(r.err, ErrResponseTooLarge)
}

// unreadable returns ErrInvalidResponse with what the 2xx answer lacks, and with the message in its body, if any.
func unreadable(r result, lacking string) error {
	what := "the body is empty"
	switch {
	case body.IsEmpty(r.body):
	case body.IsHTML(r.body):
		what = "the body is an HTML page; perhaps the base URL leads to something else, or a login page stands in front"
	case !body.IsObject(r.body):
		what = fmt.Sprintf("the body (%d bytes) is no JSON object; perhaps the base URL leads to something else", len(r.body))
	case !body.IsWhole(r.body):
		what = fmt.Sprintf("the body (%d bytes) is malformed or cut short", len(r.body))
	default:
		what = fmt.Sprintf("the body (%d bytes) has %s", len(r.body), lacking)
	}
	if message := body.Message(r.body); message != "" {
		what += "; its message is: " + r.secrets.Text(message)
	}
	return fmt.Errorf("%w: %s", ErrInvalidResponse, what)
}
