package faults

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
)

const (
	attempts = 3
	// ample is a time limit that no attempt reaches; short is one that a slow fault exceeds, and nothing else.
	ample = 5 * time.Minute
	short = 3 * time.Second
)

const (
	enterpriseID   = "f44373cb-1800-43c6-aab3-c81f8b1f435c"
	developerAppID = "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"
	tokenID        = "0d3f8d3a-6f0f-4b8e-9d55-000000000001" // of the first key of espertest's server
)

// fault is a row of the table in FAULTS.md: what goes wrong between client and server, and what each operation gets.
type fault struct {
	name    string
	timeout time.Duration // the time limit of an attempt
	stage   func(t *testing.T) *stage
	info    want
	renew   want
}

// want is what a caller gets, in the words of describe, and how many requests the server handled.
type want struct {
	gets     string
	requests int
}

// many stands for more requests than the client has attempts: net/http repeats a GET by itself, without a limit.
const many = attempts + 1

// server is the server of a stage, with what the tests need to know about it.
type server interface {
	Address() string // host and port
	Key() string     // the key that is valid now
	Renewals() int   // how many new keys it has made
	Requests(method string) int
}

// stage is a server, and the way on which the client reaches it.
type stage struct {
	server
	base      string          // URL
	transport *http.Transport // without DialContext, which client sets
	dial      dialer          // used while the fault lasts
	healed    dialer          // used once sound is set
	sound     atomic.Bool     // the fault is over
	open      atomic.Int32    // how many connections the client has open
}

type dialer func(ctx context.Context) (net.Conn, error)

// lead sets up st to reach s over plain HTTP: through dial while the fault lasts, and directly after that.
func (st *stage) lead(s server, dial dialer) *stage {
	st.server, st.base, st.transport = s, "http://"+s.Address()+"/api", new(http.Transport)
	st.dial, st.healed = dial, to(s.Address())
	return st
}

// to returns a dialer that always dials address.
func to(address string) dialer {
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
}

// currentKey is a token source that always returns the key that the server accepts.
type currentKey struct{ server }

func (k currentKey) Token() (*oauth2.Token, error) {
	return &oauth2.Token{AccessToken: k.Key()}, nil
}

// client makes a client for st, which logs to log.
func (st *stage) client(t *testing.T, timeout time.Duration, log *bytes.Buffer) *esper.Client {
	t.Helper()
	st.transport.ForceAttemptHTTP2 = true // as in the client's own transport
	st.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		dial := st.dial
		if st.sound.Load() {
			dial = st.healed
		}
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		st.open.Add(1)
		return &countedConn{Conn: conn, open: &st.open}, nil
	}
	client, err := esper.New(st.base, currentKey{st.server},
		esper.WithTransport(st.transport),
		esper.WithTimeout(timeout),
		esper.WithRetry(esper.Retry{MaxAttempts: attempts, MinWait: time.Millisecond, MaxWait: time.Millisecond}),
		esper.WithInsecureHTTP(), // some stages use plain HTTP with a host name
		esper.WithLogger(slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// countedConn is a connection that counts in open until it is closed.
type countedConn struct {
	net.Conn
	open *atomic.Int32
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// checkClosed fails the test if the client still has a connection after CloseIdleConnections.
func (st *stage) checkClosed(t *testing.T, client *esper.Client) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; <-time.After(time.Millisecond) {
		client.CloseIdleConnections()
		switch open := st.open.Load(); {
		case open == 0:
			return
		case time.Now().After(end):
			t.Errorf("%d connections are still open after the calls", open)
			return
		}
	}
}

// operation is a method of the client. TokenInfo and RenewToken have columns in the table.
type operation struct {
	name, method string
	prize        string // how the table names a success
	call         func(t *testing.T, c *esper.Client, key string) outcome
}

func (op operation) renews() bool { return renews(op.method) }

// renews reports whether requests with a method make a new key.
func renews(method string) bool { return method != http.MethodGet }

// outcome is what a call returned.
type outcome struct {
	result any
	newKey string // the new key, if the call was a renewal
	err    error
}

var (
	tokenInfo = operation{"TokenInfo", http.MethodGet, "the answer", func(t *testing.T, c *esper.Client, key string) outcome {
		t.Helper()
		info, err := c.TokenInfo(t.Context())
		if err == nil && info.Token.Reveal() != key {
			t.Errorf("the answer is about another key: %v", info)
		}
		return outcome{info, "", err}
	}}
	renewToken = operation{"RenewToken", http.MethodPost, "the new key", func(t *testing.T, c *esper.Client, key string) outcome {
		t.Helper()
		renewed, err := c.RenewToken(t.Context(), esper.RenewRequest{
			EnterpriseID: enterpriseID, DeveloperAppID: developerAppID, AccessToken: esper.NewSecret(key),
		})
		if err != nil {
			return outcome{nil, "", err}
		}
		return outcome{renewed, renewed.Token.Reveal(), nil}
	}}
	// renewPersonalToken has no column: it has to get what renewToken gets.
	renewPersonalToken = operation{"RenewPersonalAccessToken", http.MethodPut, "the new key", func(t *testing.T, c *esper.Client, _ string) outcome {
		t.Helper()
		renewed, err := c.RenewPersonalAccessToken(t.Context(), tokenID, 4070908800)
		if err != nil {
			return outcome{nil, "", err}
		}
		return outcome{renewed, renewed.Token.Reveal(), nil}
	}}
)

// run makes one call during the fault and one after the fault, and returns what the first one got.
func (f fault) run(t *testing.T, op operation) want {
	t.Helper()
	var log bytes.Buffer
	s := f.stage(t)
	client := s.client(t, f.timeout, &log)

	old := s.Key()
	o := op.call(t, client, old)
	got := want{describe(o.err), s.Requests(op.method)}
	if !op.renews() && got.requests > attempts {
		got.requests = many
	}
	checkRenewal(t, s, op, old, o, got)
	checkSecrets(t, &log, o)

	s.checkClosed(t, client)
	s.sound.Store(true)
	renewals := s.Renewals()
	o = op.call(t, client, s.Key())
	if o.err != nil || o.newKey != "" && (o.newKey != s.Key() || s.Renewals() != renewals+1) {
		t.Errorf("the call after the fault: %v; it made %d new keys", o.err, s.Renewals()-renewals)
	}
	checkSecrets(t, &log, o)
	s.checkClosed(t, client)
	return got
}

// checkRenewal checks what a renewal promises under every fault.
func checkRenewal(t *testing.T, s server, op operation, old string, o outcome, got want) {
	t.Helper()
	if s.Renewals() > 1 {
		t.Errorf("the server made %d new keys, want 1 at most", s.Renewals())
	}
	if o.newKey != "" && (o.newKey != s.Key() || o.newKey == old) {
		t.Error("the call returned a key that is not the new key of the server")
	}
	if s.Renewals() > 0 && strings.HasPrefix(got.gets, esper.OutcomeNotRenewed.String()) {
		t.Error("the server made a new key, but the outcome says that nothing was renewed")
	}
	if n := s.Requests(op.method); op.renews() && n > 1 && !strings.Contains(got.gets, "ErrRateLimited") {
		t.Errorf("the renewal was sent %d times, want once", n)
	}
}
