package renew

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
	"github.com/esper-go/esper-go/pkg/internal/pipe"
)

const (
	stubBase       = "https://foo-api.esper.cloud/api"
	stubEnterprise = "f44373cb-1800-43c6-aab3-c81f8b1f435c"
	stubApp        = "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"
	stubFirst      = "first-made-up-key"
	day            = 24 * time.Hour
)

// call is a request that the stub gets. Op is "info", "renew" or "other". Act has the server act, and returns its answer.
type call struct {
	*http.Request
	op  string
	act func() *http.Response
}

// fault answers a request in place of the server.
type fault = func(c call) (*http.Response, error)

// storeFault is what happens before a call of a store. Document is what Save gets.
type storeFault = func(ctx context.Context, method, document string) error

// faults has the fault of a stub or a store, which a test may set while calls are under way, and counts the calls.
type faults[F any] struct {
	mu    sync.Mutex // guards what follows, and the rest of a stub
	fault F
	count map[string]int
}

func (f *faults[F]) set(fault F) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// called counts a call, and returns the fault.
func (f *faults[F]) called(name string) F {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count[name]++
	return f.fault
}

func (f *faults[F]) counted(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count[name]
}

// stub is an Esper server that needs no network, so that it works in a bubble of testing/synctest.
// Its keys are stubFirst, key-1, key-2, …
type stub struct {
	faults[fault]
	lifetime time.Duration
	keepOld  bool                    // a renewed key goes on working
	ahead    time.Duration           // how far the server's clock is ahead of this one
	body     keyBody                 // the answer to a renewal
	info     keyBody                 // the answer of TokenInfo
	keys     map[string][2]time.Time // when each key was made, and when it ends
}

// keyBody makes the body of an answer about a key.
type keyBody = func(key string, created, expires time.Time) string

func newStub(lifetime time.Duration) *stub {
	s := &stub{lifetime: lifetime, body: normalBody, info: normalBody, keys: map[string][2]time.Time{}, faults: faults[fault]{count: map[string]int{}}}
	s.add(stubFirst)
	return s
}

func (s *stub) now() time.Time { return time.Now().UTC().Add(s.ahead) }

// add makes a key that the server accepts.
func (s *stub) add(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addLocked(key)
}

func (s *stub) addLocked(key string) {
	s.keys[key] = [2]time.Time{s.now(), s.now().Add(s.lifetime)}
}

// valid reports whether the server accepts key.
func (s *stub) valid(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.keys[key]
	return ok && s.now().Before(k[1])
}

// revoke removes all keys from the server, except those to keep, which it makes anew.
func (s *stub) revoke(keep ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.keys)
	for _, key := range keep {
		s.addLocked(key)
	}
}

func (s *stub) RoundTrip(req *http.Request) (*http.Response, error) {
	op := "other"
	switch {
	case strings.HasSuffix(req.URL.Path, "/renew-token/"):
		op = "renew"
	case strings.HasSuffix(req.URL.Path, "/token-info/"):
		op = "info"
	}
	c := call{req, op, func() *http.Response { return s.act(req, op) }}
	if fault := s.called(op); fault != nil {
		return fault(c)
	}
	return c.act(), req.Context().Err()
}

func (s *stub) act(req *http.Request, op string) *http.Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	k, ok := s.keys[key]
	if !ok || !s.now().Before(k[1]) {
		return reply(401, `{"errors": [], "message": "refused: `+key+`", "status": 401}`)
	}
	switch op {
	case "info":
		return reply(200, s.info(key, k[0], k[1]))
	case "renew":
		if !s.keepOld {
			clear(s.keys)
		}
		s.count["renewed"]++
		next := fmt.Sprintf("key-%d", s.count["renewed"])
		if strings.Contains(key, "canary") {
			next = fmt.Sprintf("canary key+%d/%%", s.count["renewed"])
		}
		s.addLocked(next)
		return reply(201, s.body(next, s.keys[next][0], s.keys[next][1]))
	}
	return reply(200, "fine")
}

func normalBody(key string, created, expires time.Time) string {
	return bodySaying(jsonTime(expires))(key, created, expires)
}

// bodySaying makes an answer that says the end of the key in its own way, in JSON.
func bodySaying(ends string) keyBody {
	return func(key string, created, _ time.Time) string {
		return fmt.Sprintf(`{"id": "570", "enterprise": %q, "developer_app": %q, "token": %q, "created_on": %s, "expires_on": %s, "expires_at": %[5]s}`,
			stubEnterprise, stubApp, key, jsonTime(created), ends)
	}
}

