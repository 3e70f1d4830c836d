package wire_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

// decode reads the JSON value alone, as a member, and over another value, and fails the test if it does not decode or
// these differ.
func decode[T any](t *testing.T, text string, equal func(a, b T) bool) T {
	t.Helper()
	var alone T
	if err := json.Unmarshal([]byte(text), &alone); err != nil {
		t.Fatalf("decode %s: %v", text, err)
	}
	var member struct{ V T }
	if err := json.Unmarshal([]byte(`"2000-01-01T00:00:00Z[f44373cb-1800-43c6-aab3-c81f8b1f435c]"`), &member.V); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{"V":`+text+`}`), &member); err != nil {
		t.Fatalf("decode %s as a member: %v", text, err)
	}
	if !equal(alone, member.V) {
		t.Fatalf("%s decodes to %v alone and to %v as a member, over another value", text, alone, member.V)
	}
	return alone
}

func same[T comparable](a, b T) bool { return a == b }

// encode returns the JSON of v.
func encode(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	return string(b)
}

func TestEncoding(t *testing.T) {
	at := time.Date(2019, 11, 19, 15, 42, 16, 637203000, time.UTC)
	for _, tc := range []struct {
		v    any
		want string
	}{
		{wire.Scalar("570"), `"570"`},
		{wire.Scopes{"read", "write"}, `["read","write"]`},
		{wire.Scopes{}, `[]`},
		{wire.Scopes(nil), `null`},
		{wire.Ref{ID: "a", Raw: "b"}, `"b"`},
		{wire.Ref{ID: "a"}, `"a"`},
		{wire.Ref{}, `null`},
		{wire.Time{Time: at}, `"2019-11-19T15:42:16.637203Z"`},
		{wire.Time{Time: at, Raw: "2019-11-19 15:42"}, `"2019-11-19 15:42"`},
		{wire.Time{Raw: "soon"}, `"soon"`},
		{wire.Time{}, `null`},
		{wire.NewSecret("key"), `"[secret]"`},
		{exported{}, `{"Key":""}`},
		{struct {
			Key wire.Secret `json:",omitzero"`
		}{}, `{}`},
	} {
		if got := encode(t, tc.v); got != tc.want {
			t.Errorf("%#v: %s, want %s", tc.v, got, tc.want)
		}
	}
}

const someUUID, otherUUID = "f44373cb-1800-43c6-aab3-c81f8b1f435c", "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"

// refs are texts, and the ID that each has.
var refs = map[string]string{
	someUUID:                                     someUUID,
	"Esper [" + someUUID + "]":                   someUUID,
	"DeveloperApp object (" + someUUID + ")":     someUUID,
	"F44373CB-1800-43C6-AAB3-C81F8B1F435C":       "F44373CB-1800-43C6-AAB3-C81F8B1F435C",
	"Fleet " + otherUUID + " [" + someUUID + "]": someUUID,
	otherUUID + " " + someUUID:                   someUUID,
	someUUID + " is it":                          someUUID,
	"urn:uuid:" + someUUID:                       someUUID,
	"é" + someUUID + "é":                         someUUID,
	"Entreprise é\t\"" + someUUID + "\"":         someUUID,
	"00000000-0000-0000-0000-000000000000":       "00000000-0000-0000-0000-000000000000",
	"[" + someUUID + "] " + someUUID[:25]:        someUUID, // a UUID and then the beginning of one
	"Esper":                                      "",
	"f44373cb180043c6aab3c81f8b1f435c":           "", // no dashes
	// a 40-digit hash
	"f44373cb180043c6aab3c81f8b1f435c01234567": "",
	someUUID[:35]: "", // one character too few
	// a letter that is no hexadecimal digit
	"g" + someUUID[1:]:                        "",
	"f44373cb1-800-43c6-aab3-c81f8b1f435c":    "", // a dash out of place
	"{f44373cb-1800-43c6-aab3-c81f8b1f435c0}": "",
	someUUID + someUUID:                       "", // two run together
}

func TestRef(t *testing.T) {
	all := maps.Clone(refs)
	for c := range strings.SplitSeq("0 9 A Z a z x- -0123", " ") { // of a word directly beside the UUID
		all[c+someUUID], all[someUUID+c] = "", ""
	}
	for raw, id := range all {
		got := decode(t, encode(t, raw), same[wire.Ref])
		if want := (wire.Ref{ID: id, Raw: raw}); got != want {
			t.Errorf("%q: %+v, want %+v", raw, got, want)
		}
	}
}

// scopes are the texts of JSON values, and the Scopes that each decodes to.
var scopes = map[string]wire.Scopes{
	`["read","write","update","introspection","sdk","register"]`: {"read", "write", "update", "introspection", "sdk", "register"},
	`"read write update introspection sdk register"`:             {"read", "write", "update", "introspection", "sdk", "register"},
	`"  read\twrite "`:         {"read", "write"},
	`["write","read","write"]`: {"write", "read", "write"},
	`["a b"]`:                  {"a b"},
	`["read", 1, 2.5, "", null, true, {"a": "b"}, ["c"], "last"]`: {"read", "1", "2.5", "last"},
	`["read",""]`:    {"read"},
	`[""]`:           {},
	`["a\\b"]`:       {`a\b`},
	`[1,"read"]`:     {"1", "read"},
	`[["read"]]`:     {},
	`[]`:             {},
	`""`:             {},
	`null`:           nil,
	`1`:              nil,
	`true`:           nil,
	`{"read": true}`: nil,
}

func TestScopes(t *testing.T) {
	for text, want := range scopes {
		got := decode(t, text, slices.Equal[wire.Scopes])
		if !slices.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%s: %#v, want %#v", text, got, want)
		}
	}
	if s := (wire.Scopes{"read", "sdk"}); !s.Has("sdk") || s.Has("Read") || s.Has("rea") || s.Has("read sdk") || wire.Scopes(nil).Has("") {
		t.Error("Has does not find exactly the scopes")
	}
}
