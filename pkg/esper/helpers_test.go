package esper_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

const (
	enterpriseID   = "f44373cb-1800-43c6-aab3-c81f8b1f435c"
	developerAppID = "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"
	infoAnswer     = `{"id":"570","enterprise":"f44373cb-1800-43c6-aab3-c81f8b1f435c","token":"info-token"}`
	refusal        = `{"errors":["no"],"message":"no","status":403}` // in Esper's envelope
	renewalAnswer  = `{"id":571,"enterprise":"Esper [f44373cb-1800-43c6-aab3-c81f8b1f435c]","token":"new-token"}`
)

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// option lets f answer in place of the network.
func (f roundTripFunc) option() esper.Option { return instead(f) }

// instead lets rt answer in place of the network.
func instead(rt http.RoundTripper) esper.Option {
	return esper.WithMiddleware(func(http.RoundTripper) http.RoundTripper { return rt })
}

// around makes a middleware of one function.
func around(f func(req *http.Request, next http.RoundTripper) (*http.Response, error)) esper.Option {
	return esper.WithMiddleware(func(next http.RoundTripper) http.RoundTripper {
		return roundTripFunc(func(req *http.Request) (*http.Response, error) { return f(req, next) })
	})
}

// arrival is a request as a server saw it.
type arrival struct {
	*http.Request
	body string
}

// probe is a server that keeps the requests that arrive.
type probe struct {
	*httptest.Server
	count atomic.Int32
	mu    sync.Mutex
	seen  []arrival
}

// newProbe starts a server that answers with answer, or like an Esper server without faults if answer is nil.
func newProbe(t testing.TB, answer http.HandlerFunc) *probe {
	t.Helper()
	p := unstartedProbe(answer)
	p.Start()
	t.Cleanup(p.Close)
	return p
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
	return p
}

func answerWell(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, renewalAnswer)
		return
	}
	_, _ = io.WriteString(w, infoAnswer)
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

func clientFor(t testing.TB, environment, key string, opts ...esper.Option) *esper.Client {
	t.Helper()
	c, err := esper.New(environment, esper.APIKey(key), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func renewal(key string) esper.RenewRequest {
	return esper.RenewRequest{EnterpriseID: enterpriseID, DeveloperAppID: developerAppID, AccessToken: esper.NewSecret(key)}
}

// each runs call for TokenInfo and for RenewToken of c.
func each(t *testing.T, c *esper.Client, key string, call func(t *testing.T, do func(context.Context) error)) {
	t.Run("TokenInfo", func(t *testing.T) {
		call(t, func(ctx context.Context) error { _, err := c.TokenInfo(ctx); return err })
	})
	t.Run("RenewToken", func(t *testing.T) {
		call(t, func(ctx context.Context) error { _, err := c.RenewToken(ctx, renewal(key)); return err })
	})
}

// Made-up keys of the length that real ones have.
const (
	oldKey = "OldMadeUpKey" + "OldMadeUpKey" + "OldM01"
	newKey = "NewMadeUpKey" + "NewMadeUpKey" + "NewM02"
)

// realRenewal is a renewal's answer as the server sends it.
const realRenewal = `{"id": 571, "user": "bindya", "enterprise": "Esper [` + enterpriseID + `]",` +
	` "developerapp": "DeveloperApp object (` + developerAppID + `)", "token": "` + newKey + `",` +
	` "expires_at": "2023-07-03T04:29:53.906020Z", "scope": "read write update introspection sdk register",` +
	` "created_on": "2023-04-04T04:29:53.906020Z", "updated_on": "2023-04-05T04:29:53.906020Z"}`

// quickRetry waits next to nothing between attempts.
func quickRetry(attempts int) esper.Option {
	return esper.WithRetry(esper.Retry{MaxAttempts: attempts, MinWait: time.Millisecond, MaxWait: 5 * time.Millisecond})
}

// counted starts a probe, and returns its URL and its number of requests.
func counted(t testing.TB, handler http.HandlerFunc) (base string, requests *atomic.Int32) {
	t.Helper()
	p := newProbe(t, handler)
	return p.URL, &p.count
}

func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{contentType}
		if contentType == "" {
			w.Header()["Content-Type"] = nil // or net/http would guess one
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// wantLost checks that err is a RenewalError with this outcome and body.
func wantLost(t testing.TB, renewed *esper.RenewedToken, err error, outcome esper.Outcome, body string) {
	t.Helper()
	var lost *esper.RenewalError
	switch {
	case renewed != nil:
		t.Errorf("a renewed key, want %v", outcome)
	case !errors.As(err, &lost):
		t.Errorf("error %T %v, want *RenewalError", err, err)
	case lost.Outcome != outcome:
		t.Errorf("%v (%v), want %v", lost.Outcome, err, outcome)
	case string(lost.Body) != body:
		t.Errorf("kept %d bytes %.60q, want %d bytes %.60q", len(lost.Body), lost.Body, len(body), body)
	case lost.Err == nil:
		t.Error("a RenewalError without a cause")
	}
}

// wantRenewed checks that the renewal brought newKey, and returns renewed.
func wantRenewed(t testing.TB, renewed *esper.RenewedToken, err error) *esper.RenewedToken {
	t.Helper()
	if err != nil || renewed == nil {
		t.Fatalf("RenewToken: %v, %v", renewed, err)
	}
	if got := renewed.Token.Reveal(); got != newKey {
		t.Fatalf("key %q, want %q", got, newKey)
	}
	return renewed
}

func wantCount(t testing.TB, what string, got, want int32) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d, want %d", what, got, want)
	}
}

// respond makes an answer; header holds name, value, name, value …
func respond(status int, body io.Reader, header ...string) *http.Response {
	resp := &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), ContentLength: -1, Body: io.NopCloser(body),
	}
	for i := 0; i+1 < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

