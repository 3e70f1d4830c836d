package esper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/internal/body"
	"github.com/esper-go/esper-go/pkg/esper/internal/network"
	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

// The kinds of an [*APIError], by its status, for errors.Is.
var (
	ErrBadRequest   = errors.New("esper: bad request")                   // 400
	ErrUnauthorized = errors.New("esper: the key is missing or invalid") // 401, from Esper itself
	ErrForbidden    = errors.New("esper: the key has no permission")     // 403, from Esper itself
	ErrNotFound     = errors.New("esper: not found")                     // 404, 410
	ErrRateLimited  = errors.New("esper: rate limit exceeded")           // 429
	ErrServer       = errors.New("esper: the server failed")             // 5xx
	ErrRedirect     = errors.New("esper: redirects are not followed")    // 3xx

	// ErrGateway is a 401 or 403 that something in front of Esper answered: a proxy, a firewall, a login page. Such an
	// answer says nothing about the key, and is neither ErrUnauthorized nor ErrForbidden. It is recognised by what it
	// lacks: the JSON object with errors, with detail, or with message and status, in which Esper refuses.
	ErrGateway = errors.New("esper: something in front of Esper refused the request")

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

// callError is a call that ended without an answer, or with one that cannot be used.
type callError struct {
	operation string
	attempts  int
	err       error
}

// Error says which operation failed, why, and after how many attempts if there was more than one.
func (e *callError) Error() string {
	return "esper: " + e.operation + ": " + bare(e.err, e.operation) + afterAttempts(e.attempts)
}
func (e *callError) Unwrap() error { return e.err }

// Timeout is there for os.IsTimeout, which does not unwrap errors.
func (e *callError) Timeout() bool { return timeout(e.err) }

func timeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// bare returns err's text without the names with which the error around it begins.
func bare(err error, operation string) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "esper: "), operation+": ")
}

func afterAttempts(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (%d attempts)", n)
}

// transportError says that a request could not be sent, or its answer not be read. Its text shows no key, and err,
// which errors.Is and errors.As find, quotes no answer.
type transportError struct {
	text      string
	err       error
	permanent bool // another attempt would fail in the same way
}

func (e *transportError) Error() string { return e.text }
func (e *transportError) Unwrap() error { return e.err }

// newTransportError wraps an error of net/http, or of a middleware, which may quote the answer, and so a key.
func (a *attempt) newTransportError(what string, err error) error {
	hint, permanent, kind := network.Kind(err)
	// A GET after ErrHTTP2 is tried again, because the next attempt goes over the pool, which can speak HTTP/2.
	permanent = permanent && (a.once || !errors.Is(kind, network.ErrHTTP2))
	if end := a.Err(); end != nil {
		kind = join(join(end, context.Cause(a)), kind)
	}
	text := what + ": " + redact.Text(cmp.Or(kind, err).Error(), a.secrets()...)
	if hint != "" {
		text += "; " + hint
	}
	if a.Err() != nil && a.parent.Err() == nil {
		text += " (WithTimeout limits an attempt)"
	}
	return &transportError{text: text, err: kind, permanent: permanent}
}

// join wraps two errors, of which the first may be the second already, or the other way round.
func join(first, second error) error {
	switch {
	case second == nil, errors.Is(first, second):
		return first
	case errors.Is(second, first):
		return second
	}
	return fmt.Errorf("%w: %w", first, second)
}

// APIError is an answer whose status is not 2xx. Message, Details and RequestID come from the server. Each text is one
// line of at most 1 KiB, in Details of at most 256 bytes. A text that repeats the key, or eight characters in a row of
// it, is replaced by a note that says so. In others, a run of 20 or more characters that could be a key becomes "…".
type APIError struct {
	Operation  string        // the method of Client: "TokenInfo"
	StatusCode int           // of the HTTP answer, whatever the body claims
	Message    string        // the server's message or detail, or the title of an HTML page
	Details    []string      // the faults that the body lists, 32 at most
	RequestID  string        // the X-Request-Id header
	RetryAfter time.Duration // how long the server wants callers to wait; 0 if it does not say
	Attempts   int           // how many requests the call made
	Body       []byte        `json:"-"` // decompressed, up to 1 MiB; may repeat a key, so it is not printed

	gateway bool   // the error is ErrGateway
	front   string // how the gateway shows itself in its header
	made    bool   // a middleware made the answer itself
	sought  bool   // the token source looks for a newer key after a 401
}

