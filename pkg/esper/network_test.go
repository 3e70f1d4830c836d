package esper_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// A Proxy function that logs what it is given logs no key.
func TestProxyFunctionSeesNoKey(t *testing.T) {
	p := newProbe(t, nil)
	var mu sync.Mutex
	calls := 0
	transport := &http.Transport{Proxy: func(req *http.Request) (*url.URL, error) {
		mu.Lock()
		defer mu.Unlock()
		calls++
		checkPrinting(t, "the proxy's request", req)
		checkPrinting(t, "its URL", req.URL.String())
		checkPrinting(t, "its context", req.Context())
		if len(req.Header) != 0 || req.URL.RawQuery != "" || req.URL.Host == "" || req.Host == "" {
			t.Errorf("%v %v %q", req.URL, req.Header, req.Host)
		}
		return nil, nil //nolint:nilnil // no proxy
	}}
	each(t, clientFor(t, p.URL, canary, esper.WithTransport(transport)), canary, func(t *testing.T, do func(context.Context) error) {
		if err := do(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if calls != 2 {
		t.Errorf("the Proxy function was called %d times, want 2", calls)
	}
}

// If a connection stops answering, one attempt times out. The next uses a new connection, in HTTP/1.1.
func TestTokenInfo_SilentConnection(t *testing.T) {
	var silent atomic.Bool
	p := unstartedProbe(func(w http.ResponseWriter, r *http.Request) {
		if silent.Load() && r.ProtoMajor == 2 {
			<-r.Context().Done()
			return
		}
		answerWell(w, r)
	})
	p.EnableHTTP2 = true
	p.StartTLS()
	t.Cleanup(p.Close)
	c := clientFor(t, p.URL, "key", esper.WithTransport(p.Client().Transport.(*http.Transport)), esper.WithTimeout(200*time.Millisecond), quickRetry(3))
	for _, silence := range []bool{false, true} {
		silent.Store(silence)
		if _, err := c.TokenInfo(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var protos []string
	for _, r := range p.arrivals() {
		protos = append(protos, r.Proto)
	}
	if got := strings.Join(protos, " "); got != "HTTP/2.0 HTTP/2.0 HTTP/1.1" {
		t.Errorf("the attempts came over %s", got)
	}
}

// A dialer of the caller may negotiate HTTP/2, before or after it returns. So may a dialer in the
// deprecated field DialTLS. A renewal is not sent there, because it is written in HTTP/1.1.
func TestRenewToken_OwnDialer(t *testing.T) {
	server := httptest.NewUnstartedServer(answer(201, "application/json", realRenewal))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	config := server.Client().Transport.(*http.Transport).TLSClientConfig
	for _, protocols := range [][]string{{"h2", "http/1.1"}, {"http/1.1"}} {
		own := config.Clone()
		own.NextProtos = protocols
		handshaken := func(_, addr string) (net.Conn, error) { return tls.Dial("tcp", addr, own) }
		lazy := func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return tls.Client(conn, own), nil
		}
		own.ServerName = "example.com"
		for name, transport := range map[string]*http.Transport{
			"DialTLS":                           {DialTLS: handshaken},
			"DialTLSContext, without handshake": {DialTLSContext: lazy},
		} {
			renewed, err := clientFor(t, server.URL, oldKey, esper.WithTransport(transport), quickRetry(2)).RenewToken(t.Context(), renewal(oldKey))
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

// A network error says in one line what went wrong and what to do. A request is sent only once if another
// attempt would fail in the same way.
func TestNetworkErrors(t *testing.T) {
	plain := newProbe(t, nil)
	secure := unstartedProbe(nil)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	named := secure.Client().Transport.(*http.Transport).Clone()
	named.TLSClientConfig.ServerName = "another.example"
	dns := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "foo-api.esper.cloud", IsNotFound: true}}
	}}
	refusal := newProbe(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) })
	proxied := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) {
		u, err := url.Parse(refusal.URL)
		u.User = url.UserPassword("me", "proxy-password-canary")
		return u, err
	}}
	badProxy := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return nil, errors.New("proxy-password-canary") }}
	badHeader := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		req = req.Clone(req.Context())
		req.Header["X-Bad"] = []string{"a\nb"}
		return next.RoundTrip(req)
	})
	long := rawServer(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 9<<20)+"\r\n\r\n")
	quoted := rawServer(t, "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n")
	for name, tc := range map[string]struct {
		environment string
		opt         esper.Option
		says        []string
		attempts    int32
	}{
		"no such host":      {"foo", esper.WithTransport(dns), []string{"no answer from foo-api.esper.cloud", "no such host", "check the tenant"}, 3},
		"refused":           {"http://127.0.0.1:1", nil, []string{"no answer from 127.0.0.1:1", "refused"}, 3},
		"unknown authority": {secure.URL, nil, []string{"unknown authority", "RootCAs"}, 1},
		"another name":      {secure.URL, esper.WithTransport(named), []string{"another.example", "check the base URL"}, 1},
		"http, not https":   {strings.Replace(plain.URL, "http:", "https:", 1), nil, []string{"speaks http, not https"}, 1},
		"proxy, 407":        {"foo", esper.WithTransport(proxied), []string{"the proxy " + strings.TrimPrefix(refusal.URL, "http://") + " answered CONNECT with 407", "a user name"}, 1},
		"proxy function":    {"foo", esper.WithTransport(badProxy), []string{"Proxy function failed", "HTTPS_PROXY"}, 1},
		"a bad header":      {plain.URL, badHeader, []string{"invalid header"}, 1},
		"a long header":     {long, nil, []string{"no answer from", "headers exceeded 65536 bytes"}, 3},
		"malformed":         {quoted, nil, []string{"no answer from", "malformed MIME header"}, 3},
	} {
		var attempts atomic.Int32
		count := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			attempts.Add(1)
			return next.RoundTrip(req)
		})
		_, err := clientFor(t, tc.environment, "made-up-key", count, tc.opt, quickRetry(3)).TokenInfo(t.Context())
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
		if n := attempts.Load(); n != tc.attempts || (n > 1) != strings.Contains(text, fmt.Sprintf("(%d attempts)", n)) {
			t.Errorf("%s: %d attempts, want %d: %s", name, n, tc.attempts, text)
		}
		if strings.ContainsAny(text, "\n\r") || len(text) > 600 || strings.Contains(text, "canary") {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// An error for an answer says what the server, or a proxy in front of it, answered, and what to do.
func TestAnswerErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		status     int
		header     []string
		body, says string
	}{
		"401 of the framework": {401, nil, `{"detail":"Authentication credentials were not provided."}`, "401 Unauthorized: Authentication credentials were not provided.; the key is wrong, belongs to another tenant, has expired or was replaced"},
		"403 of the framework": {403, nil, `{"detail":"You do not have permission to perform this action."}`, "403 Forbidden: You do not have permission to perform this action.; the key is unknown, or may not do this"},
		"403 of a firewall":    {403, nil, "<!DOCTYPE html>\n<html><head><title>Access\n &amp; Denied</title></head></html>", "403 Forbidden: Access & Denied; this is not Esper's refusal, but that of something in front of it"},
		"404 of today":         {404, nil, `{"errors":["detail: Not found."],"message":"detail: Not found. ","status":404}`, "404 Not Found: Not found.; check the tenant"},
		"a map of faults":      {400, nil, `{"access_token":["This field may not be blank."],"non_field_errors":["No."],"id":7}`, "400 Bad Request (access_token: This field may not be blank.; No.)"},
		"one sentence":         {400, nil, `{"access_token":"May not be blank.","id":"7"}`, "400 Bad Request (access_token: May not be blank.)"},
		"a list of details":    {422, nil, `{"detail":[{"loc":["query"],"msg":"field required"}]}`, "422 Unprocessable Entity (loc: query; msg: field required)"},
		"429 without a wait":   {429, nil, "", "429 Too Many Requests; wait a moment"},
		"of OAuth":             {400, nil, `{"error":"invalid_request","error_description":"no token"}`, "400 Bad Request (error: invalid_request; error_description: no token)"},
		"503 with a wait":      {503, []string{"Retry-After", "120"}, "", "503 Service Unavailable; wait 2m0s"},
		"502":                  {502, nil, "<html><title>502 Bad Gateway</title></html>", "502 Bad Gateway: 502 Bad Gateway; this is an HTML page"},
		"407":                  {407, nil, "", "407 Proxy Authentication Required; the proxy wants a user name and a password"},
		"echo":                 {400, nil, `{"message":"bad token made-up-key","errors":["no"]}`, "400 Bad Request: [withheld: the server's text repeats the key and is not shown] (no); a server that repeats the key most likely refuses the key itself"},
		"200, empty":           {200, nil, `{}`, "invalid response: the body has no id, or no enterprise (2 bytes)"},
		"200, no id":           {200, nil, `{"enterprise":"e"}`, "has no id, or no enterprise"},
		"200, no enterprise":   {200, nil, `{"id":1,"enterprise":null}`, "has no id, or no enterprise"},
		"200, an envelope":     {200, nil, `{"errors":[],"message":"Try later.","status":503}`, "has no id, or no enterprise; its message is: Try later."},
		"200, wrapped":         {200, nil, `{"code":200,"content":{"id":1,"enterprise":"e","token":"x"}}`, "has no id, or no enterprise"},
		"200, HTML":            {200, nil, "<html>Log in</html>", "perhaps the base URL leads to something else, or a login page stands in front"},
	} {
		p := newProbe(t, func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(tc.header); i += 2 {
				w.Header().Set(tc.header[i], tc.header[i+1])
			}
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, tc.body)
		})
		_, err := clientFor(t, p.URL, "made-up-key", esper.WithRetry(esper.Retry{MaxAttempts: 1})).TokenInfo(t.Context())
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v\nwant %s", name, err, tc.says)
		}
		if tc.status == 200 && !errors.Is(err, esper.ErrInvalidResponse) {
			t.Errorf("%s: %v is not ErrInvalidResponse", name, err)
		}
	}
}