// pipeTransport connects to serve in memory, so that a testing/synctest bubble holds both ends.
// serve gets the connection after the head of a request was read from it.
func pipeTransport(dialled *atomic.Int32, serve func(conn net.Conn)) *http.Transport {
	return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		dialled.Add(1)
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			if readHead(server) == nil {
				serve(server)
			}
		}()
		return client, nil
	}}
}

// readHead reads from conn exactly one request without a body.
func readHead(conn net.Conn) error {
	var head []byte
	for buf := make([]byte, 4096); !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		head = append(head, buf[:n]...)
	}
	return nil
}

// head201 returns the head of an answer whose body has length bytes, or is chunked if length is negative.
func head201(length int) string {
	framing := "Transfer-Encoding: chunked"
	if length >= 0 {
		framing = fmt.Sprintf("Content-Length: %d", length)
	}
	return strings.Join([]string{"HTTP/1.1 201 Created", "Content-Type: application/json", framing, "", ""}, "\r\n")
}

// chunk encodes text as one chunk, the empty text as none.
func chunk(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf("%x\r\n%s\r\n", len(text), text)
}

// reset closes a server's connection with a TCP reset.
func reset(t testing.TB, conn net.Conn) {
	t.Helper()
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if metered, ok := conn.(*meteredConn); ok {
		conn = metered.Conn
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		t.Errorf("a %T cannot be reset", conn)
		return
	}
	if err := errors.Join(tcp.SetLinger(0), tcp.Close()); err != nil {
		t.Error(err)
	}
}

func meteredDial(traffic *wires) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &meteredConn{conn, traffic.of(conn.LocalAddr()), false}, nil
	}
}

// switchProtocols answers with 101 and waits for the client to hang up.
func switchProtocols(t testing.TB, conn net.Conn) {
	t.Helper()
	_, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	err = errors.Join(err, conn.SetReadDeadline(time.Now().Add(3*time.Second)))
	if _, readErr := io.Copy(io.Discard, conn); err != nil || errors.Is(readErr, os.ErrDeadlineExceeded) {
		t.Errorf("%v; the client did not hang up: %v", err, readErr)
	}
}
