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
