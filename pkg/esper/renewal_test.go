package esper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

func TestRenewToken_OutcomeByStatus(t *testing.T) {
	for status, tc := range map[int]struct {
		outcome esper.Outcome
		is      error // if any
		posts   int32
	}{
		300: {esper.OutcomeUnknown, esper.ErrRedirect, 1},
		303: {esper.OutcomeUnknown, esper.ErrRedirect, 1},
		400: {esper.OutcomeNotRenewed, esper.ErrBadRequest, 1},
		401: {esper.OutcomeNotRenewed, esper.ErrUnauthorized, 1},
		403: {esper.OutcomeNotRenewed, esper.ErrForbidden, 1},
		404: {esper.OutcomeNotRenewed, esper.ErrNotFound, 1},
		405: {esper.OutcomeNotRenewed, nil, 1},
		408: {esper.OutcomeUnknown, nil, 1},
		429: {esper.OutcomeNotRenewed, esper.ErrRateLimited, 3},
		500: {esper.OutcomeUnknown, esper.ErrServer, 1},
		502: {esper.OutcomeUnknown, esper.ErrServer, 1},
		503: {esper.OutcomeUnknown, esper.ErrServer, 1},
		504: {esper.OutcomeUnknown, esper.ErrServer, 1},
	} {
		// The body holds a key, which does not count because the status is not 2xx.
		body := strings.Replace(realRenewal, "{", `{"message": "no", "status": 1, `, 1)
		p := newProbe(t, answer(status, "application/json", body))
		renewed, err := clientFor(t, p.URL, oldKey, quickRetry(3)).RenewToken(t.Context(), renewal(oldKey))
		wantLost(t, renewed, err, tc.outcome, body)
		var api *esper.APIError
		if !errors.As(err, &api) || api.StatusCode != status || api.Operation != "RenewToken" {
			t.Errorf("no APIError with %d in %v", status, err)
		}
		if tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%v is not %v", err, tc.is)
		}
		wantCount(t, fmt.Sprint(status, ": POSTs"), p.count.Load(), tc.posts)
	}
}

// If a connection fails after the request arrived, nobody knows whether the key was renewed.
func TestRenewToken_UnknownAfterTheRequestArrived(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"closed": saying(""),
		"reset": func(conn net.Conn) {
			if err := errors.Join(conn.(*net.TCPConn).SetLinger(0), conn.Close()); err != nil {
				t.Error(err)
			}
		},
		"garbage":               saying("SSH-2.0-OpenSSH_9.6\r\n\r\n"),
		"cut in the head":       saying("HTTP/1.1 201 Created\r\nContent-"),
		"an endless head":       saying("HTTP/1.1 201 Created\r\nX: " + strings.Repeat("x", 11<<20)),
		"only an informational": saying("HTTP/1.1 103 Early Hints\r\n\r\n"),
		"a switch of protocols": switchProtocols,
	} {
		t.Run(name, func(t *testing.T) {
			var posts atomic.Int32
			base := rawServer(t, func(conn net.Conn) { posts.Add(1); serve(conn) })
			renewed, err := clientFor(t, base, oldKey, quickRetry(4)).RenewToken(t.Context(), renewal(oldKey))
			wantLost(t, renewed, err, esper.OutcomeUnknown, "")
			wantCount(t, "POSTs", posts.Load(), 1)
		})
	}
}

// switchProtocols answers with 101 and waits for the client to hang up.
func switchProtocols(conn net.Conn) {
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	_, _ = io.Copy(io.Discard, conn)
}

// Without a connection nothing was renewed. An error that another attempt cannot cure is not tried again.
func TestRenewToken_NoConnection(t *testing.T) {
	secure, trusting := secureProbe(t, nil)
	proxy := func(status int) *http.Transport {
		p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodConnect || r.Header.Get("Authorization") != "" || strings.Contains(r.RequestURI, oldKey) {
				t.Errorf("the proxy saw %s %s %v", r.Method, r.RequestURI, r.Header)
			}
			w.WriteHeader(status)
		})
		u, err := url.Parse(p.URL)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Transport{Proxy: http.ProxyURL(u)}
	}
	failing := func(err error) *http.Transport {
		return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, err }}
	}
	var dials atomic.Int32
	twice := trusting.Clone()
	twice.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) <= 2 {
			return nil, errRefused
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	for name, tc := range map[string]struct {
		transport *http.Transport
		attempts  int32
	}{
		"dial":       {failing(errRefused), 3},
		"DNS":        {failing(&net.DNSError{Err: "no such host", Name: "esper.test", IsNotFound: true}), 3},
		"TLS":        {new(http.Transport), 1},
		"CONNECT407": {proxy(http.StatusProxyAuthRequired), 1},
		"CONNECT502": {proxy(http.StatusBadGateway), 3},
		"twice":      {twice, 3},
	} {
		var attempts atomic.Int32
		client := clientFor(t, secure.URL, oldKey, counting(&attempts), esper.WithTransport(tc.transport), quickRetry(3))
		renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
		wantCount(t, name+": attempts", attempts.Load(), tc.attempts)
		if name != "twice" {
			wantLost(t, renewed, err, esper.OutcomeNotRenewed, "")
		} else if err != nil {
			t.Errorf("refused twice, then a server: %v", err)
		}
	}
	wantCount(t, "POSTs", secure.count.Load(), 1)
}

