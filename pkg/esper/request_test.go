package esper_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
)

// meddler is a middleware that reads the body, and sets headers that it should not set. It changes those of its own
// request in place.
func meddler(next http.RoundTripper) http.RoundTripper {
	return roundTripFunc(func(req *http.Request) (*http.Response, error) {
		req.Header["Accept"][0] += ";spoilt"
		if req.Body != nil {
			_, _ = io.ReadAll(req.Body)
		}
		req = req.Clone(req.Context())
		for _, name := range strings.Fields("Authorization authorization Idempotency-Key idempotency-key X-Idempotency-Key") {
			req.Header[name] = []string{"Bearer meddler"}
		}
		return next.RoundTrip(req)
	})
}

// The requests are as the description wants them, and a key arrives as it is, also if a middleware has read the body. A
// renewal without an AccessToken renews the client's own key.
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
		_, err := c.TokenInfo(t.Context())
		_, renewErr := c.RenewToken(t.Context(), renewal(given))
		_, _ = c.RenewPersonalAccessToken(t.Context(), tokenID, 1888272000) // the probe does not know it
		if err = errors.Join(err, renewErr); err != nil || len(p.arrivals()) != 3 {
			t.Fatalf("%s, %q: %v", base, key, err)
		}
		asJSON, param := []string{"application/json"}, url.Values{"access_token": {key}}
		for i, want := range []struct {
			line        string
			contentType []string
			params      url.Values
		}{
			{"GET /v1/token-info/ ", nil, url.Values{}},
			{"POST /v0/enterprise/" + enterpriseID + "/developerapp/" + developerAppID + "/renew-token/ ", nil, param},
			{"PUT /authn2/v0/personal-access-token/" + tokenID + ` {"expiry_at":1888272000}`, asJSON, url.Values{}},
		} {
			r := p.arrivals()[i]
			path, _, _ := strings.Cut(r.RequestURI, "?")
			got := r.Method + " " + path + " " + r.body
			if got != strings.Replace(want.line, " ", " "+strings.TrimRight(base, "/"), 1) {
				t.Errorf("%s, want %s", got, want.line)
			}
			if params := r.URL.Query(); !reflect.DeepEqual(params, want.params) {
				t.Errorf("%q arrived in %q as %q", key, r.URL.RawQuery, params)
			}
			for name, values := range map[string][]string{
				"Authorization": {"Bearer " + key}, "Accept": {accept}, "User-Agent": {agent}, "Content-Type": want.contentType,
				"Referer": nil, "Idempotency-Key": nil, "X-Idempotency-Key": nil, "Accept-Encoding": nil,
			} {
				if field := r.Header[name]; !reflect.DeepEqual(field, values) {
					t.Errorf("%s: %s = %q, want %q", got, name, field, values)
				}
			}
			if int(max(0, r.ContentLength)) != len(r.body) || len(r.TransferEncoding) > 0 {
				t.Errorf("%s: length %d, encoding %q", got, r.ContentLength, r.TransferEncoding)
			}
		}
	}
}

// A redirect is an error, wherever it leads. Through Generated it is an answer without a Location.
func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, location := range []string{
		memory + "/api/v1/token-info/", "http://other.example/api/", "https://127.0.0.1/api/", "//127.0.0.1/api/",
		"/api/elsewhere/", "?again", "http://[::1", "",
	} {
		for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308, 399} {
			situation{
				serve: saying(raw(status, "", "Location: "+location)), status: status, is: esper.ErrRedirect, tries: 1,
			}.check(t, fmt.Sprint(status, " to ", location))
		}
	}
}
