package body

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/wire"
)

// Key returns the top-level token of an answer if the token arrived whole, even if the document around it is
// malformed or cut short. Of several tokens it returns the last. It returns the zero Secret if there is none.
func Key(body []byte) wire.Secret {
	var exact, folded recent // folded: under a name such as Token, which encoding/json accepts too
	escaped := 0
	whole := eachMember(body, func(name, value []byte) bool {
		switch {
		case len(name) == len(`"token"`):
			if string(name) == `"token"` {
				exact.add(value)
			} else if bytes.EqualFold(name, []byte(`"token"`)) {
				folded.add(value)
			}
		case len(name) <= len(`"\u0074\u006f\u006b\u0065\u006e"`) && escaped < maxEscaped && bytes.IndexByte(name, '\\') >= 0:
			if escaped++; stringOf(name) == "token" {
				exact.add(value)
			}
		}
		return true
	})
	if key := exact.last(); !key.IsZero() || !whole { // in a document cut short, the exact name might have followed
		return key
	}
	return folded.last()
}

// maxEscaped limits the names with escapes that are decoded.
const maxEscaped = 1 << 10

// recent keeps the last values of a member that occurs more than once.
type recent struct {
	values [16][]byte
	n      int
}

func (r *recent) add(value []byte) {
	r.values[r.n%len(r.values)] = value
	r.n++
}

// last returns the last of the values that is a key.
func (r *recent) last() wire.Secret {
	for i := r.n - 1; i >= max(0, r.n-len(r.values)); i-- {
		value := r.values[i%len(r.values)]
		var s wire.Secret
		// U+FFFD is what a decoder puts in place of bytes it cannot read: such a key is not whole.
		if json.Valid(value) && s.UnmarshalJSON(value) == nil && !strings.ContainsRune(s.Reveal(), utf8.RuneError) && !s.IsZero() {
			return s
		}
	}
	return wire.Secret{}
}

// Tokens appends to tokens the values in an answer that look like keys and have names that end in token, at any
// depth. Most limits how many values it appends. It looks at the first 8 * most such names.
func Tokens(tokens []wire.Secret, body []byte, most int) []wire.Secret {
	const maxLen, few = 8 << 10, 8
	given, maxNames := len(tokens), 8*most
	end, most := []byte(`oken"`), len(tokens)+most
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
		if slices.ContainsFunc(tokens[:min(len(tokens), given+few)], known) { // the usual case: the key of the call
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

// LooksLikeKey reports whether a text may be a key, and not a word or a sentence.
func LooksLikeKey(text string) bool {
	const long = 16
	return !strings.ContainsAny(text, " \t\r\n") && (len(text) >= long || strings.ContainsAny(text, "0123456789"))
}
