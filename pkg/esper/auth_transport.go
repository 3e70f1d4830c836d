package esper

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/esper-go/esper-go/pkg/esper/internal/body"
	"github.com/esper-go/esper-go/pkg/esper/internal/origin"
	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

var (
	errSentTwice  = errors.New("esper: a middleware repeated a renewal, whose first sending may have been processed")
	errNoResponse = errors.New("esper: a middleware returned neither a response nor an error")
	errNoAttempt  = &transportError{text: "a middleware replaced the request's context; derive it from the request's own", permanent: true}
	errTooLate    = &transportError{text: "a middleware sent a request after it had returned", permanent: true}
)

// authTransport is the last hop: it adds the key to a request, sends it, reads the answer and lets go
// up what is harmless of it.
type authTransport struct {
	base   *url.URL        // where the key may go
	pooled *http.Transport // for what may arrive twice
	single *http.Transport // for renewals, and after an attempt without a whole answer
	silent atomic.Bool     // a connection of pooled may have fallen silent
}

func (t *authTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	a, ok := req.Context().Value(attemptKey{}).(*attempt)
	if !ok {
		return nil, refuse(req, errNoAttempt)
	}
	if err := origin.Check(t.base, req); err != nil {
		return nil, refuse(req, &transportError{text: err.Error() + "; a middleware or a request editor changed it", err: err, permanent: true})
	}
	var (
		got *answer
		err error
	)
	if a.isRenewal(req) {
		got, err = t.sendOnce(a, req)
	} else {
		got, err = t.sendAny(a, req)
	}
	if err != nil {
		return nil, err
	}
	got.up.Request = req
	return got.up, nil
}

// holdsPlace reports whether the access token belongs into req. A request that a middleware makes of it
// with another method, a preflight, goes out with the placeholder.
func (a *attempt) holdsPlace(req *http.Request) bool {
	return !a.query.IsZero() && req.Method == a.request.Method && strings.Contains(req.URL.RawQuery, placeholder)
}

// isRenewal reports whether req must not arrive twice.
func (a *attempt) isRenewal(req *http.Request) bool {
	return a.holdsPlace(req) && req.Method != http.MethodGet && req.Method != http.MethodHead
}

// refuse closes the request's body, as a RoundTripper has to.
func refuse(req *http.Request, err error) error {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return err
}

// sendAny sends what may arrive twice. After a time limit has ended, a pooled connection may have fallen
// silent: until one of its own has brought an answer, no request goes over those, and then they are closed.
func (t *authTransport) sendAny(a *attempt, req *http.Request) (*answer, error) {
	a.maybeSent.Store(true)
	out := a.authorize(a.redactTrace(req.Context()), req)
	if !a.alone && !t.silent.Load() {
		got, err := a.exchange(t.pooled, out)
		if errors.Is(err, context.DeadlineExceeded) {
			t.silent.Store(true)
		}
		return got, err
	}
	got, err := a.exchange(t.single, out)
	if err == nil && t.silent.CompareAndSwap(true, false) {
		t.pooled.CloseIdleConnections()
	}
	return got, err
}

