package esper

import (
	"io"
	"net/http"
	"slices"
	"sync/atomic"
)

// maxBody bounds what is read of one answer, after decompression.
const maxBody = 1 << 20

// body is an answer's body, bounded. Until it is opened, above the middleware, it reads as empty
// and ignores Close: it holds keys.
type body struct {
	rc     io.ReadCloser
	seal   *seal
	head   *http.Response // nil if a middleware answered by itself
	length int64          // the answer's Content-Length, -1 if unknown
	left   int            // of maxBody; -1 once the body went beyond it
	opened bool           // by the doer
	closed bool           // by its reader
	passed atomic.Bool    // closed by a middleware, while it was sealed
	freed  atomic.Bool    // rc is closed
	before *body          // of an answer that came earlier in the same attempt
	outer  io.ReadCloser  // what a middleware put around it, to be closed with it
}

// sealBody hides the body of an answer from the middleware. A body from before is closed if a
// middleware has closed it, as one does that tries again; one that sends two requests at once may
// yet return the first answer. What is left over is closed with the attempt.
func (s *seal) sealBody(resp *http.Response) {
	b := &body{rc: resp.Body, seal: s, head: resp, length: resp.ContentLength, left: maxBody}
	for b.before = s.body.Load(); !s.body.CompareAndSwap(b.before, b); b.before = s.body.Load() {
	}
	if b.before != nil && b.before.passed.Load() {
		_ = b.before.free()
	}
	resp.Body, resp.ContentLength = b, -1
}

// openBody gives the answer its body back, whatever the middleware put around it.
func (s *seal) openBody(resp *http.Response) {
	b, ok := resp.Body.(*body)
	if !ok {
		b = s.body.Load()
		if b == nil { // a middleware answered by itself
			b = &body{rc: resp.Body, seal: s, length: resp.ContentLength, left: maxBody}
		} else {
			b.outer = resp.Body
		}
	}
	b.opened = true
	resp.Body, resp.ContentLength = b, b.length
}

// Read returns ErrResponseTooLarge where the body goes beyond its bound.
func (b *body) Read(p []byte) (int, error) {
	if !b.opened {
		return 0, io.EOF
	}
	if b.left < 0 {
		return 0, ErrResponseTooLarge
	}
	if len(p) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.rc.Read(p)
	if n > b.left {
		n, b.left = b.left, -1
		return n, ErrResponseTooLarge
	}
	b.left -= n
	if err != nil && b.head != nil {
		b.seal.secrets.redactHeader(b.head.Trailer) // which has just come
	}
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader's contract is io.EOF itself
		err = b.seal.ended(b.seal.secrets.redactError(err))
	}
	return n, err
}

// Close ends the attempt.
func (b *body) Close() error {
	if !b.opened {
		b.passed.Store(true)
		return nil
	}
	if b.closed {
		return nil
	}
	b.closed = true
	err := b.free()
	if b.outer != nil {
		_ = b.outer.Close()
	}
	b.seal.end()
	return err
}

// free closes what net/http gave, once.
func (b *body) free() error {
	if !b.freed.CompareAndSwap(false, true) {
		return nil
	}
	return b.rc.Close()
}

// readBody reads and closes the body; what was read before an error is returned with it.
func readBody(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	size := int64(512)
	if resp.ContentLength > 0 {
		size = min(resp.ContentLength, maxBody) + 1 // one more, so that the end is seen without growing
	}
	buf := make([]byte, 0, size)
	for {
		n, err := resp.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return buf, err
		}
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, len(buf))
		}
	}
}
