// Package body reads the bodies of answers. It limits their size, whatever the header says, finds the new key in a
// document that is cut short or malformed, and the reason in that of an error.
package body

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
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
