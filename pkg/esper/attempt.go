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
	// placeholder replaces the access token in the URL until authTransport puts the token back.
	placeholder = accessTokenParam + "=sealed"
)

// attempt is one attempt to send a request. It is also the context of the request. In this way the secrets get past the
// middleware to authTransport, and the answer gets back.
type attempt struct {
	context.Context // with the time limit of one attempt
	cancel          context.CancelFunc
	parent          context.Context // the context of the call, without that limit
	request         *http.Request   // without secrets
	method, path    string          // of the original request, which a middleware may change
	credential      *credential
	accessToken     Secret                        // the key that a renewal exchanges; zero for any other request
	query           Secret                        // the query parameter that placeholder replaces, as it was encoded
	renewal         bool                          // the answer holds a new key, so the request is sent only once
	list            bool                          // the answer holds the keys of other personal access tokens
	body            func() (io.ReadCloser, error) // copies the body of request; nil if there is no body, or no copy
	length          int64                         // of the request's body
	alone           bool                          // send over a new connection, not over the pool

	maybeSent atomic.Bool            // a server may have got the request; true for a renewal once it has a connection
	proxy     atomic.Pointer[string] // the host of the proxy that was used
	last      atomic.Pointer[answer] // the newest answer

	mu      sync.Mutex // guards what follows
	over    bool       // the middleware has returned, so no renewal may begin any more
	sending *sending   // the renewal that has begun; nil again if it was not sent
}

// sending is a renewal that is being sent, or has been. It goes on even if a middleware returns early.
type sending struct {
	done chan struct{} // closed when got and err are set
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

// String returns a fixed text, so that printing the context shows no secret.
func (*attempt) String() string { return "esper call" }

// Format prints a.String() for every verb: under some verbs, fmt would print the fields.
func (a *attempt) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// newAttempt prepares an attempt to send req with cred. The caller has to call end.
func (c *Client) newAttempt(ctx context.Context, cred *credential, req *http.Request) *attempt {
	a := &attempt{parent: ctx, credential: cred}
	sealed := a.hideAccessToken(req.URL)
	a.renewal = !a.accessToken.IsZero() && !isSafe(req.Method) || c.tokens.renews(req)
	a.list, a.body, a.length = c.tokens.lists(req), req.GetBody, req.ContentLength
	limit := context.WithTimeout
	if a.renewal { // the answer must not be lost
		limit = deadline.WithTimeout
	}
	a.Context, a.cancel = limit(ctx, c.timeout)
	a.request, a.method, a.path = req.WithContext(a), req.Method, req.URL.Path
	a.request.URL = sealed
	return a
}

func (a *attempt) end() { a.cancel() }

// timedOut reports whether the time limit of the attempt ended a, and not the context of the call.
func (a *attempt) timedOut() bool { return a.Err() != nil && a.parent.Err() == nil }

// send passes the request through the middleware, and returns the answer that the call uses. For a renewal, that is the
// server's answer, whatever the middleware returned. An error beside an answer comes from a middleware.
func (a *attempt) send(chain http.RoundTripper) (*answer, error) {
	resp, err := roundTrip(chain, a.request)
	if err != nil {
		err = a.clean(err)
	}
	renewal := a.settle()
	if renewal == nil && err == nil {
		return a.answerOf(resp)
	}
	if resp != nil { // a renewal does not use what the middleware returned
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
			_ = err.Error() // panics if a nil pointer was returned as an error
		}
	}); p != nil {
		return nil, p
	}
	switch {
	case err != nil:
		return nil, err
	case resp == nil:
		return nil, errNoResponse
	case resp.Body == nil: // http.Client accepts this too
		resp.Body = http.NoBody
	}
	return resp, nil
}

// guarded calls f, which runs code of the caller, and returns a panic of f as an error.
func guarded(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &transportError{text: fmt.Sprintf("a middleware, or a function of the transport's, panicked: %v", p), permanent: true}
		}
	}()
	f()
	return nil
}

// wait calls f, which runs code of a middleware, ignores a panic of f, and waits until f returns or a ends.
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

// settle makes sure that no renewal begins from now on. It waits for a renewal that has begun, and returns it, or nil if
// no renewal was sent.
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

// hideAccessToken returns u with the placeholder in place of the access token, and keeps the token in a. It does not
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
			token = value // malformed, but a secret all the same
		}
		a.accessToken, a.query = NewSecret(token), NewSecret(param)
		params[i] = placeholder
	}
	out := *u
	out.RawQuery = strings.Join(params, "&")
	return &out
}

// restoreBody gives a renewal a new copy of its body, because a middleware may have read the first one.
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

// ownContext ends with the attempt. A context that a middleware derived may end earlier, or never; ownContext has only
// the values of that context.
type ownContext struct {
	*attempt
	values context.Context
}

func (c ownContext) Value(key any) any { return c.values.Value(key) }
