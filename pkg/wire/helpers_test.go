package wire_test

import (
	"encoding/json"
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
func encode(t *testing.T, v any) string {
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
