package esper

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// parseRenewal reads the answer to a renewal, the key first: a top-level token that arrived whole
// counts, even if the document around it is malformed or cut short. It returns nil without one.
func parseRenewal(body []byte) *RenewedToken {
	var key, folded Secret // folded: under a name such as Token, which encoding/json would take too
	eachMember(body, func(name, value []byte) {
		exact := string(name) == `"token"` || bytes.IndexByte(name, '\\') >= 0 && unescaped(name) == "token"
		if !exact && !bytes.EqualFold(name, []byte(`"token"`)) {
			return
		}
		var s Secret
		// U+FFFD is what a decoder puts in place of bytes it cannot read: such a key is not whole.
		if json.Valid(value) && s.UnmarshalJSON(value) == nil && !s.IsZero() && !strings.ContainsRune(s.Reveal(), utf8.RuneError) {
			if exact {
				key = s
			} else {
				folded = s
			}
		}
	})
	if key.IsZero() && json.Valid(trimStart(body)) { // in a document cut short, the exact name may be still to come
		key = folded
	}
	if key.IsZero() {
		return nil
	}
	renewed := new(RenewedToken)
	if json.Unmarshal(trimStart(body), renewed) != nil {
		renewed = parseMembers(body)
	}
	renewed.Token = key
	return renewed
}

// parseMembers reads what can be read of a document that json.Unmarshal refuses.
func parseMembers(body []byte) *RenewedToken {
	members := make(map[string]json.RawMessage)
	eachMember(body, func(name, value []byte) {
		if json.Valid(value) {
			members[unescaped(name)] = value
		}
	})
	renewed := new(RenewedToken)
	if whole, err := json.Marshal(members); err == nil {
		_ = json.Unmarshal(whole, renewed) // a wire type reads any value; what fails stays zero
	}
	return renewed
}

// eachMember calls visit with each member of the JSON object at the top of body whose value is
// complete, and with its name as it was written. It does not mind what encoding/json refuses
// elsewhere: values that are no JSON (which visit may get to see), stray or missing commas, an end
// that never came.
func eachMember(body []byte, visit func(name, value []byte)) {
	b := trimStart(body)
	if len(b) == 0 || b[0] != '{' {
		return
	}
	for b = trimStart(b[1:]); len(b) > 0 && b[0] != '}'; b = trimStart(b) {
		end := valueLen(b)
		if end < 0 {
			return
		}
		if b[0] != '"' { // a comma, or a value without a name
			b = b[max(1, end):]
			continue
		}
		name, rest := b[:end], trimStart(b[end:])
		if len(rest) == 0 || rest[0] != ':' {
			b = b[end:]
			continue
		}
		rest = trimStart(rest[1:])
		end = valueLen(rest)
		if end < 0 {
			return
		}
		visit(name, rest[:end])
		b = rest[end:]
	}
}

// unescaped returns what a JSON string says, nothing if it is malformed.
func unescaped(literal []byte) string {
	if bytes.IndexByte(literal, '\\') < 0 {
		return string(literal[1 : len(literal)-1])
	}
	var s string
	_ = json.Unmarshal(literal, &s)
	return s
}

// valueLen returns the length of the JSON value at the beginning of b, -1 if it does not end in b.
func valueLen(b []byte) int {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case inString:
			if c == '\\' {
				i++
			} else if c == '"' {
				inString = false
				if depth == 0 {
					return i + 1
				}
			}
		case c == '"':
			if depth == 0 && i > 0 {
				return i // a scalar ran into a string
			}
			inString = true
		case c == '{' || c == '[':
			if depth == 0 && i > 0 {
				return i
			}
			depth++
		case depth > 0 && (c == '}' || c == ']'):
			if depth--; depth == 0 {
				return i + 1
			}
		case depth == 0 && strings.IndexByte(",:}] \t\r\n", c) >= 0:
			return i
		}
	}
	return -1
}

// trimStart drops white space and a byte order mark.
func trimStart(b []byte) []byte {
	return bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n")
}

// isObject reports whether body begins as a JSON object.
func isObject(body []byte) bool {
	b := trimStart(body)
	return len(b) > 0 && b[0] == '{'
}

// unreadable says what a 2xx answer lacks, without quoting it.
func unreadable(body []byte) error {
	switch {
	case len(trimStart(body)) == 0:
		return fmt.Errorf("%w: the body is empty", ErrInvalidResponse)
	case !isObject(body):
		return fmt.Errorf("%w: the body (%d bytes) is no JSON object; perhaps the base URL leads to something else", ErrInvalidResponse, len(body))
	case !json.Valid(body):
		return fmt.Errorf("%w: the body (%d bytes) is malformed or cut short", ErrInvalidResponse, len(body))
	}
	return fmt.Errorf("%w: the body (%d bytes) has no usable token", ErrInvalidResponse, len(body))
}
