package esper

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/gen"
)

// Client calls the token endpoints of one tenant. It is safe for concurrent use; make one and keep
// it, since it holds the connections. Make it with [New] or [NewFromEnv].
type Client struct {
	generated gen.Client
	tokenInfo *http.Request // built once, since it is the same each time; never changed
	renewal   *http.Request // the same but for the ids in its path
	base      *url.URL
	doer      *doer
	retry     Retry
	logger    *slog.Logger
	closeIdle func()
}

// New returns a client for environment, a tenant name ("foo") or a base URL
// ("https://foo-api.esper.cloud/api"), whose key comes from tokens: [APIKey] for one that does not
// change. Nothing is sent.
//
// The source is asked once an attempt. If it has TokenContext(context.Context) (*oauth2.Token,
// error), that is called with the context of the call, so that a wait for a key ends with it. An
// error of the source is returned as it is.
//
// The error is [ErrInvalidArgument] for anything that could not work, and never repeats its
// arguments.
func New(environment string, tokens oauth2.TokenSource, opts ...Option) (*Client, error) {
	s, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	base, err := parseEnvironment(environment, s.insecure)
	if err != nil {
		return nil, err
	}
	if tokens == nil {
		return nil, invalid("the token source is nil; use APIKey for a key that does not change")
	}
	if k, ok := tokens.(apiKey); ok {
		if _, err := k.Token(); err != nil {
			return nil, err
		}
	}
	c := &Client{base: base, retry: s.retry, logger: s.logger}
	hop := &lastHop{origin: base, pooled: s.http.Transport}
	if hop.pooled == nil {
		hop.pooled = newTransport()
	}
	if t, ok := hop.pooled.(*http.Transport); ok {
		hop.fresh = freshTransport(t)
	}
	httpClient := *s.http
	httpClient.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	httpClient.Transport = hop
	c.closeIdle = (&http.Client{Transport: hop.pooled}).CloseIdleConnections
	for _, wrap := range slices.Backward(s.middleware) {
		httpClient.Transport = wrap(httpClient.Transport)
		if httpClient.Transport == nil { // net/http would take its own, without a last hop
			return nil, invalid("a middleware returned nil")
		}
	}
	if httpClient.Timeout > 0 { // kept by the attempt, whose context ends with the right error
		s.timeout = min(s.timeout, httpClient.Timeout)
		httpClient.Timeout = 0
	}
	c.doer = &doer{key: newKeyFunc(tokens), timeout: s.timeout, http: &httpClient}
	if len(s.middleware) == 0 && httpClient.Jar == nil {
		c.doer.direct = hop
	}
	if err := c.generate(s.userAgent); err != nil {
		return nil, err
	}
	return c, nil
}

// generate makes the generated client, and from its code the requests of this package.
func (c *Client) generate(userAgent string) error {
	describe := describe(userAgent)
	generated, err := gen.NewClient(c.base.String(), gen.WithHTTPClient(c.doer), gen.WithRequestEditorFn(describe))
	if err != nil {
		return err
	}
	c.generated = *generated
	if c.tokenInfo, err = gen.NewGetTokenInfoRequest(generated.Server); err != nil {
		return err
	}
	c.renewal, err = gen.NewRenewTokenRequest(generated.Server, enterpriseParam, developerAppParam, &gen.RenewTokenParams{AccessToken: sealedToken})
	if err != nil {
		return err
	}
	return errors.Join(describe(context.Background(), c.tokenInfo), describe(context.Background(), c.renewal))
}

// NewFromEnv returns a client for ESPER_ENVIRONMENT (a tenant name or a base URL) with the key in
// ESPER_API_KEY, the variables that Esper's own command-line clients read.
func NewFromEnv(opts ...Option) (*Client, error) {
	const environment, key = "ESPER_ENVIRONMENT", "ESPER_API_KEY"
	for _, name := range []string{environment, key} {
		if os.Getenv(name) == "" {
			return nil, invalid("the environment variable %s is not set", name)
		}
	}
	return New(os.Getenv(environment), APIKey(os.Getenv(key)), opts...)
}

// Generated returns a copy of the client that was generated from the API's description, for what
// this package has no method for yet. It authenticates, seals secrets, limits time and size as the
// methods here do, and follows no redirect; it does not retry, and the caller maps the status and
// closes the body.
func (c *Client) Generated() *gen.Client {
	generated := c.generated
	return &generated
}

// CloseIdleConnections closes the connections that no call uses at the moment, those of a
// transport passed with [WithHTTPClient] included. The client remains usable.
func (c *Client) CloseIdleConnections() {
	c.closeIdle()
}

// describe sets the headers that tell the server what the client is and reads.
func describe(userAgent string) gen.RequestEditorFn {
	return func(_ context.Context, req *http.Request) error {
		req.Header.Set("Accept", "application/json")
		req.Header.Set("User-Agent", userAgent)
		return nil
	}
}
