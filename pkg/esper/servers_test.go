package esper_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
)

// arrival is a request as a server saw it.
type arrival struct {
	*http.Request
	body string
}

// probe is a server that keeps the requests that arrive.
type probe struct {
	*httptest.Server // nil if it is in memory
	count, dialled   atomic.Int32
	mu               sync.Mutex
	seen             []arrival
	closed           chan struct{} // holds something after a connection has ended
}

// newProbe starts a server that answers with answer, or like an Esper server without faults if answer is nil.
func newProbe(t testing.TB, answer http.HandlerFunc) *probe {
	t.Helper()
	p := unstartedProbe(answer)
	p.Start()
	t.Cleanup(p.Close)
	return p
}

// secureProbe is newProbe with TLS and HTTP/2, and its transport, which trusts it.
func secureProbe(t testing.TB, answer http.HandlerFunc) (*probe, *http.Transport) {
	t.Helper()
	p := unstartedProbe(answer)
	p.EnableHTTP2 = true
	p.StartTLS()
	t.Cleanup(p.Close)
	return p, p.Client().Transport.(*http.Transport)
}

func unstartedProbe(answer http.HandlerFunc) *probe {
	p := &probe{closed: make(chan struct{}, 1)}
	p.Server = httptest.NewUnstartedServer(p.noting(answer))
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			p.dialled.Add(1)
		case http.StateClosed:
			select {
			case p.closed <- struct{}{}:
			default:
			}
		}
	}
	return p
}

// noting notes each request before answer handles it.
func (p *probe) noting(answer http.HandlerFunc) http.HandlerFunc {
	if answer == nil {
		answer = answerWell
	}
	return func(w http.ResponseWriter, r *http.Request) {
		p.count.Add(1)
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		p.seen = append(p.seen, arrival{r.Clone(context.Background()), string(body)})
		p.mu.Unlock()
		answer(w, r)
	}
}

func (p *probe) arrivals() []arrival {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// only returns the one request that arrived.
func (p *probe) only(t *testing.T) arrival {
	t.Helper()
	seen := p.arrivals()
	if len(seen) != 1 {
		t.Fatalf("%d requests arrived, want 1", len(seen))
	}
	return seen[0]
}

// memory is the base URL of a server in memory.
const memory = "http://127.0.0.1"

// memoryProbe is newProbe without a network, so that a testing/synctest bubble holds both ends. Call it in the bubble.
func memoryProbe(t testing.TB, answer http.HandlerFunc) (*probe, *http.Transport) {
	t.Helper()
	p := &probe{}
	server := &http.Server{Handler: p.noting(answer), ErrorLog: log.New(io.Discard, "", 0)}
	l := pipeListener{dialled: make(chan net.Conn), end: t.Context().Done()}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return p, &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		near, far := net.Pipe()
		select {
		case l.dialled <- far:
			return near, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
}

// pipeListener takes the connections that were dialled, until its context ends.
type pipeListener struct {
	net.Listener
	dialled chan net.Conn
	end     <-chan struct{}
}

func (pipeListener) Close() error { return nil }

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.dialled:
		return conn, nil
	case <-l.end:
		return nil, net.ErrClosed
	}
}

// piped connects to serve in memory. Serve gets each connection after a request was read from it.
func piped(serve func(conn net.Conn)) esper.Option {
	dial := func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			if r, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				serve(far)
			}
		}()
		return near, nil
	}
	return esper.WithTransport(&http.Transport{DialContext: dial, MaxResponseHeaderBytes: 1 << 30})
}

// saying writes text and closes the connection.
func saying(text string) func(net.Conn) {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, text) }
}

// hanging writes text and waits until the client hangs up.
func hanging(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, text)
		_, _ = io.Copy(io.Discard, conn)
	}
}

// raw is an answer as it is on the wire. Header holds whole lines.
func raw(status int, body string, header ...string) string {
	head := strings.Join(append([]string{fmt.Sprintf("HTTP/1.1 %d Some text", status)}, header...), "\r\n")
	if !strings.Contains(head, "Content-Length") {
		head = strings.TrimSpace(head) + fmt.Sprintf("\r\nContent-Length: %d", len(body))
	}
	return head + "\r\n\r\n" + body
}

// untilTheEnd handles a request by waiting until the client gives up.
func untilTheEnd(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// abort closes the connection without an answer.
func abort(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func answerWell(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		answer(http.StatusCreated, "application/json", renewalAnswer)(w, r)
		return
	}
	answer(http.StatusOK, "application/json", infoAnswer)(w, r)
}

func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{contentType}[:min(1, len(contentType))] // none, or net/http would guess
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := io.WriteString(w, text)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
