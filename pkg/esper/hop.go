package esper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/internal/body"
	"github.com/esper-go/esper-go/pkg/esper/internal/deadline"
	"github.com/esper-go/esper-go/pkg/esper/internal/network"
	"github.com/esper-go/esper-go/pkg/esper/internal/origin"
	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

// sealed stands in a URL until the last hop puts the access token there.
const sealed = "access_token=sealed"

// attempt is one attempt to send a request. newAttempt makes it the context of that request too: the hop finds it there
// under attemptKey. In this way the secrets get past the middleware to the hop, and the answer gets back.
type attempt struct {
	context.Context // with the time limit of one attempt
	cancel          context.CancelFunc
	parent          context.Context // the context of the call, without that limit
	request         *http.Request   // without secrets
	method, path    string          // of request, which a middleware may change
	key             Secret          // for Authorization
	accessToken     Secret          // the parameter of this name; zero if the request has none
	param           Secret          // the parameter with its name, as it was encoded
	once            bool            // the request renews a key, or changes something else: it is sent once
	alone           bool            // send over a new connection, not over the pool
	maybeSent       atomic.Bool     // a server may have got the request that is sent once

	mu      sync.Mutex // guards what follows; held while a request is sent that is sent once
	over    bool       // that request was sent, or the middleware has returned: it may not be sent any more
	renewed *answer    // to that request, also if it has status 0; nil unless the request may have arrived
	answers []*answer  // to all other requests
}

type attemptKey struct{}

// Value finds the attempt itself under attemptKey, also through contexts derived from it.
func (a *attempt) Value(key any) any {
	if key == (attemptKey{}) {
		return a
	}
	return a.Context.Value(key)
}

// Format prints a fixed text for every verb, because fmt would print the fields.
func (*attempt) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "esper call") }

// newAttempt prepares an attempt to send req. The caller has to call cancel.
func newAttempt(ctx context.Context, limit time.Duration, key Secret, req *http.Request, once bool) *attempt {
	a := &attempt{parent: ctx, key: key, once: once, method: req.Method, path: req.URL.Path}
	withTimeout := context.WithTimeout
	if once { // the answer must not be lost
		withTimeout = deadline.WithTimeout
	}
	a.Context, a.cancel = withTimeout(ctx, limit)
	a.request = req.WithContext(a)
	a.request.URL = a.seal(req.URL)
	return a
}

// seal returns u with sealed in place of the access token, which it keeps in a. The other parameters stay as they are.
func (a *attempt) seal(u *url.URL) *url.URL {
	if u.RawQuery == "" {
		return u
	}
	params := strings.Split(u.RawQuery, "&")
	for i, param := range params {
		name, value, _ := strings.Cut(param, "=")
		if decoded, _ := url.QueryUnescape(name); decoded == "access_token" {
			token, _ := url.QueryUnescape(value) // if it is malformed, it is a secret all the same
			a.accessToken, a.param = NewSecret(cmp.Or(token, value)), NewSecret(param)
			params[i] = sealed
		}
	}
	out := *u
	out.RawQuery = strings.Join(params, "&")
	return &out
}

// secrets returns what the server's texts must not show.
func (a *attempt) secrets() []string { return []string{a.key.Reveal(), a.accessToken.Reveal()} }

// send passes the request through the middleware, and returns the answer that counts. For a request that is sent once,
// that is the server's, whatever the middleware returned. For any other it is the newest answer with the status that
// the middleware returned, or the middleware's own response or error if there is none.
func (a *attempt) send(chain http.RoundTripper) (got *answer) {
	resp, err := a.roundTrip(chain)
	a.mu.Lock() // waits for a request that has begun
	a.over = true
	got = a.renewed
	if got == nil && resp != nil {
		got = a.newest(resp.StatusCode)
	}
	a.mu.Unlock()
	switch {
	case got != nil:
		defer func() { _ = recover() }() // a body that panics costs no answer
		if resp != nil {
			_ = resp.Body.Close() // a middleware such as otelhttp may have wrapped it
		}
		return got
	case err != nil && redact.Repeats(err.Error(), a.secrets()...):
		return &answer{fault: a.newTransportError("a middleware failed", err)}
	case err != nil:
		return &answer{fault: err}
	}
	resp.Header = resp.Header.Clone() // the middleware may share it between its answers, and newAnswer changes it
	text, err := body.Read(resp)
	got = a.newAnswer(resp, text, err)
	got.made = true
	return got
}

// roundTrip calls the middleware. A panic or a nil response becomes an error, so that no answer that arrived is lost.
func (a *attempt) roundTrip(chain http.RoundTripper) (resp *http.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			text := redact.Text(fmt.Sprintf("a middleware panicked: %v", p), a.secrets()...)
			resp, err = nil, &transportError{text: text, permanent: true}
		}
	}()
	resp, err = chain.RoundTrip(a.request)
	switch {
	case err != nil:
		return nil, err
	case resp == nil, resp.StatusCode == 0:
		return nil, &transportError{text: "a middleware returned neither a status nor an error", permanent: true}
	case resp.Body == nil: // http.Client accepts this too
		resp.Body = http.NoBody
	}
	return resp, nil
}

