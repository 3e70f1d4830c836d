package wire_test

import (
	"slices"
	"testing"

	"github.com/esper-go/esper-go/pkg/wire"
)

func TestScopes(t *testing.T) {
	all := wire.Scopes{"read", "write", "update", "introspection", "sdk", "register"}
	for _, tc := range []struct {
		text string
		want wire.Scopes
	}{
		{`["read","write","update","introspection","sdk","register"]`, all},
		{`"read write update introspection sdk register"`, all},
		{`"  read\twrite "`, wire.Scopes{"read", "write"}},
		{`["write","read","write"]`, wire.Scopes{"write", "read", "write"}},
		{`["a b"]`, wire.Scopes{"a b"}},
		{`["read", 1, 2.5, "", null, true, {"a": "b"}, ["c"], "last"]`, wire.Scopes{"read", "1", "2.5", "last"}},
		{`["read",""]`, wire.Scopes{"read"}},
		{`[""]`, wire.Scopes{}},
		{`["a\\b"]`, wire.Scopes{`a\b`}},
		{`[1,"read"]`, wire.Scopes{"1", "read"}},
		{`[["read"]]`, wire.Scopes{}},
		{`[]`, wire.Scopes{}},
		{`""`, wire.Scopes{}},
		{`null`, nil},
		{`1`, nil},
		{`true`, nil},
		{`{"read": true}`, nil},
	} {
		got := decode(t, tc.text, slices.Equal[wire.Scopes])
		if !slices.Equal(got, tc.want) || (got == nil) != (tc.want == nil) {
			t.Errorf("%s: %#v, want %#v", tc.text, got, tc.want)
		}
	}
	if s := (wire.Scopes{"read", "sdk"}); !s.Has("sdk") || s.Has("Read") || s.Has("rea") || s.Has("read sdk") || wire.Scopes(nil).Has("") {
		t.Error("Has does not find exactly the scopes")
	}
}
