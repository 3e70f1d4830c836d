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

// WithToken sets the server's first key, which is "fake-esper-key" otherwise and for the empty
// string. Renewed keys are made from it, so characters that need care are in all of them.
func WithToken(key string) Option {
	return func(c *config) {
		if key != "" {
			c.token = key
		}
	}
}

// KeepOldKey makes a renewed key go on working until it expires; without it, the key stops working
// with its renewal. The real server has been seen to do both.
func KeepOldKey() Option { return func(c *config) { c.keepOldKey = true } }

// WithLifetime sets how long each key is valid from when it is made, 90 days otherwise. After that
// it gets 401. Keys with a lifetime of zero or less have expired from the start.
func WithLifetime(d time.Duration) Option { return func(c *config) { c.lifetime = d } }

// WithListener makes the server listen on l, which it closes, in place of a free loopback port.
func WithListener(l net.Listener) Option { return func(c *config) { c.listener = l } }

// WithHandler makes the server answer requests that match pattern with h, for a program that calls
// other endpoints of Esper's API. The pattern is one of [http.ServeMux], whose path is that below the
// base URL: "GET /v0/enterprise/{id}/device/". A request without a valid key gets 401 and does not
// reach h; one that does is not held to the API's description. Its body is limited to 1 MiB, and the
// answer is sent when h has returned. A pattern for an operation of the description is never asked. Like
// [http.ServeMux.Handle], [New] panics for a pattern that is
// malformed or conflicts with another.
func WithHandler(pattern string, h http.Handler) Option {
	return func(c *config) {
		c.patterns, c.handlers = append(c.patterns, pattern), append(c.handlers, h)
	}
}
