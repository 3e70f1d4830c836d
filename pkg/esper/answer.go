package esper

import (
	"cmp"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/internal/body"
	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

// answer is what the last hop read of a server's answer, or an answer that a middleware made itself.
type answer struct {
	status     int
	body       []byte
	err        error       // why the reading of the body ended early
	key        Secret      // the new key, in an answer to a renewal
	header     http.Header // what may be shown of the header
	requestID  string
	retryAfter time.Duration
	front      string // for a 401 or 403: how whoever answered shows itself in the header
	own        bool   // the request was the attempt's own, not one that a middleware made
}

// newest returns the newest answer with a status, an answer to the attempt's own request before any other.
func (a *attempt) newest(status int) (found *answer) {
	for _, got := range a.answers {
		if got.status == status && (found == nil || got.own || !found.own) {
			found = got
		}
	}
	return found
}

// newAnswer keeps of a response what counts, and in its header what is known to be harmless.
func (a *attempt) newAnswer(resp *http.Response, text []byte, err error) *answer {
	if err != nil && !errors.Is(err, ErrResponseTooLarge) {
		err = a.newTransportError("the answer was cut off", err)
	}
	got := &answer{status: resp.StatusCode, body: text, err: err, header: make(http.Header, 4)}
	secrets := a.secrets()
	if a.once && got.status/100 == 2 {
		got.key = body.Key(text, cmp.Or(a.accessToken, a.key))
		secrets = append(secrets, got.key.Reveal())
	}
	for name, values := range resp.Header {
		shown := redact.Text
		switch name {
		case "X-Request-Id":
			shown = redact.ID
		case "Content-Type", "Content-Length", "Date", "Retry-After",
			"Ratelimit", "Ratelimit-Policy", "Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset",
			"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset":
		default:
			continue
		}
		for i, value := range values { // of resp, which nobody reads any more
			values[i] = shown(value, secrets...)
		}
		got.header[name] = values
	}
	got.requestID = got.header.Get("X-Request-Id")
	got.retryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	if got.status == http.StatusUnauthorized || got.status == http.StatusForbidden {
		got.front = redact.Text(frontOf(resp.Header), secrets...)
	}
	return got
}

// frontOf says how a server, or what stands before it, shows itself in the header of a 401 or 403.
func frontOf(header http.Header) string {
	var shown []string
	if scheme, _, _ := strings.Cut(header.Get("WWW-Authenticate"), " "); scheme != "" {
		shown = append(shown, "it asks for "+scheme)
	}
	if server := header.Get("Server"); server != "" {
		shown = append(shown, "its Server field says "+server)
	}
	return strings.Join(shown, ", ")
}
