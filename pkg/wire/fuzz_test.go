package wire_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/esper-go/esper-go/pkg/wire"
)

// FuzzValues decodes each input as each of the types. A direct call of the method may fail, but must not panic.
// encoding/json must decode any JSON value. A Scalar and a Secret have the text of a string, and a number as it was written.
func FuzzValues(f *testing.F) {
	seeds := append(slices.Collect(maps.Keys(scopes)),
		`"570"`, `570`, `-7`, `0`, `9`, `123456789012345678901234567890`, `1.50`, `5E+2`, `1e9`, `-1.5e+300`, ` "spaced" `,
		`"bindya"`, `"a\"b"`, `"a\u0026b\u00e9"`, "\"\xff\"", "\"\x80\"", `"\ud83d\ude00\ud800"`, `"\\"`, `"\\\\"`, `false`,
		`{"id": 1}`, `{"id":"`+someUUID+`"}`, `["`+someUUID+`"]`, `["2019-11-19"]`,
		`"`, `"\`, `[`, `{"a"`, ``, `"a`, `"\u12"`, `"a"b"`, "\"\n\"", `["a"`, `x`)
	for raw := range maps.Keys(refs) {
		seeds = append(seeds, encode(f, raw))
	}
	for raw := range maps.Keys(times) {
		seeds = append(seeds, raw, encode(f, raw))
	}
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, bytes []byte) {
		for _, v := range []json.Unmarshaler{new(wire.Scalar), new(wire.Secret), new(wire.Ref), new(wire.Time), new(wire.Scopes)} {
			_ = v.UnmarshalJSON(bytes)
		}
		input := strings.TrimSpace(string(bytes))
		if !json.Valid(bytes) || !json.Valid([]byte(`{"V":`+input+`}`)) { // a member is one level deeper, perhaps too deep
			return
		}
		var value any
		_ = json.Unmarshal(bytes, &value)
		text, isText := value.(string)
		raw := text // of a string; nothing for null, and any other value as it was written
		if !isText && input != "null" {
			raw = input
		}
		if number := json.Number(""); json.Unmarshal([]byte(input), &number) == nil && input[0] != '"' {
			text = number.String()
		}
		id, secret := decode(t, input, same[wire.Scalar]), decode(t, input, same[wire.Secret])
		if string(id) != text || secret != wire.NewSecret(text) || secret.Reveal() != text {
			t.Errorf("%q and the secret %q, want %q", id, secret.Reveal(), text)
		}

		r := decode(t, input, same[wire.Ref])
		found := isText && len(r.ID) == 36 && uuid.Validate(r.ID) == nil && strings.Contains(r.Raw, r.ID)
		if r.Raw != raw || r.ID != "" && !found {
			t.Errorf("ID %q and Raw %q of %s", r.ID, r.Raw, input)
		}
		if again := decode(t, encode(t, r), same[wire.Ref]); isText && again != r {
			t.Errorf("encoded and decoded: %+v, was %+v", again, r)
		}

		v := decode(t, input, equalTime)
		if v.Raw != raw || v.Location() != time.UTC {
			t.Errorf("Raw %q of %s, in %v", v.Raw, input, v.Location())
		}
		if want, err := time.Parse(time.RFC3339, raw); err == nil && !v.Equal(want) {
			t.Errorf("%v, want %v", v, want)
		}
		if _, err := strconv.ParseFloat(input, 64); !isText && !v.IsZero() && err != nil {
			t.Errorf("%v of a value that is neither text nor number", v)
		}
		if again := decode(t, encode(t, v), equalTime); isText && !equalTime(again, v) {
			t.Errorf("encoded and decoded: %v, was %v", again, v)
		}

		s := decode(t, input, slices.Equal[wire.Scopes])
		encode(t, s)
		for _, scope := range s {
			if scope == "" || !utf8.ValidString(scope) || !s.Has(scope) {
				t.Errorf("a scope %q", scope)
			}
		}
		if fields := strings.Fields(raw); isText && !slices.Equal(s, fields) || !isText && (s != nil) != (input[0] == '[') {
			t.Errorf("%#v of %s", s, input)
		}
	})
}
