package esper_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// tunnel is a proxy that connects to any server. It reports how a client ends its side of a connection.
func tunnel(t *testing.T, ended chan<- error) func(*http.Request) (*url.URL, error) {
	p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
		far, err := new(net.Dialer).DialContext(r.Context(), "tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer far.Close()
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer near.Close()
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(near, far) }()
		_, err = io.Copy(far, near)
		ended <- err
	})
	return proxyURL(t, p.URL)
}

func proxyURL(t *testing.T, address string) func(*http.Request) (*url.URL, error) {
	return http.ProxyURL(parsed(t, address))
}

// Both operations reach a server with a CA of its own that asks for client certificates, directly, through a proxy,
// and with dialers of the caller's. A hundred renewals bring their answer on each way. A renewal that is given up ends
// with RST: a kernel sends RST in place of FIN if SO_LINGER is 0, and then has forgotten what it had still to send.
//
// A dialer of the caller's may negotiate HTTP/2, before or after it returns. A renewal is not sent there, because it is
// written in HTTP/1.1.
func TestWaysToTheServer(t *testing.T) {
	giveUp := make(chan func(net.Conn), 1) // gets the connection of a renewal in place of an answer
	handler := func(w http.ResponseWriter, r *http.Request) {
		select {
		case end := <-giveUp:
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if encrypted, ok := conn.(*tls.Conn); ok {
				conn = encrypted.NetConn()
			}
			end(conn)
		default:
			answerWell(w, r)
		}
	}
	strict := unstartedProbe(handler)
	strict.EnableHTTP2 = true
	// Without session tickets: a client that has not read one would end its connection with RST anyway.
	strict.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true}
	strict.StartTLS()
	t.Cleanup(strict.Close)
	config := func(protocols ...string) *tls.Config {
		own := strict.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		own.Certificates, own.ServerName, own.NextProtos = strict.TLS.Certificates, "example.com", protocols
		return own
	}
	dialer := func(how string, protocols ...string) *http.Transport {
		dial := (&tls.Dialer{Config: config(protocols...)}).DialContext
		switch how {
		case "DialTLS":
			old := func(network, address string) (net.Conn, error) { return dial(context.Background(), network, address) }
			return &http.Transport{DialTLS: old} //nolint:staticcheck // deprecated, and in use
		case "no handshake":
			dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				return tls.Client(conn, config(protocols...)), err
			}
		}
		return &http.Transport{DialTLSContext: dial}
	}
	type way struct {
		base      string
		transport *http.Transport
		http2     bool
	}
	plain, through := newProbe(t, handler), make(chan error, 1)
	ways := map[string]way{
		"as it is":    {plain.URL, nil, false},
		"Dial":        {plain.URL, &http.Transport{Dial: net.Dial}, false}, //nolint:staticcheck // deprecated, and in use
		"DialContext": {plain.URL, &http.Transport{DialContext: new(net.Dialer).DialContext}, false},
		"TLS":         {strict.URL, &http.Transport{TLSClientConfig: config()}, false},
		"CONNECT":     {strict.URL, &http.Transport{TLSClientConfig: config(), Proxy: tunnel(t, through)}, false},
	}
	for _, how := range []string{"DialTLS", "DialTLSContext", "no handshake"} {
		ways[how] = way{strict.URL, dialer(how, "http/1.1"), false}
		ways[how+", HTTP/2"] = way{strict.URL, dialer(how, "h2", "http/1.1"), true}
	}
	for name, tc := range ways {
		t.Run(name, func(t *testing.T) {
			c := clientFor(t, tc.base, "key", esper.WithTransport(tc.transport), quickRetry(2))
			if tc.http2 {
				strict.count.Store(0)
				renewed, err := c.RenewToken(t.Context(), renewal(oldKey))
				wantLost(t, renewed, err, esper.OutcomeNotRenewed, "")
				if wantCount(t, "POSTs", strict.count.Load(), 0); !strings.Contains(err.Error(), "negotiated HTTP/2") {
					t.Error(err)
				}
				return
			}
			if _, err := c.TokenInfo(t.Context()); err != nil {
				t.Error(err)
			}
			for range 100 {
				if renewed, err := c.RenewToken(t.Context(), renewal("key")); err != nil || renewed.Token.Reveal() != "new-token" {
					t.Fatal(err)
				}
				if name == "CONNECT" { // how these end does not matter
					<-through
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1) // gets nil for FIN
			giveUp <- func(conn net.Conn) {
				cancel()
				_, err := io.Copy(io.Discard, conn)
				ended <- err
			}
			if _, err := c.RenewToken(ctx, renewal("key")); !errors.Is(err, context.Canceled) {
				t.Errorf("given up: %v", err)
			}
			end := <-ended
			if name == "CONNECT" { // the server heard the proxy's end
				end = <-through
			}
			if end == nil {
				t.Error("the connection ended with FIN, want RST")
			}
		})
	}
}