// HTTP/2 sends a request again by itself, and so does HTTP/1.1 over a connection that was kept. In both cases nobody
// could tell whether the first one arrived. So a renewal uses a new HTTP/1.1 connection.
func TestRenewToken_NeverOnAUsedConnection(t *testing.T) {
	p, transport := secureProbe(t, nil)
	c := clientFor(t, p.URL, "key", esper.WithTransport(transport), esper.WithMiddleware(meddler))
	addresses := make(map[string]bool)
	for range 3 {
		each(t, c, "key", func(t *testing.T, do func(context.Context) error) {
			if err := do(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, r := range p.arrivals() {
		switch used := addresses[r.RemoteAddr]; {
		case r.Method == http.MethodGet && r.Proto != "HTTP/2.0":
			t.Errorf("TokenInfo came over %s, want HTTP/2.0", r.Proto)
		case r.Method == http.MethodPost && (r.Proto != "HTTP/1.1" || used || r.Header.Get("Connection") != "close"):
			t.Errorf("RenewToken came over %s, Connection: %q, used before: %v", r.Proto, r.Header.Get("Connection"), used)
		}
		addresses[r.RemoteAddr] = true
	}
	if len(p.arrivals()) != 6 || len(addresses) != 4 {
		t.Errorf("%d requests over %d connections, want 6 over 4", len(p.arrivals()), len(addresses))
	}
	if protos := transport.TLSClientConfig.NextProtos; !slices.Contains(protos, "h2") || transport.DisableKeepAlives {
		t.Errorf("WithTransport's transport was changed: %v", protos)
	}
}

// A cancelled call sends nothing, and whenever a call ends later, its outcome is known as far as it can be. A key
// that has arrived is returned all the same.
func TestRenewToken_EndOfTheContext(t *testing.T) {
	for name, tc := range map[string]struct {
		arrived, body string // what the server sends before it waits
		end           error
		outcome       esper.Outcome
		posts         int32
	}{
		"cancelled before":    {"", "", context.Canceled, esper.OutcomeNotRenewed, 0},
		"late before":         {"", "", context.DeadlineExceeded, esper.OutcomeNotRenewed, 0},
		"cancelled, no reply": {"", "", context.Canceled, esper.OutcomeUnknown, 1},
		"late, no reply":      {"", "", context.DeadlineExceeded, esper.OutcomeUnknown, 1},
		"cancelled, one byte": {head(300) + "{", "{", context.Canceled, esper.OutcomeUnreadable, 1},
		"cancelled, the key":  {head(300) + `{"token": "` + newKey + `"`, "", context.Canceled, -1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var posts atomic.Int32
				transport := pipeTransport(func(conn net.Conn) {
					posts.Add(1)
					_, _ = io.WriteString(conn, tc.arrived)
					_, _ = io.Copy(io.Discard, conn)
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				after := time.Duration(tc.posts) * time.Second
				if errors.Is(tc.end, context.DeadlineExceeded) {
					ctx, cancel = context.WithTimeout(ctx, after)
					defer cancel()
				} else if time.AfterFunc(after, cancel); after == 0 {
					cancel()
				}
				client := clientFor(t, memory, oldKey, esper.WithTransport(transport), quickRetry(4))
				renewed, err := client.RenewToken(ctx, renewal(oldKey))
				if wantCount(t, "POSTs", posts.Load(), tc.posts); tc.outcome < 0 {
					wantRenewed(t, renewed, err)
					return
				}
				if wantLost(t, renewed, err, tc.outcome, tc.body); !errors.Is(err, tc.end) {
					t.Errorf("%v is not %v", err, tc.end)
				}
			})
		})
	}
}

// net/http lets a dial go on for a later request. No later request uses a renewal's connection, so the dial ends.
func TestRenewToken_EndsItsDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int32
		hang := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			ended.Add(1)
			return nil, ctx.Err()
		}}
		client := clientFor(t, "foo", oldKey, esper.WithTransport(hang), esper.WithTimeout(time.Second), quickRetry(2))
		renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
		wantLost(t, renewed, err, esper.OutcomeNotRenewed, "")
		synctest.Wait()
		wantCount(t, "dials that ended", ended.Load(), 2)
	})
}
