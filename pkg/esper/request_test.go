package esper_test

import (
	"context"
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

// meddler is a middleware that sets headers that it should not set. It changes those of its own request in place.
func meddler(next http.RoundTripper) http.RoundTripper {
	return roundTripFunc(func(req *http.Request) (*http.Response, error) {
		req.Header["Accept"][0] += ";spoilt"
		req = req.Clone(req.Context())
		for _, name := range strings.Fields("Authorization authorization Idempotency-Key idempotency-key X-Idempotency-Key") {
			req.Header[name] = []string{"Bearer meddler"}
		}
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

const tokenID = "0d3f8d3a-6f0f-4b8e-9d55-3a4c1b0f7e21"

// TestRenewPersonalAccessToken: the request is as Esper declares it, and the key is read whatever the other fields
// hold.
func TestRenewPersonalAccessToken(t *testing.T) {
	for _, body := range []string{
		`{"id": "` + tokenID + `", "token": "new-token", "expiry_at": 1888272000, "legacy_token_id": 571}`,
		`{"id": [1], "token": "new-token", "expiry_at": {}, "created_at": 1, "updated_at": "soon", "name": null}`,
	} {
		server := newProbe(t, answer(200, "application/json", body))
		reading := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			_, _ = io.ReadAll(req.Body) // as a careless middleware does
			return next.RoundTrip(req)
		})
		client := clientFor(t, server.URL, "old-key", reading)
		renewed, err := client.RenewPersonalAccessToken(t.Context(), tokenID, 1888272000)
		if err != nil || renewed.Token.Reveal() != "new-token" {
			t.Errorf("%s: %v, %v", body, renewed, err)
		}
		got := server.arrivals()[0]
		sent := strings.Join([]string{got.Method, got.RequestURI, got.body, got.Header.Get("Content-Type")}, " ")
		want := "PUT /authn2/v0/personal-access-token/" + tokenID + ` {"expiry_at":1888272000} application/json`
		if sent != want || got.Header.Get("Authorization") != "Bearer old-key" {
			t.Errorf("%s: %s %s %q %v", body, got.Method, got.URL, got.body, got.Header)
		}
	}
}

// TestListPersonalAccessTokens: malformed tokens do not spoil a list, but an answer without a whole list is an error.
func TestListPersonalAccessTokens(t *testing.T) {
	for body, want := range map[string]int{
		`{"count": 2, "personal_access_tokens": [{"id": "a"}, {"id": "b", "expiry_at": -1, "later": 1}]}`: 2,
		`{"personal_access_tokens": null}`: 0, `{"personal_access_tokens": [], "count": {}}`: 0,
		`{"personal_access_tokens": [{"id": 7, "created_at": 1}]}`: 1,
		`{}`: -1, `[]`: -1, `<html>`: -1, ``: -1, `{"personal_access_tokens": {}}`: -1, `{"personal_access_tokens": [{}`: -1,
	} {
		client := clientFor(t, memory, "key", piped(saying(raw(200, body))), quickRetry(1))
		list, err := client.ListPersonalAccessTokens(t.Context())
		if want < 0 && !errors.Is(err, esper.ErrInvalidResponse) || want >= 0 && (err != nil || len(list) != want) {
			t.Errorf("%.60s: %d, %v", body, len(list), err)
		}
	}
}

// TestListedKeysAreSecrets: no result, error or middleware shows a key from a list, however many keys there are.
func TestListedKeysAreSecrets(t *testing.T) {
	other := func(i int) string { return fmt.Sprintf("%04d-canary-%04d-Made0Up", i, i) } // no two begin or end alike
	var items []string
	for i := range 300 {
		items = append(items, fmt.Sprintf(`{"id": "x", "name": "key", "token": %q, "prefix": %q}`, other(i), other(i)[:8]))
	}
	last := other(299)
	list := strings.Join(items, ",")
	for _, status := range []int{200, 400, 500} {
		body := fmt.Sprintf(`{"message": "about %s", "personal_access_tokens": [%s]}`, last, list)
		server := piped(saying(raw(status, body, "X-Request-Id: "+last)))
		var seen string
		spy := watching(func(_ *http.Request, resp *http.Response) { seen = fmt.Sprintf("%+v %#v", resp, resp.Header) })
		client := clientFor(t, memory, "own-made-up-key", server, quickRetry(1), spy)
		list, err := client.ListPersonalAccessTokens(t.Context())
		text := fmt.Sprintf("%+v %v %#v %s", list, err, err, seen)
		if i := strings.Index(text, "-canary-0"); i >= 0 {
			t.Errorf("%d: the result, the error or the middleware shows a key: …%s", status, text[max(0, i-100):i+40])
		}
		if status == 200 && (err != nil || len(list) != 300 || list[299].Token.Reveal() != last) {
			t.Errorf("%d, %v", len(list), err)
		}
		if api, ok := errors.AsType[*esper.APIError](err); ok && api.Body != nil {
			t.Errorf("%d: the error keeps the body", status)
		}
	}
}
