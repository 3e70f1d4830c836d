package esper_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-go/esper-go/pkg/esper"
)

// lingering notes that SO_LINGER was set to 0: then the kernel of a process that ends sends nothing more. Package
// faults shows that with real networks.
type lingering struct {
	net.Conn
	dropping *atomic.Bool
}

func (l lingering) SetLinger(sec int) error { l.dropping.Store(sec == 0); return nil }

// All operations reach a server with a CA of its own that asks for client certificates, also with dialers of the
// caller's. What a renewal has not sent yet is dropped when it ends. Package faults has a proxy in between.
//
// A dialer of the caller's may negotiate HTTP/2, before or after it returns. A renewal is not sent there, because it is
// written in HTTP/1.1.
func TestWaysToTheServer(t *testing.T) {
	plain, strict := newProbe(t, nil), newProbe(t, nil, &tls.Config{ClientAuth: tls.RequireAnyClientCert})
	config := func(protocols ...string) *tls.Config {
		own := strict.transport().TLSClientConfig.Clone()
		own.Certificates, own.ServerName, own.NextProtos = strict.TLS.Certificates, "example.com", protocols
		return own
	}
	var dropping atomic.Bool
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return lingering{conn, &dropping}, err
	}
	old := func(network, address string) (net.Conn, error) { return dial(context.Background(), network, address) }
	over := func(server *probe, transport *http.Transport) situation {
		return situation{environment: server.URL, opts: []esper.Option{esper.WithTransport(transport)}}
	}
	ways := map[string]situation{
		"Dial":        over(plain, &http.Transport{Dial: old}), //nolint:staticcheck // deprecated, and in use
		"DialContext": over(plain, &http.Transport{DialContext: dial}),
		"TLS":         over(strict, &http.Transport{DialContext: dial, TLSClientConfig: config()}),
	}
	for name, protocols := range map[string][]string{"": {"http/1.1"}, ", HTTP/2": {"h2", "http/1.1"}} {
		unshaken := func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return tls.Client(conn, config(protocols...)), err
		}
		shaken := func(network, address string) (net.Conn, error) {
			conn, err := unshaken(context.Background(), network, address)
			return conn, errors.Join(err, conn.(*tls.Conn).HandshakeContext(context.Background()))
		}
		ways["DialTLSContext"+name] = over(strict, &http.Transport{DialTLSContext: unshaken})
		ways["DialTLS"+name] = over(strict, &http.Transport{DialTLS: shaken}) //nolint:staticcheck // as Dial
	}
	for name, s := range ways {
		if strings.HasSuffix(name, "HTTP/2") {
			s.outcome, s.says = esper.OutcomeNotRenewed, "negotiated HTTP/2"
		} else {
			s.outcome, s.status, s.tries = renewedKey, 200, 1
		}
		dropping.Store(false)
		s.check(t, name)
		equal(t, name+": SO_LINGER is 0", dropping.Load() || s.outcome != renewedKey, true)
	}
}

// talker is a connection whose error holds the key, as that of a wrapper for debugging may.
type talker struct{ net.Conn }

func (talker) Read([]byte) (int, error) { return 0, errors.New("cannot read " + canary) }

// A network error says in one line what went wrong and what to do, and shows no key. A request is sent only once if
// another attempt would fail in the same way. Without a connection nothing was renewed, and a proxy gets no key.
func TestNetworkErrors(t *testing.T) {
	plain, silent := newProbe(t, nil), newProbe(t, abort).URL
	secure := newProbe(t, nil, new(tls.Config))
	named := secure.transport().Clone()
	named.TLSClientConfig.ServerName, named.HTTP2 = "another.example", &http.HTTP2Config{PingTimeout: time.Hour}
	failing := func(err error) *http.Transport {
		return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, err }}
	}
	missing := &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "foo-api.esper.cloud"}}
	proxy := func(status int) *http.Transport {
		p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodConnect {
				checkPrinting(t, "the request to the proxy", r)
			}
			w.WriteHeader(status)
		})
		address := strings.Replace(p.URL, "//", "//me:proxy-password-canary@", 1)
		return &http.Transport{Proxy: http.ProxyURL(parsed(t, address))}
	}
	noProxy, broken, ftp := failing(missing), failing(nil), failing(nil)
	ftp.Proxy = http.ProxyURL(parsed(t, "ftp://proxy.invalid"))
	noProxy.Proxy = http.ProxyURL(parsed(t, "http://proxy.invalid:3128"))
	broken.Proxy = func(*http.Request) (*url.URL, error) { return nil, errors.New("canary") }
	choose := func(req *http.Request) (*url.URL, error) { // may log what it is given
		checkPrinting(t, "the request that a proxy is chosen for", []any{req, req.URL.String(), req.Context()})
		if len(req.Header) != 0 || req.URL.RawQuery != "" || req.URL.Host == "" || req.Host == "" {
			t.Errorf("%v %v %q", req.URL, req.Header, req.Host)
		}
		return nil, nil //nolint:nilnil // no proxy
	}
	talking := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return talker{conn}, err
	}
	badHeader := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		req = req.Clone(req.Context())
		req.Header["X-Bad"] = []string{"a\nb"}
		return next.RoundTrip(req)
	})
	oldTLS := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}
	const unsent, unknown = esper.OutcomeNotRenewed, esper.OutcomeUnknown
	on, boom := esper.WithTransport, errors.New("boom")
	for name, tc := range map[string]struct {
		environment string
		opt         esper.Option
		says        string
		tries       int32
		outcome     esper.Outcome
	}{
		"no such host":      {"foo", on(failing(missing)), "foo-api.esper.cloud|no such host|check the tenant", 3, unsent},
		"own dialer":        {"foo", on(failing(boom)), "dial tcp: boom", 3, unsent},
		"unknown authority": {secure.URL, nil, "unknown authority|RootCAs", 1, unsent},
		"another name":      {secure.URL, on(named), "another.example|check the base URL", 1, unsent},
		"too old a TLS":     {secure.URL, on(oldTLS), "protocol version|no way to speak TLS", 1, unsent},
		"http, not https":   {strings.Replace(plain.URL, "http:", "https:", 1), nil, "speaks http, not https", 1, unsent},
		"proxy, 407":        {"foo", on(proxy(407)), "the proxy 127.0.0.1:|answered CONNECT with 407|a user name", 1, unsent},
		"proxy, 403":        {"foo", on(proxy(403)), "it does not allow this host", 1, unsent},
		"proxy, a bad URL":  {"foo", on(ftp), "the proxy's URL has no host, or none of the schemes", 1, unsent},
		"proxy, no name":    {"foo", on(noProxy), "the proxy, not Esper, cannot be reached", 3, unsent},
		"proxy function":    {"foo", on(broken), "Proxy function failed|HTTPS_PROXY", 1, unsent},
		"a bad header":      {plain.URL, badHeader, "invalid header", 1, unsent},
		"no answer":         {silent, on(&http.Transport{Proxy: choose}), "no answer from|EOF", 3, unknown},
		"an error with key": {silent, on(&http.Transport{DialContext: talking}), "no answer from", 3, unknown},
	} {
		situation{
			environment: tc.environment, opts: []esper.Option{tc.opt}, is: map[string]error{"own dialer": boom}[name],
			says: tc.says, tries: tc.tries, outcome: tc.outcome,
		}.check(t, name)
	}
	equal(t, "requests that were served", len(plain.arrivals())+len(secure.arrivals()), 0)
}

