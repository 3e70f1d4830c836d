package wire

import (
	"encoding/json"
	"slices"
	"strings"
)

// Scopes is what a key may do, in the order sent. It decodes from an array of strings, which
// TokenInfo returns, or from one string with spaces (RFC 6749, section 3.3), which a renewal returns.
// Empty strings in the array, and members that are neither string nor number, are left out. Any other
// JSON value gives nil. Scopes encodes as an array, nil as null.
type Scopes []string

// Has reports whether s contains exactly scope.
func (s Scopes) Has(scope string) bool { return slices.Contains(s, scope) }

// UnmarshalJSON takes any JSON value.
func (s *Scopes) UnmarshalJSON(b []byte) error {
	line, isText, err := text(b)
	switch {
	case err != nil:
		*s = nil
		return err
	case isText:
		*s = strings.Fields(line)
		return nil
	case len(b) == 0 || b[0] != '[':
		*s = nil
		return nil
	}
	if list, ok := plainStrings(string(b)); ok {
		*s = list
		return nil
	}
	var items []Scalar
	if err := json.Unmarshal(b, &items); err != nil {
		return err
	}
	list := make(Scopes, 0, len(items))
	for _, item := range items {
		if item != "" {
			list = append(list, string(item))
		}
	}
	*s = list
	return nil
}

// plainStrings reads the JSON array in s if it holds only plain strings. It needs two allocations: one
// for s, of which the strings are parts, and one for the slice.
func plainStrings(s string) ([]string, bool) {
	list := make([]string, 0, strings.Count(s, `"`)/2)
	for s = strings.TrimLeft(s[1:], " \t\r\n,"); s != "]"; s = strings.TrimLeft(s, " \t\r\n,") {
		if s == "" || s[0] != '"' {
			return nil, false
		}
		item, rest, found := strings.Cut(s[1:], `"`)
		if !found || item == "" || !plain(item) {
			return nil, false
		}
		list, s = append(list, item), rest
	}
	return list, true
}
