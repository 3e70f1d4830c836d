package esper_test

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper"
)

// Made-up ids and keys, the keys of the length that real ones have.
const (
	enterpriseID   = "f44373cb-1800-43c6-aab3-c81f8b1f435c"
	developerAppID = "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"
	tokenID        = "0d3f8d3a-6f0f-4b8e-9d55-3a4c1b0f7e21"
	oldKey         = "OldMadeUpKey" + "OldMadeUpKey" + "OldM01"
	newKey         = "NewMadeUpKey" + "NewMadeUpKey" + "NewM02"
)

const (
	// goodAnswer is one to each call.
	goodAnswer = `{"id":"570","enterprise":"e","token":"` + newKey + `","personal_access_tokens":[]}`
	// refusal has Esper's envelope. Its key does not count, because the status is not 2xx.
	refusal = `{"errors":["no"],"message":"no","status":403,"token":"` + newKey + `"}`
	// realRenewal is a renewal's answer as the server sends it.
	realRenewal = `{"id": 571, "user": "bindya", "enterprise": "Esper [` + enterpriseID + `]",` +
		` "developerapp": "DeveloperApp object (` + developerAppID + `)", "token": "` + newKey + `",` +
		` "expires_at": "2023-07-03T04:29:53.906020Z", "scope": "read write update introspection sdk register",` +
		` "created_on": "2023-04-04T04:29:53.906020Z", "updated_on": "2023-04-05T04:29:53.906020Z"}`
)

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// roundTrip is a middleware of one function.
type roundTrip = func(req *http.Request, next http.RoundTripper) (*http.Response, error)

func around(f roundTrip) esper.Option {
	return esper.WithMiddleware(func(next http.RoundTripper) http.RoundTripper {
		return roundTripFunc(func(req *http.Request) (*http.Response, error) { return f(req, next) })
	})
}

// counting counts the round trips, those that send nothing too.
func counting(n *atomic.Int32) esper.Option {
	return around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		n.Add(1)
		return next.RoundTrip(req)
	})
}

func clientFor(t testing.TB, environment, key string, opts ...esper.Option) *esper.Client {
	t.Helper()
	return clientOf(t, environment, esper.APIKey(key), opts...)
}

