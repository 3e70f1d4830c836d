package faults

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
)

const (
	enterpriseID   = "f44373cb-1800-43c6-aab3-c81f8b1f435c"
	developerAppID = "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"
	tokenID        = "0d3f8d3a-6f0f-4b8e-9d55-000000000001"
	host           = "esper.test"
)

// stage is a server that answers as Esper does, and the client's way to it. A fault changes what its set sets, until the
// stage is sound.
type stage struct {
	t         *testing.T
	address   string // of the server
	base      string // the URL that the client is given
	transport *http.Transport

	dial   dialer                       // the client's; nil: to the server
	meet   func(conn net.Conn) net.Conn // gets each connection that the server accepts; nil: it has ended the connection
	answer answer
	secure *tls.Config                                            // with TLS
	http2  func(f *http2.Framer, stream uint32, faulty bool) bool // serves a request, and tells whether the connection stays

	sound  atomic.Bool // the fault is over
	mu     sync.Mutex
	counts map[string]int // of requests, by their method
	keys   int            // how many new keys the server has made
}

type dialer func(ctx context.Context) (net.Conn, error)

// answer answers a request. It reports whether the connection stays open.
type answer func(s *stage, conn net.Conn, r *http.Request) bool

// newStage starts the server of a fault.
func newStage(t *testing.T, set func(s *stage)) *stage {
	t.Helper()
	l := listen(t, "127.0.0.1")
	s := &stage{t: t, address: l.Addr().String(), transport: new(http.Transport), counts: make(map[string]int)}
	s.base = "http://" + s.address + "/api"
	set(s)
	each(t, l, s.serve)
	return s
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// each calls serve for every connection of l, in a goroutine of its own. These goroutines end with the test.
func each(t *testing.T, l net.Listener, serve func(net.Conn)) {
	t.Helper()
	var group sync.WaitGroup
	var open sync.Map
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(conn, true)
			group.Go(func() {
				serve(conn)
				_ = conn.Close()
				open.Delete(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		open.Range(func(conn, _ any) bool { return conn.(net.Conn).Close() != nil || true })
		group.Wait()
	})
}

// to returns a dialer that always dials address.
func to(address string) dialer {
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
}

// serve serves a connection. What it does with a late request must not depend on when the fault is over.
func (s *stage) serve(conn net.Conn) {
	faulty := !s.sound.Load()
	if faulty && s.meet != nil {
		if conn = s.meet(conn); conn == nil {
			return
		}
	}
	if s.secure != nil {
		secured := tls.Server(conn, s.secure)
		if secured.HandshakeContext(s.t.Context()) != nil {
			return
		}
		if secured.ConnectionState().NegotiatedProtocol == http2.NextProtoTLS {
			serveHTTP2(secured, func(f *http2.Framer, stream uint32) bool { return s.http2(f, stream, faulty) })
			return
		}
		conn = secured
	}
	answer := sound
	if faulty && s.answer != nil {
		answer = s.answer
	}
	for in := bufio.NewReader(conn); ; {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err = io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		s.count(r.Method)
		if !answer(s, conn, r) {
			return
		}
	}
}

func (s *stage) count(method string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[method]++
}

// state returns the key that is valid now, how many keys the server has made, and how many requests it has handled.
func (s *stage) state(method string) (key string, renewals, requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return keyOf(s.keys), s.keys, s.counts[method]
}

func keyOf(renewals int) string { return fmt.Sprintf("%s-%04d", canary, renewals) }

// body returns the normal answer to a request with method. For a renewal, it makes a new key first.
func (s *stage) body(method string) (status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if method != http.MethodGet {
		s.keys++
	}
	return answerTo(method, keyOf(s.keys))
}

func answerTo(method, key string) (status int, body string) {
	switch method {
	case http.MethodPut:
		return http.StatusOK, fmt.Sprintf(`{"id":%q,"name":"token 1","prefix":"canary+k","legacy_token_id":571,"token":%q,"expiry_at":4070908800}`, tokenID, key)
	case http.MethodPost:
		return http.StatusCreated, fmt.Sprintf(`{"id":571,"user":"bindya","enterprise":"Esper [%s]","token":%q,`+
			`"expires_at":"2099-07-03T04:29:53.906020Z","scope":"read write"}`, enterpriseID, key)
	}
	return http.StatusOK, fmt.Sprintf(`{"id":"570","enterprise":%q,"user":"bindya","developer_app":%q,"token":%q,`+
		`"expires_on":"2099-11-19T15:42:16.637203Z","scope":["read","write"]}`, enterpriseID, developerAppID, key)
}

// head returns the status line and the header of an answer. Each of more is a header line. It is the same on each run.
func head(status int, more ...string) string {
	lines := append([]string{"HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status), "Content-Type: application/json"}, more...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func length(body string) string { return "Content-Length: " + strconv.Itoa(len(body)) }

// altered answers with the status and the body of the normal answer. edit returns the header's lines and what is sent.
func altered(edit func(body string) (lines []string, sent string)) answer {
	return func(s *stage, conn net.Conn, r *http.Request) bool {
		status, body := s.body(r.Method)
		lines, body := edit(body)
		_, err := io.WriteString(conn, head(status, lines...)+body)
		return err == nil && !r.Close
	}
}

// sound sends the normal answer, in one write.
func sound(s *stage, conn net.Conn, r *http.Request) bool {
	return altered(func(body string) ([]string, string) { return []string{length(body)}, body })(s, conn, r)
}

// Token makes the stage a token source, which always returns the key that the server accepts.
func (s *stage) Token() (*oauth2.Token, error) {
	key, _, _ := s.state("")
	return &oauth2.Token{AccessToken: key}, nil
}

// client makes a client for s, which logs to log.
func (s *stage) client(limit time.Duration, log *bytes.Buffer) *esper.Client {
	s.t.Helper()
	s.transport.ForceAttemptHTTP2 = true // as in the client's own transport
	s.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		dial := to(s.address)
		if s.dial != nil && !s.sound.Load() {
			dial = s.dial
		}
		return dial(ctx)
	}
	client, err := esper.New(s.base, s,
		esper.WithTransport(s.transport),
		esper.WithTimeout(limit),
		esper.WithRetry(esper.Retry{MaxAttempts: attempts, MinWait: time.Millisecond, MaxWait: time.Millisecond}),
		esper.WithInsecureHTTP(), // one fault has plain HTTP with a host name
		esper.WithLogger(slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(client.CloseIdleConnections)
	return client
}
