package esper

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper/internal/network"
	"github.com/esper-go/esper-go/pkg/esper/internal/origin"
)

// Client calls the token endpoints of one tenant. It is safe for concurrent use. Make one with [New] or [NewFromEnv]
// and keep it, because it holds the connections. The zero value is not usable.
type Client struct {
	settings
	generated gen.Client
	base      *url.URL
	source    source
	chain     http.RoundTripper // the middleware around hop
	hop       *hop
}

// New returns a client for environment, which is a tenant name ("foo") or a base URL
// ("https://foo-api.esper.cloud/api"). New sends nothing. The client asks tokens, a source such as [APIKey], for a key
// before each attempt. If the source has any of these methods, the client uses them too:
//
//   - TokenContext(context.Context) (*oauth2.Token, error) is called in place of Token. It gets the context of the
//     call, so that waiting for a key ends with the call.
//   - Reject(context.Context, *oauth2.Token) (*oauth2.Token, error) is called once in a call, after a 401, [ErrGateway]
//     too, with the token that was sent. If Reject returns a different token, a call that only reads sends its request
//     again with that token.
//   - Server() *url.URL returns the base URL that the source's key belongs to. New refuses any other environment. Nil
//     allows every environment.
//   - RenewToken(context.Context, RenewRequest) (*RenewedToken, error) is called when [Client.RenewToken] is to renew
//     the source's own key. [Client.Generated] refuses requests with an access_token.
//
// New returns [ErrInvalidArgument] for an argument that cannot work. The text of the error never repeats an argument,
// which might be a key.
func New(environment string, tokens oauth2.TokenSource, opts ...Option) (*Client, error) {
	return newClient(environment, "", tokens, opts)
}

// newClient is New. Errors say where a bad environment is from.
func newClient(environment, from string, tokens oauth2.TokenSource, opts []Option) (*Client, error) {
	s, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	base, err := origin.Parse(environment, s.insecure)
	if err != nil {
		return nil, invalid("%v%s", err, from)
	}
	source, err := newSource(tokens, base)
	if err != nil {
		return nil, err
	}
	pooled := network.Pooled(s.transport)
	last := &hop{base: base, pooled: pooled, single: network.Single(pooled)}
	c := &Client{settings: s, base: base, source: source, chain: last, hop: last}
	for _, wrap := range slices.Backward(s.middleware) {
		if c.chain = wrap(c.chain); c.chain == nil {
			return nil, invalid("a middleware returned nil")
		}
	}
	generated, err := gen.NewClient(base.String(), gen.WithHTTPClient(doer{c}), gen.WithRequestEditorFn(
		func(_ context.Context, req *http.Request) error { c.describe(req); return nil }))
	if err != nil {
		return nil, err
	}
	c.generated = *generated
	return c, nil
}

// NewFromEnv returns a client for ESPER_ENVIRONMENT (a tenant name or a base URL) with the key in ESPER_API_KEY, the
// variables that Esper's own command-line clients read. An error about a variable names it.
func NewFromEnv(opts ...Option) (*Client, error) {
	const environment, key = "ESPER_ENVIRONMENT", "ESPER_API_KEY"
	tokens := newAPIKey(os.Getenv(key), "the key in "+key)
	return newClient(os.Getenv(environment), " (in "+environment+")", tokens, opts)
}

// Generated returns a copy of the client that was generated from the OpenAPI description, for operations that this
// package has no method for. Like the methods of Client, the generated client adds the key, hides secrets, limits time
// and size, and follows no redirect. It does not retry; the caller checks the status and closes the body. The response
// has only the header fields that a middleware may see: see [WithMiddleware].
//
// A request whose method is not safe (RFC 9110, section 9.2.1), such as POST, is sent once and over a connection of its
// own, as a renewal is. A parameter access_token is a secret. If the client's token source has a RenewToken method (see
// [New]), a request with that parameter is [ErrInvalidArgument].
func (c *Client) Generated() *gen.Client {
	generated := c.generated
	return &generated
}

// BaseURL returns a copy of the base URL, normalized (lower-case scheme and host, no default port) and without a
// trailing slash.
func (c *Client) BaseURL() *url.URL {
	u := *c.base
	return &u
}

// CloseIdleConnections closes the connections that no call uses at the moment. The client remains usable.
func (c *Client) CloseIdleConnections() {
	c.hop.pooled.CloseIdleConnections()
	c.hop.single.CloseIdleConnections()
}

// describe adds the fields that every request has.
func (c *Client) describe(req *http.Request) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
}

// doer sends the requests of the generated client.
type doer struct{ client *Client }

func (d doer) Do(req *http.Request) (*http.Response, error) {
	defer closeBody(req)
	source := d.client.source
	token, err := source.get(req.Context())
	if err != nil {
		return nil, err
	}
	a := newAttempt(req.Context(), d.client.timeout, NewSecret(token.AccessToken), req, !isSafe(req.Method))
	defer a.cancel()
	if source.renew != nil && !a.param.IsZero() {
		return nil, errOwnRenewal
	}
	got := a.send(d.client.chain)
	resp, err := got.response(a.request)
	if err != nil {
		return nil, &callError{"Generated", 1, err}
	}
	if got.status == http.StatusUnauthorized && source.reject != nil {
		_, _ = source.reject(req.Context(), token) // the caller gets the 401, whatever Reject returns
	}
	resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(got.body), ending{got.fault}))
	resp.ContentLength = int64(len(got.body))
	return resp, nil
}

// ending is a reader that returns an error, or io.EOF.
type ending struct{ err error }

func (e ending) Read([]byte) (int, error) { return 0, cmp.Or(e.err, io.EOF) }
