package esper

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

func FuzzErrorBody(f *testing.F) {
	const canary = "canary50%key&made+up/fuzz01"
	for _, body := range []string{
		``, `null`, `[]`, `"text"`, `<html>502</html>`, `{"errors": ["` + canary + `"], "message": "m ` + canary + `", "status": 400}`,
		`{"errors": {"access_token": ["` + url.QueryEscape(canary) + `"], "` + canary + `": 1}, "status": "400"}`, `{"detail": "` + canary[:20] + `"}`,
		`{"errors": "` + canary + `"}`, `{"errors": [{"a": [[[[[1]]]]]}, null, true, 1e99], "message": {"a": 1}}`, `{"message": "` + "\\u0063anary50%key&made+up/fuzz01" + `"}`,
		`{"message": "a\nb\u2028c\u0000\ud800"}`, "{\"message\": \"\xff\"}", `{"message": "` + strings.Repeat("x", 5000), `{"errors": [` + strings.Repeat("1,", 100) + `1]}`,
	} {
		f.Add(400, body, canary)
		f.Add(503, body, "a request")
	}
	f.Fuzz(func(t *testing.T, status int, body, requestID string) {
		answered := &answer{status: status, header: http.Header{"X-Request-Id": {requestID}}, body: []byte(body), secrets: redact.New(NewSecret(canary))}
		err := newAPIError("TokenInfo", answered)
		if err.StatusCode != status || string(err.Body) != body || len(err.Details) > 32 {
			t.Errorf("%#v", err)
		}
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v", *err), fmt.Sprintf("%#v %q", err, err), err.Message + err.RequestID + strings.Join(err.Details, " ")} {
			if strings.Contains(text, canary) || strings.Contains(text, url.QueryEscape(canary)) || strings.Contains(text, url.PathEscape(canary)) {
				t.Errorf("%q shows the key", text)
			}
			if strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) {
				t.Errorf("%q is no line of text", text)
			}
			if len(text) > 3*(32+3)*(redact.MaxText+20) {
				t.Errorf("%d bytes of text", len(text))
			}
		}
	})
}

// member returns the value of the only top-level member "token" of the JSON object doc and where
// it ends; "" if there is none, or more than one.
func member(doc []byte) (value string, end int) {
	d := json.NewDecoder(bytes.NewReader(doc))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return "", 0
	}
	for n := 0; d.More(); {
		name, err := d.Token()
		var raw json.RawMessage
		if err != nil || d.Decode(&raw) != nil {
			return "", 0
		}
		if name != "token" {
			continue
		}
		if n++; n > 1 || json.Unmarshal(raw, &value) != nil || strings.ContainsRune(value, utf8.RuneError) {
			return "", 0
		}
		end = int(d.InputOffset())
	}
	return value, end
}

func FuzzRenewalBody(f *testing.F) {
	for _, seed := range []string{
		``, `null`, `{}`, `[]`, `{"token": "k"}`, `{"id": 571, "token": "key", "expires_at": null}`, `{"a": {"token": "n"}, "b": "\"token\": \"q\"", "token": "key"}`,
		`{"token": "a", "token": "b"}`, `{"token": 12}`, `{"token": -}`, `{"token": NaN}`, `{"token": "\ud800"}`, "{\"token\": \"\xff\"}", "\ufeff" + `{"token": "k"}`,
		`{"\u0074oken": "\u006b\"\\"}`, `{,,"token":,"token": "k",}`, `{"token" "k"}`, `{"a": [1}, "token": "k"}`, `{{"token": "k"}}`, `{"TOKEN": "k", "Token": 1}`, `{"token": ""}`,
		`{"token":"k"}{"token":"l"}`, "{\n\t\"token\" :\r\n\"k\" }", `{"scope": [1, "a", null], "token": "k", "id": {}, "user": [], "enterprise": 1.5e9, "updated_on": "now"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		got := parseRenewal(doc)
		if got != nil && (got.Token.IsZero() || strings.ContainsRune(got.Token.Reveal(), utf8.RuneError)) {
			t.Errorf("key %q", got.Token.Reveal())
		}
		if !json.Valid(doc) || len(doc) > 4096 {
			return
		}
		var members map[string]any
		_ = json.Unmarshal(doc, &members)
		if want, ok := members["token"].(string); ok && want != "" && !strings.ContainsRune(want, utf8.RuneError) && (got == nil || got.Token.Reveal() != want) {
			t.Errorf("key %v, want %q", got, want)
		}
		named := func(name string) bool { return strings.EqualFold(name, "token") }
		if got != nil && !slices.ContainsFunc(slices.Collect(maps.Keys(members)), named) {
			t.Errorf("key %q from nowhere", got.Token.Reveal())
		}
		want, end := member(doc)
		if want == "" {
			return
		}
		for n := range len(doc) + 1 {
			got := parseRenewal(doc[:n])
			if (got != nil) != (n >= end) || got != nil && got.Token.Reveal() != want {
				t.Fatalf("after %d bytes, %q: %v; want %q after %d", n, doc[:n], got, want, end)
			}
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{
		"", "0", "1", "-1", "+1", "007", "1.5", "1e308", "NaN", "9223372036", "9223372037", "18446744073709551616", " 1", "1 ",
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT",
	} {
		f.Add(seed, int64(784111777))
		f.Add(seed, int64(1<<40))
	}
	f.Fuzz(func(t *testing.T, value string, now int64) {
		got := retryAfter(value, time.Unix(now, 0))
		if got < 0 {
			t.Fatalf("%q: %v", value, got)
		}
		digits := value != "" && strings.Trim(value, "0123456789") == ""
		seconds, err := strconv.ParseInt(value, 10, 64)
		switch {
		case digits && err == nil && seconds <= 9223372036 && got != time.Duration(seconds)*time.Second,
			digits && (err != nil || seconds > 9223372036) && got != 0:
			t.Errorf("%q: %v", value, got)
		case !digits && got > 0:
			if date, err := http.ParseTime(value); err != nil || !date.After(time.Unix(now, 0)) {
				t.Errorf("%q: %v at %d", value, got, now)
			}
		}
	})
}