// hop is the innermost transport, below all middleware. It adds the key to a request, sends the request, reads the
// whole answer, and passes on to the middleware what cannot hold a key.
type hop struct {
	base   *url.URL        // the only server that may get the key
	pooled *http.Transport // for requests that may arrive twice
	single *http.Transport // a new HTTP/1.1 connection each time
	silent atomic.Bool     // a request over pooled has timed out: the next goes over single, and empties the pool
}

func (h *hop) RoundTrip(req *http.Request) (*http.Response, error) {
	a, ok := req.Context().Value(attemptKey{}).(*attempt)
	if !ok {
		return refuse(req, "a middleware replaced the request's context; derive it from the request's own", nil)
	}
	if err := origin.Check(h.base, req); err != nil {
		return refuse(req, err.Error()+"; a middleware or a request editor changed it", err)
	}
	if a.once && !isSafe(req.Method) {
		return h.sendOnce(a, req)
	}
	ctx := req.Context()
	if ctx.Done() == nil {
		ctx = detached{a, ctx} // a middleware removed the end of the context
	}
	transport, alone := h.pooled, a.alone || h.silent.Load()
	if alone {
		transport = h.single
	}
	got := a.exchange(transport, req, a.authorize(ctx, req))
	switch {
	case alone && h.silent.CompareAndSwap(true, false):
		h.pooled.CloseIdleConnections() // the silent one is idle by now
	case !alone && got.status == 0 && errors.Is(got.fault, context.DeadlineExceeded):
		h.silent.Store(true)
	}
	a.mu.Lock()
	a.answers = append(a.answers, got)
	a.mu.Unlock()
	return got.response(req)
}

// sendOnce sends a request that must not arrive twice. It ends with the attempt, and not when a middleware gives up,
// because its answer must not be lost.
func (h *hop) sendOnce(a *attempt, req *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch err := req.Context().Err(); {
	case a.over:
		return refuse(req, "a middleware repeated a renewal, or another request that is sent once", nil)
	case req.Method != a.method, req.URL.Path != a.path, !a.param.IsZero() && !strings.Contains(req.URL.RawQuery, sealed):
		return refuse(req, "a middleware changed a renewal, or sent another request that is not safe (RFC 9110)", nil)
	case err != nil: // a middleware gave up before
		return refuse(req, err.Error(), err)
	}
	a.over = true
	ctx := httptrace.WithClientTrace(detached{a, req.Context()}, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { a.maybeSent.Store(true) },
	})
	out := a.authorize(ctx, req)
	out.Close = true
	out.Cancel = nil              //nolint:staticcheck // an http.Client inside a middleware sets it for its timeout
	if a.request.GetBody != nil { // a middleware may have read the first copy
		closeBody(req)
		out.Body, _ = a.request.GetBody()
		out.ContentLength, out.TransferEncoding = a.request.ContentLength, nil
	}
	got := a.exchange(h.single, req, out)
	if got.status == 0 {
		h.single.CloseIdleConnections() // ends the dial, which net/http would otherwise go on with
		a.over = a.maybeSent.Load()     // if nothing was sent, a middleware may try again
	}
	if a.over {
		a.renewed = got
	}
	return got.response(req)
}

// isSafe reports whether a request with this method changes nothing (RFC 9110, section 9.2.1).
func isSafe(method string) bool {
	return slices.Contains([]string{"", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace}, method)
}

// detached ends with the attempt, whatever ends another context, whose values it has.
type detached struct {
	*attempt
	values context.Context
}

func (d detached) Value(key any) any { return d.values.Value(key) }

// refuse closes the request's body, as a RoundTripper must, and returns an error that another attempt cannot cure.
func refuse(req *http.Request, text string, err error) (*http.Response, error) {
	closeBody(req)
	return nil, &transportError{text: text, err: err, permanent: true}
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// authorize returns a copy of req with the secrets in it. A trace of the caller's does not see them.
func (a *attempt) authorize(ctx context.Context, req *http.Request) *http.Request {
	out := req.WithContext(network.RedactTrace(ctx))
	out.Header = make(http.Header, len(req.Header)+1)
	for name, values := range req.Header {
		switch http.CanonicalHeaderKey(name) { // in any case: net/http would send them all
		case "Authorization", "Idempotency-Key", "X-Idempotency-Key": // the last two make net/http repeat a POST by itself
		default:
			out.Header[name] = values
		}
	}
	out.Header["Authorization"] = []string{"Bearer " + a.key.Reveal()}
	if req.Method == a.method && !a.param.IsZero() {
		u := *req.URL
		u.RawQuery = strings.Replace(u.RawQuery, sealed, a.param.Reveal(), 1)
		out.URL = &u
	}
	return out
}

// exchange sends out, which is req with the secrets, and reads the whole answer.
func (a *attempt) exchange(transport *http.Transport, req, out *http.Request) *answer {
	resp, err := transport.RoundTrip(out) //nolint:bodyclose // body.Read closes it
	if err != nil {
		return &answer{fault: a.newTransportError("no answer from "+req.URL.Host, err)}
	}
	text, err := body.Read(resp)
	got := a.newAnswer(resp, text, err)
	got.own = req.Method == a.method && req.URL.Path == a.path
	return got
}
