package esper

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/esper-go/esper-go/pkg/esper/internal/deadline"
)

const (
	accessTokenParam = "access_token"
	// placeholder stands in the URL in place of the access token, until authTransport puts that back.
	placeholder = accessTokenParam + "=sealed"
)

// attempt is one request on its way. It is the request's context, and so carries the secrets past the
// middleware to authTransport, and the answer back.
type attempt struct {
	context.Context // with the limit of one attempt
	cancel          context.CancelFunc
	parent          context.Context // without that limit
	request         *http.Request   // without secrets
	method, path    string          // of request, which a middleware may change
	credential      *credential
	accessToken     Secret                        // the key that a renewal exchanges; zero for any other request
	query           Secret                        // what placeholder stands for, as it was encoded
	renewal         bool                          // the answer holds a new key, and it is sent once
	list            bool                          // the answer holds the keys of other personal access tokens
	body            func() (io.ReadCloser, error) // of request; nil if there is none, or no second copy
	length          int64                         // of body
	alone           bool                          // send it over a connection of its own

	maybeSent atomic.Bool            // a server may have got the request: for a renewal, there was a connection
	proxy     atomic.Pointer[string] // the host of the proxy that was used
	last      atomic.Pointer[answer] // the newest answer

	mu      sync.Mutex // guards what follows
	over    bool       // no renewal may be begun any more
	sending *sending   // the renewal that was begun; nil again if it was not sent
}

// sending is a renewal that has been sent. It goes on even if a middleware returns early.
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

// String is all that is printed of the context.
func (*attempt) String() string { return "esper call" }

// Format prints a.String() for every verb: for some, fmt would print the fields.
func (a *attempt) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// newAttempt prepares an attempt to send req with cred. Its caller has to call end.
func (c *Client) newAttempt(ctx context.Context, cred *credential, req *http.Request) *attempt {
	a := &attempt{parent: ctx, credential: cred}
	sealed := a.hideAccessToken(req.URL)
	a.renewal = !a.accessToken.IsZero() && !isSafe(req.Method) || c.tokens.renews(req)
	a.list, a.body, a.length = c.tokens.lists(req), req.GetBody, req.ContentLength
	limit := context.WithTimeout
	if a.renewal { // its answer must not be lost
		limit = deadline.WithTimeout
	}
	a.Context, a.cancel = limit(ctx, c.timeout)
	a.request, a.method, a.path = req.WithContext(a), req.Method, req.URL.Path
	a.request.URL = sealed
	return a
}

func (a *attempt) end() { a.cancel() }

// timedOut reports whether a ended because of the time limit of one attempt, and not with the call.
func (a *attempt) timedOut() bool { return a.Err() != nil && a.parent.Err() == nil }

// send passes the request through the middleware, and returns the answer that counts. For a renewal that is what
// the server sent, whatever a middleware made of it. If there is an answer, the error is a middleware's.
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

// roundTrip calls the middleware, and turns a panic or a nil response into an error.
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

// wait calls a middleware's code, ignores its panic, and waits until it returns or a ends.
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

// settle forbids a renewal to begin from now on, waits for one that has begun, and returns it. It returns nil if
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

// hideAccessToken returns u with the placeholder in place of the access token, which it notes in a. It does not
// change the other parameters.
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

// restoreBody gives a renewal the body that it had above the middleware, one of which may have read it.
func (a *attempt) restoreBody(out *http.Request) error {
	if a.body == nil {
		return nil
	}
	if out.Body != nil {
		_ = out.Body.Close()
	}
	var err error
	out.Body, err = a.body()
	out.ContentLength, out.TransferEncoding = a.length, nil
	return err
}

// ownContext ends with the attempt, and not with a context that a middleware derived from it.
type ownContext struct {
	*attempt
	values context.Context
}

func (c ownContext) Value(key any) any { return c.values.Value(key) }
