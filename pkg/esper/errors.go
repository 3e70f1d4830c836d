package esper

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// What errors.Is finds in an [*APIError], by its status.
var (
	ErrBadRequest   = errors.New("esper: bad request")                   // 400
	ErrUnauthorized = errors.New("esper: the key is missing or invalid") // 401
	ErrForbidden    = errors.New("esper: the key has no permission")     // 403
	ErrNotFound     = errors.New("esper: not found")                     // 404
	ErrRateLimited  = errors.New("esper: rate limit exceeded")           // 429
	ErrServer       = errors.New("esper: the server failed")             // 5xx
	ErrRedirect     = errors.New("esper: redirects are not followed")    // 3xx
)

var (
	// ErrInvalidArgument is a call that was refused before anything was sent.
	ErrInvalidArgument = errors.New("esper: invalid argument")
	// ErrInvalidResponse is a 2xx answer whose body is not what the operation promises.
	ErrInvalidResponse = errors.New("esper: invalid response")
	// ErrResponseTooLarge is a 2xx answer whose body is over 1 MiB, after decompression.
	ErrResponseTooLarge = errors.New("esper: response larger than 1 MiB")
)

// APIError is an answer whose status is not 2xx. Its texts come from the server, with every key
// of the call cut out; they are one line each and bounded.
type APIError struct {
	Operation  string        // "TokenInfo" or "RenewToken"
	StatusCode int           // of the HTTP answer, whatever the body claims
	Message    string        // the server's message or detail, if the body is JSON and has one
	Details    []string      // the body's errors, flattened to one text each
	RequestID  string        // the X-Request-Id header
	RetryAfter time.Duration // how long the server wants callers to wait; 0 if it does not say
	Body       []byte        `json:"-"` // as sent, the first MiB; it may echo a key, so no printing shows it
}

// Error says which operation failed, with what status, the server's reason and what can be done.
func (e *APIError) Error() string { return "esper: " + e.Operation + ": " + e.reason() }

func (e *APIError) reason() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", e.StatusCode, http.StatusText(e.StatusCode))
	if e.Message != "" && e.Message != http.StatusText(e.StatusCode) {
		b.WriteString(": " + e.Message)
	}
	if len(e.Details) > 0 {
		b.WriteString(" (" + strings.Join(e.Details, "; ") + ")")
	}
	if e.RequestID != "" {
		b.WriteString(", request " + e.RequestID)
	}
	if hint := e.hint(); hint != "" {
		b.WriteString("; " + hint)
	}
	return b.String()
}

func (e *APIError) hint() string {
	switch {
	case e.StatusCode == http.StatusUnauthorized:
		return "the key is wrong, has expired or was replaced; if no newer one is stored, make one in the Esper Console"
	case e.StatusCode == http.StatusMethodNotAllowed, e.StatusCode == http.StatusNotFound:
		return "check the tenant, or the base URL, which ends in /api on the Esper cloud"
	case e.StatusCode == http.StatusTooManyRequests && e.RetryAfter > 0:
		return "wait " + e.RetryAfter.String()
	case e.Is(ErrRedirect):
		return "redirects are not followed, since they would hand over the key; check the base URL"
	}
	return ""
}

// Is reports whether target is the sentinel of e's status.
func (e *APIError) Is(target error) bool {
	switch code := e.StatusCode; target {
	case ErrBadRequest:
		return code == http.StatusBadRequest
	case ErrUnauthorized:
		return code == http.StatusUnauthorized
	case ErrForbidden:
		return code == http.StatusForbidden
	case ErrNotFound:
		return code == http.StatusNotFound
	case ErrRateLimited:
		return code == http.StatusTooManyRequests
	case ErrServer:
		return code >= 500 && code <= 599
	case ErrRedirect:
		return code >= 300 && code <= 399
	}
	return false
}

// Format prints the error's text whatever the verb, so that none shows Body; on a value, not a
// pointer, for the same reason.
func (e APIError) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.Error()) }

// callError is a call that ended without an answer, or with one that cannot be used.
type callError struct {
	operation string
	err       error
}

func (e *callError) Error() string { return "esper: " + e.operation + ": " + e.reason() }
func (e *callError) Unwrap() error { return e.err }
func (e *callError) reason() string {
	return strings.TrimPrefix(e.err.Error(), "esper: ")
}

// Timeout is there for os.IsTimeout and net.Error, which do not unwrap.
func (e *callError) Timeout() bool { return timeout(e.err) }

func timeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
