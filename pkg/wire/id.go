package wire

// ID is an identifier that the server sends as a JSON string or as a number ("570", 570). It holds
// the string's text, or the number exactly as written; any other JSON value gives the empty ID.
// It encodes as a JSON string.
type ID string

// UnmarshalJSON takes the text of a JSON string, or the digits of a number.
func (id *ID) UnmarshalJSON(b []byte) error {
	s, _, err := text(b)
	if number(b) {
		s = string(b)
	}
	*id = ID(s)
	return err
}
