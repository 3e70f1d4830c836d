package wire

// Scalar is a single value that the server sends as a JSON string or as a number: an id ("570",
// 570), a user's name or id, a status. It holds the string's text, or the number exactly as written;
// any other JSON value gives the empty Scalar. It encodes as a JSON string.
type Scalar string

// UnmarshalJSON takes the text of a JSON string, or the digits of a number.
func (v *Scalar) UnmarshalJSON(b []byte) error {
	s, _, err := text(b)
	if number(b) {
		s = string(b)
	}
	*v = Scalar(s)
	return err
}