// Many callers share the connections, and so do calls whose answer is an error, unless it is too large to be read.
// CloseIdleConnections closes them.
func TestConnectionsAreKept(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for name, tc := range map[string]struct {
		handler           http.HandlerFunc
		transport         *http.Transport
		callers, calls    int32
		fewest, mostDials int32 // net/http dials more connections than there are callers
	}{
		"many callers":   {nil, nil, 64, 6400, 1, 140},
		"an error":       {answers(404, "application/json", `{"message": "no"}`), nil, 1, 5, 1, 1},
		"a large error":  {answers(404, "text/html", strings.Repeat("x", mebibyte/2)), new(http.Transport), 1, 5, 1, 1},
		"an empty error": {answers(401, "", ""), nil, 1, 5, 1, 1},
		"too large":      {answers(200, "text/html", strings.Repeat("x", 2*mebibyte)), nil, 1, 5, 5, 5},
	} {
		p := newProbe(t, tc.handler)
		c := clientFor(t, p.URL, "key", quickRetry(1), esper.WithTransport(tc.transport), counting(new(atomic.Int32)))
		var next atomic.Int32
		var wg sync.WaitGroup
		for range tc.callers {
			wg.Go(func() {
				for next.Add(1) <= tc.calls {
					_, err := c.TokenInfo(t.Context())
					equal(t, name+": succeeds", err == nil, tc.handler == nil)
				}
			})
		}
		wg.Wait()
		equal(t, name+": requests", int32(len(p.arrivals())), tc.calls)
		if n := p.dialled.Load(); n < tc.fewest || n > tc.mostDials {
			t.Errorf("%s: %d calls by %d callers dialled %d connections", name, tc.calls, tc.callers, n)
		}
		before := p.dialled.Load()
		c.CloseIdleConnections() // the client remains usable, and dials anew
		_, _ = c.TokenInfo(t.Context())
		equal(t, name+": connections afterwards", p.dialled.Load(), before+1)
		c.CloseIdleConnections()
		p.Close()
	}
}

const mebibyte = 1 << 20

// lean fails the test if call, the server's part of it included, allocates 8 MiB or more, however large the answer is.
func lean(t *testing.T, call func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	equal(t, "it allocates less than 8 MiB", after.TotalAlloc-before.TotalAlloc < 8*mebibyte, true)
}

// Of an answer without an end, or a gzip bomb, one mebibyte is read and kept, whether it holds the key or a refusal. An
// answer of exactly one mebibyte is not too large.
func TestBody_Huge(t *testing.T) {
	tooLarge := esper.ErrResponseTooLarge
	for _, zipped := range []bool{false, true} {
		for begin, s := range map[string]situation{
			`{"id": 571, "pad": "`:                 {status: 201, is: tooLarge, outcome: esper.OutcomeUnreadable},
			`{"token": "` + newKey + `", "pad": "`: {status: 201, is: tooLarge, outcome: renewedKey},
			`{"message": "no"}`:                    {status: 400, is: esper.ErrBadRequest, outcome: esper.OutcomeNotRenewed},
		} {
			sent, more := begin, strings.Repeat(" ", mebibyte)
			if zipped {
				sent, more = gzipped(t, sent), gzipped(t, more) // members of one stream
			}
			rest := []byte(more) // allocated beforehand, so that lean does not count it
			s.serve = func(conn net.Conn) {
				_, err := fmt.Fprintf(conn, "HTTP/1.1 %d Huge\r\n\r\n%s", s.status, sent)
				for n := 0; n < 256 && err == nil; n++ {
					_, err = conn.Write(rest)
				}
			}
			s.tries, s.body = 1, begin+strings.Repeat(" ", mebibyte-len(begin))
			s.check(t, begin)
		}
	}
	full := clientFor(t, memory, oldKey, piped(saying(raw(200, strings.Repeat("x", mebibyte)))))
	_, _, err := readAll(full.Generated().GetTokenInfo(t.Context()))
	must(t, err)
}
