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

// tunnel is a proxy that connects to any server.
func tunnel(t *testing.T) *url.URL {
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
		go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
		_, _ = io.Copy(near, far)
	})
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Both operations reach a server with a CA of its own that asks for client certificates, directly, through a proxy,
// and with dialers of the caller's. A hundred renewals bring their answer on each way.
func TestWaysToTheServer(t *testing.T) {
	server := unstartedProbe(nil)
	server.StartTLS()
	t.Cleanup(server.Close)
	trusted := server.Client().Transport.(*http.Transport).TLSClientConfig
	strict := unstartedProbe(nil)
	strict.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	strict.StartTLS()
	t.Cleanup(strict.Close)
	config := trusted.Clone()
	config.Certificates, config.ServerName = server.TLS.Certificates, "example.com"
	plain := new(net.Dialer).DialContext
	for name, tc := range map[string]struct {
		base      string
		transport *http.Transport
	}{
		"own CA":             {server.URL, &http.Transport{TLSClientConfig: trusted}},
		"client certificate": {strict.URL, &http.Transport{TLSClientConfig: config}},
		"CONNECT":            {strict.URL, &http.Transport{TLSClientConfig: config, Proxy: http.ProxyURL(tunnel(t))}},
		"DialContext":        {strict.URL, &http.Transport{TLSClientConfig: config, DialContext: plain}},
		"DialTLSContext":     {strict.URL, &http.Transport{DialTLSContext: (&tls.Dialer{Config: config}).DialContext}},
	} {
		c := clientFor(t, tc.base, "key", esper.WithTransport(tc.transport), quickRetry(1))
		if _, err := c.TokenInfo(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for range 100 {
			if renewed, err := c.RenewToken(t.Context(), renewal("key")); err != nil || renewed.Token.Reveal() != "new-token" {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

// A Proxy function that logs what it is given logs no key.
func TestProxyFunctionSeesNoKey(t *testing.T) {
	p := newProbe(t, nil)
	var calls atomic.Int32
	transport := &http.Transport{Proxy: func(req *http.Request) (*url.URL, error) {
		calls.Add(1)
		checkPrinting(t, "the proxy's request", req)
		checkPrinting(t, "its URL", req.URL.String())
		checkPrinting(t, "its context", req.Context())
		if len(req.Header) != 0 || req.URL.RawQuery != "" || req.URL.Host == "" || req.Host == "" {
			t.Errorf("%v %v %q", req.URL, req.Header, req.Host)
		}
		return nil, nil //nolint:nilnil // no proxy
	}}
	c := clientFor(t, p.URL, canary, esper.WithTransport(transport))
	each(t, c, canary, func(t *testing.T, do func(context.Context) error) {
		if err := do(t.Context()); err != nil {
			t.Error(err)
		}
	})
	wantCount(t, "calls of the Proxy function", calls.Load(), 2)
}

// If an HTTP/2 connection stops answering, one attempt times out, of this call or of the one before. The next uses a
// new connection, in HTTP/1.1.
func TestSilentConnectionIsGivenUp(t *testing.T) {
	var stuck sync.Map
	var silent atomic.Bool
	arrived := make(chan struct{}, 100)
	p, transport := secureProbe(t, func(w http.ResponseWriter, r *http.Request) {
		if _, old := stuck.LoadOrStore(r.RemoteAddr, true); old && silent.Load() {
			arrived <- struct{}{}
			untilTheEnd(w, r)
			return
		}
		answerWell(w, r)
	})
	for _, tc := range []struct {
		name  string
		limit time.Duration
		first func(c *esper.Client) error
	}{
		{"the next call", time.Hour, func(c *esper.Client) error {
			ctx, end := context.WithCancelCause(t.Context())
			go func() { <-arrived; end(context.DeadlineExceeded) }()
			if _, err := c.TokenInfo(ctx); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("%w, want DeadlineExceeded", err)
			}
			_, err := c.TokenInfo(t.Context())
			return err
		}},
		// Each attempt that is not served over a new connection within the limit, because the machine is busy, is repeated.
		// So more than one may arrive: nothing may wait for an arrival after this.
		{"the same call", 200 * time.Millisecond, func(c *esper.Client) error {
			_, err := c.TokenInfo(t.Context())
			return err
		}},
	} {
		silent.Store(false)
		c := clientFor(t, p.URL, "key", esper.WithTransport(transport), esper.WithTimeout(tc.limit), quickRetry(100))
		if _, err := c.TokenInfo(t.Context()); err != nil {
			t.Fatal(err)
		}
		silent.Store(true)
		begun := len(p.arrivals())
		if err := tc.first(c); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		for i, r := range p.arrivals()[begun:] {
			if i > 0 && r.ProtoMajor == 2 {
				t.Errorf("%s: the silent connection was used again", tc.name)
			}
		}
	}
}

// A dialer of the caller's may negotiate HTTP/2, before or after it returns. A renewal is not sent there, because it
// is written in HTTP/1.1.
func TestRenewToken_OwnDialer(t *testing.T) {
	p, trusting := secureProbe(t, answer(201, "application/json", realRenewal))
	for _, protocols := range [][]string{{"h2", "http/1.1"}, {"http/1.1"}} {
		own := trusting.TLSClientConfig.Clone()
		own.NextProtos, own.ServerName = protocols, "example.com"
		lazy := func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return tls.Client(conn, own), nil
		}
		for name, transport := range map[string]*http.Transport{
			"DialTLS":        {DialTLS: func(_, addr string) (net.Conn, error) { return tls.Dial("tcp", addr, own) }},
			"DialTLSContext": {DialTLSContext: (&tls.Dialer{Config: own}).DialContext},
			"no handshake":   {DialTLSContext: lazy},
		} {
			p.count.Store(0)
			c := clientFor(t, p.URL, oldKey, esper.WithTransport(transport), quickRetry(2))
			renewed, err := c.RenewToken(t.Context(), renewal(oldKey))
			wantCount(t, name+": POSTs", p.count.Load(), int32(2-len(protocols)))
			if len(protocols) == 1 {
				wantRenewed(t, renewed, err)
				continue
			}
			wantLost(t, renewed, err, esper.OutcomeNotRenewed, "")
			if !strings.Contains(err.Error(), "negotiated HTTP/2") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A network error says in one line what went wrong and what to do. A request is sent only once if another attempt
// would fail in the same way.
func TestNetworkErrors(t *testing.T) {
	plain := newProbe(t, nil)
	secure, trusting := secureProbe(t, nil)
	named := trusting.Clone()
	named.TLSClientConfig.ServerName = "another.example"
	missing := &net.DNSError{Err: "no such host", Name: "foo-api.esper.cloud", IsNotFound: true}
	dns := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: missing}
	}}
	refusing, err := url.Parse(newProbe(t, answer(http.StatusProxyAuthRequired, "", "")).URL)
	if err != nil {
		t.Fatal(err)
	}
	through := func(u *url.URL, err error) *http.Transport {
		return &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return u, err }}
	}
	password := *refusing
	password.User = url.UserPassword("me", "proxy-password-canary")
	noProxy := through(&url.URL{Scheme: "http", Host: "proxy.invalid:3128"}, nil)
	noProxy.DialContext = dns.DialContext
	badHeader := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		req = req.Clone(req.Context())
		req.Header["X-Bad"] = []string{"a\nb"}
		return next.RoundTrip(req)
	})
	long := rawServer(t, saying("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 9<<20)+"\r\n\r\n"))
	quoted := rawServer(t, saying("HTTP/1.1 200 OK\r\nno colon here\r\n\r\n"))
	on := esper.WithTransport
	for name, tc := range map[string]struct {
		environment string
		opt         esper.Option
		says        []string
		attempts    int32
	}{
		"no such host":      {"foo", on(dns), []string{"no answer from foo-api.esper.cloud", "no such host", "check the tenant"}, 3},
		"refused":           {"http://127.0.0.1:1", nil, []string{"no answer from 127.0.0.1:1", "refused"}, 3},
		"unknown authority": {secure.URL, nil, []string{"unknown authority", "RootCAs"}, 1},
		"another name":      {secure.URL, on(named), []string{"another.example", "check the base URL"}, 1},
		"http, not https":   {strings.Replace(plain.URL, "http:", "https:", 1), nil, []string{"speaks http, not https"}, 1},
		"proxy, 407":        {"foo", on(through(&password, nil)), []string{refusing.Host + " answered CONNECT with 407", "a user name"}, 1},
		"proxy, no TLS":     {"http://esper.test", on(through(&password, nil)), []string{"the proxy wants a user name"}, 1},
		"proxy, no name":    {"foo", on(noProxy), []string{"this is the name of the proxy, not of Esper"}, 3},
		"proxy function":    {"foo", on(through(nil, errors.New("canary"))), []string{"Proxy function failed", "HTTPS_PROXY"}, 1},
		"a bad header":      {plain.URL, badHeader, []string{"invalid header"}, 1},
		"a long header":     {long, nil, []string{"no answer from", "headers exceeded 65536 bytes"}, 3},
		"malformed":         {quoted, nil, []string{"no answer from", "malformed MIME header"}, 3},
	} {
		var attempts atomic.Int32
		c := clientFor(t, tc.environment, "made-up-key", counting(&attempts), tc.opt, quickRetry(3), esper.WithInsecureHTTP())
		_, err := c.TokenInfo(t.Context())
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		text := err.Error()
		for _, part := range tc.says {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q does not say %q", name, text, part)
			}
		}
		n := attempts.Load()
		if n != tc.attempts || (n > 1) != strings.Contains(text, fmt.Sprintf("(%d attempts)", n)) {
			t.Errorf("%s: %d attempts, want %d: %s", name, n, tc.attempts, text)
		}
		if strings.ContainsAny(text, "\n\r") || len(text) > 600 || strings.Contains(text, "canary") {
			t.Errorf("%s: %q", name, text)
		}
	}
}
