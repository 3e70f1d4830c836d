package esper

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/esper-go/esper-go/pkg/esper/internal/network"
)

// transportError says that net/http could not send a request, or could not read its answer. Its text has nothing from
// the answer.
type transportError struct {
	text      string
	err       error // what errors.Is and errors.As find; nil if its text may not be shown
	permanent bool  // another attempt would fail in the same way
}

func (e *transportError) Error() string { return e.text }
func (e *transportError) Unwrap() error { return e.err }
func (e *transportError) Timeout() bool { return timeout(e.err) }

// newTransportError wraps an error of net/http, which may quote the answer, and so a key. Its text is shown only if
// network.Kind finds a part that cannot quote the answer, or if no connection was made.
func (a *attempt) newTransportError(what string, err error) error {
	hint, permanent, kind := network.Kind(err)
	// A GET after ErrHTTP2 is tried again, because the next attempt goes over the pool, which can speak HTTP/2.
	permanent = permanent && (!errors.Is(kind, network.ErrHTTP2) || !isSafe(a.method))
	end, cause := a.Err(), context.Cause(a)
	switch {
	case end != nil && kind == nil && errors.Is(err, cause):
		kind = cause
	case kind != nil:
	case !a.maybeSent.Load():
		kind = err
	default:
		what = strings.Replace(what, "no answer", "no usable answer", 1)
		hint = fmt.Sprintf("it is no HTTP, or its header is over 64 KiB, or the connection failed (%T, whose text may quote the answer and is not shown)", innermost(err))
	}
	if end != nil {
		for _, why := range []error{cause, end} {
			if !errors.Is(kind, why) {
				kind = join(why, kind)
			}
		}
	}
	text := what
	if kind != nil {
		text += ": " + kind.Error()
	}
	if hint != "" {
		text += "; " + hint
	}
	if a.timedOut() {
		text += " (WithTimeout limits an attempt)"
	}
	return a.clean(&transportError{text: a.matcher().Text(text), err: kind, permanent: permanent})
}

func innermost(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

func join(first, second error) error {
	if second == nil {
		return first
	}
	return fmt.Errorf("%w: %w", first, second)
}

// clean returns err, or another error if the text of err holds a secret. The other error only says whether a context
// ended the request.
func (a *attempt) clean(err error) error {
	if !a.matcher().In(err.Error()) && !a.matcher().In(fmt.Sprint(errors.Unwrap(err))) {
		return err
	}
	safe := &transportError{text: "an error whose text repeats a key and is not shown"}
	for _, kind := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, kind) {
			safe.err = kind
		}
	}
	return safe
}
