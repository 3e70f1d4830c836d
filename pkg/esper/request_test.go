package esper_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

const (
	enterpriseID   = "f44373cb-1800-43c6-aab3-c81f8b1f435c"
	developerAppID = "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"
	infoAnswer     = `{"id":"570","enterprise":"f44373cb-1800-43c6-aab3-c81f8b1f435c","token":"info-token"}`
	renewalAnswer  = `{"id":571,"enterprise":"Esper [f44373cb-1800-43c6-aab3-c81f8b1f435c]","token":"new-token"}`
)

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// arrival is a request as a server saw it.
type arrival struct {
	*http.Request
	body string
}

// probe is a server that keeps what arrives.
type probe struct {
	*httptest.Server
	mu   sync.Mutex
	seen []arrival
}

// newProbe starts a server that answers with answer, or as a well Esper server if that is nil.
func newProbe(t *testing.T, answer http.HandlerFunc) *probe {
	p := unstartedProbe(answer)
	p.Start()
	t.Cleanup(p.Close)
	return p
}

func unstartedProbe(answer http.HandlerFunc) *probe {
	if answer == nil {
		answer = answerWell
	}
	p := &probe{}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		p.seen = append(p.seen, arrival{r.Clone(context.Background()), string(body)})
		p.mu.Unlock()
		answer(w, r)
	}))
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	return p
}

func answerWell(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, renewalAnswer)
		return
	}
	_, _ = io.WriteString(w, infoAnswer)
}

