package renew_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// everythingTraced returns a context with a trace that writes what it is told to told.
func everythingTraced(ctx context.Context, told *strings.Builder) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:              func(hostPort string) { fmt.Fprintln(told, "get", hostPort) },
		GotConn:              func(i httptrace.GotConnInfo) { fmt.Fprintln(told, "got", i.Reused) },
		WroteHeaderField:     func(key string, value []string) { fmt.Fprintln(told, "field", key, value) },
		WroteRequest:         func(i httptrace.WroteRequestInfo) { fmt.Fprintln(told, "wrote", i.Err) },
		Got1xxResponse:       func(code int, h textproto.MIMEHeader) error { fmt.Fprintln(told, code, h); return nil },
		GotFirstResponseByte: func() { fmt.Fprintln(told, "first byte") },
	})
}

// A caller's trace, of a request through Transport or of a renewal, is told everything but the key.
func TestTraceShowsNoKey(t *testing.T) {
	device := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusOK)
	})
	server := espertest.NewServer(t, espertest.WithHandler("/v0/device/", device))
	first := server.Token()
	source, err := renew.Open(t.Context(), server.URL, renew.Memory(), renew.WithInitialToken(esper.NewSecret(first)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = source.Close() }()
	var told strings.Builder
	ctx := everythingTraced(t.Context(), &told)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/v0/device/", nil)
	if err != nil {
		t.Fatal(err)
	}
	base := new(http.Transport)
	defer base.CloseIdleConnections()
	resp, err := source.Transport(base).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Request.Header.Get("Authorization") != "" {
		t.Errorf("status %d, and the request of the response has the header %v, want no Authorization", resp.StatusCode, resp.Request.Header)
	}
	for _, want := range []string{"get ", "field Authorization", "first byte"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("the trace is not told %q: %s", want, &told)
		}
	}
	if err := source.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{first, server.Token()} {
		if strings.Contains(told.String(), key) || strings.Contains(told.String(), url.QueryEscape(key)) {
			t.Errorf("the trace shows a key: %s", &told)
		}
	}
}
