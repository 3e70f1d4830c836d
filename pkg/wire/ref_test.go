package wire_test

import (
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
		{"f44373cb180043c6aab3c81f8b1f435c", ""}, // no dashes
		// a 40-digit hash
		{"f44373cb180043c6aab3c81f8b1f435c01234567", ""},
		{u + "0123", ""}, // more characters of a word directly beside the UUID
		{"0123" + u, ""},
		{u + "-0123", ""},
		{"9" + u, ""},
		{"A" + u, ""},
		{"a" + u, ""},
		{"z" + u, ""},
		{u + "Z", ""},
		{"x-" + u, ""},
		{u[:35], ""}, // one character too few
		// a letter that is no hexadecimal digit
		{"g" + u[1:], ""},
		{"f44373cb1-800-43c6-aab3-c81f8b1f435c", ""}, // a dash out of place
		// two run together
		{"f44373cb-1800-43c6-aab3-c81f8b1f435c" + u, ""},
		{"{f44373cb-1800-43c6-aab3-c81f8b1f435c0}", ""},
		{"[" + u + "] " + "f44373cb-1800-43c6-aab3-c", u}, // a UUID and then the beginning of one
	} {
		got := decode(t, encode(t, tc.raw), same[wire.Ref])
		if want := (wire.Ref{ID: tc.id, Raw: tc.raw}); got != want {
			t.Errorf("%q: %+v, want %+v", tc.raw, got, want)
		}
	}
	for _, text := range []string{`null`, `12`, `{"id":"` + u + `"}`} {
		if got := decode(t, text, same[wire.Ref]); got.ID != "" {
			t.Errorf("%s has the ID %q", text, got.ID)
		}
	}
}
