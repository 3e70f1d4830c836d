package esper

import (
	"errors"
	"io"
	"net/http"
	"reflect"

	"github.com/esper-go/esper-go/pkg/esper/internal/body"
	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

// answer is what authTransport read of a server's answer.
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

// passedBody stands for an answer's body on its way up through the middleware, and reads as empty, since the
// body may hold a key. It is a func so that fmt prints an address and not the answer.
type passedBody func() *answer

func (passedBody) Read([]byte) (int, error) { return 0, io.EOF }
func (passedBody) Close() error             { return nil }

// withHead returns a copy of a with the status and the header that a middleware passed on.
func (a *answer) withHead(resp *http.Response) *answer {
	if resp == a.up && resp.StatusCode == a.status && reflect.ValueOf(resp.Header).Pointer() == reflect.ValueOf(a.header).Pointer() {
		return a
	}
	out := *a
	out.status, out.header = resp.StatusCode, resp.Header
	return &out
}

// asError returns the error for an answer that is not 2xx, or nil. After is the error that a middleware
// returned although it had got the answer.
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

// search collects the keys that an answer holds, so that error texts can be checked for them.
func (a *attempt) search(got *answer) {
	if !a.renewal {
		got.secrets = a.matcherOf(Secret{}, got.body)
		return
	}
	got.key = body.Key(got.body)
	suspect := got.key
	if got.status/100 != 2 && !body.LooksLikeKey(suspect.Reveal()) { // in an error, the token may be a word
		suspect = Secret{}
	}
	got.secrets = a.matcherOf(suspect, got.body)
}

// answerOf returns the answer behind the response that the middleware returned. That is one that authTransport
// read, even if a middleware has wrapped its body, or one that a middleware made itself.
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
	a.search(own)
	return own.withHead(resp), nil
}

// answerFor finds the answer whose body a middleware has replaced: the one that came in resp, else the newest
// with the same status, else the newest.
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