// A middleware that sends the request itself, in place of calling the next, sends no key. The error for
// the 401 says so.
func TestMiddlewareThatDoesNotCallTheNext(t *testing.T) {
	p := knows(t, "made-up-key")
	astray := instead(&http.Transport{DisableKeepAlives: true})
	_, err := clientFor(t, p.URL, "made-up-key", astray).TokenInfo(t.Context())
	if !errors.Is(err, esper.ErrUnauthorized) || !strings.Contains(err.Error(), "has to call the next") || strings.Contains(err.Error(), "Esper Console") {
		t.Error(err)
	}
}

// For an http URL, a proxy that wants a password answers 407 in place of the server.
func TestProxyIsNamed(t *testing.T) {
	refusal := newProbe(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) })
	u, err := url.Parse(refusal.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, err = clientFor(t, "http://esper.test", "made-up-key", esper.WithInsecureHTTP(), esper.WithTransport(&http.Transport{Proxy: http.ProxyURL(u)})).TokenInfo(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the proxy wants a user name") {
		t.Error(err)
	}
}

// If a connection stops answering, one call times out. The next call uses a new connection.
func TestSilentConnectionIsGivenUp(t *testing.T) {
	var silent atomic.Bool
	var stuck sync.Map
	p := unstartedProbe(func(w http.ResponseWriter, r *http.Request) {
		if _, old := stuck.Load(r.RemoteAddr); old && silent.Load() {
			<-r.Context().Done()
			return
		}
		stuck.Store(r.RemoteAddr, true)
		answerWell(w, r)
	})
	p.EnableHTTP2 = true
	p.StartTLS()
	t.Cleanup(p.Close)
	c := clientFor(t, p.URL, "key", esper.WithTransport(p.Client().Transport.(*http.Transport)), esper.WithTimeout(time.Minute))
	if _, err := c.TokenInfo(t.Context()); err != nil {
		t.Fatal(err)
	}
	silent.Store(true)
	for _, want := range []error{context.DeadlineExceeded, nil} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if _, err := c.TokenInfo(ctx); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		cancel()
	}
}

// Both operations read a gzip body, whatever Content-Encoding says.
func TestContentEncodings(t *testing.T) {
	for _, label := range []string{"gzip", "x-gzip", "gzip, identity", "identity", "", "br"} {
		p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
			text, status := someInfo, 200
			if r.Method == http.MethodPost {
				text, status = realRenewal, 201
			}
			if label != "" {
				w.Header().Set("Content-Encoding", label)
			}
			w.WriteHeader(status)
			_, _ = w.Write(gzipped(t, []byte(text)))
		})
		c := clientFor(t, p.URL, oldKey)
		if _, err := c.TokenInfo(t.Context()); err != nil {
			t.Errorf("%q: TokenInfo: %v", label, err)
		}
		if _, err := c.RenewToken(t.Context(), renewal(oldKey)); err != nil {
			t.Errorf("%q: RenewToken: %v", label, err)
		}
	}
}
