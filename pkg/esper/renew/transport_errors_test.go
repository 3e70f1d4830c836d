package renew_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

type baseFunc func(*http.Request) (*http.Response, error)

func (f baseFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// quoting listens, and sends the text that answer makes of the Authorization header in place of a valid response. An
// error of net/http may quote that text.
func quoting(t *testing.T, answer func(authorization string) string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.WriteString(conn, answer(req.Header.Get("Authorization")))
			}
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

// An error of Transport keeps its kind, and shows no key, even if the base or the server puts the key into it.
func TestTransportErrors(t *testing.T) {
	server := espertest.NewServer(t)
	source, err := renew.Open(t.Context(), server.URL, renew.Memory(), renew.WithInitialToken(esper.NewSecret(server.Token())))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = source.Close() }()
	own := errors.New("the base's own error")
	to := func(address string) http.RoundTripper { // a network in which the server is at another address
		return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}}
	}
	for name, test := range map[string]struct {
		base    http.RoundTripper
		want    error // nil: no error that a caller could compare with
		network bool  // the error is a *net.OpError
	}{
		"an error of the base":  {base: baseFunc(func(*http.Request) (*http.Response, error) { return nil, own }), want: own},
		"an error with the key": {base: baseFunc(func(r *http.Request) (*http.Response, error) { return nil, fmt.Errorf("sent %v", r.Header) })},
		"cancelled, with the key": {base: baseFunc(func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("%v: %w", r.Header, context.Canceled)
		}), want: context.Canceled},
		"too late, with the key": {base: baseFunc(func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("%v: %w", r.Header, context.DeadlineExceeded)
		}), want: context.DeadlineExceeded},
		"nobody listens":           {base: to("127.0.0.1:1"), network: true},
		"the answer is cut off":    {base: to(quoting(t, func(string) string { return "HTTP/1.1 200" })), want: io.ErrUnexpectedEOF},
		"a header without a colon": {base: to(quoting(t, func(key string) string { return "HTTP/1.1 200 OK\r\n" + key + "\r\n\r\n" }))},
		"not HTTP":                 {base: to(quoting(t, func(key string) string { return key + "\r\n\r\n" }))},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/v0/device/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := source.Transport(test.base).RoundTrip(req)
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
		var network *net.OpError
		switch {
		case test.network != errors.As(err, &network), !errors.Is(err, test.want) && test.want != nil:
			t.Errorf("%s: %v", name, err)
		case !test.network && test.want == nil && !strings.HasPrefix(err.Error(), "renew: no usable answer"):
			t.Errorf("%s: %v", name, err)
		}
	}
}