func newAPIError(operation string, attempts int, a *answer, secrets []string) *APIError {
	message, details := body.Faults(a.body)
	secrets = append(secrets, a.key.Reveal())
	e := &APIError{
		Operation: operation, StatusCode: a.status, RetryAfter: a.retryAfter, Attempts: attempts, Body: a.body,
		Message: redact.Text(message, secrets...), RequestID: a.requestID, front: a.front, made: a.made,
	}
	for _, text := range details {
		e.Details = append(e.Details, redact.Shortened(redact.MaxDetail, text, secrets...))
	}
	refused := a.status == http.StatusUnauthorized || a.status == http.StatusForbidden
	e.gateway = refused && (a.fault != nil || !body.IsRefusal(a.body))
	return e
}

// Error says which operation failed, with what status, the server's reason and what can be done.
func (e *APIError) Error() string {
	text := strings.TrimSpace(fmt.Sprint("esper: ", e.Operation, ": ", e.StatusCode, " ", http.StatusText(e.StatusCode)))
	if e.Message != "" && e.Message != http.StatusText(e.StatusCode) {
		text += ": " + e.Message
	}
	more := slices.DeleteFunc(slices.Clone(e.Details), func(detail string) bool { return detail == e.Message })
	if more = slices.Compact(more); len(more) > 0 {
		text += " (" + strings.Join(more, "; ") + ")"
	}
	if e.RequestID != "" {
		text += ", request " + e.RequestID
	}
	text += afterAttempts(e.Attempts)
	if hint := e.hint(); hint != "" {
		text += "; " + hint
	}
	return text
}

// hint says what the caller can do.
func (e *APIError) hint() string {
	switch code := e.StatusCode; {
	case e.made && (e.gateway || code == http.StatusUnauthorized):
		return "a middleware answered it; one that sends has to call the next, because the key joins the request below"
	case e.gateway:
		return "this is not Esper's refusal, but that of something in front of it, a proxy, a firewall or a login page" +
			e.front + "; it says nothing about the key, so keep it, and ask those who run the network, or check the base URL"
	case e.Is(ErrRedirect):
		return "redirects are not followed, since they would hand over the key; check the base URL"
	case code == http.StatusProxyAuthRequired:
		return "the proxy wants a user name and a password; write them into HTTPS_PROXY, or into the transport's Proxy"
	case e.RetryAfter > 0 && (code == http.StatusTooManyRequests || code >= 500):
		return "wait " + max(time.Second, e.RetryAfter.Round(time.Second)).String()
	case code == http.StatusTooManyRequests:
		return "wait a moment and try again"
	case body.IsHTML(e.Body):
		return "this is an HTML page, so it comes from something in front of the API, or the base URL leads elsewhere"
	case code == http.StatusBadRequest && strings.Contains(e.Message+strings.Join(e.Details, ""), redact.Withheld):
		return "a server that repeats the key most likely refuses it: check that it is the whole one, and the newest"
	case code == http.StatusUnauthorized:
		hint := "the key is wrong, belongs to another tenant, has expired or was replaced, perhaps by another machine"
		if !e.sought {
			hint += "; if no newer one is stored, make one in the Esper Console"
		}
		return hint
	case code == http.StatusGone:
		return "the server says that this endpoint is gone for good; its successor is personal access tokens"
	case strings.HasPrefix(e.Operation, "Renew") && (code == http.StatusForbidden || code == http.StatusNotFound):
		return "check the tenant or the base URL, and compare the ids of the renewal with what TokenInfo says, " +
			"or ListPersonalAccessTokens"
	case code == http.StatusForbidden:
		return "the key is unknown, or may not do this; check the tenant, and the key's scopes in the Esper Console"
	case code == http.StatusMethodNotAllowed, code == http.StatusNotFound:
		return "check the tenant, or the base URL, which ends in /api on the Esper cloud"
	case code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		return "the server cannot be reached from what stands in front of it; try again later"
	}
	return ""
}

// Is reports whether target is the Err variable for e's status, such as ErrNotFound for 404.
func (e *APIError) Is(target error) bool {
	code := e.StatusCode
	return target == ErrGateway && e.gateway ||
		target == ErrUnauthorized && code == http.StatusUnauthorized && !e.gateway ||
		target == ErrForbidden && code == http.StatusForbidden && !e.gateway ||
		target == ErrBadRequest && code == http.StatusBadRequest ||
		target == ErrNotFound && (code == http.StatusNotFound || code == http.StatusGone) ||
		target == ErrRateLimited && code == http.StatusTooManyRequests ||
		target == ErrServer && code/100 == 5 ||
		target == ErrRedirect && code/100 == 3
}

// Format prints e.Error() for every verb: %+v would print Body, which may hold a key. The receiver is a value so that
// APIError and *APIError are both covered.
func (e APIError) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.Error()) }

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

// Format prints e.Error() for every verb, as that of APIError does, because Body may hold a key.
func (e RenewalError) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.Error()) }
