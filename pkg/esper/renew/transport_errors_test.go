package renew_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// openAt opens a source at server, with the server's key if the store is empty.
func openAt(t *testing.T, server *espertest.Server, store renew.Store, opts ...renew.Option) *renew.Source {
	t.Helper()
	opts = append([]renew.Option{renew.WithInitialToken(esper.NewSecret(server.Token()))}, opts...)
	source, err := renew.Open(t.Context(), server.URL, store, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	return source
}

type baseFunc func(*http.Request) (*http.Response, error)

func (f baseFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// quoting returns a transport to a server that sends the text, with the key in place of KEY, in place of a valid response.
// An error of net/http may quote that text.
func quoting(text string) http.RoundTripper {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
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
	server := espertest.NewServer(t)
	source := openAt(t, server, renew.Memory())
	own, hidden := errors.New("the base's own error"), errors.New("no error that a caller could compare with")
	says := func(cause error) http.RoundTripper {
		return baseFunc(func(r *http.Request) (*http.Response, error) { return nil, fmt.Errorf("sent %v: %w", r.Header, cause) })
	}
	refused := func(context.Context, string, string) (net.Conn, error) {
		return new(net.Dialer).Dial("tcp", "127.0.0.1:1")
	}
	for name, test := range map[string]struct {
		base http.RoundTripper
		want error // nil: a *net.OpError
	}{
		"an error of the base":     {baseFunc(func(*http.Request) (*http.Response, error) { return nil, own }), own},
		"an error with the key":    {says(own), hidden},
		"cancelled, with the key":  {says(context.Canceled), context.Canceled},
		"too late, with the key":   {says(context.DeadlineExceeded), context.DeadlineExceeded},
		"nobody listens":           {&http.Transport{DialContext: refused}, nil},
		"the answer is cut off":    {quoting("HTTP/1.1 200"), io.ErrUnexpectedEOF},
		"a header without a colon": {quoting("HTTP/1.1 200 OK\r\nKEY\r\n\r\n"), hidden},
		"not HTTP":                 {quoting("KEY\r\n\r\n"), hidden},
		"perhaps another key":      {quoting("HTTP/1.1 200 OK\r\nunknown-text\r\n\r\n"), hidden},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		resp, err := source.Transport(test.base).RoundTrip(deviceRequest(ctx, t, server))
		cancel()
		if err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s: no error", name)
			continue
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if text := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(text, server.Token()) {
				t.Errorf("%s shows the key: %s", name, text)
			}
		}
		network := (*net.OpError)(nil)
		switch {
		case errors.Is(test.want, hidden) && strings.HasPrefix(err.Error(), "renew: no usable answer"):
		case test.want == nil && errors.As(err, &network):
		case test.want == nil || !errors.Is(err, test.want):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// deviceRequest is a request for an endpoint that package esper has no method for.
func deviceRequest(ctx context.Context, t *testing.T, server *espertest.Server) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/v0/device/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// A caller's trace, of a request through Transport or of a renewal, is told everything but the key.
func TestTraceShowsNoKey(t *testing.T) {
	device := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Echo", r.Header.Get("Authorization")) })
	server := espertest.NewServer(t, espertest.WithHandler("/v0/device/", device))
	first, source := server.Token(), openAt(t, server, renew.Memory())
	var told strings.Builder
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GetConn:              func(hostPort string) { fmt.Fprintln(&told, "get", hostPort) },
		GotConn:              func(i httptrace.GotConnInfo) { fmt.Fprintln(&told, "got", i.Reused) },
		WroteHeaderField:     func(key string, value []string) { fmt.Fprintln(&told, "field", key, value) },
		WroteRequest:         func(i httptrace.WroteRequestInfo) { fmt.Fprintln(&told, "wrote", i.Err) },
		Got1xxResponse:       func(code int, h textproto.MIMEHeader) error { fmt.Fprintln(&told, code, h); return nil },
		GotFirstResponseByte: func() { fmt.Fprintln(&told, "first byte") },
	})
	base := new(http.Transport)
	defer base.CloseIdleConnections()
	resp, err := source.Transport(base).RoundTrip(deviceRequest(ctx, t, server))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Request.Header.Get("Authorization") != "" {
		t.Errorf("status %d, and the request of the response has the header %v, want no Authorization", resp.StatusCode, resp.Request.Header)
	}
	if err := source.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"get ", "field Authorization", "first byte"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("the trace is not told %q: %s", want, &told)
		}
	}
	for _, key := range []string{first, server.Token()} {
		if strings.Contains(told.String(), key) || strings.Contains(told.String(), url.QueryEscape(key)) {
			t.Errorf("the trace shows a key: %s", &told)
		}
	}
}
