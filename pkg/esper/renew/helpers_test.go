package renew

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
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

// fault answers a request. It may call act, which has the server act and returns the normal answer. Op is "info",
// "renew" or "other".
type fault = func(req *http.Request, op string, act func() *http.Response) (*http.Response, error)

// response is a fault that needs to know no more of the request.
type response = func(act func() *http.Response) (*http.Response, error)

// stub is an Esper server that needs no network, so that it works in a bubble of testing/synctest.
// Its keys are stubFirst, key-1, key-2, …
type stub struct {
	lifetime time.Duration
	keepOld  bool          // a renewed key goes on working
	ahead    time.Duration // how far the server's clock is ahead of this one
	fault    fault         // if set, it answers each request
	body     keyBody       // the answer to a renewal
	info     keyBody       // the answer of TokenInfo

	mu    sync.Mutex
	keys  map[string][2]time.Time // when each key was made, and when it ends
	count map[string]int
}

// keyBody makes the body of an answer about a key.
type keyBody = func(key string, created, expires time.Time) string

func newStub(lifetime time.Duration) *stub {
	s := &stub{lifetime: lifetime, body: normalBody, info: normalBody, keys: map[string][2]time.Time{}, count: map[string]int{}}
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

// set sets the fault while requests may be under way.
func (s *stub) set(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

func (s *stub) counted(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count[op]
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

// operationOf returns the operation that a request is for.
func operationOf(req *http.Request) string {
	switch {
	case strings.HasSuffix(req.URL.Path, "/renew-token/"):
		return "renew"
	case strings.HasSuffix(req.URL.Path, "/token-info/"):
		return "info"
	}
	return "other"
}

func (s *stub) RoundTrip(req *http.Request) (*http.Response, error) {
	op := operationOf(req)
	s.mu.Lock()
	s.count[op]++
	fault := s.fault
	s.mu.Unlock()
	act := func() *http.Response { return s.act(req, op) }
	if fault != nil {
		return fault(req, op, act)
	}
	return act(), req.Context().Err()
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
func only(op string, f response) fault {
	return func(_ *http.Request, got string, act func() *http.Response) (*http.Response, error) {
		if got == op {
			return f(act)
		}
		return act(), nil
	}
}

// all returns a fault that answers every operation with f.
func all(f response) fault {
	return func(_ *http.Request, _ string, act func() *http.Response) (*http.Response, error) { return f(act) }
}

// fails answers with a status and a header, and does not let the server act.
func fails(status int, header ...string) response {
	return func(func() *http.Response) (*http.Response, error) {
		resp := reply(status, "")
		for i := 0; i < len(header); i += 2 {
			resp.Header.Set(header[i], header[i+1])
		}
		return resp, nil
	}
}

// acts lets the server act, and answers something else.
func acts(status int, body string) response {
	return func(act func() *http.Response) (*http.Response, error) {
		act()
		return reply(status, body), nil
	}
}

// drops lets the server act, and ends the connection without an answer.
func drops(act func() *http.Response) (*http.Response, error) {
	act()
	return nil, errStub
}

// resets ends the connection without an answer, before the server acts.
func resets(func() *http.Response) (*http.Response, error) { return nil, errStub }

// silent is a fault that answers nothing until the request's context ends.
func silent(req *http.Request, _ string, _ func() *http.Response) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// hang has the server carry out a renewal at once, and answer it after d.
func hang(d time.Duration) fault {
	return func(req *http.Request, op string, act func() *http.Response) (*http.Response, error) {
		resp := act()
		if op != "renew" {
			return resp, nil
		}
		select {
		case <-time.After(d):
			return resp, nil
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
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
	if _, slow := resp.Body.(dribble); slow {
		_ = http.NewResponseController(w).Flush()
	}
	_, _ = io.Copy(w, resp.Body)
	_ = resp.Body.Close()
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// instead returns an option with which all requests go to server.
func instead(t testing.TB, server *stub) Option {
	t.Helper()
	listener := pipe.Listen()
	serving := &http.Server{Handler: server, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = serving.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = serving.Close()
		<-done
	})
	return WithClientOptions(esper.WithTransport(listener.Transport()))
}

// opened opens a source with the key in store, or with stubFirst if the store is empty.
func opened(t testing.TB, server *stub, store Store, opts ...Option) *Source {
	t.Helper()
	opts = append([]Option{
		WithInitialToken(esper.NewSecret(stubFirst)),
		instead(t, server),
	}, opts...)
	source, err := Open(context.Background(), "foo", store, opts...)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = source.Close() })
	return source
}

// fresh opens a source with the key stubFirst, which the server has just made.
func fresh(t testing.TB, opts ...Option) (*stub, *faulty, *Source) {
	t.Helper()
	server, store := newStub(90*day), newFaulty()
	return server, store, opened(t, server, store, opts...)
}

// advisory opens a source whose key is in the advisory window, ten days before its end. If renewal is set, it
// answers the renewals in place of the server.
func advisory(t testing.TB, renewal response, opts ...Option) (*stub, *faulty, *Source) {
	t.Helper()
	server, store, source := fresh(t, opts...)
	time.Sleep(80 * day)
	if renewal != nil {
		server.fault = only("renew", renewal)
	}
	return server, store, source
}

var errDisk = errors.New("no space left on device")

// diskFullFor returns a function for faulty.set that fails the save of a document with the text, as if the disk were full.
func diskFullFor(text string) func(context.Context, []byte) error {
	return func(_ context.Context, data []byte) error {
		if strings.Contains(string(data), text) {
			return errDisk
		}
		return nil
	}
}

// faulty is a store that calls load before Load and save before Save, and returns their errors. When Open inspects it, it
// calls inspect.
type faulty struct {
	Store
	inspect func(ctx context.Context) error

	mu   sync.Mutex // guards what follows
	load func(ctx context.Context) error
	save func(ctx context.Context, data []byte) error
}

func newFaulty() *faulty { return &faulty{Store: Memory()} }

func (f *faulty) set(load func(context.Context) error, save func(context.Context, []byte) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.load, f.save = load, save
}

func (f *faulty) get() (load func(context.Context) error, save func(context.Context, []byte) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.load, f.save
}

func (f *faulty) Inspect(ctx context.Context, _ bool) error {
	if f.inspect == nil {
		return nil
	}
	return f.inspect(ctx)
}

func (f *faulty) Load(ctx context.Context) ([]byte, string, error) {
	if load, _ := f.get(); load != nil {
		if err := load(ctx); err != nil {
			return nil, "", err
		}
	}
	return f.Store.Load(ctx)
}

func (f *faulty) Save(ctx context.Context, data []byte, version string) (string, error) {
	if _, save := f.get(); save != nil {
		if err := save(ctx, data); err != nil {
			return "", err
		}
	}
	return f.Store.Save(ctx, data, version)
}

// unreadable and unwritable are for faulty.set.
func unreadable(context.Context) error         { return errDisk }
func unwritable(context.Context, []byte) error { return errDisk }

// put replaces the document in store by d, with a lineage of its own if d has none.
func put(t testing.TB, store Store, d policy.Document) {
	t.Helper()
	if d.Lineage == "" {
		d.Lineage, d.Serial, d.Initial = "of "+policy.Hash(d.Key), 1, policy.Hash(d.Key)
	}
	d.EnterpriseID, d.DeveloperAppID = stubEnterprise, stubApp
	data, err := encode(d, stubBase, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, version, err := store.Load(context.Background())
	if err == nil {
		_, err = store.Save(context.Background(), data, version)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func stored(t testing.TB, store Store) policy.Document {
	t.Helper()
	data, _, err := store.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	d, err := decode(data, stubBase)
	if err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return d.Document
}

func key(text string) esper.Secret { return esper.NewSecret(text) }

func wallClock() time.Time { return plain(time.Now()) }

// living returns the document of a key that is made now.
func living(text string, lifetime time.Duration) policy.Document {
	return policy.Document{Key: key(text), IssuedAt: wallClock(), ExpiresAt: wallClock().Add(lifetime)}
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

// renewFor asks for the key every step, for the time total, and returns the number of renewals in that time.
func renewFor(t *testing.T, server *stub, source *Source, total, step time.Duration) int {
	t.Helper()
	before := server.counted("renew")
	for end := time.Now().Add(total); time.Now().Before(end); time.Sleep(step) {
		_, _ = source.Token()
		synctest.Wait()
	}
	return server.counted("renew") - before
}

// begunAttempt returns an attempt that another process began some time ago.
func begunAttempt(ago time.Duration) policy.Attempt {
	begun := wallClock().Add(-ago)
	return policy.Attempt{ID: "other.1", Host: "elsewhere", PID: 1, Begun: begun, Until: begun.Add(90 * time.Second)}
}

// inDoubt returns the document of a key with an attempt of an hour ago, whose outcome is unknown.
func inDoubt() policy.Document {
	d := living(stubFirst, 90*day)
	d.Attempt = begunAttempt(time.Hour)
	return d
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