// sendOnce sends a renewal, unless one of this attempt is under way or may have arrived. It goes on
// when a middleware gives up, so that an answer that reaches this process is not lost.
func (t *authTransport) sendOnce(a *attempt, req *http.Request) (*answer, error) {
	done := make(chan struct{})
	a.mu.Lock()
	over, twice := a.over, a.sending != nil
	if !over && !twice {
		a.sending = done
	}
	a.mu.Unlock()
	switch {
	case over:
		return nil, refuse(req, errTooLate)
	case twice:
		return nil, refuse(req, errSentTwice)
	}

	ctx := httptrace.WithClientTrace(a.redactTrace(renewalContext{a, req.Context()}), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { a.maybeSent.Store(true) },
	})
	out := a.authorize(ctx, req)
	out.Close = true
	for name := range out.Header {
		switch http.CanonicalHeaderKey(name) { // a map takes names in any case
		case "Idempotency-Key", "X-Idempotency-Key": // either makes net/http send a POST again by itself
			delete(out.Header, name)
		}
	}
	go func() {
		defer close(done)
		a.renewal, a.failure = a.exchange(t.single, out)
		if a.renewal != nil {
			a.renewal.header = a.renewal.header.Clone() // a middleware may be at work on the other
			return
		}
		t.single.CloseIdleConnections() // ends a dial that nobody waits for any more, which net/http lets go on
		if !a.maybeSent.Load() {
			a.mu.Lock()
			a.sending = nil
			a.mu.Unlock()
		}
	}()
	select {
	case <-done:
	case <-req.Context().Done():
		if a.Err() == nil {
			return nil, context.Cause(req.Context())
		}
		<-done // soon: it has ended with the attempt
	}
	return a.renewal, a.failure
}

// renewalContext ends with the attempt, and not with what a middleware derived from it.
type renewalContext struct {
	*attempt
	values context.Context
}

func (c renewalContext) Value(key any) any { return c.values.Value(key) }

// authorize returns a copy of req with the secrets in it.
func (a *attempt) authorize(ctx context.Context, req *http.Request) *http.Request {
	out := req.WithContext(ctx)
	out.Header = make(http.Header, len(req.Header)+1)
	for name, values := range req.Header {
		if http.CanonicalHeaderKey(name) != "Authorization" { // a map takes names in any case, and net/http sends them all
			out.Header[name] = values
		}
	}
	out.Header["Authorization"] = a.credential.authorization()
	if a.holdsPlace(req) {
		u := *req.URL
		u.RawQuery = strings.Replace(u.RawQuery, placeholder, a.query.Reveal(), 1)
		out.URL = &u
	}
	return out
}

// exchange sends req and reads the whole answer.
func (a *attempt) exchange(transport *http.Transport, req *http.Request) (*answer, error) {
	resp, err := roundTrip(transport, req) //nolint:bodyclose // body.Read closes it
	if err != nil {
		return nil, a.newTransportError("no answer from "+req.URL.Host, err)
	}
	text, err := body.Read(resp)
	if err != nil && !errors.Is(err, ErrResponseTooLarge) {
		err = a.newTransportError("the answer was cut off", err)
	}
	got := &answer{up: resp, status: resp.StatusCode, header: resp.Header, body: text, err: err, secrets: a.credential.matcher(a.accessToken, text)}
	if proxy := a.proxy.Load(); proxy != nil {
		got.proxy = *proxy
	}
	got.filterHeader()
	*resp = http.Response{
		Status: statusLine(resp.Status, got.status), StatusCode: got.status, Proto: resp.Proto, ProtoMajor: resp.ProtoMajor, ProtoMinor: resp.ProtoMinor,
		Header: got.header, Body: passedBody(func() *answer { return got }), ContentLength: -1,
	}
	a.last.Store(got)
	return got, nil
}

// filterHeader leaves of the header what goes up: fields that are known to be harmless, without a value
// that repeats a key. All others stay here, their names included.
func (a *answer) filterHeader() {
	for name, values := range a.header {
		switch name {
		case "Content-Type", "Content-Length", "Date", "Retry-After", "X-Request-Id",
			"Ratelimit", "Ratelimit-Policy", "Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset",
			"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset":
			for i, value := range values {
				if len(value) > redact.MaxText || a.secrets.In(value) {
					values[i] = a.secrets.Text(value)
				}
			}
		default:
			delete(a.header, name)
		}
	}
}

// statusLine is what a status is called, whatever the server calls it.
func statusLine(sent string, status int) string {
	text := http.StatusText(status)
	if len(sent) > 4 && sent[3] == ' ' && sent[4:] == text {
		return sent
	}
	return fmt.Sprintf("%d %s", status, text)
}
