package esper

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper/internal/body"
	"github.com/esper-go/esper-go/pkg/esper/internal/network"
	"github.com/esper-go/esper-go/pkg/esper/internal/origin"
)

// Client calls the token endpoints of one tenant. It is safe for concurrent use; make one and keep
// it, since it holds the connections. Make it with [New] or [NewFromEnv]; the zero value is of no use.
type Client struct {
	generated gen.Client
	base      *url.URL
	source    *source
	chain     http.RoundTripper // the middleware around authTransport
	hop       *authTransport
	userAgent string
	timeout   time.Duration // of one attempt
	retry     Retry
	logger    *slog.Logger

	tokenInfo                     *http.Request // always the same, but for its header and the attempt
	tokenInfoPath, renewTokenPath string        // below the base URL, for the log
	tokenInfoFields               body.Fields
	tokens                        tokensAPI
}

// New returns a client for environment, a tenant name ("foo") or a base URL
// ("https://foo-api.esper.cloud/api"), whose key comes from tokens: [APIKey] for one that does not
// change. Nothing is sent.
//
// The source is asked once an attempt, and an error of it is returned as it is. It may have more
// methods, which are used where they are:
//
//   - TokenContext(context.Context) (*oauth2.Token, error) is called in place of Token, with the
//     context of the call, so that a wait for a key ends with it.
//   - Reject(context.Context, *oauth2.Token) (*oauth2.Token, error) is called once after a 401, with
//     the token that was refused. TokenInfo is repeated with the token that it returns, if that is
//     another one.
//   - Server() *url.URL says for which base URL the source's key is; New refuses any other.
//   - RenewToken(context.Context, RenewRequest) (*RenewedToken, error) is called for renewals of the
//     source's own key, which [Client.Generated] then refuses.
//
// The error is [ErrInvalidArgument] for anything that could not work, and never repeats its
// arguments.
func New(environment string, tokens oauth2.TokenSource, opts ...Option) (*Client, error) {
	s, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	base, err := origin.Parse(environment, s.insecure)
	if err != nil {
		return nil, invalid("%v", err)
	}
	source, err := newSource(tokens, base)
	if err != nil {
		return nil, err
	}
	pooled := network.Pooled(s.transport, noteProxy)
	hop := &authTransport{base: base, pooled: pooled, single: network.Single(pooled)}
	c := &Client{
		base: base, source: source, chain: hop, hop: hop,
		userAgent: s.userAgent, timeout: s.timeout, retry: s.retry, logger: s.logger,
		tokenInfoFields: body.FieldsOf(TokenInfo{}),
	}
	for _, wrap := range slices.Backward(s.middleware) {
		if c.chain = wrap(c.chain); c.chain == nil {
			return nil, invalid("a middleware returned nil")
		}
	}
	generated, err := gen.NewClient(base.String(), gen.WithHTTPClient(generatedDoer{c}), gen.WithRequestEditorFn(c.describe))
	if err != nil {
		return nil, err
	}
	c.generated = *generated
	if c.tokenInfo, err = gen.NewGetTokenInfoRequest(c.generated.Server); err != nil {
		return nil, err
	}
	if c.tokens, err = newTokensAPI(c.generated.Server); err != nil {
		return nil, err
	}
	return c, c.setRelativePaths()
}

// setRelativePaths asks the generated code for the paths of the two operations.
func (c *Client) setRelativePaths() error {
	tokenInfo, err := gen.NewGetTokenInfoRequest("")
	if err != nil {
		return err
	}
	renewToken, err := gen.NewRenewTokenRequest("", "{enterprise_id}", "{developerapp_id}", &gen.RenewTokenParams{})
	if err != nil {
		return err
	}
	c.tokenInfoPath, c.renewTokenPath = "/"+strings.TrimLeft(tokenInfo.URL.Path, "./"), "/"+strings.TrimLeft(renewToken.URL.Path, "./")
	return nil
}

// NewFromEnv returns a client for ESPER_ENVIRONMENT (a tenant name or a base URL) with the key in
// ESPER_API_KEY, the variables that Esper's own command-line clients read. An error says which of the
// two it is about.
func NewFromEnv(opts ...Option) (*Client, error) {
	const environment, key = "ESPER_ENVIRONMENT", "ESPER_API_KEY"
	for _, name := range []string{environment, key} {
		if os.Getenv(name) == "" {
			return nil, invalid("the environment variable %s is not set", name)
		}
	}
	if err := checkPasted(os.Getenv(key), "the key in "+key); err != nil {
		return nil, err
	}
	c, err := New(os.Getenv(environment), APIKey(os.Getenv(key)), opts...)
	if err != nil {
		return nil, &variableError{environment, err}
	}
	return c, nil
}

// Generated returns a copy of the client that was generated from the API's description, for what
// this package has no method for yet. It authenticates, keeps secrets out of sight, limits time and
// size as the methods here do, and follows no redirect; it does not retry, and the caller maps the
// status and closes the body. Of the header it passes on what a middleware sees: see [WithMiddleware].
func (c *Client) Generated() *gen.Client {
	generated := c.generated
	return &generated
}

// BaseURL returns a copy of the base URL, in its normal form and without a trailing slash.
func (c *Client) BaseURL() *url.URL {
	u := *c.base
	return &u
}

// CloseIdleConnections closes the connections that no call uses at the moment. The client remains
// usable.
func (c *Client) CloseIdleConnections() {
	c.hop.pooled.CloseIdleConnections()
	c.hop.single.CloseIdleConnections()
}

// describe sets the headers that tell the server what the client is and reads.
func (c *Client) describe(_ context.Context, req *http.Request) error {
	values := [2]string{"application/json", c.userAgent}
	req.Header["Accept"], req.Header["User-Agent"] = values[:1:1], values[1:]
	return nil
}

// generatedDoer sends the requests of the generated client.
type generatedDoer struct{ client *Client }

func (d generatedDoer) Do(req *http.Request) (*http.Response, error) {
	const name = "Generated"
	source := d.client.source
	cred, token, err := source.get(req.Context(), nil)
	if err != nil {
		return nil, err
	}
	a := d.client.newAttempt(req.Context(), cred, req)
	defer a.end()
	if source.renew != nil && a.renewal && (a.accessToken.IsZero() || a.accessToken == cred.key) {
		return nil, errOwnRenewal
	}
	got, err := a.send(d.client.chain)
	if got == nil {
		return nil, &callError{name, 1, err}
	}
	if got.status == http.StatusUnauthorized && source.reject != nil {
		_, _ = source.reject(req.Context(), token) // the caller gets the server's answer
	}
	resp := &http.Response{
		Status: statusLine("", got.status), StatusCode: got.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: got.header, ContentLength: int64(len(got.body)), Request: a.request,
	}
	if got.up != nil {
		resp.Proto, resp.ProtoMajor, resp.ProtoMinor = got.up.Proto, got.up.ProtoMajor, got.up.ProtoMinor
	}
	rest := bytes.NewReader(got.body)
	resp.Body = bodyFunc(func(p []byte) (int, error) {
		n, err := rest.Read(p)
		if err == io.EOF && got.err != nil {
			err = got.err
		}
		return n, err
	})
	if got.err != nil {
		resp.ContentLength = -1
	}
	return resp, nil
}

// bodyFunc is a body that shows nothing to fmt.
type bodyFunc func(p []byte) (int, error)

func (f bodyFunc) Read(p []byte) (int, error) { return f(p) }
func (bodyFunc) Close() error                 { return nil }