func jsonTime(t time.Time) string {
	return `"` + t.UTC().Format("2006-01-02T15:04:05.000000Z") + `"`
}

func reply(status int, body string) *http.Response {
	if (status == 401 || status == 403) && len(body) < 3 { // Esper's own refusal has this form
		body = fmt.Sprintf(`{"errors": ["no"], "message": "no", "status": %d}`, status)
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
}

var errStub = errors.New("the connection was reset")

// only returns a fault that answers the operation op with f, and lets the server act on all others.
func only(op string, f fault) fault {
	return func(c call) (*http.Response, error) {
		if c.op == op {
			return f(c)
		}
		return c.act(), nil
	}
}

// fails answers with a status and a header, and does not let the server act.
func fails(status int, header ...string) fault {
	return func(call) (*http.Response, error) {
		resp := reply(status, "")
		for i := 0; i < len(header); i += 2 {
			resp.Header.Set(header[i], header[i+1])
		}
		return resp, nil
	}
}

// says answers with a status and a body, and does not let the server act.
func says(status int, body string) fault {
	return func(call) (*http.Response, error) { return reply(status, body), nil }
}

// handled lets the server act, and answers with f.
func handled(f fault) fault {
	return func(c call) (*http.Response, error) {
		c.act()
		return f(c)
	}
}

// resets ends the connection without an answer.
func resets(call) (*http.Response, error) { return nil, errStub }

// silent answers nothing until the request's context ends.
func silent(c call) (*http.Response, error) {
	<-c.Context().Done()
	return nil, c.Context().Err()
}

// hang has the server act at once, and answers after d if it is a renewal.
func hang(d time.Duration) fault {
	return func(c call) (*http.Response, error) {
		resp := c.act()
		if c.op == "renew" {
			pause(c.Context(), d)
		}
		return resp, c.Context().Err()
	}
}

// ServeHTTP answers as RoundTrip does. If RoundTrip fails, it ends the connection without an answer.
func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // else net/http does not notice that the client has gone
	resp, err := s.RoundTrip(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	if _, slow := resp.Body.(*io.PipeReader); slow {
		_ = http.NewResponseController(w).Flush()
	}
	_, _ = io.Copy(w, resp.Body)
	_ = resp.Body.Close()
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// wired returns a transport that leads to server, whatever host a request names.
func wired(t testing.TB, server *stub) *http.Transport {
	t.Helper()
	listener := pipe.Listen()
	serving := &httptest.Server{Listener: listener, Config: &http.Server{Handler: server}}
	serving.Start()
	t.Cleanup(serving.Close)
	return listener.Transport()
}

// instead returns an option with which all requests go to server.
func instead(t testing.TB, server *stub) Option {
	t.Helper()
	return WithClientOptions(esper.WithTransport(wired(t, server)))
}

// openAt opens a source that is closed when the test ends.
func openAt(t testing.TB, environment string, store Store, opts ...Option) *Source {
	t.Helper()
	source, err := Open(context.Background(), environment, store, opts...)
	must(t, err)
	t.Cleanup(func() { _ = source.Close() })
	return source
}

// opened opens a source with the key in store, or with stubFirst if the store is empty.
func opened(t testing.TB, server *stub, store Store, opts ...Option) *Source {
	t.Helper()
	return openAt(t, "foo", store, append([]Option{WithInitialToken(key(stubFirst)), instead(t, server)}, opts...)...)
}

// fresh opens a source with the key stubFirst, which the server has just made.
func fresh(t testing.TB, opts ...Option) (*stub, *faulty, *Source) {
	t.Helper()
	server, store := newStub(90*day), newFaulty()
	return server, store, opened(t, server, store, opts...)
}

// advisory opens a source whose key is in the advisory window, ten days before its end. If renewal is set, it
// answers the renewals in place of the server.
func advisory(t testing.TB, renewal fault, opts ...Option) (*stub, *faulty, *Source) {
	t.Helper()
	server, store, source := fresh(t, opts...)
	time.Sleep(80 * day)
	if renewal != nil {
		server.fault = only("renew", renewal)
	}
	return server, store, source
}

var errDisk = errors.New("no space left on device")

// unable fails each call of a method whose document has the text, as if the disk were full.
func unable(method, text string) storeFault {
	return func(_ context.Context, called, document string) error {
		if called == method && strings.Contains(document, text) {
			return errDisk
		}
		return nil
	}
}

// faulty is a store in memory.
type faulty struct {
	Store
	faults[storeFault]
}

func newFaulty() *faulty { return &faulty{Memory(), faults[storeFault]{count: map[string]int{}}} }

func (f *faulty) call(ctx context.Context, method, document string) error {
	if fault := f.called(method); fault != nil {
		return fault(ctx, method, document)
	}
	return nil
}

func (f *faulty) Inspect(ctx context.Context, _ bool) error { return f.call(ctx, "Inspect", "") }

func (f *faulty) Load(ctx context.Context) ([]byte, string, error) {
	if err := f.call(ctx, "Load", ""); err != nil {
		return nil, "", err
	}
	return f.Store.Load(ctx)
}

func (f *faulty) Save(ctx context.Context, data []byte, version string) (string, error) {
	if err := f.call(ctx, "Save", string(data)); err != nil {
		return "", err
	}
	return f.Store.Save(ctx, data, version)
}

// put replaces the document in store by d, with a lineage of its own if d has none.
func put(t testing.TB, store Store, d policy.Document) {
	t.Helper()
	if d.Lineage == "" {
		d.Lineage, d.Serial, d.Initial = "of "+policy.Hash(d.Key), 1, policy.Hash(d.Key)
	}
	d.EnterpriseID, d.DeveloperAppID = stubEnterprise, stubApp
	data, err := encode(d, stubBase, time.Now())
	must(t, err)
	overwrite(t, store, string(data))
}

// overwrite replaces the document in store by the text.
func overwrite(t testing.TB, store Store, text string) {
	t.Helper()
	_, version, err := store.Load(context.Background())
	must(t, err)
	_, err = store.Save(context.Background(), []byte(text), version)
	must(t, err)
}

func stored(t testing.TB, store Store) policy.Document {
	t.Helper()
	data, _, err := store.Load(context.Background())
	must(t, err)
	d, err := decode(data, stubBase)
	if err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return d.Document
}

func key(text string) esper.Secret { return esper.NewSecret(text) }

// living returns the document of a key that is made now.
func living(text string, lifetime time.Duration) policy.Document {
	return policy.Document{Key: key(text), IssuedAt: plain(time.Now()), ExpiresAt: plain(time.Now()).Add(lifetime)}
}

// must ends the test if there is an error. About says which case of a table it is.
func must(t testing.TB, err error, about ...any) {
	t.Helper()
	if err != nil {
		t.Fatal(append(about, err)...)
	}
}

// wantKey asks the source for the key, and fails the test if it is not want.
func wantKey(t testing.TB, s *Source, want string) {
	t.Helper()
	if token, err := s.Token(); err != nil || token.AccessToken != want {
		t.Fatalf("Token: %v, %v, want %s", token, err, want)
	}
}

// works reports whether callers get a key that the server accepts. It first makes a call, and waits for a renewal
// that this call may begin.
func works(server *stub, s *Source) bool {
	_, _ = s.Token()
	synctest.Wait()
	token, err := s.Token()
	return err == nil && server.valid(token.AccessToken)
}

// renewFor asks for the key every step, for the time total. It returns how many renewals there were in that time, and how
// often callers got no key that works.
func renewFor(server *stub, source *Source, total, step time.Duration) (renewals, bad int) {
	before := server.counted("renew")
	for end := time.Now().Add(total); time.Now().Before(end); time.Sleep(step) {
		if !works(server, source) {
			bad++
		}
	}
	return server.counted("renew") - before, bad
}

// begunAttempt returns an attempt that another process began some time ago.
func begunAttempt(ago time.Duration) policy.Attempt {
	begun := plain(time.Now()).Add(-ago)
	return policy.Attempt{ID: "other.1", Host: "elsewhere", PID: 1, Begun: begun, Until: begun.Add(90 * time.Second)}
}

// replaced puts a new key into server and store, as another process would that has renewed the key.
func replaced(t *testing.T, server *stub, store Store) {
	t.Helper()
	server.revoke("other")
	d, next := stored(t, store), living("other", 90*day)
	next.Lineage, next.Serial, next.Predecessors, next.Initial = d.Lineage, d.Serial+1, policy.Hash(d.Key), d.Initial
	put(t, store, next)
}

// recorder keeps each Event that the function of WithOnChange gets.
type recorder []Event

func (r *recorder) option() Option { return WithOnChange(func(e Event) { *r = append(*r, e) }) }

// records are the log records of one or several sources.
type records struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *records) option() Option {
	return WithLogger(slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

func (r *records) Write(text []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(text)
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}
