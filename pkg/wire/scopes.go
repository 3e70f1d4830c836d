package wire

import (
	"encoding/json"
	"slices"
	"strings"
)

// Scopes is what a key may do, in the order sent. It decodes from an array of strings, as token
// information has it, or from one string with spaces (RFC 6749, section 3.3), as a renewal has it.
// Members of the array that are neither string nor number are left out; any other JSON value gives
// nil. It encodes as an array.
type Scopes []string

// Has reports whether scope is among them, to the letter.
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
	var ids []ID
	if err := json.Unmarshal(b, &ids); err != nil {
		return err
	}
	list := make(Scopes, 0, len(ids))
	for _, id := range ids {
		if id != "" {
			list = append(list, string(id))
		}
	}
	*s = list
	return nil
}
