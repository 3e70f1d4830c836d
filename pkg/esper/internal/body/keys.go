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

// Tokens appends to tokens what in an answer stands under names that end in token, at any depth, and looks
// like a key. It looks at the first 64 of such names.
func Tokens(tokens []wire.Secret, body []byte) []wire.Secret {
	const maxLen, maxNames = 8 << 10, 64
	end, most := []byte(`oken"`), len(tokens)+MaxTokens
	for rest, n := body, 0; len(tokens) < most && n < maxNames; n++ {
		i := bytes.Index(rest, end)
		if i < 0 {
			return tokens
		}
		name := i > 0 && rest[i-1]|0x20 == 't'
		rest = trimSpace(rest[i+len(end):])
		if !name || len(rest) == 0 || rest[0] != ':' {
			continue
		}
		rest = trimSpace(rest[1:])
		value := rest[:max(0, valueLen(rest[:min(len(rest), maxLen)]))]
		known := func(token wire.Secret) bool { return `"`+token.Reveal()+`"` == string(value) }
		if slices.ContainsFunc(tokens, known) { // as mostly: the answer repeats the key that made the call
			continue
		}
		tokens = stringsIn(tokens, value, most, 0)
	}
	return tokens
}

// stringsIn appends the texts of a JSON value that look like keys.
func stringsIn(tokens []wire.Secret, value []byte, most, depth int) []wire.Secret {
	switch value = trimSpace(value); {
	case len(value) == 0 || len(tokens) >= most || depth > maxDetailDepth:
	case value[0] == '[':
		eachElement(value, func(element []byte) bool {
			tokens = stringsIn(tokens, element, most, depth+1)
			return len(tokens) < most
		})
	case value[0] == '{':
		eachMember(value, func(_, member []byte) bool {
			tokens = stringsIn(tokens, member, most, depth+1)
			return len(tokens) < most
		})
	case value[0] == '"':
		if text := stringOf(value); LooksLikeKey(text) {
			tokens = append(tokens, wire.NewSecret(text))
		}
	case '0' <= value[0] && value[0] <= '9':
		tokens = append(tokens, wire.NewSecret(string(value)))
	}
	return tokens
}

// LooksLikeKey reports whether a text may be a key and no word or sentence.
func LooksLikeKey(text string) bool {
	const long = 16
	return !strings.ContainsAny(text, " \t\r\n") && (len(text) >= long || strings.ContainsAny(text, "0123456789"))
}
