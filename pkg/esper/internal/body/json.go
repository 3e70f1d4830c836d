package body

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// maxMembers limits the members of an object that are looked at. A real object has a dozen.
const maxMembers = 1 << 12

// maxStrays limits the misplaced values between the members of an object.
const maxStrays = 1 << 16

// eachMember calls visit with each member of the JSON object at the top of body whose value is
// complete, until visit returns false. The name is as it was written, quotes included. eachMember accepts
// some things that encoding/json refuses: values that are no JSON (visit may get one), and misplaced or
// missing commas. It reports whether the object ended, with nothing behind it.
func eachMember(body []byte, visit func(name, value []byte) bool) (whole bool) {
	b := trimStart(body)
	if !IsObject(b) {
		return false
	}
	strays := 0
	for b = trimSpace(b[1:]); len(b) > 0 && strays < maxStrays; b = trimSpace(b) {
		if b[0] == '}' {
			return len(trimSpace(b[1:])) == 0
		}
		end := valueLen(b)
		if end < 0 {
			return false
		}
		if b[0] != '"' { // a comma, or a value without a name
			if b[0] != ',' {
				strays++
			}
			b = b[max(1, end):]
			continue
		}
		name, rest := b[:end], trimSpace(b[end:])
		if len(rest) == 0 || rest[0] != ':' {
			strays++
			b = b[end:]
			continue
		}
		rest = trimSpace(rest[1:])
		if end = valueLen(rest); end < 0 || !visit(name, rest[:end]) {
			return false
		}
		b = rest[end:]
	}
	return false
}

// List calls visit with the elements of the array that is the member name of the object in body, until visit returns
// false. It reports whether there is such an array; null counts as an empty array.
func List(body []byte, name string, visit func(value []byte) bool) (found bool) {
	eachMember(body, func(literal, value []byte) bool {
		if stringOf(literal) != name {
			return true
		}
		if found = string(value) == "null" || len(value) > 0 && value[0] == '['; found {
			eachElement(value, visit)
		}
		return !found
	})
	return found
}

// eachElement calls visit with the elements of the JSON array at the top of b, until visit returns false.
func eachElement(b []byte, visit func(value []byte) bool) {
	if len(b) == 0 || b[0] != '[' {
		return
	}
	for b = trimSpace(b[1:]); len(b) > 0 && b[0] != ']'; b = trimSpace(b) {
		end := valueLen(b)
		if end < 0 || end > 0 && !visit(b[:end]) {
			return
		}
		b = b[max(1, end):]
	}
}

// valueLen returns the length of the JSON value at the beginning of b, -1 if it does not end in b, and
// 0 if there is none.
func valueLen(b []byte) int {
	for i, c := range b {
		switch c {
		case '"', '{', '[':
			if i > 0 {
				return i // a separator is missing behind a scalar
			}
			if c == '"' {
				return stringLen(b)
			}
			return nestedLen(b)
		case ',', ':', '}', ']', ' ', '\t', '\r', '\n':
			return i
		}
	}
	return -1
}

// stringLen is valueLen for a value that begins with a quote.
func stringLen(b []byte) int {
	for i := 1; i < len(b); i++ {
		if b[i] == '"' {
			return i + 1
		}
		if b[i] == '\\' {
			i++
		}
	}
	return -1
}

// nestedLen is valueLen for a value that begins with a brace or a bracket. It takes the two for the same, and
// has no limit of depth, because a new key may follow a malformed or deeply nested value.
func nestedLen(b []byte) int {
	const bit = '{' ^ '[' // the bit in which braces and brackets differ
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c|bit == '{':
			depth++
		case c|bit == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		case c == '"':
			n := stringLen(b[i:])
			if n < 0 {
				return -1
			}
			i += n - 1
		}
	}
	return -1
}

// maxLiteral is how many bytes of a JSON string are decoded. They hold what is shown of a text, and what is
// searched beyond that, even if every character is an escape of six bytes.
const maxLiteral = 6 * (2 << 10)

// stringOf returns the text of a JSON string, or the beginning of a long one. It returns "" for any other value
// and for a malformed string.
func stringOf(literal []byte) string {
	if len(literal) < 2 || literal[0] != '"' {
		return ""
	}
	in := literal[1 : len(literal)-1]
	if bytes.IndexByte(in, '\\') < 0 && len(in) <= maxLiteral {
		return string(in)
	}
	var s string
	for cut := range 12 { // the cut may have split the last escape
		if json.Unmarshal(fmt.Appendf(nil, `"%s"`, in[:min(len(in), maxLiteral)-cut]), &s) == nil || len(in) <= maxLiteral {
			break
		}
	}
	return s
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func trimSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	return b
}

// trimStart drops white space and a byte order mark.
func trimStart(b []byte) []byte { return trimSpace(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))) }

// IsObject reports whether body begins as a JSON object.
func IsObject(body []byte) bool {
	b := trimStart(body)
	return len(b) > 0 && b[0] == '{'
}

// IsEmpty reports whether there is nothing in body.
func IsEmpty(body []byte) bool { return len(trimStart(body)) == 0 }

// IsWhole reports whether body is a JSON object that ended.
func IsWhole(body []byte) bool {
	n := 0
	return eachMember(body, func(_, _ []byte) bool { n++; return n < maxMembers })
}
