package espertest

import (
	"net"
	"net/http"
	"time"
)

const (
	defaultToken    = "fake-esper-key"
	defaultLifetime = 90 * 24 * time.Hour
)

// Option changes how [New] and [NewServer] set a server up.
type Option func(*config)

type config struct {
	token      string
	lifetime   time.Duration
	keepOldKey bool
	listener   net.Listener
	patterns   []string
	handlers   []http.Handler
	retire     []func(*Server)
}

// WithToken sets the server's first key. Without it, and for the empty string, that key is
// "fake-esper-key". Later keys begin with the first one, so its special characters are in all of them.
func WithToken(key string) Option {
	return func(c *config) {
		if key != "" {
			c.token = key
		}
	}
}

// KeepOldKey makes the old key go on working after a renewal, until it expires. Without KeepOldKey,
// a renewal ends the old key. The real server has been seen to do both.
func KeepOldKey() Option { return func(c *config) { c.keepOldKey = true } }

// WithLifetime sets how long each key is valid from when it is made; without it, 90 days. A request
// with an expired key gets 401. Keys with a lifetime of zero or less have expired from the start.
func WithLifetime(d time.Duration) Option { return func(c *config) { c.lifetime = d } }

// WithListener makes the server listen on l in place of a free loopback port. The server closes l.
func WithListener(l net.Listener) Option { return func(c *config) { c.listener = l } }

// WithHandler makes the server answer requests that match pattern with h, for a program that calls
// other endpoints of Esper's API. The pattern has the form of [http.ServeMux], with the path below the
// base URL: "GET /v0/enterprise/{id}/device/". A request without a valid key gets 401 and does not
// reach h. A request that reaches h is not checked against the API's description. At most 1 MiB of its
// body is read, and the answer is sent when h has returned. Operations of the description never reach h,
// even if the pattern matches. Like [http.ServeMux.Handle], [New] panics if a pattern is malformed or
// conflicts with another.
func WithHandler(pattern string, h http.Handler) Option {
	return func(c *config) {
		c.patterns, c.handlers = append(c.patterns, pattern), append(c.handlers, h)
	}
}
