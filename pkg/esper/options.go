package esper

import (
	"cmp"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
)

// version is the module's version, in the User-Agent. A test compares it with CHANGELOG.md.
const version = "0.0.0"

// Option changes how a [Client] works. [New] returns [ErrInvalidArgument] for an option that cannot work, and ignores a
// nil one.
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

// WithTransport sets how connections are made: dialer, proxy, TLS, pool. The transport is cloned and never changed. Nil
// means the default of this package, whose pool suits many concurrent callers. Each client has a pool of its own.
//
// The parameter is an *http.Transport because a renewal needs a new HTTP/1.1 connection, and needs to know whether
// anything was sent. Behind a wrapper, net/http has been seen to send one POST 41 times. Use [WithMiddleware] for a
// wrapper such as otelhttp.NewTransport, and for a fake network in a test.
//
// The clone differs from the original: it limits the header of an answer to 64 KiB, pings HTTP/2 connections, does not
// ask for compression (a gzip body is read all the same), calls the Proxy function with a request without headers and
// query, and lacks protocols added with RegisterProtocol.
func WithTransport(transport *http.Transport) Option {
	return func(s *settings) { s.transport = transport }
}

// WithMiddleware adds functions that wrap the sending of each request, for logging, tracing, metrics and the like. The
// first one is outermost.
//
// A middleware sees no secret. The Authorization header and the access_token of a renewal are added to the request
// after all middleware. The body of an answer, which may hold keys, reads as empty. Of the header of an answer, a
// middleware sees Content-Type, Content-Length, Date, Retry-After, X-Request-Id and the rate-limit fields.
//
// A middleware may answer by itself, with a body of its own. It cannot make an attempt send a renewal twice. If the
// server answered a renewal, that answer is the result, whatever the middleware returns. A panic of a middleware
// becomes an error of the call.
func WithMiddleware(middleware ...func(http.RoundTripper) http.RoundTripper) Option {
	return func(s *settings) { s.middleware = append(s.middleware, middleware...) }
}

// WithTimeout limits the time of one attempt, including the reading of the body. The default is 30 s. It must be
// positive. The context of a call limits all its attempts and waits together. A request that is sent once gets 5 s more
// if the process was stopped meanwhile, so that an answer that has arrived is read.
func WithTimeout(d time.Duration) Option {
	return func(s *settings) { s.timeout = d }
}

// WithRetry sets how often and how soon a call is tried again. It does not change which failures are tried again: see
// [Client.TokenInfo] and [Client.RenewToken].
func WithRetry(r Retry) Option {
	return func(s *settings) { s.retry = r }
}

// WithUserAgent replaces the User-Agent "esper-go/<version>".
func WithUserAgent(userAgent string) Option {
	return func(s *settings) { s.userAgent = userAgent }
}

// WithLogger sets the logger that gets one debug record for each attempt: operation, method, path template, status (0
// without an answer), duration and attempt. A record never holds a URL or a body. By default there is no log.
func WithLogger(logger *slog.Logger) Option {
	return func(s *settings) { s.logger = logger }
}

// WithInsecureHTTP allows an http base URL beyond loopback. The key is then readable on the network.
func WithInsecureHTTP() Option {
	return func(s *settings) { s.insecure = true }
}

// Retry says how often and how soon a call is tried again. A zero field means its default.
//
// Each wait is random between 0 and a bound, which starts at MinWait and doubles up to MaxWait (full jitter). A
// Retry-After of the server replaces the wait. The call fails at once if Retry-After is over MaxWait, or if the wait
// would outlast the call's deadline.
//
// If an attempt over the connection pool brings no whole answer, the next attempt uses a new HTTP/1.1 connection.
// MaxAttempts does not count the requests that net/http repeats by itself: a GET on a connection that the server had
// closed, and over HTTP/2 a GET that the server refused. [WithTimeout] limits those repetitions.
type Retry struct {
	MaxAttempts int           // including the first; default 4; 1: none is repeated, except once after Reject (see New)
	MinWait     time.Duration // the bound of the first wait; default 250 ms, or MaxWait if that is less
	MaxWait     time.Duration // the bound of every wait; default 30 s, or MinWait if that is more
}

func newSettings(opts []Option) (settings, error) {
	s := settings{timeout: 30 * time.Second, userAgent: "esper-go/" + version}
	for _, opt := range opts {
		if opt != nil {
			opt(&s)
		}
	}
	s.logger = cmp.Or(s.logger, slog.New(slog.DiscardHandler))
	switch r := s.retry; {
	case s.timeout <= 0:
		return s, invalid("the timeout is %v; it must be positive", s.timeout)
	case r.MaxAttempts < 0 || r.MinWait < 0 || r.MaxWait < 0:
		return s, invalid("a field of Retry is negative")
	case r.MaxWait > 0 && r.MinWait > r.MaxWait:
		return s, invalid("Retry.MinWait is more than Retry.MaxWait")
	case s.userAgent == "" || strings.ContainsFunc(s.userAgent, unicode.IsControl):
		return s, invalid("the user agent is empty or holds a control character")
	case slices.ContainsFunc(s.middleware, func(m func(http.RoundTripper) http.RoundTripper) bool { return m == nil }):
		return s, invalid("a middleware is nil")
	}
	s.retry.MaxAttempts = cmp.Or(s.retry.MaxAttempts, 4)
	s.retry.MaxWait = cmp.Or(s.retry.MaxWait, max(30*time.Second, s.retry.MinWait))
	s.retry.MinWait = cmp.Or(s.retry.MinWait, min(250*time.Millisecond, s.retry.MaxWait))
	return s, nil
}
