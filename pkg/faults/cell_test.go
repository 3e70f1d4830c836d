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
	// ample is a time limit that nothing should meet, short one that a fault is meant to meet.
	ample = 20 * time.Second
	short = 600 * time.Millisecond
)

const (
	enterpriseID   = "f44373cb-1800-43c6-aab3-c81f8b1f435c"
	developerAppID = "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"
	tokenID        = "0d3f8d3a-6f0f-4b8e-9d55-000000000001" // of espertest's first key
)

// fault is a row of the table: what stands between client and server, and what is expected of it.
type fault struct {
	name    string
	timeout time.Duration // of an attempt
	stage   func(t *testing.T) *stage
	info    want
	renew   want
}

// want is what a caller gets, as told by describe, and how many requests the server handled.
type want struct {
	gets     string
	requests int
}

// many is more than the client asked for: net/http sends a GET again by itself, as often as it likes.
const many = attempts + 1

// server is what a client talks to in the end.
type server interface {
	Address() string // host and port
	Key() string     // valid at the moment
	Renewals() int   // new keys so far
	Requests(method string) int
}

// stage is a server and the way to it.
type stage struct {
	server
	base      string          // URL
	transport *http.Transport // without its dial
	dial      dialer          // while the fault lasts
	healed    dialer          // after that
	sound     atomic.Bool
	open      atomic.Int32 // connections of the client
}

type dialer func(ctx context.Context) (net.Conn, error)

// lead makes st lead plain HTTP to s, by dial while the fault lasts.
func (st *stage) lead(s server, dial dialer) *stage {
	st.server, st.base, st.transport = s, "http://"+s.Address()+"/api", new(http.Transport)
	st.dial, st.healed = dial, to(s.Address())
	return st
}

// to dials one address, whatever the client asks for.
func to(address string) dialer {
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
}

// currentKey is a source that always has the server's key.
type currentKey struct{ server }

func (k currentKey) Token() (*oauth2.Token, error) {
	return &oauth2.Token{AccessToken: k.Key()}, nil
}

// client makes the client of a stage, whose log goes to the buffer.
func (st *stage) client(t *testing.T, timeout time.Duration, log *bytes.Buffer) *esper.Client {
	t.Helper()
	st.transport.ForceAttemptHTTP2 = true // as in the client's own
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
		esper.WithInsecureHTTP(), // a stage may have a host name
		esper.WithLogger(slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// countedConn is counted until it is closed.
type countedConn struct {
	net.Conn
	open *atomic.Int32
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// checkClosed wants the client to have no connection, although the server would keep it.
func (st *stage) checkClosed(t *testing.T, client *esper.Client) {
	t.Helper()
	for end := time.Now().Add(3 * time.Second); ; <-time.After(time.Millisecond) {
		client.CloseIdleConnections()
		switch open := st.open.Load(); {
		case open == 0:
			return
		case time.Now().After(end):
			t.Errorf("%d connections are in use after the calls", open)
			return
		}
	}
}

// operation is a column of the table.
type operation struct {
	name, method string
	prize        string // of a success
	call         func(t *testing.T, c *esper.Client, key string) outcome
}

func (op operation) renews() bool { return renews(op.method) }

// renews reports whether requests with a method make a new key.
func renews(method string) bool { return method != http.MethodGet }

// outcome is what a call came to.
type outcome struct {
	result any
	newKey string // of a renewal
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
	// renewPersonalToken is no column: it has to get what renewToken gets.
	renewPersonalToken = operation{"RenewPersonalAccessToken", http.MethodPut, "the new key", func(t *testing.T, c *esper.Client, _ string) outcome {
		t.Helper()
		renewed, err := c.RenewPersonalAccessToken(t.Context(), tokenID, 4070908800)
		if err != nil {
			return outcome{nil, "", err}
		}
		return outcome{renewed, renewed.Token.Reveal(), nil}
	}}
)

// run makes one call into the fault and one after it, and returns what the first came to.
func (f fault) run(t *testing.T, op operation) want {
	t.Helper()
	watchLeaks(t)
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
		t.Errorf("the next call: %v; %d more keys", o.err, s.Renewals()-renewals)
	}
	checkSecrets(t, &log, o)
	s.checkClosed(t, client)
	return got
}

// checkRenewal holds a renewal to what is promised whatever the fault.
func checkRenewal(t *testing.T, s server, op operation, old string, o outcome, got want) {
	t.Helper()
	if s.Renewals() > 1 {
		t.Errorf("%d keys were made", s.Renewals())
	}
	if o.newKey != "" && (o.newKey != s.Key() || o.newKey == old) {
		t.Error("it returned a key that is not the server's new one")
	}
	if s.Renewals() > 0 && strings.HasPrefix(got.gets, esper.OutcomeNotRenewed.String()) {
		t.Error("a new key was made, and the outcome denies it")
	}
	if n := s.Requests(op.method); op.renews() && n > 1 && !strings.Contains(got.gets, "ErrRateLimited") {
		t.Errorf("the renewal was sent %d times", n)
	}
}
