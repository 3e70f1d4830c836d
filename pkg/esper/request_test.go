package esper_test

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
)

// meddler is a middleware that sets headers that it should not set.
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
	} else if version += "0.0.0"; err != nil { // nothing is released
		t.Error(err)
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
	transport := p.Client().Transport.(*http.Transport)
	protos := transport.TLSClientConfig.Clone().NextProtos
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
	if transport.DisableKeepAlives || !transport.ForceAttemptHTTP2 || transport.TLSNextProto["h2"] == nil || len(transport.TLSClientConfig.NextProtos) < len(protos) {
		t.Error("WithTransport's transport was changed")
	}
}
