package redact

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/wire"
)

// encodings are those that servers and proxies use.
var encodings = map[string]func(string) string{
	"as it is":      func(s string) string { return s },
	"query":         url.QueryEscape,
	"path":          url.PathEscape,
	"percent":       eachByte("%%%02X"),
	"percent lower": eachByte("%%%02x"),
	"JSON":          func(s string) string { b, _ := json.Marshal(s); return string(b) },
	"Go":            strconv.Quote,
	"JSON, all":     eachRune(`\u%04x`),
	"JSON, slashes": func(s string) string { return strings.ReplaceAll(s, "/", `\/`) },
	"HTML":          html.EscapeString,
	"HTML decimal":  eachRune("&#%d;"),
	"HTML hex":      eachRune("&#x%X;"),
	"base64":        func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64 URL":    func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"Basic":         func(s string) string { return base64.StdEncoding.EncodeToString([]byte("user:" + s)) },
	"in base64":     func(s string) string { return base64.StdEncoding.EncodeToString([]byte(`{"token":"` + s + `"}`)) },
	"upper":         strings.ToUpper,
	"lower":         strings.ToLower,
}

func eachByte(format string) func(string) string {
	return func(s string) string {
		var out strings.Builder
		for _, c := range []byte(s) {
			fmt.Fprintf(&out, format, c)
		}
		return out.String()
	}
}

func eachRune(format string) func(string) string {
	return func(s string) string {
		var out strings.Builder
		for _, c := range s {
			fmt.Fprintf(&out, format, c)
		}
		return out.String()
	}
}

var keys = []string{
	"MadeUpKeyMadeUpKeyMadeUpKeyM01", "MadeUp+key/with%oddly&czars=;x y", "50%off&more+x y/z;=", `a\b"c<d>'e-key`, "short-key-12",
	"%25%25%25%25%25%25", "key%41%42%43&lt;more", "ключ-от-всего-é", "::::====;;;;++++", "Made8Up8",
}

func TestEncodedSecretsAreWithheld(t *testing.T) {
	for _, key := range keys {
		m := New(wire.NewSecret("another one"), wire.NewSecret(key))
		for outerName, outer := range encodings {
			for innerName, inner := range encodings {
				for _, echo := range echoes(key) {
					text := "no token " + outer(inner(echo)) + ", sorry"
					if got := m.Text(text); got != Withheld {
						t.Errorf("%q, %s in %s: %q", echo, innerName, outerName, got)
					}
				}
			}
		}
	}
}

// echoes returns a key and, if it is long, the parts by which it is recognised.
func echoes(key string) []string {
	chars := []rune(key)
	if len(chars) < 16 {
		return []string{key}
	}
	return []string{key, string(chars[:8]), string(chars[len(chars)-8:]), string(chars[:len(chars)-3])}
}

func TestOtherTextsAreShown(t *testing.T) {
	m := New(wire.NewSecret("MadeUpKeyMadeUpKeyMadeUpKeyM01"), wire.NewSecret("12"), wire.NewSecret("2019112"), wire.NewSecret("key"), wire.NewSecret(""))
	for _, text := range []string{
		"", "Authorization information is missing or invalid.", "the key is wrong", "MadeUpK is not it", "570", "2019-11-29T15:42:16.637203Z",
		"Esper [f44373cb-1800-43c6-aab3-c81f8b1f435c]", "read write update introspection sdk register", "100 % & more \\ %zz &amp; \\u00e9",
	} {
		if got := m.Text(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if none := New(); none.In("anything") || none.In("") {
		t.Error("a Matcher without secrets finds one")
	}
}

func TestTextIsOneShortLine(t *testing.T) {
	m := New(wire.NewSecret("MadeUpKeyMadeUpKeyMadeUpKeyM01"))
	for text, want := range map[string]string{
		"a\nb\r\nc\u2028d\x00e\x1b[31m":                        "a b  c d e [31m",
		"turned \u202egnp.exe":                                 "turned  gnp.exe",
		"\xff\xfe":                                             "\uFFFD",
		strings.Repeat("é", 600):                               strings.Repeat("é", 512) + "…",
		"x" + strings.Repeat("é", 600):                         "x" + strings.Repeat("é", 511) + "…",
		strings.Repeat("x", MaxText):                           strings.Repeat("x", MaxText),
		strings.Repeat("\x80", 2000):                           "\uFFFD…",
		strings.Repeat("x", MaxText-4) + "MadeUpKeyMadeUp":     Withheld, // across the cut
		strings.Repeat("x", MaxText+overlap) + "MadeUpKeyMade": strings.Repeat("x", MaxText) + "…",
	} {
		if got := m.Text(text); got != want {
			t.Errorf("%.40q became %q, want %q", text, got, want)
		}
	}
}

func TestFields(t *testing.T) {
	type inner struct {
		Text   string
		hidden string
	}
	type answer struct {
		Secret wire.Secret
		ID     wire.Scalar
		Ref    wire.Ref
		Scopes wire.Scopes
		Time   wire.Time
		Any    any
		Map    map[string]any
		Inner  *inner
		Number int
	}
	const key = "MadeUpKeyMadeUpKeyMadeUpKeyM01"
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	full := func(text string) *answer {
		return &answer{
			Secret: wire.NewSecret(key), ID: wire.Scalar(text), Ref: wire.Ref{ID: "f44373cb", Raw: text}, Scopes: wire.Scopes{"read", text},
			Time: wire.Time{Time: at, Raw: text}, Any: text, Map: map[string]any{"k": text}, Inner: &inner{text, "x"}, Number: 7,
		}
	}
	m := New() // the secret is one of the fields
	v := full("an echo of " + key)
	m.Fields(v)
	if text := fmt.Sprintf("%+v %+v", v, v.Inner); strings.Contains(text, "MadeUp") {
		t.Errorf("a field shows the key: %s", text)
	}
	if v.ID != Withheld || v.Ref.ID != "f44373cb" || v.Scopes[0] != "read" || !v.Time.Equal(at) || v.Number != 7 || v.Secret.Reveal() != key {
		t.Errorf("%+v", v)
	}
	v = full("nothing")
	m.Fields(v)
	if got, want := fmt.Sprintf("%+v %+v", *v, *v.Inner), fmt.Sprintf("%+v %+v", *full("nothing"), inner{"nothing", "x"}); strings.Split(got, "0x")[0] != strings.Split(want, "0x")[0] || v.Map == nil || v.Any == nil {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func FuzzText(f *testing.F) {
	for _, key := range keys {
		f.Add(key, "before ", " after")
		f.Add(key, `"%`, `5C\`)
	}
	f.Fuzz(func(t *testing.T, key, before, after string) {
		text := before + key + after
		if !utf8.ValidString(key) || len(text) > MaxText {
			return
		}
		got := New(wire.NewSecret(key)).Text(text)
		if strings.ContainsAny(got, "\n\r\x00\x1b") || len(got) > 3*MaxText+3 || !utf8.ValidString(got) {
			t.Errorf("%q is no short line", got)
		}
		if len(key) >= minDigits && got != Withheld {
			t.Errorf("%q in %q: %q", key, text, got)
		}
	})
}

func BenchmarkText(b *testing.B) {
	m := New(wire.NewSecret("MadeUpKeyMadeUpKeyMadeUpKeyM01"))
	for _, unit := range []string{"a", `\`, "%25", "&amp;", "&", "madeup"} {
		text := strings.Repeat(unit, 1<<11/len(unit))
		b.Run(unit, func(b *testing.B) {
			for b.Loop() {
				_ = m.Text(text)
			}
		})
	}
}
