package esper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

func TestRenewToken_OutcomeByStatus(t *testing.T) {
	for _, tt := range []struct {
		status  int
		outcome esper.Outcome
		is      error
	}{
		{300, esper.OutcomeUnknown, esper.ErrRedirect},
		{303, esper.OutcomeUnknown, esper.ErrRedirect},
		{400, esper.NotRenewed, esper.ErrBadRequest},
		{401, esper.NotRenewed, esper.ErrUnauthorized},
		{403, esper.NotRenewed, esper.ErrForbidden},
		{404, esper.NotRenewed, esper.ErrNotFound},
		{405, esper.NotRenewed, nil},
		{408, esper.OutcomeUnknown, nil},
		{500, esper.OutcomeUnknown, esper.ErrServer},
		{501, esper.OutcomeUnknown, esper.ErrServer},
		{502, esper.OutcomeUnknown, esper.ErrServer},
		{503, esper.OutcomeUnknown, esper.ErrServer},
		{504, esper.OutcomeUnknown, esper.ErrServer},
	} {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			// The body would be a key, were the status another.
			base, posts := counted(t, answer(tt.status, "application/json", realRenewal))
			renewed, err := newClient(t, base, quickRetry(4)).RenewToken(t.Context(), renewRequest())
			wantLost(t, renewed, err, tt.outcome, realRenewal)
			var api *esper.APIError
			if !errors.As(err, &api) || api.StatusCode != tt.status || api.Operation != "RenewToken" {
				t.Errorf("no APIError with %d in %v", tt.status, err)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
			wantCount(t, "POSTs", posts.Load(), 1)
		})
	}
}

func TestRenewToken_RateLimited(t *testing.T) {
	t.Run("once", func(t *testing.T) {
		var n atomic.Int32
		base, posts := counted(t, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 1 {
				answer(429, "text/plain", "slow down")(w, r)
				return
			}
			answer(201, "application/json", realRenewal)(w, r)
		})
		renewed, err := newClient(t, base, quickRetry(4)).RenewToken(t.Context(), renewRequest())
		wantRenewed(t, renewed, err)
		wantCount(t, "POSTs", posts.Load(), 2)
	})
	t.Run("for ever", func(t *testing.T) {
		base, posts := counted(t, answer(429, "text/plain", "slow down"))
		renewed, err := newClient(t, base, quickRetry(3)).RenewToken(t.Context(), renewRequest())
		wantLost(t, renewed, err, esper.NotRenewed, "slow down")
		if !errors.Is(err, esper.ErrRateLimited) {
			t.Errorf("%v is not ErrRateLimited", err)
		}
		wantCount(t, "POSTs", posts.Load(), 3)
	})
}

// What happens on a connection after the request arrived says nothing about the request.
func TestRenewToken_UnknownAfterTheRequestArrived(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"closed":          func(net.Conn) {},
		"reset":           func(conn net.Conn) { reset(t, conn) },
		"garbage":         func(conn net.Conn) { _, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.6\r\n\r\n") },
		"cut in the head": func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 201 Created\r\nContent-") },
		"an endless head": func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 201 Created\r\nX: "+strings.Repeat("x", 11<<20))
		},
		"only an informational": func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\n\r\n") },
		"a switch of protocols": func(conn net.Conn) { switchProtocols(t, conn) },
	} {
		t.Run(name, func(t *testing.T) {
			base, posts := counted(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				serve(conn)
			})
			renewed, err := newClient(t, base, quickRetry(4)).RenewToken(t.Context(), renewRequest())
			wantLost(t, renewed, err, esper.OutcomeUnknown, "")
			wantCount(t, "POSTs", posts.Load(), 1)
		})
	}
}

func TestRenewToken_TimeoutBeforeTheStatusLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dialled atomic.Int32
		transport := pipeTransport(&dialled, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
		client := newClient(t, "http://127.0.0.1", esper.WithHTTPClient(&http.Client{Transport: transport}), esper.WithTimeout(time.Second))
		renewed, err := client.RenewToken(t.Context(), renewRequest())
		wantLost(t, renewed, err, esper.OutcomeUnknown, "")
		var timeout net.Error
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%v is no timeout", err)
		}
		wantCount(t, "connections", dialled.Load(), 1)
	})
}

