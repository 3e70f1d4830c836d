package esper

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/esper-go/esper-go/pkg/esper/internal/body"
	"github.com/esper-go/esper-go/pkg/esper/internal/origin"
	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

var (
	errSentTwice  = errors.New("esper: a middleware repeated a renewal, whose first sending may have been processed")
	errNoResponse = &transportError{text: "a middleware returned neither a response nor an error", permanent: true}
	errNoAttempt  = &transportError{text: "a middleware replaced the request's context; derive it from the request's own", permanent: true}
	errChanged    = &transportError{text: "a middleware changed the method of a renewal, or took its access_token out of the URL", permanent: true}
	errNoEnd      = &transportError{text: "a function of the transport's ended the goroutine of a renewal", permanent: true}
	errTooLate    = &transportError{text: "a middleware sent a request after it had returned", permanent: true}
)

// authTransport is the innermost transport, below all middleware. It adds the key to a request, sends the request, reads
// the whole answer, and passes on to the middleware what cannot hold a key.
type authTransport struct {
	base   *url.URL        // the only server that may get the key
	pooled *http.Transport // for requests that may arrive twice
	single *http.Transport // a new connection each time, for renewals and after an attempt without a whole answer
	silent atomic.Bool     // a request over pooled has timed out, so its connection may be dead
}

func (t *authTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	a, ok := req.Context().Value(attemptKey{}).(*attempt)
	if !ok {
		return nil, refuse(req, errNoAttempt)
	}
	if err := origin.Check(t.base, req); err != nil {
		return nil, refuse(req, &transportError{text: err.Error() + "; a middleware or a request editor changed it", err: err, permanent: true})
	}
	got, err := t.send(a, req)
	if err != nil {
		return nil, err
	}
	got.up.Request = req
	return got.up, nil
}

func (t *authTransport) send(a *attempt, req *http.Request) (*answer, error) {
	switch {
	case !a.renewal:
		return t.sendAny(a, req)
	case a.renews(req):
		return t.sendOnce(a, req)
	case !isSafe(req.Method) && req.URL.Path == a.path:
		return nil, refuse(req, errChanged)
	}
	return t.sendAny(a, req) // a preflight, or another request that a middleware makes itself
}

// isSafe reports whether a request with this method changes nothing (RFC 9110, section 9.2.1).
func isSafe(method string) bool {
	return method == "" || method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions || method == http.MethodTrace
}

// renews reports whether req is the renewal itself, and not another request that a middleware makes.
func (a *attempt) renews(req *http.Request) bool {
	return a.holdsPlace(req) || a.query.IsZero() && req.Method == a.method
}

// holdsPlace reports whether req has the placeholder for the access token.
func (a *attempt) holdsPlace(req *http.Request) bool {
	return !a.query.IsZero() && req.Method == a.method && slices.Contains(strings.Split(req.URL.RawQuery, "&"), placeholder)
}

// refuse returns err, and closes the request's body first, as a RoundTripper must.
func refuse(req *http.Request, err error) error {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return err
}

// sendAny sends a request that may arrive twice. After a timeout, the pooled connection may be dead without a sign.
// Then the next request goes over a new connection, and those in the pool are closed.
func (t *authTransport) sendAny(a *attempt, req *http.Request) (*answer, error) {
	a.maybeSent.CompareAndSwap(false, !a.renewal)
	ctx := req.Context()
	if ctx.Done() == nil { // a middleware removed the end of the context
		ctx = ownContext{a, ctx}
	}
	out := a.authorize(a.redactTrace(ctx), req)
	if !a.alone && !t.silent.Load() {
		got, err := a.exchange(t.pooled, out)
		if errors.Is(err, context.DeadlineExceeded) {
			t.silent.Store(true)
		}
		return got, err
	}
	got, err := a.exchange(t.single, out)
	if t.silent.CompareAndSwap(true, false) {
		t.pooled.CloseIdleConnections()
	}
	return got, err
}

