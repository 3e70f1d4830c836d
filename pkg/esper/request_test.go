package esper_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
)

// meddler is a middleware that sets headers that it should not set. It changes those of its own request in place.
func meddler(next http.RoundTripper) http.RoundTripper {
	return roundTripFunc(func(req *http.Request) (*http.Response, error) {
		req.Header["Accept"][0] += ";spoilt"
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer meddler")
		req.Header["authorization"] = []string{"Bearer meddler"}
		req.Header.Set("Idempotency-Key", "1")
		req.Header["idempotency-key"] = []string{"1"}
		req.Header.Set("X-Idempotency-Key", "1")
		return next.RoundTrip(req)
	})
}

// The requests are as the description wants them, and a key arrives as it is. A renewal without an AccessToken renews
// the client's own key.
func TestRequestOnTheWire(t *testing.T) {
	changelog, err := os.ReadFile("../../CHANGELOG.md")
	version := "esper-go/"
	if m := regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+)\]`).FindSubmatch(changelog); m != nil {
		version += string(m[1])
	} else if version += "0.0.0"; err != nil { // nothing is released
		t.Error(err)
	}
	bases := []string{"", "/", "/api/", "/a/b%2Fc/", "/a%3Fb%25", "/%C3%A9", "/(a;b)*", "//a", "/%7Bid%7D"}
	for i, key := range []string{
		"plain", "a&b", "a+b", "a%b", "a%2Fb", "a%252Fb", "a;b", "a=b", "a/b?c#d", "a b  c", `a"b\c`, "ключ-é", "&lt;",
		"access_token=x&access_token=y", "sealed", "{}|^`<>", "~!*'()", strings.Repeat("%25", 2000),
	} {
		base, agent, accept, opt := bases[i%len(bases)], version, "application/json;spoilt", esper.WithMiddleware(meddler)
		given := key
		if i%2 == 1 {
			agent, accept, opt = "mine/1", "application/json", esper.WithUserAgent("mine/1")
			given = "" // means the client's own key
		}
		p := newProbe(t, nil)
		c := clientFor(t, p.URL+base, key, opt)
		each(t, c, given, func(t *testing.T, do func(context.Context) error) {
			if err := do(t.Context()); err != nil {
				t.Fatalf("%s, %q: %v", base, key, err)
			}
		})
		for i, want := range []string{
			"GET /v1/token-info/", "POST /v0/enterprise/" + enterpriseID + "/developerapp/" + developerAppID + "/renew-token/",
		} {
			r := p.arrivals()[i]
			path, _, _ := strings.Cut(r.RequestURI, "?")
			if got := r.Method + " " + path; got != strings.Replace(want, " ", " "+strings.TrimRight(base, "/"), 1) {
				t.Errorf("%s, want %s", got, want)
			}
			fields := map[string][]string{
				"Authorization": {"Bearer " + key}, "Accept": {accept}, "User-Agent": {agent}, "Referer": nil,
			}
			query, params := url.Values{}, r.URL.Query()
			if r.Method == http.MethodPost {
				fields["Idempotency-Key"], fields["X-Idempotency-Key"], fields["Content-Type"] = nil, nil, nil
				query.Set("access_token", key)
			}
			if !reflect.DeepEqual(params, query) {
				t.Errorf("%q arrived in %q as %q", key, r.URL.RawQuery, params)
			}
			for name, values := range fields {
				if got := r.Header[name]; !reflect.DeepEqual(got, values) {
					t.Errorf("%s = %q, want %q", name, got, values)
				}
			}
			if r.body != "" || r.ContentLength > 0 || len(r.TransferEncoding) > 0 {
				t.Errorf("body %q, length %d, encoding %q, want none", r.body, r.ContentLength, r.TransferEncoding)
			}
		}
	}
}

// A redirect is an error, wherever it leads. Through Generated it is an answer without a Location.
func TestRedirectsAreNotFollowed(t *testing.T) {
	target := newProbe(t, nil)
	secure, trusting := secureProbe(t, nil)
	for _, location := range []string{
		target.URL + "/api/v1/token-info/", strings.Replace(target.URL, "127.0.0.1", "localhost", 1) + "/api/",
		secure.URL + "/api/", strings.TrimPrefix(target.URL, "http:"), "/api/elsewhere/", "?again", "http://[::1", "",
	} {
		for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308, 399} {
			name := fmt.Sprint(status, " to ", location)
			p := newProbe(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Location"] = []string{location}[:min(1, len(location))]
				w.WriteHeader(status)
			})
			c := clientFor(t, p.URL+"/api", "key", esper.WithTransport(trusting), quickRetry(3))
			each(t, c, "key", func(t *testing.T, do func(context.Context) error) {
				if err := do(t.Context()); !errors.Is(err, esper.ErrRedirect) {
					t.Errorf("%s: %v, want ErrRedirect", name, err)
				}
			})
			resp, err := c.Generated().GetTokenInfo(t.Context())
			if err != nil || resp.Body.Close() != nil || resp.StatusCode != status || resp.Header.Get("Location") != "" {
				t.Errorf("%s: Generated: %v, %v", name, resp, err)
			}
			wantCount(t, name+": requests, one for each call", p.count.Load(), 3)
		}
	}
	wantCount(t, "requests to the target", target.count.Load()+secure.count.Load(), 0)
}