func refuse() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}

func TestRenewToken_DialRefusedTwiceThenAServer(t *testing.T) {
	base, posts := counted(t, answer(201, "application/json", realRenewal))
	var dials, trips atomic.Int32
	plain := new(http.Transport)
	for name, transport := range map[string]http.RoundTripper{
		"http.Transport": &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials.Add(1) <= 2 {
				return nil, refuse()
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}},
		"another RoundTripper": stub(func(req *http.Request) (*http.Response, error) {
			if trips.Add(1) <= 2 {
				return nil, fmt.Errorf("wrapped: %w", refuse())
			}
			return plain.RoundTrip(req)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			posts.Store(0)
			client := newClient(t, base, esper.WithHTTPClient(&http.Client{Transport: transport}), quickRetry(4))
			renewed, err := client.RenewToken(t.Context(), renewRequest())
			wantRenewed(t, renewed, err)
			wantCount(t, "POSTs", posts.Load(), 1)
		})
	}
	wantCount(t, "dials", dials.Load(), 3)
	wantCount(t, "round trips", trips.Load(), 3)
}

// Without a connection nothing can have been renewed.
func TestRenewToken_NoConnection(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") }))
	t.Cleanup(secure.Close)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	proxy := func(status int) http.RoundTripper {
		base, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodConnect || r.Header.Get("Authorization") != "" || strings.Contains(r.RequestURI, oldKey) {
				t.Errorf("the proxy saw %s %s %v", r.Method, r.RequestURI, r.Header)
			}
			w.WriteHeader(status)
		})
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Transport{Proxy: http.ProxyURL(u)}
	}
	failing := func(err error) http.RoundTripper {
		return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, err }}
	}
	for name, transport := range map[string]http.RoundTripper{
		"dial":       failing(refuse()),
		"DNS":        failing(&net.DNSError{Err: "no such host", Name: "esper.test", IsNotFound: true}),
		"other DNS":  stub(func(*http.Request) (*http.Response, error) { return nil, &net.DNSError{Err: "no such host"} }),
		"TLS":        new(http.Transport),
		"CONNECT407": proxy(http.StatusProxyAuthRequired),
		"CONNECT502": proxy(http.StatusBadGateway),
	} {
		t.Run(name, func(t *testing.T) {
			var attempts atomic.Int32
			count := esper.WithMiddleware(func(next http.RoundTripper) http.RoundTripper {
				return stub(func(req *http.Request) (*http.Response, error) { attempts.Add(1); return next.RoundTrip(req) })
			})
			client := newClient(t, secure.URL, count, esper.WithHTTPClient(&http.Client{Transport: transport}), quickRetry(3))
			renewed, err := client.RenewToken(t.Context(), renewRequest())
			wantLost(t, renewed, err, esper.NotRenewed, "")
			wantCount(t, "attempts", attempts.Load(), 3)
		})
	}
}

// Only an *http.Transport tells whether a connection was made.
func TestRenewToken_AnotherRoundTripperFails(t *testing.T) {
	for name, cause := range map[string]error{
		"an error":  errors.New("boom"),
		"a read":    &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")},
		"the end":   io.ErrUnexpectedEOF,
		"a timeout": context.DeadlineExceeded,
	} {
		t.Run(name, func(t *testing.T) {
			var trips atomic.Int32
			failing := stub(func(*http.Request) (*http.Response, error) { trips.Add(1); return nil, cause })
			renewed, err := newClient(t, "foo", failing.option(), quickRetry(4)).RenewToken(t.Context(), renewRequest())
			wantLost(t, renewed, err, esper.OutcomeUnknown, "")
			if !errors.Is(err, cause) {
				t.Errorf("%v does not wrap its cause", err)
			}
			wantCount(t, "round trips", trips.Load(), 1)
		})
	}
}
