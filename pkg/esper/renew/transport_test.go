package renew

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/internal/origin"
)

// closing is a body that remembers whether it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// request makes a request for an endpoint that package esper has no method for.
func request(t *testing.T, method string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, stubBase+"/v1/device/?state=1", body)
	must(t, err)
	return req
}

// get sends such a request through the transport of source, closes the body of the answer, and returns its status.
func get(t *testing.T, source *Source, server *stub) (int, error) {
	t.Helper()
	resp, err := source.Transport(server).RoundTrip(request(t, http.MethodGet, nil))
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// A request through Transport has the key, and is sent as the caller made it otherwise. The caller's trace, also that
// of a renewal, is told everything but the key.
func TestTransportAuthenticates(t *testing.T) {
	server, _, source := fresh(t)
	var told strings.Builder
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GetConn:              func(hostPort string) { fmt.Fprintln(&told, "get", hostPort) },
		WroteHeaderField:     func(key string, value []string) { fmt.Fprintln(&told, "field", key, value) },
		GotFirstResponseByte: func() { fmt.Fprintln(&told, "first byte") },
	})
	req := request(t, http.MethodGet, nil).WithContext(ctx)
	req.Header["authorization"] = []string{"Bearer mine"} // net/http would send this field as well
	req.Header.Set("Authorization", "Bearer mine")
	var sent http.Header
	server.fault = func(c call) (*http.Response, error) { sent = c.Header; return c.act(), nil }
	resp, err := source.Transport(wired(t, server)).RoundTrip(req)
	if err != nil || resp.StatusCode != 200 || resp.Request != req {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	if len(sent) != 3 || len(sent["Authorization"]) != 1 || sent.Get("Authorization") != "Bearer "+stubFirst {
		t.Errorf("sent %v, want the key, and two fields of net/http", sent)
	}
	if req.Header.Get("Authorization") != "Bearer mine" || len(req.Header) != 2 {
		t.Errorf("the request was changed: %v", req.Header)
	}
	req.Header = nil
	if resp, err = source.Transport(server).RoundTrip(req); err != nil || resp.StatusCode != 200 || req.Header != nil {
		t.Error("a request without headers:", err)
	}
	must(t, source.Renew(ctx))
	for _, want := range []string{"get ", "field Authorization", "first byte"} {
		if strings.Count(told.String(), want) < 2 {
			t.Errorf("the trace is not told %q: %s", want, &told)
		}
	}
	if strings.Contains(told.String(), stubFirst) || strings.Contains(told.String(), "key-1") {
		t.Errorf("the trace shows a key: %s", &told)
	}
}

// Transport refuses a request if any part of its target differs from the source's server, also after a redirect.
func TestTransportKeepsTheKeyAtHome(t *testing.T) {
	server, _, source := fresh(t)
	for name, change := range map[string]func(r *http.Request){ // package esper tests origin.Check with more
		"host":   func(r *http.Request) { r.URL.Host = "evil.example" },
		"port":   func(r *http.Request) { r.URL.Host += ":8443" },
		"no URL": func(r *http.Request) { r.URL = nil },
	} {
		body := &closing{Reader: strings.NewReader("x")}
		req := request(t, http.MethodPost, body)
		change(req)
		if _, err := source.Transport(server).RoundTrip(req); !errors.Is(err, origin.ErrOther) || !body.closed || strings.Contains(err.Error(), stubFirst) {
			t.Errorf("%s: %v, body closed %v", name, err, body.closed)
		}
	}
	server.fault = only("other", fails(302, "Location", "https://evil.example/"))
	resp, err := (&http.Client{Transport: source.Transport(server)}).Do(request(t, http.MethodGet, nil))
	if !errors.Is(err, origin.ErrOther) || strings.Contains(err.Error(), stubFirst) {
		t.Error(err)
	}
	if resp != nil {
		_ = resp.Body.Close()
	}
	if n := server.counted("other"); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// After a 401, the request is sent again with the key that another process has stored, if it has no body or one that can be
// had again. If that process is still renewing the key, Transport waits for it.
func TestTransportAfterAnotherProcess(t *testing.T) {
	const once, waits, asked = "a body", "the other process is renewing", "it is renewing, and this one asked two seconds ago"
	for name, body := range map[string]io.Reader{
		"no body": nil, "http.NoBody": http.NoBody, waits: nil, asked: nil,
		"a body with GetBody": strings.NewReader("body"), once: struct{ io.Reader }{strings.NewReader("body")},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := fresh(t)
			questions := 1 // by Open
			if name == asked {
				server.fault = only("other", fails(401))
				_, _ = get(t, source, server)
				server.fault, questions = nil, 2
				time.Sleep(2 * time.Second)
			}
			begun, sent := time.Now(), server.counted("other")
			if name == waits || name == asked {
				d := stored(t, store)
				d.Attempt = begunAttempt(0)
				put(t, store, d)
				server.revoke("other")
				time.AfterFunc(10*time.Second, func() { replaced(t, server, store) })
			} else {
				replaced(t, server, store)
			}
			var bodies []string
			base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
				if req.Body != nil {
					text, _ := io.ReadAll(req.Body)
					bodies = append(bodies, string(text))
				}
				return server.RoundTrip(req)
			})
			want, requests := 200, 2
			if name == once {
				want, requests = 401, 1
			}
			resp, err := source.Transport(base).RoundTrip(request(t, http.MethodPost, body))
			twice := name != "a body with GetBody" || slices.Equal(bodies, []string{"body", "body"})
			if n := server.counted("other") - sent; err != nil || resp.StatusCode != want || n != requests || !twice || time.Since(begun) > 12*time.Second {
				t.Errorf("%s: %v %v after %v, %d requests with the bodies %q", name, resp, err, time.Since(begun), n, bodies)
			}
			status, err := get(t, source, server)
			if n := server.counted("info"); status != 200 || err != nil || name != waits && n != questions {
				t.Errorf("%s, again: %d %v; the server was asked about the key %d times, want %d", name, status, err, n, questions)
			}
		})
	}
}

