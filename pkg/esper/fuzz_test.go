package esper_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/esper"
)

const fuzzKey = "canary50%key&made+up/fuzz01"

// checkShown checks that an error is one line, and shows the key neither as it is nor percent-encoded.
func checkShown(t *testing.T, err error) {
	t.Helper()
	for _, text := range []string{err.Error(), fmt.Sprintf("%v %+v %#v %q", err, err, err, err)} {
		for _, key := range []string{fuzzKey, url.QueryEscape(fuzzKey), url.PathEscape(fuzzKey)} {
			if strings.Contains(text, key) {
				t.Errorf("%q shows the key", text)
			}
		}
		if strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) || len(text) > 128<<10 {
			t.Errorf("%.1000q is no line of text", text)
		}
	}
}

// FuzzEnvironment passes any text for an environment.
func FuzzEnvironment(f *testing.F) {
	for _, seed := range []string{
		"", "foo", "-foo", "foo.bar", strings.Repeat("a", 64), "https://foo-api.esper.cloud/api/", "https://0/%2F",
		"http://127.0.0.1:8080", "http://[::1]/x", "HTTP://LOCALHOST:1/", "http://127.0.0.1.evil.test", "https://u:p@f.test",
		"https://foo.test?a=b", "https://foo.test/#", "https://foo.test/a%2Fb/", "https://foo.test/a/../b", "https:///api",
		"https:foo", "//foo.test", "https://a.test:99999", "https://foo.test:", "https://[::1", "https://f\no", "https://ü/ä",
		"http://[::ffff:127.0.0.1]", "http://[fe80::1%25eth0]", "https://a..", "https://*", `https://foo.test\@evil.test`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, environment string) {
		c, err := esper.New(environment, esper.APIKey("key"))
		if err != nil {
			examples := strings.NewReplacer("https://foo-api.esper.cloud/api", "", "https://TENANT-api.esper.cloud/api", "")
			if c != nil || len(environment) > 12 && strings.Contains(examples.Replace(err.Error()), environment) {
				t.Fatalf("%q: %v", environment, err)
			}
			return
		}
		u := c.BaseURL()
		address, err := netip.ParseAddr(u.Hostname())
		local := u.Hostname() == "localhost" || err == nil && address.Unmap().IsLoopback()
		if u.Scheme != "https" && (u.Scheme != "http" || !local) || u.Hostname() == "" || u.User != nil || u.Opaque != "" ||
			strings.ContainsAny(u.String(), "?#") || strings.HasSuffix(u.EscapedPath(), "/") {
			t.Errorf("%q became %#v", environment, u)
		}
		if again := clientFor(t, u.String(), "key").BaseURL(); !reflect.DeepEqual(again, u) {
			t.Errorf("%q became %q, which becomes %q", environment, u, again)
		}
	})
}

// FuzzErrorBody lets a server refuse with any body.
func FuzzErrorBody(f *testing.F) {
	for _, body := range []string{
		``, `null`, `[]`, `"text"`, `<html>502</html>`, `{"detail": "` + fuzzKey[:20] + `"}`, `{"errors": "` + fuzzKey + `"}`,
		`{"errors": ["` + fuzzKey + `"], "message": "m ` + fuzzKey + `", "status": 400}`, "{\"message\": \"\xff\"}",
		`{"errors": {"access_token": ["` + url.QueryEscape(fuzzKey) + `"], "` + fuzzKey + `": 1}, "status": "400"}`,
		`{"errors": [{"a": [[[[[1]]]]]}, null, true, 1e99], "message": {"a": 1}}`, `{"message": "a\nb\u2028c\u0000\ud800"}`,
		`{"message": "\u0063` + fuzzKey[1:] + `"}`, `{"message": "` + strings.Repeat("x", 5000),
		`{"errors": [` + strings.Repeat("1,", 100) + `1]}`,
	} {
		f.Add(uint16(100), body, fuzzKey)
		f.Add(uint16(203), body, "a request")
	}
	f.Fuzz(func(t *testing.T, more uint16, body, requestID string) {
		status := 300 + int(more)%700
		if strings.ContainsFunc(requestID, unicode.IsControl) || len(requestID) > 1000 || status == http.StatusNotModified {
			return // no header holds such an id, and 304 has no body
		}
		server := piped(saying(raw(status, body, "X-Request-Id: "+requestID)))
		_, err := clientFor(t, memory, fuzzKey, server, quickRetry(1)).TokenInfo(t.Context())
		api, ok := errors.AsType[*esper.APIError](err)
		if !ok || api.StatusCode != status || string(api.Body) != body || len(api.Details) > 32 {
			t.Errorf("%#v", err)
		}
		checkShown(t, err)
	})
}

