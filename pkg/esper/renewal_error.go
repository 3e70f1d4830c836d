package esper

import (
	"cmp"
	"fmt"
	"io"
)

// Outcome is what a failed renewal means for the key that was to be renewed.
type Outcome int

const (
	// OutcomeUnknown: the server may have replaced the key. Do not send the renewal again; call TokenInfo with the old
	// key. If TokenInfo succeeds, the old key still works. If it returns ErrUnauthorized, the key was replaced and the new
	// key is lost: make another one in the Esper Console.
	OutcomeUnknown Outcome = iota
	// OutcomeNotRenewed: this call did not replace the key. After 429, or if no connection was made, try again later.
	// After another 4xx the request is wrong, or the key, which may have been replaced before.
	OutcomeNotRenewed
	// OutcomeUnreadable: the answer was 2xx, so the server probably made a new key, but the answer has none that can be
	// read. RenewalError.Body is what arrived: keep it, and call TokenInfo with the old key.
	OutcomeUnreadable
)

// String returns the constant's name.
func (o Outcome) String() string {
	if names := [...]string{"OutcomeUnknown", "OutcomeNotRenewed", "OutcomeUnreadable"}; o >= 0 && int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("Outcome(%d)", int(o))
}

func (o Outcome) meaning() string {
	switch o {
	case OutcomeNotRenewed:
		return "nothing was renewed"
	case OutcomeUnreadable:
		return "the answer was 2xx, so the key was probably renewed, but no new key can be read from it; " +
			"keep RenewalError.Body, which is what arrived, and ask TokenInfo whether the old key still works"
	default:
		return "it is unknown whether the key was renewed; " +
			"do not repeat the renewal, ask TokenInfo whether the old key still works"
	}
}

// RenewalError is a renewal that failed after its arguments were accepted. It wraps the cause, so errors.As finds an
// [*APIError] and errors.Is a sentinel or a context's error through it.
type RenewalError struct {
	Outcome Outcome
	// Body is what was read of an answer, up to 1 MiB. It may hold the new key, so printing the error does not show it.
	Body []byte `json:"-"`
	Err  error  // the cause; never nil in an error of this package

	operation string // "" means RenewToken
}

// Error says what happened, what it means for the key and what to do.
func (e *RenewalError) Error() string {
	name := cmp.Or(e.operation, "RenewToken")
	text := "esper: " + name + ": " + e.Outcome.meaning()
	if e.Err != nil {
		text += ": " + bare(e.Err, name)
	}
	return text
}

// Unwrap returns the cause.
func (e *RenewalError) Unwrap() error { return e.Err }

// Timeout reports whether the cause was a timeout.
func (e *RenewalError) Timeout() bool { return timeout(e.Err) }

// Format prints e.Error() for every verb: %+v would print Body, which may hold a key. The receiver is a value so that
// RenewalError and *RenewalError are both covered.
func (e RenewalError) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.Error()) }