// One endpoint answers 401 to every request, although the key works. The server is asked about the key every 30 seconds at
// most, and the store read every second, however many callers there are. They get the 401.
func TestTransportRefusalOfOneEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store, source := fresh(t, WithClientOptions(esper.WithRetry(esper.Retry{MaxAttempts: 1})))
		reads := store.counted("Load")
		server.fault = only("other", fails(401))
		for range 1000 { // ten minutes
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() {
					if status, err := get(t, source, server); status != 401 || err != nil {
						t.Error(status, err)
					}
				})
			}
			all.Wait()
			time.Sleep(600 * time.Millisecond)
		}
		if n, reads := server.counted("info")-1, store.counted("Load")-reads; n != 20 || server.counted("other") != 10_000 || reads > 620 {
			t.Errorf("in ten minutes of 401s: %d checks, want 20; %d requests, want 10,000; %d reads, want one a second at most", n, server.counted("other"), reads)
		}
		wantKey(t, source, stubFirst)
		// TokenInfo does not answer: the caller gets the 401, or the error of its context if that ends first.
		server.fault = func(c call) (*http.Response, error) {
			if c.op == "info" {
				return silent(c)
			}
			return reply(401, ""), nil
		}
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := source.Transport(server).RoundTrip(request(t, http.MethodGet, nil).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if status, err := get(t, source, server); status != 401 || err != nil {
			t.Error(status, err)
		}
	})
}

// answering returns a transport to a server that sends the text, with the key in place of KEY. An error of net/http may
// quote that text.
func answering(text string) http.RoundTripper {
	return &http.Transport{DisableKeepAlives: true, DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			if req, err := http.ReadRequest(bufio.NewReader(server)); err == nil {
				_, _ = io.WriteString(server, strings.ReplaceAll(text, "KEY", req.Header.Get("Authorization")))
			}
			_ = server.Close()
		}()
		return client, nil
	}}
}

// An error of Transport keeps its kind, and shows no key, even if the base or the server puts the key into it.
func TestTransportErrors(t *testing.T) {
	_, _, source := fresh(t)
	own, hidden := errors.New("the base's own error"), errors.New("no error that a caller could compare with")
	quotes := func(cause error) http.RoundTripper {
		return roundTripFunc(func(r *http.Request) (*http.Response, error) { return nil, fmt.Errorf("sent %v: %w", r.Header, cause) })
	}
	refused := func(context.Context, string, string) (net.Conn, error) {
		return new(net.Dialer).Dial("tcp", "127.0.0.1:1")
	}
	for name, test := range map[string]struct {
		base http.RoundTripper
		want error // nil: a *net.OpError
	}{
		"an error of the base":     {roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, own }), own},
		"an error with the key":    {quotes(own), hidden},
		"cancelled, with the key":  {quotes(context.Canceled), context.Canceled},
		"too late, with the key":   {quotes(context.DeadlineExceeded), context.DeadlineExceeded},
		"nobody listens":           {&http.Transport{DialContext: refused}, nil},
		"the answer is cut off":    {answering("HTTP/1.1 200"), io.ErrUnexpectedEOF},
		"a header without a colon": {answering("HTTP/1.1 200 OK\r\nKEY\r\n\r\n"), hidden},
		"not HTTP":                 {answering("KEY\r\n\r\n"), hidden},
		"perhaps another key":      {answering("HTTP/1.1 200 OK\r\nunknown-text\r\n\r\n"), hidden},
	} {
		resp, err := source.Transport(test.base).RoundTrip(request(t, http.MethodGet, nil))
		if err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s: no error", name)
			continue
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if text := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(text, stubFirst) {
				t.Errorf("%s shows the key: %s", name, text)
			}
		}
		op := (*net.OpError)(nil)
		switch {
		case errors.Is(test.want, hidden) && strings.HasPrefix(err.Error(), "renew: no usable answer"):
		case test.want == nil && errors.As(err, &op):
		case test.want == nil || !errors.Is(err, test.want):
			t.Errorf("%s: %v", name, err)
		}
	}
}
