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
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// arrival is a request as a server saw it.
type arrival struct {
	*http.Request
	body string
}

// probe is a server that keeps the requests that arrive.
type probe struct {
	*httptest.Server
	count, dialled atomic.Int32 // requests, connections
	mu             sync.Mutex
	seen           []arrival
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
	if answer == nil {
		answer = answerWell
	}
	p := &probe{}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.count.Add(1)
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		p.seen = append(p.seen, arrival{r.Clone(context.Background()), string(body)})
		p.mu.Unlock()
		answer(w, r)
	}))
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			p.dialled.Add(1)
		}
	}
	return p
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

// piped connects to serve in memory, so that a testing/synctest bubble holds both ends. Serve gets each connection
// after a request was read from it.
func piped(serve func(conn net.Conn)) esper.Option { return pipedLate(0, serve) }

// pipedLate is piped, but the first dials fail.
func pipedLate(failing int32, serve func(conn net.Conn)) esper.Option {
	var dials atomic.Int32
	dial := func(context.Context, string, string) (net.Conn, error) {
		if dials.Add(1) <= failing {
			return nil, errRefused
		}
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

// scripted answers with the texts in turn, the last one again and again, and notes when it was asked.
func scripted(texts ...string) (server esper.Option, asked *[]time.Time) {
	asked = new([]time.Time)
	return piped(func(conn net.Conn) {
		*asked = append(*asked, time.Now())
		saying(texts[min(len(*asked), len(texts))-1])(conn)
	}), asked
}

// raw is an answer as it is on the wire. Header holds whole lines.
func raw(status int, body string, header ...string) string {
	head := strings.Join(append([]string{fmt.Sprintf("HTTP/1.1 %d Some text", status)}, header...), "\r\n")
	if !strings.Contains(head, "Content-Length") {
		head = strings.TrimSpace(head) + fmt.Sprintf("\r\nContent-Length: %d", len(body))
	}
	return head + "\r\n\r\n" + body
}

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
