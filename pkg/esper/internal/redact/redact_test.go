package redact

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
)

func want(t *testing.T, text, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%q is shown as %q, want %q", text, got, want)
	}
}

// What a person needs to read stays as the server wrote it.
func TestReadable(t *testing.T) {
	const key = "canary0key0that0belongs0to0nob"
	for _, text := range []string{
		"Invalid token.", "This field is required.", "Request was throttled. Expected available in 23 seconds.",
		"Enterprise f44373cb-1800-43c6-aab3-c81f8b1f435c not found", "AuthenticationFailedException",
		"developerapp_does_not_belong_to_enterprise", "DEVELOPERAPP_DOES_NOT_BELONG_TO_ENTERPRISE",
		"https://docs.esper.io/help?lang=en", "see https://foo-api.esper.cloud/api/v1/token-info/",
		"not to https://foo-api.esper.cloud/api; each server needs one",
		"/v0/enterprise/f44373cb-1800-43c6-aab3-c81f8b1f435c/developerapp/5fa87c46-bef7-4c1f-9ca8-ebf022d118b6/renew-token/",
		"2026-11-30T02:31:07.123456Z", "expired at 2026-11-30T02:31:07+00:00.", "first.last+fleet@devices.company.com",
		"nginx/1.25.3 (Ubuntu)", "v2.14.0-rc.1+build.20261130",
		"gateway-1.eu-west-1.internal.a-company-with-a-name.example.com", "DeveloperAppDoesNotBelongToEnterprise",
		"net::ERR_CONNECTION_REFUSED", "Schlüssel ungültig", "", "ok",
	} {
		want(t, text, Text(text, key), text)
	}
	for _, id := range []string{
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "4bf92f3577b34da6a3ce929d0e0e4736",
		"5fa87c46-bef7-4c1f-9ca8-ebf022d118b6", "req-1234",
	} {
		want(t, id, ID(id, key), id)
		want(t, id, ID(id, id), Withheld)
	}
}

func escaped(format string) func(string) string {
	return func(s string) (out string) {
		for _, c := range []byte(s) {
			out += fmt.Sprintf(format, c)
		}
		return out
	}
}

var encodings = map[string]func(string) string{
	"plain":           func(s string) string { return s },
	"percent":         escaped("%%%02X"),
	"query":           func(s string) string { return "access_token=" + url.QueryEscape(s) + "&a=b" },
	`\u`:              escaped(`\u%04x`),
	"entities":        escaped("&#%d;"),
	"base64":          func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64 for URLs": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base64 twice": func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(s))))
	},
	"hex":          escaped("%02x"),
	"in a URL":     func(s string) string { return "https://foo-api.esper.cloud/api/?" + s },
	"in a path":    func(s string) string { return "/api/v1/" + s + "/" },
	"as an header": func(s string) string { return "Authorization: Bearer " + s },
}

// A key that nobody here knows is hidden by its shape, in each encoding. Of 30 letters and digits hardly any is a word.
func TestUnknownKeysAreHidden(t *testing.T) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		raw := []byte("aA1") // a key without one of the three kinds is one in thousands
		for len(raw) < 30 {
			raw = append(raw, letters[random.IntN(len(letters))])
		}
		random.Shuffle(len(raw), func(i, j int) { raw[i], raw[j] = raw[j], raw[i] })
		for _, mark := range []string{"", ".", "!", ":", "_", "-"} {
			key := string(raw)
			if mark != "" {
				at := 1 + random.IntN(28)
				key = key[:at] + mark + key[at+1:]
			}
			for name, encode := range encodings {
				text := encode(key)
				got := Text("refused: "+text+" here", "another-key-of-the-call")
				if strings.Contains(got, text) || shows(got, key) {
					t.Errorf("%s of the unknown key %q is shown: %q", name, key, got)
				}
			}
		}
	}
}

func shows(text, key string) bool {
	for i := range len(key) - 9 {
		if strings.Contains(text, key[i:i+10]) {
			return true
		}
	}
	return false
}

// Eight characters in a row of a key of the call withhold the text, wherever they are from.
func TestKnownKeysAreWithheld(t *testing.T) {
	const key = "abCD1234-efgh.5678"
	for i := range len(key) - 7 {
		for _, text := range []string{key[i : i+8], "so " + key[i:i+8] + "?", strings.ToUpper(key[i : i+8])} {
			want(t, text, Text(text, "other", key), Withheld)
		}
	}
	for text, shown := range map[string]string{
		"key k1-2": Withheld, "abCD123 and efgh.56": "abCD123 and efgh.56", "one two": "one two",
	} {
		want(t, text, Text(text, "k1-2", key, "tw", ""), shown)
	}
}

// What stands at the end of a text that is cut shows no part of a key.
func TestCutKey(t *testing.T) {
	const key = "Unknown0Key0Of0Thirty0Letters0"
	for at := MaxText - 40; at < MaxText+2; at++ {
		text := strings.Repeat("x ", at)[:at] + " " + key + strings.Repeat(" word", 300)
		if got := Text(text); shows(got, key) {
			t.Errorf("a key at %d is cut and shown: %q", at, got[MaxText-45:])
		}
		want(t, text, Text(text, key), Withheld)
	}
}