// sendOnce sends a renewal, unless this attempt has already sent one that may have reached the server. The sending goes
// on even if a middleware gives up, so that no answer that reaches this process is lost.
func (t *authTransport) sendOnce(a *attempt, req *http.Request) (*answer, error) {
	renewal := &sending{done: make(chan struct{}), err: errNoEnd}
	a.mu.Lock()
	over, twice := a.over, a.sending != nil
	if !over && !twice {
		a.sending = renewal
	}
	a.mu.Unlock()
	switch {
	case over:
		return nil, refuse(req, errTooLate)
	case twice:
		return nil, refuse(req, errSentTwice)
	}

	ctx := httptrace.WithClientTrace(a.redactTrace(ownContext{a, req.Context()}), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { a.maybeSent.Store(true) },
	})
	out := a.authorize(ctx, req)
	out.Close, out.Cancel = true, nil //nolint:staticcheck // an http.Client inside a middleware sets Cancel for its timeout
	for name := range out.Header {
		switch http.CanonicalHeaderKey(name) { // a middleware may set names in any case
		case "Idempotency-Key", "X-Idempotency-Key": // either makes net/http send a POST again by itself
			delete(out.Header, name)
		}
	}
	go func() {
		defer close(renewal.done)
		if p := guarded(func() {
			if renewal.err = a.restoreBody(out); renewal.err == nil {
				renewal.got, renewal.err = a.exchange(t.single, out)
			}
		}); p != nil {
			renewal.err = a.clean(p)
		}
		if renewal.got != nil {
			renewal.got.header = renewal.got.header.Clone() // a middleware may change the original
			return
		}
		t.single.CloseIdleConnections() // ends the dial, which net/http would otherwise go on with
		if !a.maybeSent.Load() {
			a.mu.Lock()
			a.sending = nil
			a.mu.Unlock()
		}
	}()
	select {
	case <-renewal.done:
	case <-req.Context().Done():
		if a.Err() == nil {
			return nil, context.Cause(req.Context())
		}
		<-renewal.done // soon: it ends with the attempt
	}
	return renewal.got, renewal.err
}

// authorize returns a copy of req with the secrets in it.
func (a *attempt) authorize(ctx context.Context, req *http.Request) *http.Request {
	out := req.WithContext(ctx)
	out.Header = make(http.Header, len(req.Header)+1)
	for name, values := range req.Header {
		if http.CanonicalHeaderKey(name) != "Authorization" { // in any case: net/http would send them all
			out.Header[name] = values
		}
	}
	out.Header["Authorization"] = a.credential.authorization()
	if a.holdsPlace(req) {
		u := *req.URL
		params := strings.Split(u.RawQuery, "&")
		params[slices.Index(params, placeholder)] = a.query.Reveal()
		u.RawQuery = strings.Join(params, "&")
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
	got := &answer{up: resp, status: resp.StatusCode, header: resp.Header, body: text, err: err}
	a.search(got)
	if proxy := a.proxy.Load(); proxy != nil {
		got.proxy = *proxy
	}
	got.filterHeader()
	*resp = http.Response{
		Status: statusLine(resp.Status, got.status), StatusCode: got.status, Proto: resp.Proto, ProtoMajor: resp.ProtoMajor, ProtoMinor: resp.ProtoMinor,
		Header: got.header, Body: passedBody(func() *answer { return got }), ContentLength: -1,
	}
	for got.before = a.last.Load(); !a.last.CompareAndSwap(got.before, got); got.before = a.last.Load() {
	}
	return got, nil
}

// noteProxy keeps the host of the proxy that an attempt goes through.
func noteProxy(ctx context.Context, proxy string) {
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		a.proxy.Store(&proxy)
	}
}

// filterHeader removes the header fields of a, except those that are known to be harmless. In those, it replaces a value
// that repeats a key, and shortens a long one.
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

// statusLine is the standard text of a status; the server's own text may hold a key.
func statusLine(sent string, status int) string {
	text := http.StatusText(status)
	if len(sent) > 4 && sent[3] == ' ' && sent[4:] == text {
		return sent
	}
	return fmt.Sprintf("%d %s", status, text)
}
