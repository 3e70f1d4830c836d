package esper_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// cutBodies returns answers in which newKey occurs once, as the top-level token.
func cutBodies() map[string]string {
	const token = `"token": "` + newKey + `"`
	return map[string]string{
		"other tokens first": `{"id": 571, "old": {"token": "nested"}, "list": [{"token": "listed"}], "note": "\"token\": \"quoted\"", ` +
			token + `, "expires_at": "2023-07-03T04:29:53.906020Z"}`,
		"token first": `{` + token + `, "id": 571, "old": {"token": "nested"}}`,
		"token last":  `{"id": 571, "token\u0020": "no", ` + token + `}`,
	}
}

// wantCut checks the result of a renewal when only sent, the beginning of body, arrived.
func wantCut(t *testing.T, renewed *esper.RenewedToken, err error, body, sent string) {
	t.Helper()
	if len(sent) < strings.Index(body, `"`+newKey+`"`)+len(newKey)+2 {
		wantLost(t, renewed, err, esper.OutcomeUnreadable, sent)
		return
	}
	if err != nil || renewed.Token.Reveal() != newKey {
		t.Errorf("key %v, error %v, though the key had arrived", renewed, err)
	}
}

// wires counts the bytes on both ends of each connection, by the client's address. A server needs to know
// that the client has read everything, because on some systems a reset drops unread bytes.
type wires struct{ m sync.Map }

type wire struct{ sent, read atomic.Int64 }

func (w *wires) of(client net.Addr) *wire {
	v, _ := w.m.LoadOrStore(client.String(), new(wire))
	return v.(*wire)
}

// waitRead returns when the client with this address has read all bytes that were sent to it, or after 5 s.
func (w *wires) waitRead(client net.Addr) {
	wire := w.of(client)
	for end := time.Now().Add(5 * time.Second); wire.read.Load() < wire.sent.Load() && time.Now().Before(end); {
		time.Sleep(10 * time.Microsecond)
	}
}

type meteredConn struct {
	net.Conn
	wire   *wire
	server bool
}

func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.server {
		c.wire.read.Add(int64(n))
	}
	return n, err
}

func (c *meteredConn) Write(p []byte) (int, error) {
	if c.server {
		c.wire.sent.Add(int64(len(p)))
	}
	return c.Conn.Write(p)
}

type meteredListener struct {
	net.Listener
	wires *wires
}

func (l meteredListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &meteredConn{conn, l.wires.of(conn.RemoteAddr()), true}, nil
}

// cut is how an answer ends early.
type cut struct {
	chunked, reset bool
	length         int // of the body after the cut
}

// cutServer answers each request with body, cut as the path's first segment says.
func cutServer(t *testing.T, body string, secure bool) (server *httptest.Server, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	traffic := new(wires)
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		var c cut
		if _, err := fmt.Sscanf(r.URL.Path, "/%t-%t-%d/", &c.chunked, &c.reset, &c.length); err != nil || r.Method != http.MethodPost || r.ProtoMajor != 1 {
			t.Errorf("%s %s %s: %v", r.Method, r.URL.Path, r.Proto, err)
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		text := head201(len(body)) + body[:c.length]
		if c.chunked {
			text = head201(-1) + chunk(body[:c.length])
		}
		if _, err := io.WriteString(conn, text); err != nil {
			t.Error(err)
		}
		if c.reset {
			traffic.waitRead(conn.RemoteAddr())
			reset(t, conn)
		}
	}))
	server.Listener = meteredListener{server.Listener, traffic}
	server.EnableHTTP2 = secure
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	transport, ok := server.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatalf("the server's client has a %T", server.Client().Transport)
	}
	transport.DialContext = meteredDial(traffic)
	return server, requests
}

func TestRenewToken_CutAtEachByte(t *testing.T) {
	for name, body := range cutBodies() {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS and HTTP2 %t", name, secure), func(t *testing.T) {
				t.Parallel()
				server, posts := cutServer(t, body, secure)
				end := strings.Index(body, newKey) + len(newKey)
				for length := range len(body) + 1 {
					if secure && length%16 != 0 && (length < end-1 || length > end+2) {
						continue // a handshake takes its time
					}
					for _, c := range []cut{{false, false, length}, {true, false, length}, {false, true, length}, {true, true, length}} {
						base := fmt.Sprintf("%s/%t-%t-%d", server.URL, c.chunked, c.reset, c.length)
						posts.Store(0)
						client := clientFor(t, base, oldKey, esper.WithTransport(server.Client().Transport.(*http.Transport)), quickRetry(3))
						renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
						wantCut(t, renewed, err, body, body[:length])
						wantCount(t, "POSTs", posts.Load(), 1)
						if t.Failed() {
							t.Fatalf("at %+v: %q", c, body[:length])
						}
					}
				}
			})
		}
	}
}

func TestRenewToken_HangingAtEachByte(t *testing.T) {
	for name, body := range cutBodies() {
		t.Run(name, func(t *testing.T) {
			for length := range len(body) { // not the whole body, because a sized one would not hang
				for _, head := range []string{head201(len(body)), head201(-1)} {
					synctest.Test(t, func(t *testing.T) { hang(t, body, body[:length], head) })
				}
			}
		})
	}
}

func hang(t *testing.T, body, sent, head string) {
	t.Helper()
	var dialled atomic.Int32
	transport := pipeTransport(&dialled, func(conn net.Conn) {
		text := head + sent
		if strings.Contains(head, "chunked") {
			text = head + chunk(sent)
		}
		_, _ = io.WriteString(conn, text)
		_, _ = io.Copy(io.Discard, conn) // until the client hangs up
	})
	client := clientFor(t, "http://127.0.0.1", oldKey, esper.WithTransport(transport), esper.WithTimeout(7*time.Second))
	start := time.Now()
	renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
	wantCut(t, renewed, err, body, sent)
	if took := time.Since(start); took != 7*time.Second {
		t.Errorf("it took %v, want the timeout", took)
	}
	var timeout interface{ Timeout() bool }
	if err != nil && (!errors.As(err, &timeout) || !timeout.Timeout()) {
		t.Errorf("%v is no timeout", err)
	}
	wantCount(t, "connections", dialled.Load(), 1)
	if t.Failed() {
		t.Fatal("after " + strconv.Itoa(len(sent)) + " bytes with " + head)
	}
}
