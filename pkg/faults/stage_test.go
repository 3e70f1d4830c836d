package faults

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

const (
	enterpriseID   = "f44373cb-1800-43c6-aab3-c81f8b1f435c"
	developerAppID = "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"
	tokenID        = "0d3f8d3a-6f0f-4b8e-9d55-000000000001"
	host           = "esper.test"
)

// stage is a fake server, and the client's way to it. A fault changes what its set sets, until the stage is sound.
type stage struct {
	t         *testing.T
	server    *espertest.Server
	address   string // where the client's connections lead to
	base      string // the URL that the client is given
	transport *http.Transport

	dial   dialer                                                 // the client's; nil: to address
	meet   func(conn net.Conn) net.Conn                           // gets each connection of a client; nil: it has ended the connection
	secure *tls.Config                                            // with TLS
	http2  func(f *http2.Framer, stream uint32, faulty bool) bool // serves a request, and tells whether the connection stays

	sound     atomic.Bool  // the fault is over
	overHTTP2 atomic.Int32 // how many requests were handled over HTTP/2
}

type dialer func(ctx context.Context) (net.Conn, error)

// newStage starts the server of a fault, and the way to it.
func newStage(t *testing.T, set func(s *stage)) *stage {
	t.Helper()
	l := listen(t, "127.0.0.1")
	s := &stage{t: t, address: l.Addr().String(), transport: new(http.Transport)}
	s.server = espertest.NewServer(t, espertest.WithToken(canary))
	s.base = "http://" + s.address + "/api"
	set(s)
	each(t, l, s.serve)
	return s
}

func must(errs ...error) {
	if err := errors.Join(errs...); err != nil {
		panic(err)
	}
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(address, "0"))
	must(err)
	context.AfterFunc(t.Context(), func() { _ = l.Close() })
	return l
}

// each calls serve for every connection of l, in a goroutine of its own. These goroutines end with the test.
func each(t *testing.T, l net.Listener, serve func(net.Conn)) {
	t.Helper()
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			end := context.AfterFunc(t.Context(), func() { _ = conn.Close() })
			group.Go(func() {
				serve(conn)
				_ = conn.Close()
				end()
			})
		}
	})
	t.Cleanup(group.Wait)
}

// to returns a dialer that always dials address.
func to(address string) dialer {
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
}

// serve serves a connection of a client. What it does with a late request must not depend on when the fault is over.
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
	s.tunnel(conn, conn, strings.Split(s.server.URL, "/")[2])
}

// tunnel connects a client with address until one of them closes its connection. What the client sends is read from in.
func (s *stage) tunnel(client net.Conn, in io.Reader, address string) {
	server, err := to(address)(s.t.Context())
	if err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
		close(done)
	}()
	_, _ = io.Copy(server, in)
	_ = server.Close()
	<-done
}

// requests counts the requests with a method that the server has handled.
func (s *stage) requests(method string) (n int) {
	for _, r := range s.server.Requests() {
		if r.Method == method {
			n++
		}
	}
	if method == http.MethodGet {
		n += int(s.overHTTP2.Load())
	}
	return n
}

// Token makes the stage a token source, which always returns the key that the server accepts.
func (s *stage) Token() (*oauth2.Token, error) {
	return &oauth2.Token{AccessToken: s.server.Token()}, nil
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
	must(err)
	s.t.Cleanup(client.CloseIdleConnections)
	return client
}
