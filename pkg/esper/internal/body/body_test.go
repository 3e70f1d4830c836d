package body

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/wire"
)

type fields struct {
	ID     wire.Scalar `json:"id"`
	Token  wire.Secret `json:"token,omitempty"`
	Scope  wire.Scopes `json:"scope"`
	Number int         `json:"number"`
	List   []string    `json:"list"`
}

// Decode reads the same values as encoding/json, if that accepts the document.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"id": 1, "token": "k", "scope": "a b", "number": 7, "list": ["x"]}`, `{"ID": "1", "Token": 5, "id": 2}`, `{"\u0069d": "\u0041"}`,
		`{"number": "x", "id": {"a": [1]}, "list": null, "scope": ["a", 1, null]}`, `{"unknown": [{"id": 9}], "id": null}`, ` {"id" : "a\"b" } `,
	} {
		f.Add([]byte(seed))
	}
	known := FieldsOf(fields{})
	f.Fuzz(func(t *testing.T, doc []byte) {
		var got, want fields
		whole := known.Decode(doc, &got)
		if err := json.Unmarshal(doc, &want); err != nil || !IsObject(doc) {
			return
		}
		if !whole {
			t.Errorf("%q is a whole document, but Decode says it is not", doc)
		}
		if !reflect.DeepEqual(got, want) && !strings.Contains(strings.ToLower(string(doc)), "\\u") && isASCII(doc) {
			t.Errorf("%q: %+v, want %+v", doc, got, want)
		}
	})
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// A value that cannot be read leaves its field zero, and does not affect the other fields.
func TestDecodeReadsWhatItCan(t *testing.T) {
	for doc, want := range map[string]fields{
		`{"id": 1, "number": "x", "list": ["a"]}`:                                    {ID: "1", List: []string{"a"}},
		`{"id": 1, "number": 7, "list": [1}`:                                         {ID: "1", Number: 7},
		`{"id": "` + strings.Repeat("x", 64<<10) + `", "number": 7}`:                 {Number: 7},
		`{"number": 1, ` + strings.Repeat(`"a": 1, `, maxMembers) + ` "number": 2}`:  {Number: 1},
		`{"id": NaN, "number": 7, "` + strings.Repeat("n", 100) + `": 1, "id": "1"}`: {ID: "1", Number: 7},
		`[{"id": 1}]`: {},
		`{"id": 1`:    {},
	} {
		var got fields
		FieldsOf(fields{}).Decode([]byte(doc), &got)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%.60s: %.100v, want %v", doc, fmt.Sprint(got), want)
		}
	}
}

// Tokens are found at any depth, and in lists. A sentence is not taken for a token.
func TestTokens(t *testing.T) {
	doc := `{"token": "one-1", "a": [{"access_token": "two-2", "source_refresh_token": 3}], "errors": {"Token": ["four-4", "This field is required.", "expired"]},
		"accessToken": {"key": {"value": "a-long-word-without-digits"}, "is": true}, "tokens": "no-5", "token": null, "token" : "one-1", "note": "\"token\": \"six-6\""}`
	var got []string
	for _, secret := range Tokens(nil, []byte(doc), 8) {
		got = append(got, secret.Reveal())
	}
	if text := strings.Join(got, " "); text != "one-1 two-2 3 four-4 a-long-word-without-digits" {
		t.Errorf("found %s", text)
	}
	if n := len(Tokens(nil, []byte(strings.Repeat(`"token": "a1", `, 1000)), 8)); n > 8 {
		t.Errorf("%d tokens", n)
	}
}
