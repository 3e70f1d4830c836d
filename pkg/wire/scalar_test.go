package wire_test

import (
	"testing"

	"github.com/esper-go/esper-go/pkg/wire"
)

func TestID(t *testing.T) {
	for text, want := range map[string]wire.Scalar{
		`"570"`: "570", `570`: "570", `-7`: "-7", `0`: "0", `9`: "9", `""`: "",
		`123456789012345678901234567890`: "123456789012345678901234567890",
		`1.50`:                           "1.50", `5E+2`: "5E+2",
		`"bindya"`: "bindya", `"a\"b"`: `a"b`, `"\u00e9"`: "é", "\"\xff\"": "\ufffd", "\"\x80\"": "\ufffd",
		`"\ud800"`: "\ufffd",
		`"\\"`:     `\`, `"\\\\"`: `\\`,
		`true`: "", `false`: "", `null`: "", `{"id": 1}`: "", `[1]`: "",
	} {
		if got := decode(t, text, same[wire.Scalar]); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestIDEncodesAsString(t *testing.T) {
	if got := encode(t, decode(t, `570`, same[wire.Scalar])); got != `"570"` {
		t.Errorf("570 encodes as %s", got)
	}
}

// TestUnmarshalOfBrokenJSON: the methods are exported, so they may be called without the check
// that encoding/json makes first.
func TestUnmarshalOfBrokenJSON(t *testing.T) {
	for _, text := range []string{``, `"`, `"a`, `"\`, `"\u12"`, `"a"b"`, `"""`, "\"\n\"", `[`, `["a"`, `{`, `x`, `nul`} {
		var (
			id     wire.Scalar
			secret = wire.NewSecret("old")
			ref    wire.Ref
			when   wire.Time
			scopes wire.Scopes
		)
		errs := []error{
			id.UnmarshalJSON([]byte(text)), secret.UnmarshalJSON([]byte(text)), ref.UnmarshalJSON([]byte(text)),
			when.UnmarshalJSON([]byte(text)), scopes.UnmarshalJSON([]byte(text)),
		}
		for i, err := range errs {
			// A method can fail only on a text that begins like a string, or for Scopes like a list.
			if reads := len(text) > 1 && text[0] == '"' || i == 4 && len(text) > 0 && text[0] == '['; reads != (err != nil) {
				t.Errorf("%q into type %d: %v", text, i, err)
			}
		}
		if id != "" || !secret.IsZero() || ref.ID != "" || !when.IsZero() || scopes != nil {
			t.Errorf("%q leaves a value: %q %v %v %v %q", text, id, secret, ref, when, scopes)
		}
	}
}