func clientOf(t testing.TB, environment string, source oauth2.TokenSource, opts ...esper.Option) *esper.Client {
	t.Helper()
	c, err := esper.New(environment, source, opts...)
	must(t, err)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// quickRetry waits next to nothing between attempts.
func quickRetry(attempts int) esper.Option {
	return esper.WithRetry(esper.Retry{MaxAttempts: attempts, MinWait: time.Millisecond, MaxWait: 5 * time.Millisecond})
}

func renewal(key string) esper.RenewRequest {
	return esper.RenewRequest{
		EnterpriseID: enterpriseID, DeveloperAppID: developerAppID, AccessToken: esper.NewSecret(key),
	}
}

// operation is a call of a client. Do returns the new key beside the result, if there is one.
type operation struct {
	name string
	line string // that the log shows, of method and path; "" if the call is not logged
	do   func(ctx context.Context) (result any, key esper.Secret, err error)
}

func (op operation) renews() bool { return strings.HasPrefix(op.name, "Renew") }

// operations are those of c. RenewToken renews key.
func operations(c *esper.Client, key string) []operation {
	const tokens = "/authn2/v0/personal-access-token/"
	const path = "/v0/enterprise/{enterprise_id}/developerapp/{developerapp_id}/renew-token/"
	return []operation{
		{"TokenInfo", "GET /v1/token-info/", func(ctx context.Context) (any, esper.Secret, error) {
			info, err := c.TokenInfo(ctx)
			return info, esper.Secret{}, err
		}},
		{"RenewToken", "POST " + path, func(ctx context.Context) (any, esper.Secret, error) {
			renewed, err := c.RenewToken(ctx, renewal(key))
			return renewed, cmp.Or(renewed, &esper.RenewedToken{}).Token, err
		}},
		{"RenewPersonalAccessToken", "PUT " + tokens + "{id}", func(ctx context.Context) (any, esper.Secret, error) {
			renewed, err := c.RenewPersonalAccessToken(ctx, tokenID, -1)
			return renewed, cmp.Or(renewed, &esper.PersonalAccessToken{}).Token, err
		}},
		{"ListPersonalAccessTokens", "GET " + tokens, func(ctx context.Context) (any, esper.Secret, error) {
			list, err := c.ListPersonalAccessTokens(ctx)
			return list, esper.Secret{}, err
		}},
		{"Generated().GetTokenInfo", "", func(ctx context.Context) (any, esper.Secret, error) {
			return readAll(c.Generated().GetTokenInfo(ctx))
		}},
		{"Generated().RenewToken", "", func(ctx context.Context) (any, esper.Secret, error) {
			params := &gen.RenewTokenParams{AccessToken: key}
			return readAll(c.Generated().RenewToken(ctx, enterpriseID, developerAppID, params))
		}},
	}
}

func readAll(resp *http.Response, err error) (any, esper.Secret, error) {
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	return resp, esper.Secret{}, err
}

// renewedKey is the outcome of a renewal that brings a key, and noRenewal that of another call.
const renewedKey, noRenewal esper.Outcome = -1, -2

func outcomeOf(err error) esper.Outcome {
	if failed, ok := errors.AsType[*esper.RenewalError](err); ok {
		return failed.Outcome
	} else if err != nil {
		return noRenewal
	}
	return renewedKey
}

// meanings are what an error says of its outcome.
var meanings = map[string]string{
	"OutcomeNotRenewed": "nothing was renewed", "OutcomeUnknown": "do not repeat the renewal",
	"OutcomeUnreadable": "keep RenewalError.Body", "Outcome(-1)": "<nil>",
}

// wantOutcome checks that a renewal brought newKey, or an error that says what it means for the key, keeps body and
// does not show the new key.
func wantOutcome(t testing.TB, what string, key esper.Secret, err error, outcome esper.Outcome, body string) {
	t.Helper()
	failed, text := new(esper.RenewalError), fmt.Sprintf("%v %+v %#v %q", err, err, err, err)
	switch got := outcomeOf(err); {
	case got != outcome, (got == renewedKey) != (key.Reveal() == newKey), got != renewedKey && !key.IsZero():
		t.Errorf("%s: %q, %v; want %v", what, key.Reveal(), err, outcome)
	case errors.As(err, &failed) && (failed.Err == nil || string(failed.Body) != body):
		t.Errorf("%s: kept %d bytes %.60q, want %d bytes %.60q", what, len(failed.Body), failed.Body, len(body), body)
	case strings.Contains(text, newKey), !strings.Contains(text, cmp.Or(meanings[outcome.String()], "no meaning")):
		t.Errorf("%s: %s shows the new key, or does not say what %v means", what, text, outcome)
	}
}

func parsed(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	return u
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// says returns a middleware's own answer of one text.
func says(status int, text string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(text))}, nil
}

// probe is a server that keeps the requests that arrive.
type probe struct {
	*httptest.Server
	dialled atomic.Int32 // connections
	mu      sync.Mutex
	seen    []*http.Request
}

// newProbe starts a server that answers with answer, or with goodAnswer if answer is nil. With a config it speaks TLS
// and HTTP/2.
func newProbe(t testing.TB, answer http.HandlerFunc, config ...*tls.Config) *probe {
	t.Helper()
	if answer == nil {
		answer = answers(200, "application/json", goodAnswer)
	}
	p := &probe{}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		p.seen = append(p.seen, r.Clone(context.Background()))
		p.seen[len(p.seen)-1].Body = io.NopCloser(bytes.NewReader(body))
		p.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(p.Close)
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			p.dialled.Add(1)
		}
	}
	if len(config) == 0 {
		p.Start()
		return p
	}
	p.EnableHTTP2, p.TLS = true, config[0]
	p.StartTLS()
	return p
}

// transport is one that trusts the server.
func (p *probe) transport() *http.Transport { return p.Client().Transport.(*http.Transport) }

func (p *probe) arrivals() []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// memory is the base URL of a server in memory. A request to bubble takes no time.
const memory, bubble = "http://127.0.0.1", memory + "/base%20path/api/"

// piped connects to serve in memory, so that a testing/synctest bubble holds both ends. Serve gets each connection
// after a request was read from it.
func piped(serve func(conn net.Conn)) esper.Option {
	return pipedLate(0, func(conn net.Conn, _ *http.Request) { serve(conn) })
}

// pipedLate is piped, but the first dials fail, and serve gets the request too.
func pipedLate(failing int32, serve func(conn net.Conn, r *http.Request)) esper.Option {
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
				serve(far, r)
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

func answers(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{contentType}[:min(1, len(contentType))] // none, or net/http would guess
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := io.WriteString(w, text)
	must(t, errors.Join(err, w.Close()))
	return out.String()
}
