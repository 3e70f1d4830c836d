package wire

import "github.com/google/uuid"

// Ref names another object of the server: by its UUID, or by a display string around it, such as
// "Esper [uuid]" or "DeveloperApp object (uuid)". Esper sends both for the same object; its own
// command-line client cuts the UUID out in the same way (pull request 31 of esper-cli).
type Ref struct {
	// ID is the UUID as it was written, empty if there is none. Of several it is the last, because
	// the name that comes first is free text.
	ID string
	// Raw is the whole text as sent, for a value that is no string its JSON; empty for null.
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

// MarshalJSON encodes Raw as a string, or ID where there is no Raw, or null.
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

// wordByte reports whether c beside a UUID makes it part of something longer.
func wordByte(c byte) bool {
	return c == '-' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}
