package wire

import "github.com/google/uuid"

// Ref names another object of the server by its UUID, or by a display string that contains the UUID,
// such as "Esper [uuid]" or "DeveloperApp object (uuid)". Esper sends both for the same object. Its own
// command-line client takes the UUID out of the string in the same way.
type Ref struct {
	// ID is the UUID as it was written, empty if there is none. If there are several, ID is the last,
	// because the name in front is free text and may contain a UUID too.
	ID string
	// Raw is the text of a string as sent, the JSON of any other value, and empty for null.
	Raw string
}

const uuidLen = 36

// UnmarshalJSON takes any JSON value.
func (r *Ref) UnmarshalJSON(b []byte) error {
	raw, isText, err := textOrRaw(b)
	*r = Ref{Raw: raw}
	if isText {
		r.ID = lastUUID(raw)
	}
	return err
}

// MarshalJSON encodes Raw as a string, or ID if Raw is empty, or null if both are empty.
func (r Ref) MarshalJSON() ([]byte, error) {
	if r.Raw == "" {
		return quote(r.ID)
	}
	return quote(r.Raw)
}

func lastUUID(s string) string {
	for i := len(s) - uuidLen; i >= 0; i-- {
		c := s[i : i+uuidLen]
		if c[8] != '-' || c[13] != '-' || c[18] != '-' || c[23] != '-' || uuid.Validate(c) != nil {
			continue
		}
		if (i == 0 || !wordByte(s[i-1])) && (i+uuidLen == len(s) || !wordByte(s[i+uuidLen])) {
			return c
		}
	}
	return ""
}

// wordByte reports whether c, directly beside a UUID, makes the UUID a part of a longer word.
func wordByte(c byte) bool {
	return c == '-' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}