// If an HTTP/2 connection stops answering, one attempt times out, of this call or of the one before. The next uses a
// new connection, in HTTP/1.1.
func TestSilentConnectionIsGivenUp(t *testing.T) {
	for name, limit := range map[string]time.Duration{
		// Each attempt that is not served over a new connection within the limit, because the machine is busy, is repeated.
		"the same call": 200 * time.Millisecond,
		"the next call": time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			var stuck sync.Map
			var silent atomic.Bool
			var unanswered atomic.Int32
			arrived := make(chan struct{}, 100)
			p, transport := secureProbe(t, func(w http.ResponseWriter, r *http.Request) {
				if _, old := stuck.LoadOrStore(r.RemoteAddr, true); old && silent.Load() {
					unanswered.Add(1)
					arrived <- struct{}{}
					<-r.Context().Done() // the client gives up
					return
				}
				answerWell(w, r)
			})
			c := clientFor(t, p.URL, "key", esper.WithTransport(transport), esper.WithTimeout(limit), quickRetry(100))
			if _, err := c.TokenInfo(t.Context()); err != nil {
				t.Fatal(err)
			}
			silent.Store(true)
			if limit == time.Hour {
				ctx, end := context.WithCancelCause(t.Context())
				go func() { <-arrived; end(context.DeadlineExceeded) }()
				if _, err := c.TokenInfo(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v, want DeadlineExceeded", err)
				}
			}
			if _, err := c.TokenInfo(t.Context()); err != nil {
				t.Error(err)
			}
			if n := unanswered.Load(); n > 1 {
				t.Errorf("the silent connection was used %d times", n)
			}
		})
	}
}

