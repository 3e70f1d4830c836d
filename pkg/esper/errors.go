package esper

import (
	"errors"
	"fmt"
	"strings"

	"github.com/esper-go/esper-go/pkg/esper/internal/body"
)

// The kinds of an [*APIError], by its status, for errors.Is.
var (
	ErrBadRequest   = errors.New("esper: bad request")                   // 400
	ErrUnauthorized = errors.New("esper: the key is missing or invalid") // 401
	ErrForbidden    = errors.New("esper: the key has no permission")     // 403
	ErrNotFound     = errors.New("esper: not found")                     // 404, 410
	ErrRateLimited  = errors.New("esper: rate limit exceeded")           // 429
	ErrServer       = errors.New("esper: the server failed")             // 5xx
	ErrRedirect     = errors.New("esper: redirects are not followed")    // 3xx

	// ErrGateway is a 401 or 403 that something in front of Esper answered: a proxy, a firewall, a login page. Such an
	// answer says nothing about the key, and is neither ErrUnauthorized nor ErrForbidden.
	ErrGateway = errors.New("esper: something in front of Esper refused the request")
)

var (
	// ErrInvalidArgument says that an argument is wrong. Nothing was sent.
	ErrInvalidArgument = errors.New("esper: invalid argument")
	// ErrInvalidResponse is a 2xx answer whose body lacks what the operation has to return.
	ErrInvalidResponse = errors.New("esper: invalid response")
	// ErrResponseTooLarge is a 2xx answer whose body is over 1 MiB, on the wire or after decompression.
	ErrResponseTooLarge = body.ErrTooLarge
)

// invalid builds an error that is ErrInvalidArgument.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalidArgument, fmt.Sprintf(format, args...))
}

// variableError is ErrInvalidArgument for a value that came from an environment variable.
type variableError struct {
	name string
	err  error
}

func (e *variableError) Error() string { return e.err.Error() + " (in " + e.name + ")" }
func (e *variableError) Unwrap() error { return e.err }

// callError is a call that ended without an answer, or with one that cannot be used.
type callError struct {
	operation string
	attempts  int
	err       error
}

// Error says which operation failed, why, and after how many attempts if there was more than one.
func (e *callError) Error() string { return "esper: " + e.operation + ": " + e.reason() }
func (e *callError) Unwrap() error { return e.err }
func (e *callError) reason() string {
	return reasonOf(e.err) + afterAttempts(e.attempts)
}

// Timeout is there for os.IsTimeout, which does not unwrap errors.
func (e *callError) Timeout() bool { return timeout(e.err) }

func timeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// reasonOf returns err's text without the operation's name, which the error around err has already.
func reasonOf(err error) string {
	if inner, ok := err.(interface{ reason() string }); ok {
		return inner.reason()
	}
	return strings.TrimPrefix(err.Error(), "esper: ")
}

func afterAttempts(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (%d attempts)", n)
}
