package renew

import (
	"errors"
	"fmt"

	"github.com/esper-go/esper-go/pkg/esper/renew/internal/ways"
)

// Errors of a [Source] and of [Open], found with errors.Is. Their texts say what happened and what to do,
// and hold no key.
var (
	// ErrNoKey: Open found an empty store, and has no key to begin with. Make a key in the Esper Console, and give it
	// with [WithInitialToken].
	ErrNoKey = errors.New("renew: there is no key yet")
	// ErrKeyLost: the server refused the key at two checks at least a minute apart, and the store has no other. Somebody
	// replaced or revoked the key, or the answer to its renewal never arrived. Make a new key in the Esper Console and
	// give it to [Source.Adopt]. No restart is needed: the source looks for another key in the store every minute, and
	// after a 401.
	ErrKeyLost = errors.New("renew: the key is lost")
	// ErrKeyExpired: the key has ended and is not renewed yet, for the reason that the error wraps. Once that
	// reason is gone, the source renews the key by itself.
	ErrKeyExpired = errors.New("renew: the key has expired")
	// ErrNotSaved: a renewal made a new key, which cannot be saved. It is in use, and is lost if the process
	// ends now. Mend the store; the source goes on trying to save the key.
	ErrNotSaved = errors.New("renew: the new key is not saved")
	// ErrNotRenewable: the key works, but cannot be renewed in the way that the source uses. It belongs to no developer
	// app; the server has no such endpoint (404, 410); or, with [WithPersonalAccessTokens], its token or the unit of that
	// token's expiry_at is not certain. The source changed nothing about the key. The text says what a person can do
	// before the key ends; the source goes on trying.
	ErrNotRenewable = ways.ErrNotRenewable
	// ErrReadOnly: the source was opened with [ReadOnly], which neither renews nor adopts a key.
	ErrReadOnly = errors.New("renew: the source is read-only")
	// ErrClosed: [Source.Close] was called.
	ErrClosed = errors.New("renew: the source is closed")
)

// worded is an error with another text than the error that it wraps, which %#v would print too without Format.
type worded struct {
	text string
	err  error
}

func (e *worded) Error() string              { return e.text }
func (e *worded) Unwrap() error              { return e.err }
func (e *worded) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, e.text) }
