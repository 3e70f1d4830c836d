package wire_test

import (
	"encoding/json"
	"testing"
)

// decode reads the JSON value both alone and as a member, and fails the test if it does not
// decode or the two differ.
func decode[T any](t *testing.T, text string, equal func(a, b T) bool) T {
	t.Helper()
	var alone T
	if err := json.Unmarshal([]byte(text), &alone); err != nil {
		t.Fatalf("decode %s: %v", text, err)
	}
	var member struct{ V T }
	if err := json.Unmarshal([]byte(`{"V":`+text+`}`), &member); err != nil {
		t.Fatalf("decode %s as a member: %v", text, err)
	}
	if !equal(alone, member.V) {
		t.Fatalf("%s decodes to %v alone and to %v as a member", text, alone, member.V)
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
