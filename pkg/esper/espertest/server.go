// Package espertest is a fake Esper server for tests. It listens on a loopback port, and serves the
// two token endpoints with the bodies that the real server sends. It also serves their successor,
// personal access tokens, as Esper declares them. Each key belongs to a personal access token: a
// renewal through either endpoint replaces the key for both.
//
//	server := espertest.NewServer(t)
//	client, err := esper.New(server.URL, esper.APIKey(server.Token()))
//
// It checks every request against the OpenAPI description in [github.com/esper-go/esper-go/api], and fails
// the test that owns it when one does not fit. A test can make it fail in the ways that networks and
// servers do: see [Fault]. The program in the folder fakeesper runs this server for tests in other languages.
package espertest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/esper-go/esper-go/pkg/internal/pipe"
)

// Server is a fake Esper server that is listening. Its methods are safe for concurrent use. Make
// one with [NewServer] or [New].
type Server struct {
	// URL is the base URL, path included, to be given to esper.New as the environment. Read only.
	URL string
	// EnterpriseID and DeveloperAppID are the UUIDs that every key of this server belongs to; a
	// renewal for others is refused with 403. Read only.
	EnterpriseID, DeveloperAppID string

	config  config
	doc     *openapi3.T       // the API's description
	base    string            // the path of its server URL, without a trailing slash
	others  *http.ServeMux    // what WithHandler added
	ids     map[string]string // the id of a call by the name that a test may give it, in lower case
	http    *httptest.Server
	memory  *pipe.Listener // the network in memory that Transport uses
	offline sync.Once      // guards the move from the port to memory
	serving sync.WaitGroup // the goroutine that serves on memory

	mu         sync.Mutex // guards what follows
	keys       map[string]key
	newest     string // the newest of keys
	renewals   int    // how many keys renewals made
	made       int    // how many keys NewKey made
	tokens     []*personalToken
	retired    map[string]int // the status of each operation that is retired
	requests   []Request
	violations []error
	faults     []queued
}

// Option changes how [New] and [NewServer] set a server up.
type Option func(*config)

type config struct {
	token       string
	lifetime    time.Duration
	keepOldKey  bool
	listener    net.Listener
	patterns    []string
	handlers    []http.Handler
	onViolation func(error)
	retire      []func(*Server)
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

// OnViolation calls f with each error that [Server.Violations] will list, as soon as it happens, from the
// goroutine of the request. [NewServer] sets an f of its own, which fails the test.
func OnViolation(f func(error)) Option { return func(c *config) { c.onViolation = f } }

// WithHandler makes the server answer requests that match pattern with h, for a program that calls
// other endpoints of Esper's API. The pattern has the form of [http.ServeMux], with the path below the
// base URL: "GET /v0/enterprise/{id}/device/". A request without a valid key gets 401 and does not
// reach h. A request that reaches h is not checked against the API's description. At most 1 MiB of its
// body is read, and the answer is sent when h has returned. Paths of the description never reach h,
// even if the pattern matches. Like [http.ServeMux.Handle], [New] panics if a pattern is malformed or
// conflicts with another.
func WithHandler(pattern string, h http.Handler) Option {
	return func(c *config) {
		c.patterns, c.handlers = append(c.patterns, pattern), append(c.handlers, h)
	}
}

// New starts a server, which the caller has to close. [Server.Violations] says what broke the API's
// description. In a test, [NewServer] is the better choice. Like [httptest.NewServer], New panics if
// it cannot listen on a loopback port.
func New(opts ...Option) *Server {
	c := config{token: "fake-esper-key", lifetime: 90 * 24 * time.Hour, onViolation: func(error) {}}
	for _, opt := range opts {
		if opt != nil {
			opt(&c)
		}
	}
	doc, base, err := loadSpec()
	if err != nil {
		panic(fmt.Sprintf("espertest: api.Spec: %v", err)) // cannot happen: it is compiled in, and tested
	}
	s := &Server{
		EnterpriseID:   "f44373cb-1800-43c6-aab3-c81f8b1f435c", // as in Esper's documentation
		DeveloperAppID: "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6",
		config:         c,
		doc:            doc,
		base:           base,
		others:         http.NewServeMux(),
		ids:            make(map[string]string),
		memory:         pipe.Listen(),
		keys:           make(map[string]key),
		retired:        make(map[string]int),
	}
	for i, pattern := range c.patterns {
		full := strings.Replace(pattern, "/", base+"/", 1)
		s.others.Handle(full, http.StripPrefix(base, c.handlers[i]))
		s.ids[strings.ToLower(pattern)] = full
	}
	s.addKey(c.token, s.newPersonalToken(), time.Now().UTC().Add(c.lifetime))
	s.http = httptest.NewUnstartedServer(s.routes())
	for _, retire := range c.retire {
		retire(s)
	}
	if c.listener != nil {
		_ = s.http.Listener.Close()
		s.http.Listener = c.listener
	}
	s.http.Start()
	s.URL = s.http.URL + base
	return s
}

// NewServer starts a server that is closed when the test tb ends. If a request breaks the API's description,
// the test fails at once with tb.Errorf. A test that sends such requests on purpose uses [New].
func NewServer(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	s := New(append(slices.Clone(opts), OnViolation(func(err error) { tb.Errorf("espertest: %v", err) }))...)
	tb.Cleanup(s.Close)
	return s
}

// Close stops the server: delays end, open connections are closed, and no goroutine is left when
// it returns. It may be called more than once.
func (s *Server) Close() {
	_ = s.memory.Close()
	s.http.CloseClientConnections()
	s.http.Close()
	s.serving.Wait()
}

// Transport returns a transport for esper.WithTransport that reaches the server in memory, whatever host
// a request names. It is for bubbles of [testing/synctest], in which the clock stands still while a
// goroutine waits for a network. From the first call on, the server no longer listens on its port. The
// URL stays the one to give to esper.New.
func (s *Server) Transport() *http.Transport {
	s.offline.Do(func() {
		_ = s.http.Listener.Close()
		s.serving.Go(func() { _ = s.http.Config.Serve(s.memory) })
	})
	return s.memory.Transport()
}

// Violations returns an error for each request so far that broke the API's description, in order. No error
// text holds a key. A wrong call of [Server.Fail], [Server.FailOperation] or [Server.Retire] is in the list too.
func (s *Server) Violations() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

// violated keeps and tells err, if there is one.
func (s *Server) violated(err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	s.violations = append(s.violations, err)
	s.mu.Unlock()
	s.config.onViolation(err) // with the lock released: it may call back
}
