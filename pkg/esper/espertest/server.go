// Package espertest is a fake Esper server for tests: the two token endpoints, over HTTP on a
// loopback port, with the bodies that the real server sends, and personal access tokens, their successor, as Esper
// declares them. Each key belongs to a personal access token; either way to renew it replaces the key that the other
// knows.
//
//	server := espertest.NewServer(t)
//	client, err := esper.New(server.URL, esper.APIKey(server.Token()))
//
// It checks every request, and every answer of its own, against the OpenAPI description in
// [github.com/esper-go/esper-go/api], and fails the test that owns it when one does not fit. It can
// be told to fail in the ways that networks and servers do: see [Fault]. The program fakeesper
// below this directory serves the same to tests in other languages.
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

// What the documents of the real server show as examples.
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
	tb      testing.TB    // nil for New
	done    chan struct{} // closed by Close, ends delays
	once    sync.Once     // guards done
	memory  *pipe.Listener
	offline sync.Once      // guards the move from the port to memory
	serving sync.WaitGroup // on memory

	mu         sync.Mutex // guards what follows
	keys       map[string]key
	newest     string // of keys
	renewals   int
	made       int // by NewKey
	tokens     []*personalToken
	retired    map[string]int // the status of each operation that is retired
	requests   []Request
	violations []error
	faults     []queued
}

// Request is a request as it arrived. Printing one shows no key that is where keys belong; one that
// strayed into the path, a header or another parameter is seen, and can be tested for.
type Request struct {
	// Method is the HTTP method.
	Method string
	// Path is the path as it was sent, percent-encoding, base path and trailing slash included.
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

// New starts a server, to be closed by the caller. What breaks the API's description is found in
// [Server.Violations]; in a test, [NewServer] is the better choice. Like [httptest.NewServer], it
// panics if no loopback port can be had.
func New(opts ...Option) *Server { return start(nil, opts) }

// NewServer starts a server that is closed when the test tb ends. A request, or an answer of the
// server's own, that breaks the API's description fails the test with tb.Errorf as it happens; a
// test that means to send such requests uses [New].
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

// Transport returns a transport that reaches the server in memory, whatever host a request names, to be
// given to esper.WithTransport. It is for bubbles of [testing/synctest], in which a goroutine that
// waits for a network keeps the clock from going on. From the first call on, the server no longer
// listens on its port. The URL stays the one to give to esper.New.
func (s *Server) Transport() *http.Transport {
	s.offline.Do(func() {
		_ = s.http.Listener.Close()
		s.serving.Go(func() { _ = s.http.Config.Serve(s.memory) })
	})
	return s.memory.Transport()
}

// Token returns the newest key, valid until it expires. The first is the one of [WithToken]; the
// n-th renewal makes that one with "-renewed-n" appended.
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

// Requests returns a copy of every request that has arrived, in order, those that were answered
// with a fault included.
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

// Violations returns what broke the API's description so far, in order: requests, and answers of
// the server's own. No text in it holds a key. The answer that a [Fault] describes is not checked.
func (s *Server) Violations() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

// violated keeps err, if there is one, and tells the test that owns the server.
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

// key is what the server knows of a key.
type key struct {
	id               int
	created, expires time.Time
	token            *personalToken // that it belongs to
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

// validKey looks token up; an expired key is none. The caller holds mu.
func (s *Server) validKey(token string) (key, bool) {
	k, ok := s.keys[token]
	return k, ok && time.Now().Before(k.expires)
}
