// Package espertest is a fake Esper server for tests. It listens on a loopback port, and serves the
// two token endpoints with the bodies that the real server sends. It also serves their successor,
// personal access tokens, as Esper declares them. Each key belongs to a personal access token: a
// renewal through either endpoint replaces the key for both.
//
//	server := espertest.NewServer(t)
//	client, err := esper.New(server.URL, esper.APIKey(server.Token()))
//
// It checks every request, and every answer of its own, against the OpenAPI description in
// [github.com/esper-go/esper-go/api], and fails the test that owns it when one does not fit. A test
// can make it fail in the ways that networks and servers do: see [Fault]. The program in the folder
// fakeesper runs this server for tests in other languages.
package espertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/esper-go/esper-go/api"
	"github.com/esper-go/esper-go/pkg/esper/internal/pipe"
	"github.com/esper-go/esper-go/pkg/wire"
)

// The ids in the examples of Esper's own documentation.
const (
	exampleEnterprise   = "f44373cb-1800-43c6-aab3-c81f8b1f435c"
	exampleDeveloperApp = "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"
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
	spec    *spec
	others  *http.ServeMux // what WithHandler added
	http    *httptest.Server
	tb      testing.TB     // nil for New
	done    chan struct{}  // closed by Close, ends delays
	once    sync.Once      // guards done
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

// Request is a request as it arrived. Printing it does not show the keys in Authorization and
// access_token. A key in any other place, such as the path or another header, is shown, so that a test
// can find it.
type Request struct {
	// Method is the HTTP method.
	Method string
	// Path is the path as it was sent, with percent-encoding, base path and trailing slash.
	Path string
	// Query holds the decoded parameters, without access_token.
	Query url.Values
	// Header holds the headers, without Authorization.
	Header http.Header
	// Key is the bearer key in Authorization; zero if there is none, or more than one.
	Key wire.Secret
	// AccessToken is the decoded query parameter access_token, zero if it is missing or empty.
	AccessToken wire.Secret
}

// New starts a server, which the caller has to close. [Server.Violations] says what broke the API's
// description. In a test, [NewServer] is the better choice. Like [httptest.NewServer], New panics if
// it cannot listen on a loopback port.
func New(opts ...Option) *Server { return start(nil, opts) }

// NewServer starts a server that is closed when the test tb ends. If a request, or an answer that the
// server made itself, breaks the API's description, the test fails at once with tb.Errorf. A test that
// sends such requests on purpose uses [New].
func NewServer(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	s := start(tb, opts)
	tb.Cleanup(s.Close)
	return s
}

func start(tb testing.TB, opts []Option) *Server {
	c := config{token: defaultToken, lifetime: defaultLifetime}
	for _, opt := range opts {
		if opt != nil {
			opt(&c)
		}
	}
	description, err := loadSpec(api.Spec)
	if err != nil {
		panic(fmt.Sprintf("espertest: api.Spec: %v", err)) // cannot happen: it is compiled in, and tested
	}
	s := &Server{
		EnterpriseID:   exampleEnterprise,
		DeveloperAppID: exampleDeveloperApp,
		config:         c,
		spec:           description,
		tb:             tb,
		others:         http.NewServeMux(),
		done:           make(chan struct{}),
		memory:         pipe.Listen(),
		keys:           make(map[string]key),
		retired:        make(map[string]int),
	}
	for i, pattern := range c.patterns {
		s.others.Handle(pattern, c.handlers[i])
	}
	s.addKey(c.token, s.newPersonalToken(), time.Now().UTC().Add(c.lifetime))
	for _, retire := range c.retire {
		retire(s)
	}
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	if c.listener != nil {
		_ = s.http.Listener.Close()
		s.http.Listener = c.listener
	}
	s.http.Start()
	s.URL = s.http.URL + description.base
	return s
}

// Close stops the server: delays end, open connections are closed, and no goroutine is left when
// it returns. It may be called more than once.
func (s *Server) Close() {
	s.once.Do(func() { close(s.done) })
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

// Token returns the newest key, even if it has expired or was revoked. The first key is the one of
// [WithToken]; the n-th renewal makes the first key with "-renewed-n" appended.
func (s *Server) Token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

// Revoke makes every key so far invalid, as a person does in the console: requests with one get 401.
// [Server.NewKey] makes another.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.keys)
}

// Expire ends the life of every key so far: requests with one get 401.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, k := range s.keys {
		k.expires = time.Now().UTC()
		s.keys[token] = k
	}
}

// NewKey makes and returns a valid key, as a person does in the console. Other keys stay what they are.
func (s *Server) NewKey() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	token := fmt.Sprintf("%s-made-%d", s.config.token, s.made)
	s.addKey(token, s.newPersonalToken(), time.Now().UTC().Add(s.config.lifetime))
	return token
}

// Requests returns copies of all requests so far, in the order in which they arrived, with those that
// got a fault.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.requests)
	for i := range all {
		all[i].Query = url.Values(http.Header(all[i].Query).Clone())
		all[i].Header = all[i].Header.Clone()
	}
	return all
}

// Violations returns an error for each request so far that broke the API's description, and for each
// such answer that the server made itself, in order. No error text holds a key. The answer that a
// [Fault] describes is not checked. A wrong call of [Server.Fail], [Server.FailOperation] or
// [Server.Retire] is in the list too.
func (s *Server) Violations() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

// violated keeps err, if there is one, and fails the test that owns the server.
func (s *Server) violated(err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	s.violations = append(s.violations, err)
	s.mu.Unlock()
	if s.tb != nil { // with the lock released: tb may call back
		s.tb.Errorf("espertest: %v", err)
	}
}

// key is what the server knows about a key.
type key struct {
	id               int
	created, expires time.Time
	token            *personalToken // the one that the key belongs to
}

const firstKeyID = 570

// addKey makes token a valid key of t, and the newest. The caller holds mu, or owns s alone.
func (s *Server) addKey(token string, t *personalToken, expires time.Time) key {
	now := time.Now().UTC()
	k := key{id: firstKeyID + s.renewals + s.made, created: now, expires: expires, token: t}
	t.key, t.updated = token, now
	s.keys[token] = k
	s.newest = token
	return k
}

// validKey returns the key token, and whether it is valid: known, and not expired. The caller holds mu.
func (s *Server) validKey(token string) (key, bool) {
	k, ok := s.keys[token]
	return k, ok && time.Now().Before(k.expires)
}
