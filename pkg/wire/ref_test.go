package wire_test

import (
	"encoding/json"
	"testing"

	"github.com/esper-go/esper-go/pkg/wire"
)

func TestRef(t *testing.T) {
	const u, other = "f44373cb-1800-43c6-aab3-c81f8b1f435c", "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"
	for _, tc := range []struct{ raw, id string }{
		{u, u},
		{"Esper [" + u + "]", u},
		{"DeveloperApp object (" + u + ")", u},
		{"F44373CB-1800-43C6-AAB3-C81F8B1F435C", "F44373CB-1800-43C6-AAB3-C81F8B1F435C"},
		{"Fleet " + other + " [" + u + "]", u},
		{other + " " + u, u},
		{u + " is it", u},
		{"urn:uuid:" + u, u},
		{"é" + u + "é", u},
		{"Entreprise é\t\"" + u + "\"", u},
		{"00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000"},
		{"Esper", ""},
		// no dashes
		{"f44373cb180043c6aab3c81f8b1f435c", ""},
		// a 40-digit hash
		{"f44373cb180043c6aab3c81f8b1f435c01234567", ""},
		// more characters of a word directly beside the UUID
		{u + "0123", ""},
		{"0123" + u, ""},
		{u + "-0123", ""},
		{"9" + u, ""},
		{"A" + u, ""},
		{"a" + u, ""},
		{"z" + u, ""},
		{u + "Z", ""},
		{"x-" + u, ""},
		// one character too few
		{u[:35], ""},
		// a letter that is no hexadecimal digit
		{"g" + u[1:], ""},
		// a dash out of place
		{"f44373cb1-800-43c6-aab3-c81f8b1f435c", ""},
		// two run together
		{"f44373cb-1800-43c6-aab3-c81f8b1f435c" + u, ""},
		{"{f44373cb-1800-43c6-aab3-c81f8b1f435c0}", ""},
		// a UUID and then the beginning of one
		{"[" + u + "] " + "f44373cb-1800-43c6-aab3-c", u},
	} {
		got := decode(t, encode(t, tc.raw), same[wire.Ref])
		if want := (wire.Ref{ID: tc.id, Raw: tc.raw}); got != want {
			t.Errorf("%q: %+v, want %+v", tc.raw, got, want)
		}
		if again := decode(t, encode(t, got), same[wire.Ref]); again != got {
			t.Errorf("%q encoded and decoded: %+v", tc.raw, again)
		}
	}
}

func TestRefOfOtherValues(t *testing.T) {
	for text, raw := range map[string]string{
		`null`: "", `""`: "", `12`: "12", `true`: "true",
		`{"id":"f44373cb-1800-43c6-aab3-c81f8b1f435c"}`: `{"id":"f44373cb-1800-43c6-aab3-c81f8b1f435c"}`,
		`["f44373cb-1800-43c6-aab3-c81f8b1f435c"]`:      `["f44373cb-1800-43c6-aab3-c81f8b1f435c"]`,
	} {
		if got := decode(t, text, same[wire.Ref]); got != (wire.Ref{Raw: raw}) {
			t.Errorf("%s: %+v, want no ID and Raw %q", text, got, raw)
		}
	}
	old := wire.Ref{ID: "a", Raw: "b"}
	if err := json.Unmarshal([]byte(`null`), &old); err != nil || old != (wire.Ref{}) {
		t.Errorf("null over a value: %+v, %v", old, err)
	}
}

func TestRefEncodes(t *testing.T) {
	for want, ref := range map[string]wire.Ref{
		`"b"`: {ID: "a", Raw: "b"}, `"a"`: {ID: "a"}, `null`: {},
	} {
		if got := encode(t, ref); got != want {
			t.Errorf("%+v: %s, want %s", ref, got, want)
		}
	}
}
