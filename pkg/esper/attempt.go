package esper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/esper-go/esper-go/pkg/esper/internal/body"
	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

const (
	accessTokenParam = "access_token"
	// placeholder stands in the URL for the access token, above the last hop.
	placeholder = accessTokenParam + "=sealed"
)

// attempt is one request on its way. As the request's context it carries the secrets past the
// middleware to the last hop, and brings the answer back.
type attempt struct {
	context.Context // with the limit of one attempt
	cancel          context.CancelFunc
	parent          context.Context // without that limit
	request         *http.Request   // without secrets
	method, path    string          // of request, which a middleware may change
	credential      *credential
	accessToken     Secret // the key that a renewal exchanges; zero for any other request
	query           Secret // what placeholder stands for, as it was encoded
	alone           bool   // send it over a connection of its own

	maybeSent atomic.Bool            // a server may have got the request: for a renewal, there was a connection
	proxy     atomic.Pointer[string] // the host of the proxy that was used
	last      atomic.Pointer[answer] // the newest answer

	mu      sync.Mutex // guards what follows
	over    bool       // no renewal may be begun any more
	sending *sending   // the renewal that was begun; nil again if it was not sent
}

// sending is a renewal on its way, which goes on when a middleware gives up.
type sending struct {
	done chan struct{} // closed when what follows is there
	got  *answer
	err  error
}

type attemptKey struct{}

// Value finds the attempt itself under attemptKey, also through contexts derived from it.
func (a *attempt) Value(key any) any {
	if key == (attemptKey{}) {
		return a
	}
	return a.Context.Value(key)
}

// String is all that a printed context shows.
func (*attempt) String() string { return "esper call" }

// Format is String for every verb: fmt would print the fields for some.
func (a *attempt) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// newAttempt begins an attempt to send req with cred. It ends with end.
func (c *Client) newAttempt(ctx context.Context, cred *credential, req *http.Request) *attempt {
	a := &attempt{parent: ctx, credential: cred}
	a.Context, a.cancel = context.WithTimeout(ctx, c.timeout)
	a.request, a.method, a.path = req.WithContext(a), req.Method, req.URL.Path
	a.request.URL = a.hideAccessToken(req.URL)
	return a
}

func (a *attempt) end() { a.cancel() }

// timedOut reports whether the limit of one attempt has ended a, and nothing else has.
func (a *attempt) timedOut() bool { return a.Err() != nil && a.parent.Err() == nil }

// send passes the request through chain, and returns the answer that counts: for a renewal that of the
// server, whatever a middleware made of it. With an answer, the error is that of a middleware.
func (a *attempt) send(chain http.RoundTripper) (*answer, error) {
	resp, err := roundTrip(chain, a.request)
	if err != nil {
		err = a.clean(err)
	}
	renewal := a.settle()
	if renewal == nil && err == nil {
		return a.answerOf(resp)
	}
	if resp != nil { // what a middleware answered is not the server's answer
		a.wait(func() { _ = resp.Body.Close() })
	}
	switch {
	case renewal == nil:
		return nil, err
	case renewal.got == nil && err == nil:
		return nil, renewal.err
	}
	return renewal.got, err
}

// roundTrip turns a panic of a middleware, and a mistake of one, into an error.
func roundTrip(chain http.RoundTripper, req *http.Request) (resp *http.Response, err error) {
	if p := guarded(func() {
		if resp, err = chain.RoundTrip(req); err != nil { //nolint:bodyclose // the caller closes it
			_ = err.Error() // of a nil in an error's place, which panics
		}
	}); p != nil {
		return nil, p
	}
	switch {
	case err != nil:
		return nil, err
	case resp == nil:
		return nil, errNoResponse
	case resp.Body == nil: // net/http allows it where there is none
		resp.Body = http.NoBody
	}
	return resp, nil
}

// guarded calls a caller's code and returns its panic as an error.
func guarded(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &transportError{text: fmt.Sprintf("a middleware, or a function of the transport's, panicked: %v", p), permanent: true}
		}
	}()
	f()
	return nil
}

// wait calls a middleware's code, in which a panic is of no account, and waits until it returns or a ends.
func (a *attempt) wait(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = guarded(f)
	}()
	select {
	case <-done:
	case <-a.Done():
	}
}

