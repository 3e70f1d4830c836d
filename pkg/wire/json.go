// Package wire holds the values of the Esper API as the server really sends them: keys that must
// not be printed, numbers that come as strings, UUIDs inside display strings, times in more than
// one form.
//
// Its types decode every well-formed JSON value without an error, because a new key must not be lost
// when another field of the same answer has an unexpected form. A value that does not fit becomes the
// zero value; [Ref] and [Time] also keep its text.
//
// All types are safe for concurrent use as long as nobody decodes into them.
package wire

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// text decodes a JSON string; ok is false for any other kind of value, which is left to the caller.
// For a plain string it avoids json.Unmarshal and its allocations.
func text(b []byte) (s string, ok bool, err error) {
	if len(b) < 2 || b[0] != '"' {
		return "", false, nil
	}
	if in := b[1 : len(b)-1]; b[len(b)-1] == '"' && plain(in) {
		return string(in), true, nil
	}
	return unquote(b)
}

func unquote(b []byte) (s string, ok bool, err error) {
	err = json.Unmarshal(b, &s)
	return s, err == nil, err
}

// plain reports whether the inside of a JSON string is ASCII without escapes, and so needs no decoding.
func plain[T string | []byte](b T) bool {
	for i := range len(b) {
		if c := b[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// number reports whether b, a JSON value, is a number.
func number(b []byte) bool {
	return len(b) > 0 && (b[0] == '-' || '0' <= b[0] && b[0] <= '9')
}

// textOrRaw returns what a Raw field keeps: the text of a string, nothing for null, and any other
// value as it was written.
func textOrRaw(b []byte) (raw string, isText bool, err error) {
	s, isText, err := text(b)
	if err != nil || isText || bytes.Equal(b, []byte("null")) {
		return s, isText, err
	}
	return string(b), false, nil
}

// quote encodes s as a JSON string, and the empty string as null.
func quote(s string) ([]byte, error) {
	if s == "" {
		return []byte("null"), nil
	}
	return json.Marshal(s)
}
