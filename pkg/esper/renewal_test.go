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
		{400, esper.OutcomeNotRenewed, esper.ErrBadRequest},
		{401, esper.OutcomeNotRenewed, esper.ErrUnauthorized},
		{403, esper.OutcomeNotRenewed, esper.ErrForbidden},
		{404, esper.OutcomeNotRenewed, esper.ErrNotFound},
		{405, esper.OutcomeNotRenewed, nil},
		{408, esper.OutcomeUnknown, nil},
		{500, esper.OutcomeUnknown, esper.ErrServer},
		{501, esper.OutcomeUnknown, esper.ErrServer},
		{502, esper.OutcomeUnknown, esper.ErrServer},
		{503, esper.OutcomeUnknown, esper.ErrServer},
		{504, esper.OutcomeUnknown, esper.ErrServer},
	} {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			// The body holds a key, which does not count because the status is not 2xx.
			body := strings.Replace(realRenewal, "{", `{"message": "no", "status": 1, `, 1)
			base, posts := counted(t, answer(tt.status, "application/json", body))
			renewed, err := clientFor(t, base, oldKey, quickRetry(4)).RenewToken(t.Context(), renewal(oldKey))
			wantLost(t, renewed, err, tt.outcome, body)
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
		renewed, err := clientFor(t, base, oldKey, quickRetry(4)).RenewToken(t.Context(), renewal(oldKey))
		wantRenewed(t, renewed, err)
		wantCount(t, "POSTs", posts.Load(), 2)
	})
	t.Run("for ever", func(t *testing.T) {
		base, posts := counted(t, answer(429, "text/plain", "slow down"))
		renewed, err := clientFor(t, base, oldKey, quickRetry(3)).RenewToken(t.Context(), renewal(oldKey))
		wantLost(t, renewed, err, esper.OutcomeNotRenewed, "slow down")
		if !errors.Is(err, esper.ErrRateLimited) {
			t.Errorf("%v is not ErrRateLimited", err)
		}
		wantCount(t, "POSTs", posts.Load(), 3)
	})
}

// If a connection fails after the request arrived, nobody knows whether the key was renewed.
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
			renewed, err := clientFor(t, base, oldKey, quickRetry(4)).RenewToken(t.Context(), renewal(oldKey))
			wantLost(t, renewed, err, esper.OutcomeUnknown, "")
			wantCount(t, "POSTs", posts.Load(), 1)
		})
	}
}

func TestRenewToken_TimeoutBeforeTheStatusLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dialled atomic.Int32
		transport := pipeTransport(&dialled, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
		client := clientFor(t, "http://127.0.0.1", oldKey, esper.WithTransport(transport), esper.WithTimeout(time.Second))
		renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
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
	refusing := esper.WithTransport(&http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) <= 2 {
			return nil, refuse()
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}})
	failing := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		if trips.Add(1) <= 2 {
			return nil, errors.New("not yet")
		}
		return next.RoundTrip(req)
	})
	for name, opt := range map[string]esper.Option{"dialer": refusing, "middleware": failing} {
		t.Run(name, func(t *testing.T) {
			posts.Store(0)
			renewed, err := clientFor(t, base, oldKey, opt, quickRetry(4)).RenewToken(t.Context(), renewal(oldKey))
			wantRenewed(t, renewed, err)
			wantCount(t, "POSTs", posts.Load(), 1)
		})
	}
	wantCount(t, "dials", dials.Load(), 3)
	wantCount(t, "round trips", trips.Load(), 3)
}

// Without a connection nothing was renewed. An error that another attempt cannot cure is not tried again.
func TestRenewToken_NoConnection(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") }))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	proxy := func(status int) *http.Transport {
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
	failing := func(err error) *http.Transport {
		return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, err }}
	}
	for name, tc := range map[string]struct {
		transport *http.Transport
		attempts  int32
	}{
		"dial":       {failing(refuse()), 3},
		"DNS":        {failing(&net.DNSError{Err: "no such host", Name: "esper.test", IsNotFound: true}), 3},
		"other DNS":  {failing(&net.DNSError{Err: "server misbehaving"}), 3},
		"TLS":        {new(http.Transport), 1},
		"CONNECT407": {proxy(http.StatusProxyAuthRequired), 1},
		"CONNECT502": {proxy(http.StatusBadGateway), 3},
	} {
		t.Run(name, func(t *testing.T) {
			var attempts atomic.Int32
			count := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
				attempts.Add(1)
				return next.RoundTrip(req)
			})
			client := clientFor(t, secure.URL, oldKey, count, esper.WithTransport(tc.transport), quickRetry(3))
			renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
			wantLost(t, renewed, err, esper.OutcomeNotRenewed, "")
			wantCount(t, "attempts", attempts.Load(), tc.attempts)
		})
	}
}

// A middleware that fails before it calls the next one has sent nothing.
func TestRenewToken_MiddlewareFailsFirst(t *testing.T) {
	for name, cause := range map[string]error{
		"an error":  errors.New("boom"),
		"a read":    &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")},
		"the end":   io.ErrUnexpectedEOF,
		"a timeout": context.DeadlineExceeded,
	} {
		t.Run(name, func(t *testing.T) {
			var trips atomic.Int32
			failing := roundTripFunc(func(*http.Request) (*http.Response, error) { trips.Add(1); return nil, cause })
			renewed, err := clientFor(t, "foo", oldKey, failing.option(), quickRetry(4)).RenewToken(t.Context(), renewal(oldKey))
			wantLost(t, renewed, err, esper.OutcomeNotRenewed, "")
			if !errors.Is(err, cause) {
				t.Errorf("%v does not wrap its cause", err)
			}
			wantCount(t, "round trips", trips.Load(), 4)
		})
	}
}
