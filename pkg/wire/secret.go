package wire

import (
	"fmt"
	"io"
	"unique"
)

// placeholder is what printing a set Secret shows.
const placeholder = "[secret]"

// Secret is a text that does not print: fmt with any verb, log/slog, encoding/json and
// encoding.TextMarshaler all show a placeholder, also where the Secret sits in an unexported
// field, which fmt reads without asking the value's methods. Only [Secret.Reveal] returns the text.
//
// Secrets with the same text are equal under ==. The zero value holds no text and prints as
// nothing.
//
// A Secret decodes from a JSON string or number, because source_refresh_token is of both kinds. Any other JSON
// value gives the zero Secret. Encoding a Secret and decoding it again yields the placeholder, not the
// text.
type Secret struct {
	shown string                // the placeholder, for a printer that looks at fields
	value unique.Handle[string] // holds the text behind a pointer that fmt does not follow, but compares by text
}

// NewSecret returns a Secret that holds s; the zero Secret for the empty string.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{shown: placeholder, value: unique.Make(s)}
}

// Reveal returns the text itself. The caller must keep the text out of logs and errors.
func (s Secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return s.value.Value()
}

// IsZero reports whether s holds no text.
func (s Secret) IsZero() bool { return s == Secret{} }

// String returns the placeholder, or nothing for the zero Secret.
func (s Secret) String() string { return s.shown }

// Format implements fmt.Formatter: the placeholder whatever the verb, %#v and %x included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.shown) }

// MarshalText returns the placeholder; it serves encoding/json, encoding/xml and log/slog too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.shown), nil }

// UnmarshalJSON takes the text of a JSON string, or the digits of a number.
func (s *Secret) UnmarshalJSON(b []byte) error {
	var v Scalar
	err := v.UnmarshalJSON(b)
	*s = NewSecret(string(v))
	return err
}
