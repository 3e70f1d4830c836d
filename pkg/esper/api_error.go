package esper

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/internal/body"
	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

// APIError is an answer whose status is not 2xx. Message, Details and RequestID come from the server. Each text is one
// line of at most 1 KiB, in Details of at most 256 bytes. A text that repeats a key, in any common encoding, is replaced
// by a note that says so.
type APIError struct {
	Operation  string        // the method of Client: "TokenInfo"
	StatusCode int           // of the HTTP answer, whatever the body claims
	Message    string        // the server's message or detail, or the title of an HTML page
	Details    []string      // the faults that the body lists, 32 at most
	RequestID  string        // the X-Request-Id header
	RetryAfter time.Duration // how long the server wants callers to wait; 0 if it does not say
	Attempts   int           // how many requests the call made
	Body       []byte        `json:"-"` // decompressed, up to 1 MiB; may repeat a key, so printing the error does not show it

	html  bool   // Body is an HTML page
	own   bool   // a middleware answered by itself
	proxy string // the host of the proxy that the request went through
}

func newAPIError(operation string, a *answer) *APIError {
	message, details := body.Faults(a.body)
	secrets := a.secrets
	e := &APIError{
		Operation:  operation,
		StatusCode: a.status,
		Message:    secrets.Text(message),
		RequestID:  secrets.Text(a.header.Get("X-Request-Id")),
		RetryAfter: retryAfter(a.header.Get("Retry-After"), time.Now()),
		Body:       a.body,
		html:       body.IsHTML(a.body),
		own:        a.up == nil,
		proxy:      a.proxy,
	}
	for _, text := range details {
		e.Details = append(e.Details, secrets.Detail(text))
	}
	return e
}

// Error says which operation failed, with what status, the server's reason and what can be done.
func (e *APIError) Error() string { return "esper: " + e.Operation + ": " + e.reason() }

func (e *APIError) reason() string {
	var b strings.Builder
	b.WriteString(strings.TrimSpace(fmt.Sprint(e.StatusCode, " ", http.StatusText(e.StatusCode))))
	if e.Message != "" && e.Message != http.StatusText(e.StatusCode) {
		b.WriteString(": " + e.Message)
	}
	more := slices.DeleteFunc(slices.Clone(e.Details), func(text string) bool { return text == e.Message })
	if more = slices.Compact(more); len(more) > 0 {
		b.WriteString(" (" + strings.Join(more, "; ") + ")")
	}
	if e.RequestID != "" {
		b.WriteString(", request " + e.RequestID)
	}
	b.WriteString(afterAttempts(e.Attempts))
	if hint := e.hint(); hint != "" {
		b.WriteString("; " + hint)
	}
	return b.String()
}

// hint says what the caller can do.
func (e *APIError) hint() string {
	switch code := e.StatusCode; {
	case e.Is(ErrRedirect):
		return "redirects are not followed, since they would hand over the key; check the base URL"
	case code == http.StatusProxyAuthRequired:
		return strings.TrimSpace("the proxy "+e.proxy) + " wants a user name and a password; write them into HTTPS_PROXY, or into the transport's Proxy"
	case e.RetryAfter > 0 && (code == http.StatusTooManyRequests || code >= 500):
		return "wait " + max(time.Second, e.RetryAfter.Round(time.Second)).String()
	case code == http.StatusTooManyRequests:
		return "wait a moment and try again"
	case e.html:
		return "this is an HTML page, so it comes from what stands in front of the API (a proxy, a firewall, a login page), or the base URL leads elsewhere"
	case code == http.StatusBadRequest && slices.Contains(append(e.Details, e.Message), redact.Withheld):
		return "a server that repeats the key most likely refuses the key itself: check that it is the whole one, and the newest"
	case code == http.StatusUnauthorized && e.own:
		return "a middleware answered this by itself; the key joins the request below the middleware, so one that sends has to call the next"
	case code == http.StatusUnauthorized:
		return "the key is wrong, belongs to another tenant, has expired or was replaced, perhaps by a renewal on another machine; if no newer one is stored, make one in the Esper Console"
	case code == http.StatusForbidden && e.Operation == "RenewToken":
		return "the server does not allow this renewal; compare EnterpriseID and DeveloperAppID with what TokenInfo says"
	case code == http.StatusGone:
		return "the server says that this endpoint is gone for good; its successor is personal access tokens"
	case e.Operation == opRenewPersonalToken && code == http.StatusNotFound:
		return "the server knows no such token of this key's user, or has no personal access tokens; compare the id with what ListPersonalAccessTokens says"
	case code == http.StatusNotFound && e.Operation == "RenewToken":
		return "check the tenant or the base URL, and compare EnterpriseID and DeveloperAppID with what TokenInfo says"
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
	switch code := e.StatusCode; target {
	case ErrBadRequest:
		return code == http.StatusBadRequest
	case ErrUnauthorized:
		return code == http.StatusUnauthorized
	case ErrForbidden:
		return code == http.StatusForbidden
	case ErrNotFound:
		return code == http.StatusNotFound || code == http.StatusGone
	case ErrRateLimited:
		return code == http.StatusTooManyRequests
	case ErrServer:
		return code >= 500 && code <= 599
	case ErrRedirect:
		return code >= 300 && code <= 399
	}
	return false
}

// Format prints e.Error() for every verb: %+v would print Body, which may hold a key. The receiver is
// a value so that APIError and *APIError are both covered.
func (e APIError) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.Error()) }

// retryAfter reads a Retry-After (RFC 9110, section 10.2.3): whole seconds or a date. It returns 0 for anything
// else, for a date in the past, and for seconds that do not fit a Duration.
func retryAfter(value string, now time.Time) time.Duration {
	if value == "" { // the usual case: saves the parsers below, which would allocate an error each
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		if seconds > math.MaxInt64/uint64(time.Second) {
			return 0
		}
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, date.Sub(now))
}
