package esper

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/internal/body"
	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

// answer is what the last hop read of a server's answer, or an answer that a middleware made itself.
type answer struct {
	status     int // 0 if there is no answer
	body       []byte
	fault      error       // why there is no answer, or why the reading of its body ended early
	key        Secret      // the new key, in an answer to a renewal
	header     http.Header // what may be shown of the header; a middleware may change it
	requestID  string
	retryAfter time.Duration
	front      string // for a 401 or 403: the first words of Www-Authenticate and Server, which tell who answered
	own        bool   // the request was the attempt's own, not one that a middleware made
	made       bool   // a middleware made the answer itself
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

// newAnswer keeps of a response what counts, and of its header what is known to be harmless.
func (a *attempt) newAnswer(resp *http.Response, text []byte, err error) *answer {
	if err != nil && !errors.Is(err, ErrResponseTooLarge) {
		err = a.newTransportError("the answer was cut off", err)
	}
	got := &answer{
		status: resp.StatusCode, body: text, fault: err, header: resp.Header,
		retryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
	secrets := a.secrets()
	if a.once && got.status/100 == 2 {
		got.key = body.Key(text, cmp.Or(a.accessToken, a.key))
		secrets = append(secrets, got.key.Reveal())
	}
	if got.status == http.StatusUnauthorized || got.status == http.StatusForbidden {
		for _, name := range []string{"Www-Authenticate", "Server"} {
			if first, _, _ := strings.Cut(resp.Header.Get(name), " "); first != "" {
				got.front += " [" + name + ": " + redact.Text(first, secrets...) + "]"
			}
		}
	}
	for name, values := range got.header {
		shown := redact.Text
		switch name {
		case "X-Request-Id":
			shown = redact.ID
		case "Content-Type", "Content-Length", "Date", "Retry-After",
			"Ratelimit", "Ratelimit-Policy", "Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset",
			"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset":
		default:
			delete(got.header, name)
			continue
		}
		for i, value := range values {
			values[i] = shown(value, secrets...)
		}
	}
	got.requestID = got.header.Get("X-Request-Id")
	return got
}

// response returns the answer as a middleware sees it.
func (got *answer) response(req *http.Request) (*http.Response, error) {
	if got.status == 0 {
		return nil, got.fault
	}
	return &http.Response{
		Status: strconv.Itoa(got.status) + " " + http.StatusText(got.status), StatusCode: got.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: got.header, Body: http.NoBody, ContentLength: -1, Request: req,
	}, nil
}

// retryAfter reads a Retry-After (RFC 9110, section 10.2.3): whole seconds or a date. It returns 0 for anything else,
// for a date in the past, and for seconds beyond 136 years.
func retryAfter(value string, now time.Time) time.Duration {
	if value == "" { // the usual case: saves the parsers below, which would allocate an error each
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}