// A network error says in one line what went wrong and what to do. A request is sent only once if another attempt
// would fail in the same way. Without a connection nothing was renewed, and a proxy gets no key.
func TestNetworkErrors(t *testing.T) {
	plain := newProbe(t, nil)
	secure, trusting := secureProbe(t, nil)
	named := trusting.Clone()
	named.TLSClientConfig.ServerName, named.HTTP2 = "another.example", &http.HTTP2Config{PingTimeout: time.Hour}
	failing := func(err error) *http.Transport {
		return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, err }}
	}
	missing := &net.OpError{
		Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "foo-api.esper.cloud", IsNotFound: true},
	}
	proxy := func(status int) *http.Transport {
		p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
			shown := r.Header.Get("Authorization") != "" || strings.Contains(r.RequestURI, oldKey)
			if r.Method == http.MethodConnect && shown {
				t.Errorf("the proxy saw %s %s %v", r.Method, r.RequestURI, r.Header)
			}
			w.WriteHeader(status)
		})
		return &http.Transport{Proxy: proxyURL(t, strings.Replace(p.URL, "//", "//me:proxy-password-canary@", 1))}
	}
	noProxy, broken, ftp := failing(missing), failing(nil), failing(nil)
	ftp.Proxy = proxyURL(t, "ftp://proxy.invalid")
	noProxy.Proxy = proxyURL(t, "http://proxy.invalid:3128")
	broken.Proxy = func(*http.Request) (*url.URL, error) { return nil, errors.New("canary") }
	badHeader := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		req = req.Clone(req.Context())
		req.Header["X-Bad"] = []string{"a\nb"}
		return next.RoundTrip(req)
	})
	oldTLS := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}
	on, boom := esper.WithTransport, errors.New("boom")
	long := piped(saying("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 9<<20) + "\r\n\r\n"))
	malformed := piped(saying("HTTP/1.1 200 OK\r\nno colon here\r\n\r\n"))
	for name, tc := range map[string]struct {
		environment string
		opt         esper.Option
		says        string // in parts
		attempts    int32  // of TokenInfo
		sent        bool   // a renewal may have arrived
	}{
		"no such host":      {"foo", on(failing(missing)), "foo-api.esper.cloud|no such host|check the tenant", 3, false},
		"refused":           {"http://127.0.0.1:1", nil, "no answer from 127.0.0.1:1|refused", 3, false},
		"own dialer":        {"foo", on(failing(boom)), "dial tcp: boom", 3, false},
		"unknown authority": {secure.URL, nil, "unknown authority|RootCAs", 1, false},
		"another name":      {secure.URL, on(named), "another.example|check the base URL", 1, false},
		"too old a TLS":     {secure.URL, on(oldTLS), "protocol version|no way to speak TLS", 1, false},
		"http, not https":   {strings.Replace(plain.URL, "http:", "https:", 1), nil, "speaks http, not https", 1, false},
		"proxy, 407":        {"foo", on(proxy(407)), "the proxy 127.0.0.1:|answered CONNECT with 407|a user name", 1, false},
		"proxy, 502":        {"foo", on(proxy(502)), "answered CONNECT with 502", 3, false},
		"proxy, 403":        {"foo", on(proxy(403)), "it does not allow this host", 1, false},
		"proxy, a bad URL":  {"foo", on(ftp), "the proxy's URL has no host, or none of the schemes", 1, false},
		"proxy, no TLS":     {"http://esper.test", on(proxy(407)), "the proxy wants a user name", 1, false},
		"proxy, no name":    {"foo", on(noProxy), "the proxy, not Esper, cannot be reached", 3, false},
		"proxy function":    {"foo", on(broken), "Proxy function failed|HTTPS_PROXY", 1, false},
		"a bad header":      {plain.URL, badHeader, "invalid header", 1, false},
		"a long header":     {memory, long, "no answer from|headers exceeded 65536 bytes", 3, true},
		"malformed":         {memory, malformed, "no answer from|malformed MIME header", 3, true},
	} {
		var attempts atomic.Int32
		c := clientFor(t, tc.environment, oldKey, counting(&attempts), tc.opt, quickRetry(3), esper.WithInsecureHTTP())
		each(t, c, oldKey, func(t *testing.T, do func(context.Context) error) {
			attempts.Store(0)
			err := do(t.Context())
			if err == nil {
				t.Errorf("%s: no error", name)
				return
			}
			if name == "own dialer" && !errors.Is(err, boom) {
				t.Errorf("%v does not wrap the dialer's error", err)
			}
			text, want, outcome := err.Error(), tc.attempts, esper.OutcomeNotRenewed
			got := outcomeOf(err)
			if got != noRenewal && tc.sent {
				want, outcome = 1, esper.OutcomeUnknown
			}
			if got != noRenewal && got != outcome {
				t.Errorf("%s: %v, want %v", name, got, outcome)
			}
			for part := range strings.SplitSeq(tc.says, "|") {
				if !strings.Contains(text, part) {
					t.Errorf("%s: %q does not say %q", name, text, part)
				}
			}
			n := attempts.Load()
			if n != want || (n > 1) != strings.Contains(text, fmt.Sprintf("(%d attempts)", n)) {
				t.Errorf("%s: %d attempts, want %d: %s", name, n, want, text)
			}
			if strings.ContainsAny(text, "\n\r") || len(text) > 900 || strings.Contains(text, "canary") {
				t.Errorf("%s: %q", name, text)
			}
		})
	}
	wantCount(t, "requests that were served", plain.count.Load()+secure.count.Load(), 0)
}
