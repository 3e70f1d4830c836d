package body

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/wire"
)

// Key returns the top-level token of an answer.
func Key(body []byte) wire.Secret {
	var key, folded wire.Secret // folded: under a name such as Token, which encoding/json would take too
	whole := eachMember(body, func(name, value []byte) bool {
		exact := string(name) == `"token"` || len(name) <= 64 && bytes.IndexByte(name, '\\') >= 0 && stringOf(name) == "token"
		if !exact && !bytes.EqualFold(name, []byte(`"token"`)) {
			return true
		}
		var s wire.Secret
		// U+FFFD is what a decoder puts in place of bytes it cannot read: such a key is not whole.
		if !json.Valid(value) || s.UnmarshalJSON(value) != nil || s.IsZero() || strings.ContainsRune(s.Reveal(), utf8.RuneError) {
			return true
		}
		if exact {
			key = s
		} else {
			folded = s
		}
		return true
	})
	if key.IsZero() && whole { // in a document cut short, the exact name may be still to come
		return folded
	}
	return key
}

// MaxTokens is how many secrets Tokens looks for.
const MaxTokens = 8

// Tokens appends to tokens what a JSON document has under names that end in token, at any depth: keys,
// most likely. Texts with spaces are none.
func Tokens(tokens []wire.Secret, body []byte) []wire.Secret {
	const maxLen = 8 << 10
	end := []byte(`token"`)
	for rest, n := body, 0; n < MaxTokens; n++ {
		i := bytes.Index(rest, end)
		if i < 0 {
			return tokens
		}
		rest = trimSpace(rest[i+len(end):])
		if len(rest) == 0 || rest[0] != ':' {
			continue
		}
		rest = trimSpace(rest[1:])
		value := rest[:max(0, valueLen(rest[:min(len(rest), maxLen)]))]
		known := func(token wire.Secret) bool { return `"`+token.Reveal()+`"` == string(value) }
		if slices.ContainsFunc(tokens, known) { // as mostly: the answer repeats the key that made the call
			continue
		}
		for _, text := range flatten(nil, "", value, 0) {
			if text != "" && !strings.ContainsAny(text, " \t\r\n") {
				tokens = append(tokens, wire.NewSecret(text))
			}
		}
	}
	return tokens
}
