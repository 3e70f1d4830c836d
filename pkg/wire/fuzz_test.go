package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/esper-go/esper-go/pkg/wire"
)

var corpus = []string{
	`null`, `true`, `0`, `-1.5e+300`, `570`, `123456789012345678901234567890`, `""`, `"a"`, `"key"`,
	`"\ud83d\ude00\ud800"`,
	"\"\xff\"", `"570"`, `"a\"\\\u0026b"`, ` "spaced" `, `[]`, `{}`, `[["read"],"write",1,null,{}]`, `["read","write"]`,
	`"read write update introspection sdk register"`, `"f44373cb-1800-43c6-aab3-c81f8b1f435c"`,
	`"Esper [f44373cb-1800-43c6-aab3-c81f8b1f435c]"`, `"DeveloperApp object (5fa87c46-bef7-4c1f-9ca8-ebf022d118b6)"`,
	`"f44373cb-1800-43c6-aab3-c81f8b1f435c0000 5FA87C46-BEF7-4C1F-9CA8-EBF022D118B6"`, `{"id":"x","name":["y"]}`,
	`"2019-11-19T15:42:16.637203Z"`, `"2019-11-19 15:42:16+0530"`, `"9999-12-31T23:59:59-23:59"`,
	`"0000-01-01T00:00:00+23:59"`,
	`"Tue, 19 Nov 2019 15:42:16 GMT"`, `"Tue Nov 19 15:42:16 2019"`, `1574178136`, `157417`, `1e9`, `["2019-11-19"]`,
	`["f44373cb-1800-43c6-aab3-c81f8b1f435c"]`, `"`, `"\`, `[`, `{"a"`, ``, `"a`, `"\u12"`, `"a"b"`, "\"\n\"", `["a"`, `x`,
}

// fuzz decodes each input in three ways. A direct call of the method may fail, but must not panic.
// encoding/json must decode any JSON value, both alone and as a member of an object. Then fuzz encodes
// the value again, and passes it to check.
func fuzz[T any](f *testing.F, direct func(*T, []byte) error, check func(t *testing.T, input []byte, v T)) {
	for _, seed := range corpus {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		var raw T
		_ = direct(&raw, input)
		member := append(append([]byte(`{"V":`), input...), '}')
		if !json.Valid(input) || !json.Valid(member) { // a member is nested one level deeper, perhaps too deep
			return
		}
		var alone T
		if err := json.Unmarshal(input, &alone); err != nil {
			t.Fatalf("alone: %v", err)
		}
		var in struct{ V T }
		if err := json.Unmarshal(member, &in); err != nil {
			t.Fatalf("as a member: %v", err)
		}
		out, err := json.Marshal(alone)
		if err != nil || !json.Valid(out) {
			t.Fatalf("encodes as %q, %v", out, err)
		}
		if same, err := json.Marshal(in.V); err != nil || !bytes.Equal(same, out) {
			t.Fatalf("alone it is %s, as a member %s, %v", out, same, err)
		}
		check(t, bytes.TrimSpace(input), alone)
	})
}

// textOf returns the text of a JSON string as encoding/json reads it.
func textOf(input []byte) (string, bool) {
	var v any
	_ = json.Unmarshal(input, &v)
	s, ok := v.(string)
	return s, ok
}

func FuzzID(f *testing.F) {
	fuzz(f, (*wire.Scalar).UnmarshalJSON, func(t *testing.T, input []byte, id wire.Scalar) {
		var number json.Number
		want, isText := textOf(input)
		if !isText && json.Unmarshal(input, &number) == nil {
			want = number.String()
		}
		if string(id) != want {
			t.Errorf("%q, want %q", id, want)
		}
	})
}

func FuzzSecret(f *testing.F) {
	fuzz(f, (*wire.Secret).UnmarshalJSON, func(t *testing.T, input []byte, s wire.Secret) {
		if want, isText := textOf(input); isText && s.Reveal() != want {
			t.Errorf("%q, want %q", s.Reveal(), want)
		}
		hidden := fmt.Sprintf("%v", struct{ s wire.Secret }{s})
		// A shorter text may be in a printed address.
		if text := s.Reveal(); len(text) > 16 && strings.Contains(hidden, text) {
			t.Errorf("an unexported field shows %q", hidden)
		}
		if s != wire.NewSecret(s.Reveal()) {
			t.Error("two Secrets with one text differ")
		}
	})
}

func FuzzRef(f *testing.F) {
	fuzz(f, (*wire.Ref).UnmarshalJSON, func(t *testing.T, input []byte, r wire.Ref) {
		if r.ID != "" && (uuid.Validate(r.ID) != nil || len(r.ID) != 36 || !strings.Contains(r.Raw, r.ID)) {
			t.Errorf("ID %q of %q", r.ID, r.Raw)
		}
		checkRaw(t, input, r.Raw)
		if _, isText := textOf(input); isText {
			if again := decode(t, encode(t, r), same[wire.Ref]); again != r {
				t.Errorf("encoded and decoded: %+v, was %+v", again, r)
			}
		} else if r.ID != "" {
			t.Errorf("ID %q of a value that is no string", r.ID)
		}
	})
}

func FuzzTime(f *testing.F) {
	fuzz(f, (*wire.Time).UnmarshalJSON, func(t *testing.T, input []byte, v wire.Time) {
		checkRaw(t, input, v.Raw)
		if v.Location() != time.UTC {
			t.Errorf("in %v, want UTC", v.Location())
		}
		text, isText := textOf(input)
		if want, err := time.Parse(time.RFC3339, text); err == nil && !v.Equal(want) {
			t.Errorf("%v, want %v", v, want)
		}
		if !isText {
			if _, err := strconv.ParseFloat(string(input), 64); !v.IsZero() && err != nil {
				t.Errorf("%v of a value that is neither text nor number", v)
			}
		} else if again := decode(t, encode(t, v), equalTime); !equalTime(again, v) {
			t.Errorf("encoded and decoded: %v, was %v", again, v)
		}
	})
}

// checkRaw: Raw is a string's text, nothing for null, and any other value as it was written.
func checkRaw(t *testing.T, input []byte, raw string) {
	t.Helper()
	want, isText := textOf(input)
	if !isText && string(input) != "null" {
		want = string(input)
	}
	if raw != want {
		t.Errorf("Raw %q, want %q", raw, want)
	}
}

func FuzzScopes(f *testing.F) {
	fuzz(f, (*wire.Scopes).UnmarshalJSON, func(t *testing.T, input []byte, s wire.Scopes) {
		for _, scope := range s {
			if scope == "" || !utf8.ValidString(scope) || !s.Has(scope) {
				t.Errorf("a scope %q", scope)
			}
		}
		switch text, isText := textOf(input); {
		case isText:
			if got := strings.Join(s, " "); got != strings.Join(strings.Fields(text), " ") {
				t.Errorf("%q of %q", got, text)
			}
		case (s != nil) != (input[0] == '['):
			t.Errorf("%#v of %s", s, input)
		}
	})
}
