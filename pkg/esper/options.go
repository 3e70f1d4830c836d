package esper

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
)

// version is the module's version, in the User-Agent. A test holds it to CHANGELOG.md.
const version = "0.0.0"

// Option changes how a [Client] works. [New] checks them.
type Option func(*settings)

type settings struct {
	transport  *http.Transport
	middleware []func(http.RoundTripper) http.RoundTripper
	timeout    time.Duration
	retry      Retry
	userAgent  string
	logger     *slog.Logger
	insecure   bool
}

// WithTransport sets how connections are made: dialer, proxy, TLS, pool. The transport is cloned and
// never changed; nil means this package's own, whose pool suits many callers. Each client has a pool
// of its own.
//
// It is the concrete type because a renewal needs a fresh HTTP/1.1 connection, and proof of whether
// anything was sent: behind a wrapper, net/http has been seen to send one POST 41 times. What wraps a
// transport, otelhttp.NewTransport for example, belongs in [WithMiddleware]; so does what takes the
// place of the network in a test.
//
// The clone differs in this: the header of an answer is limited to 64 KiB, HTTP/2 connections are
// pinged, compression is not asked for (but understood), the Proxy function is given a request
// without headers and query, and protocols added with RegisterProtocol are missing.
func WithTransport(transport *http.Transport) Option {
	return func(s *settings) { s.transport = transport }
}

// WithMiddleware wraps the sending of each request, for logging, tracing, metrics and the like; the
// first is outermost.
//
// A middleware sees no secret: the Authorization header and the access_token of a renewal join the
// request below it, and the body of an answer, which holds keys, passes it unread and reads as empty.
// Of the header of an answer it sees Content-Type, Content-Length, Date, Retry-After, X-Request-Id
// and the rate-limit fields.
//
// A middleware may answer by itself, with a body of its own. A renewal is sent once at most, whatever
// it does, and what the server answered to one counts, not what a middleware makes of it. A panic of
// a middleware becomes an error of the call.
func WithMiddleware(middleware ...func(http.RoundTripper) http.RoundTripper) Option {
	return func(s *settings) { s.middleware = append(s.middleware, middleware...) }
}

// WithTimeout limits one attempt, the reading of the body included. The default is 30 s. It must be
// positive. The context of a call limits all its attempts and waits.
func WithTimeout(d time.Duration) Option {
	return func(s *settings) { s.timeout = d }
}

// WithRetry sets how often and how soon a call is tried again. It does not change which failures are tried again:
// see [Client.TokenInfo] and [Client.RenewToken].
func WithRetry(r Retry) Option {
	return func(s *settings) { s.retry = r }
}

// WithUserAgent replaces the User-Agent "esper-go/<version>".
func WithUserAgent(userAgent string) Option {
	return func(s *settings) { s.userAgent = userAgent }
}

// WithLogger sets where one debug record an attempt goes: operation, method, path template,
// status (0 without an answer), duration and attempt. It never holds a URL or a body. By default there is no log.
func WithLogger(logger *slog.Logger) Option {
	return func(s *settings) { s.logger = logger }
}

// WithInsecureHTTP allows an http base URL beyond loopback. The key is then readable on the network.
func WithInsecureHTTP() Option {
	return func(s *settings) { s.insecure = true }
}

// Retry says how often and how soon a call is tried again; a zero field means its default.
// Waits are random between nothing and a bound that doubles each time (full jitter), from MinWait
// up to MaxWait. A Retry-After is obeyed exactly up to MaxWait; beyond it the call fails at once. So it
// does where the wait would outlast the call's deadline. After an attempt without a whole answer,
// the next one goes over a new connection, in HTTP/1.1. What net/http repeats by itself is not counted: a GET on a
// connection that the server had closed, and over HTTP/2 a GET that the server refused, until [WithTimeout] ends
// the attempt.
type Retry struct {
	MaxAttempts int           // including the first; default 4, and 1 means no retry
	MinWait     time.Duration // the bound of the first wait; default 250 ms, or MaxWait if that is less
	MaxWait     time.Duration // the bound of every wait; default 30 s, or MinWait if that is more
}

func newSettings(opts []Option) (settings, error) {
	s := settings{timeout: 30 * time.Second, userAgent: "esper-go/" + version, logger: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		if opt != nil {
			opt(&s)
		}
	}
	switch r := s.retry; {
	case s.timeout <= 0:
		return s, invalid("the timeout is %v; it must be positive", s.timeout)
	case r.MaxAttempts < 0 || r.MinWait < 0 || r.MaxWait < 0:
		return s, invalid("a field of Retry is negative")
	case r.MaxWait > 0 && r.MinWait > r.MaxWait:
		return s, invalid("Retry.MinWait is more than Retry.MaxWait")
	case s.userAgent == "" || strings.ContainsFunc(s.userAgent, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return s, invalid("the user agent is empty or holds a control character")
	case slices.ContainsFunc(s.middleware, func(m func(http.RoundTripper) http.RoundTripper) bool { return m == nil }):
		return s, invalid("a middleware is nil")
	}
	s.retry = s.retry.withDefaults()
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

func (r Retry) withDefaults() Retry {
	const attempts, minWait, maxWait = 4, 250 * time.Millisecond, 30 * time.Second
	if r.MaxAttempts == 0 {
		r.MaxAttempts = attempts
	}
	if r.MaxWait == 0 {
		r.MaxWait = max(maxWait, r.MinWait)
	}
	if r.MinWait == 0 {
		r.MinWait = min(minWait, r.MaxWait)
	}
	return r
}
