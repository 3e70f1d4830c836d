// Package body reads the bodies of answers. It limits their size, whatever the header says, finds the new key in a
// document that is cut short or malformed, and the reason in that of an error.
package body

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/esper-go/esper-go/pkg/esper/internal/origin"
	"github.com/esper-go/esper-go/pkg/wire"
)

// ErrTooLarge is a body over MaxSize.
var ErrTooLarge = errors.New("esper: response larger than 1 MiB; perhaps the base URL leads to something else")

const (
	// MaxSize bounds what is read of one answer, on the wire and after decompression.
	MaxSize = 1 << 20
	// MaxDocument bounds what is decoded of an answer that is about one key, or of an error. Real ones have less than 2
	// KiB. It keeps the time that a hostile answer costs near the time of reading it.
	MaxDocument = 64 << 10
)

// Read reads and closes the body of an answer. What was read before an error is returned with it. Gzip is recognised by
// its first bytes, whatever Content-Encoding says: a wrong header must not cost the key.
func Read(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, nil // the body is the connection, and reading it would outlast every timeout
	}
	sent, err := readLimited(resp.Body)
	if !bytes.HasPrefix(sent, []byte{0x1f, 0x8b}) {
		return sent, err
	}
	gunzip, gzipErr := gzip.NewReader(bytes.NewReader(sent))
	if gzipErr != nil {
		return sent, err // it only begins like gzip
	}
	text, gzipErr := readLimited(gunzip)
	return text, cmp.Or(err, gzipErr)
}

// readLimited reads MaxSize bytes at most.
func readLimited(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if len(text) > MaxSize {
		return text[:MaxSize], ErrTooLarge
	}
	return text, err
}

// Trim drops white space around a document, and a byte order mark before it.
func Trim(body []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf")))
}

// Decode decodes a JSON document of at most MaxDocument.
func Decode(body []byte, into any) error {
	b := Trim(body)
	if len(b) > MaxDocument {
		return ErrTooLarge
	}
	return json.Unmarshal(b, into)
}

// Key returns the new key in the answer to a renewal: the top-level token, without blanks around it. A document that is
// cut short is read as far as it arrived. In one that is malformed, Key searches for a token, and takes it if all that
// it finds are the same text. A token that is the old key, or that no request could send, counts nowhere. Key returns
// the zero Secret if there is no other.
func Key(body []byte, old wire.Secret) (key wire.Secret) {
	b := Trim(body)
	dec := json.NewDecoder(bytes.NewReader(b))
	if start, _ := dec.Token(); start != json.Delim('{') {
		return wire.Secret{}
	}
	var err error
	for err == nil && dec.More() {
		var name json.Token
		var value json.RawMessage
		if name, err = dec.Token(); err == nil {
			err = dec.Decode(&value)
		}
		if name == "token" {
			key = cmp.Or(keyOf(value, old), key)
		}
	}
	if err == nil {
		_, err = dec.Token()
	}
	if err == nil || isCut(err) || !key.IsZero() { // of a document that is cut, what follows may be the token
		return key
	}
	return search(b, old)
}

// isCut reports whether an error of encoding/json is for the end of its input. Go 1.27 has a SyntaxError where older
// releases have io.EOF.
func isCut(err error) bool {
	syntax := (*json.SyntaxError)(nil)
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &syntax) && syntax.Error() == "unexpected end of JSON input"
}

var token = regexp.MustCompile(`"token"\s*:\s*("(?:[^"\\]|\\.)*")`)

// search finds the token of a malformed document.
func search(body []byte, old wire.Secret) (key wire.Secret) {
	for _, found := range token.FindAllSubmatch(body, -1) {
		next := keyOf(found[1], old)
		if !key.IsZero() && !next.IsZero() && next != key {
			return wire.Secret{} // nobody can tell which of them is the key
		}
		key = cmp.Or(key, next)
	}
	return key
}

// keyOf returns the key that a JSON string holds, unless it is the old one or cannot be sent.
func keyOf(value []byte, old wire.Secret) wire.Secret {
	var text string
	_ = json.Unmarshal(value, &text)
	text = strings.TrimSpace(text)
	if key := wire.NewSecret(text); key != old && origin.BadKey(text) == "" {
		return key
	}
	return wire.Secret{}
}

// What says what a 2xx body is that lacks what the operation has to return, or "" if it is a whole JSON object.
func What(body []byte) string {
	switch b := Trim(body); {
	case len(b) == 0:
		return "the body is empty"
	case IsHTML(b):
		return "the body is an HTML page; perhaps the base URL leads to something else, or a login page stands in front"
	case b[0] != '{':
		return "the body is no JSON object; perhaps the base URL leads to something else"
	case len(b) > MaxDocument:
		return "the body is over 64 KiB, too much for one key; perhaps the base URL leads to something else"
	case !json.Valid(b):
		return "the body is malformed or cut short"
	}
	return ""
}
