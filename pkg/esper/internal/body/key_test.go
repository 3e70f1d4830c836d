package body

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/wire"
)

// usable reports whether a text can be a key, once the blanks around it are cut off.
func usable(text string) bool {
	text = strings.TrimSpace(text)
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError })
}

func FuzzKey(f *testing.F) {
	for _, seed := range []string{
		``, `null`, `{}`, `[]`, `{"token": "k"}`, `{"id": 571, "token": "key", "expires_at": null}`, `{"token": "\ud800"}`,
		`{"a": {"token": "n"}, "b": "\"token\": \"q\"", "token": "key"}`, `{"token": "a", "token": "b"}`, `{"token": 12}`,
		`{"token": -}`, `{"token": NaN}`, "{\"token\": \"\xff\"}", "\ufeff" + `{"token": "k"}`, `{"token" "k"}`,
		`{"\u0074oken": "\u006b\"\\"}`, `{,,"token":,"token": "k",}`, `{"a": [1}, "token": "k"}`, `{{"token": "k"}}`,
		`{"TOKEN": "k", "Token": 1}`, `{"token": ""}`, `{"token":"k"}{"token":"l"}`, "{\n\t\"token\" :\r\n\"k\" }",
		`{"scope": [1, "a", null], "token": "k", "id": {}, "user": [], "enterprise": 1.5e9, "updated_on": "now"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		got := Key(doc, wire.Secret{})
		if strings.ContainsRune(got.Reveal(), utf8.RuneError) {
			t.Errorf("key %q holds U+FFFD, so it did not arrive whole", got.Reveal())
		}
		if !json.Valid(doc) || len(doc) > 4096 {
			return
		}
		var members map[string]any
		_ = json.Unmarshal(doc, &members)
		if want, ok := members["token"].(string); ok && usable(want) && got.Reveal() != strings.TrimSpace(want) {
			t.Errorf("key %v, want %q", got, want)
		}
		named := func(name string) bool { return strings.EqualFold(name, "token") }
		if !got.IsZero() && !slices.ContainsFunc(slices.Collect(maps.Keys(members)), named) {
			t.Errorf("key %q, but no member has the name token", got.Reveal())
		}
	})
}