// FuzzAnswers lets a server answer a renewal, and a request for the list of personal access tokens, with any body.
func FuzzAnswers(f *testing.F) {
	plain := regexp.MustCompile(`^[0-9A-Za-z]+$`)
	for _, token := range []string{
		`{"id": "` + tokenID + `", "name": "n", "token": "` + fuzzKey + `", "expiry_at": 1888272000, "legacy_token_id": 571}`,
		`{"id": 7, "token": "another", "expiry_at": -1, "legacy_token_id": "571", "legacy_developer_app_id": null}`,
		`{"token": null, "expiry_at": "soon"}`, `{"token": "cut`, `null`, `7`, `"` + fuzzKey + `"`, `[]`, ``, `{}`,
		`{"token": "a", "token": "b"}`, `{"Token": "\u0063anary"}`, `{"token": "\ud800"}`, "{\"token\": \"\xff\"}",
		`{"a": {"token": "n"}, "b": "\"token\": \"q\"", "token": "key"}`, `{"token": 12}`, `{"token": NaN}`,
		"\ufeff" + `{"token": "k"}`, `{"token" "k"}`, `{,,"token":,"token": "k",}`, `{"a": [1}, "token": "k"}`,
		`{"TOKEN": "k", "Token": 1}`, `{"token":"k"}{"token":"l"}`, "{\n\t\"token\" :\r\n\"k\" }",
	} {
		f.Add(token)
		f.Add(`{"count": 1, "personal_access_tokens": [` + token + `, ` + token + `]}`)
	}
	f.Fuzz(func(t *testing.T, body string) {
		client := clientFor(t, memory, fuzzKey, piped(saying(raw(200, body))), quickRetry(1))
		var whole map[string]json.RawMessage
		_ = json.Unmarshal([]byte(body), &whole)
		var items []map[string]json.RawMessage
		if json.Unmarshal(whole["personal_access_tokens"], &items) != nil {
			items = nil
		}
		list, err := client.ListPersonalAccessTokens(t.Context())
		switch {
		case err != nil && !errors.Is(err, esper.ErrInvalidResponse):
			t.Errorf("%d tokens, %v", len(list), err)
		case strings.Count(body, "personal_access_tokens") == 1 && items != nil && len(list) != len(items):
			t.Errorf("%d tokens, %v; want %d", len(list), err, len(items))
		case err != nil:
			checkShown(t, err)
		}
		renewals(client, func(renew func(context.Context) (*esper.RenewedToken, error)) {
			renewed, err := renew(t.Context())
			var key string
			_ = json.Unmarshal(whole["token"], &key)
			unique := strings.Count(body, "token\"") == 1 && plain.MatchString(key)
			switch {
			case err == nil && (renewed.Token.IsZero() || strings.ContainsRune(renewed.Token.Reveal(), utf8.RuneError)),
				err == nil && !strings.Contains(strings.ToLower(body), "token") && !strings.Contains(body, `\u`),
				err != nil && outcomeOf(err) != esper.OutcomeUnreadable:
				t.Errorf("%v, %v", renewed, err)
			case unique && (err != nil || renewed.Token.Reveal() != key):
				t.Errorf("%v, %v; want the key in %q", renewed, err, body)
			case err != nil:
				checkShown(t, err)
			}
		})
	})
}