// settle lets no renewal of a begin any more, waits for the one that is under way, and returns it; nil if
// none was sent.
func (a *attempt) settle() *sending {
	a.mu.Lock()
	a.over = true
	renewal := a.sending
	a.mu.Unlock()
	if renewal == nil {
		return nil
	}
	<-renewal.done
	if renewal.got == nil && !a.maybeSent.Load() {
		return nil
	}
	return renewal
}

// answerOf returns the answer that a middleware returned: one of the last hop's, whatever was put
// around its body, or one of the middleware's own making.
func (a *attempt) answerOf(resp *http.Response) (*answer, error) {
	if passed, ok := resp.Body.(passedBody); ok {
		return passed().withHead(resp), nil
	}
	type result struct {
		text       []byte
		err, panic error
	}
	done := make(chan result, 1)
	go func() { // a body of a middleware's own may take no notice of a
		var r result
		r.panic = guarded(func() { r.text, r.err = body.Read(resp) })
		done <- r
	}()
	var r result
	select {
	case r = <-done:
	case <-a.Done():
		a.wait(func() { _ = resp.Body.Close() })
		return nil, a.newTransportError("the answer of a middleware was cut off", a.Err())
	}
	switch passed := a.answerFor(resp); {
	case r.panic != nil:
		return nil, r.panic
	case passed != nil && len(r.text) == 0:
		return passed.withHead(resp), nil
	case r.err != nil && !errors.Is(r.err, ErrResponseTooLarge):
		r.err = a.newTransportError("the answer was cut off", r.err)
	}
	own := &answer{status: resp.StatusCode, body: r.text, err: r.err}
	own.search(a)
	return own.withHead(resp), nil
}

// answerFor finds the answer that a middleware put another body around: the one that resp was, else the
// newest with its status, else the newest.
func (a *attempt) answerFor(resp *http.Response) (found *answer) {
	for got := a.last.Load(); got != nil; got = got.before {
		if got.up == resp {
			return got
		}
		if found == nil || found.status != resp.StatusCode && got.status == resp.StatusCode {
			found = got
		}
	}
	return found
}

// hideAccessToken returns u with the placeholder for the access token, which it keeps. Other
// parameters stay, to the letter.
func (a *attempt) hideAccessToken(u *url.URL) *url.URL {
	if u.RawQuery == "" {
		return u
	}
	params := strings.Split(u.RawQuery, "&")
	for i, param := range params {
		name, value, _ := strings.Cut(param, "=")
		if decoded, err := url.QueryUnescape(name); err != nil || decoded != accessTokenParam {
			continue
		}
		token, err := url.QueryUnescape(value)
		if err != nil {
			token = value // malformed, and no less secret
		}
		a.accessToken, a.query = NewSecret(token), NewSecret(param)
		params[i] = placeholder
	}
	out := *u
	out.RawQuery = strings.Join(params, "&")
	return &out
}

// answer is what the last hop read of an answer.
type answer struct {
	up      *http.Response // what goes up of it; nil for one of a middleware's own
	status  int
	header  http.Header // of up
	body    []byte
	err     error           // what ended the reading early
	key     Secret          // the token in an answer to a renewal
	secrets *redact.Matcher // of the call, those in body included
	proxy   string          // the host of the proxy on the way, if there was one
	before  *answer         // the one before it, of the same attempt
}

// passedBody is the body of an answer on its way through the middleware, where it reads as empty: it
// holds keys. A func shows nothing to fmt.
type passedBody func() *answer

func (passedBody) Read([]byte) (int, error) { return 0, io.EOF }
func (passedBody) Close() error             { return nil }

// withHead returns a with the status and the header that a middleware passed on.
func (a *answer) withHead(resp *http.Response) *answer {
	out := *a
	out.status, out.header = resp.StatusCode, resp.Header
	return &out
}

// asError returns what is wrong with an answer, nil if nothing is. After is the error of a middleware
// that got the answer.
func (a *answer) asError(operation string, attempts int, after error) error {
	var err error
	if a.status/100 != 2 {
		api := newAPIError(operation, a)
		api.Attempts = attempts
		err = api
	} else if a.err != nil {
		err = &callError{operation, attempts, a.err}
	}
	if err != nil && after != nil {
		err = &callError{operation: operation, err: &stoppedError{after, err}}
	}
	return err
}