func (p *probe) arrivals() []arrival {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// only returns the one request that arrived.
func (p *probe) only(t *testing.T) arrival {
	t.Helper()
	seen := p.arrivals()
	if len(seen) != 1 {
		t.Fatalf("%d requests arrived, want 1", len(seen))
	}
	return seen[0]
}

func clientFor(t *testing.T, environment, key string, opts ...esper.Option) *esper.Client {
	t.Helper()
	c, err := esper.New(environment, esper.APIKey(key), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func renewal(key string) esper.RenewRequest {
	return esper.RenewRequest{EnterpriseID: enterpriseID, DeveloperAppID: developerAppID, AccessToken: esper.NewSecret(key)}
}

// each runs call with both methods of c.
func each(t *testing.T, c *esper.Client, key string, call func(t *testing.T, do func(context.Context) error)) {
	t.Run("TokenInfo", func(t *testing.T) {
		call(t, func(ctx context.Context) error { _, err := c.TokenInfo(ctx); return err })
	})
	t.Run("RenewToken", func(t *testing.T) {
		call(t, func(ctx context.Context) error { _, err := c.RenewToken(ctx, renewal(key)); return err })
	})
}

// meddler is a middleware that sets what it should not.
func meddler(next http.RoundTripper) http.RoundTripper {
	return roundTripFunc(func(req *http.Request) (*http.Response, error) {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer meddler")
		req.Header["authorization"] = []string{"Bearer meddler"}
		req.Header.Set("Idempotency-Key", "1")
		req.Header["idempotency-key"] = []string{"1"}
		req.Header.Set("X-Idempotency-Key", "1")
		return next.RoundTrip(req)
	})
}

func TestRequestOnTheWire(t *testing.T) {
	changelog, err := os.ReadFile("../../CHANGELOG.md")
	version := "esper-go/"
	if m := regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+)\]`).FindSubmatch(changelog); m != nil {
		version += string(m[1])
	} else if err == nil {
		t.Error("CHANGELOG.md has no version")
	}
	for _, base := range []string{"", "/", "/api", "/api/", "/a/b%2Fc/"} {
		for _, opts := range [][]esper.Option{nil, {esper.WithMiddleware(meddler)}} {
			p := newProbe(t, nil)
			each(t, clientFor(t, p.URL+base, "my key", opts...), "old", func(t *testing.T, do func(context.Context) error) {
				p.seen = nil
				if err := do(t.Context()); err != nil {
					t.Fatal(err)
				}
				r, prefix := p.only(t), strings.TrimRight(base, "/")
				method, uri := "GET", prefix+"/v1/token-info/"
				if strings.HasSuffix(t.Name(), "RenewToken") || strings.Contains(t.Name(), "RenewToken#") {
					method, uri = "POST", prefix+"/v0/enterprise/"+enterpriseID+"/developerapp/"+developerAppID+"/renew-token/?access_token=old"
				}
				if r.Method != method || r.RequestURI != uri {
					t.Errorf("%s %s, want %s %s", r.Method, r.RequestURI, method, uri)
				}
				want := map[string][]string{
					"Authorization": {"Bearer my key"}, "Accept": {"application/json"}, "User-Agent": {version}, "Referer": nil,
				}
				if method == "POST" {
					want["Idempotency-Key"], want["X-Idempotency-Key"], want["Content-Type"] = nil, nil, nil
				}
				for name, values := range want {
					if got := r.Header[name]; !reflect.DeepEqual(got, values) {
						t.Errorf("%s = %q, want %q", name, got, values)
					}
				}
				if r.body != "" || r.ContentLength > 0 || len(r.TransferEncoding) > 0 {
					t.Errorf("body %q, length %d, encoding %q, want none", r.body, r.ContentLength, r.TransferEncoding)
				}
			})
		}
	}
}

func TestAccessTokenIsEncodedOnce(t *testing.T) {
	p := newProbe(t, nil)
	for _, key := range []string{
		"plain", "a&b", "a+b", "a%b", "a%2Fb", "a%252Fb", "a;b", "a=b", "a/b?c#d", "a b  c", `a"b\c`, "ключ-é", "access_token=x&access_token=y", "sealed", "{}|^`<>", "~!*'()",
	} {
		p.seen = nil
		if _, err := clientFor(t, p.URL, key).RenewToken(t.Context(), renewal(key)); err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		r := p.only(t)
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil || !reflect.DeepEqual(query, url.Values{"access_token": {key}}) {
			t.Errorf("%q arrived in %q as %q, %v", key, r.URL.RawQuery, query, err)
		}
		if got := r.Header["Authorization"]; !reflect.DeepEqual(got, []string{"Bearer " + key}) {
			t.Errorf("%q: Authorization = %q", key, got)
		}
	}
}

func TestHTTP2AndFreshConnections(t *testing.T) {
	p := unstartedProbe(nil)
	p.EnableHTTP2 = true
	p.StartTLS()
	defer p.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	mine := p.Client()
	mine.Jar, mine.Timeout = jar, time.Minute
	mine.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
	before, transport := *mine, mine.Transport.(*http.Transport)
	protos := transport.TLSClientConfig.Clone().NextProtos
	c := clientFor(t, p.URL, "key", esper.WithHTTPClient(mine), esper.WithMiddleware(meddler))
	addresses := make(map[string]bool)
	for range 3 {
		each(t, c, "key", func(t *testing.T, do func(context.Context) error) {
			if err := do(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, r := range p.arrivals() {
		switch {
		case r.Method == "GET" && r.Proto != "HTTP/2.0":
			t.Errorf("TokenInfo came over %s, want HTTP/2.0", r.Proto)
		case r.Method == "POST" && (r.Proto != "HTTP/1.1" || addresses[r.RemoteAddr] || r.Header.Get("Connection") != "close"):
			t.Errorf("RenewToken came over %s, Connection: %q, used before: %v", r.Proto, r.Header.Get("Connection"), addresses[r.RemoteAddr])
		}
		addresses[r.RemoteAddr] = true
	}
	if len(p.arrivals()) != 6 || len(addresses) != 4 {
		t.Errorf("%d requests over %d connections, want 6 over 4", len(p.arrivals()), len(addresses))
	}
	same := func(a, b any) bool { return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer() }
	if !same(mine.CheckRedirect, before.CheckRedirect) || !same(mine.Transport, before.Transport) || mine.Jar != before.Jar || mine.Timeout != before.Timeout {
		t.Error("WithHTTPClient's client was changed")
	}
	if transport.DisableKeepAlives || !transport.ForceAttemptHTTP2 || transport.TLSNextProto["h2"] == nil || len(transport.TLSClientConfig.NextProtos) < len(protos) {
		t.Error("WithHTTPClient's transport was changed")
	}
}
