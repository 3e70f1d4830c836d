package esper

import (
	"errors"
	"io"
	"net/http"
	"reflect"

	"github.com/esper-go/esper-go/pkg/esper/internal/body"
	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

// answer is what authTransport read of a server's answer, or an answer that a middleware made itself.
type answer struct {
	up      *http.Response // what middleware gets of the answer; nil if a middleware made it
	status  int
	header  http.Header // after filterHeader
	body    []byte
	err     error           // why the reading of the body ended early
	key     Secret          // the token in an answer to a renewal
	secrets *redact.Matcher // finds the secrets of the call, and those in body
	proxy   string          // the host of the proxy on the way, if there was one
	before  *answer         // the previous answer of the same attempt
}

// passedBody is the body that middleware gets in place of an answer's body. It reads as empty, because the answer's body
// may hold a key. It is a func so that fmt prints an address and not the answer.
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

// asError returns the error for an answer that is not 2xx or was not read to its end, and nil for any other. After is
// the error that a middleware returned although it had got the answer, or nil.
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
	if got.status/100 != 2 && !body.LooksLikeKey(suspect.Reveal()) { // the token in an error may be a mere word
		suspect = Secret{}
	}
	got.secrets = a.matcherOf(suspect, got.body)
}

// answerOf returns the answer that belongs to the response of the middleware. authTransport has read that answer, even
// if a middleware then wrapped its body; or a middleware made the answer itself, and answerOf reads its body.
func (a *attempt) answerOf(resp *http.Response) (*answer, error) {
	if passed, ok := resp.Body.(passedBody); ok {
		return passed().withHead(resp), nil
	}
	type result struct {
		text       []byte
		err, panic error
	}
	done := make(chan result, 1)
	go func() { // a body that a middleware made may block after a has ended
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

// answerFor finds the answer that authTransport read for resp, in which a middleware has replaced the body: the answer
// whose response is resp itself, else the newest with the status of resp, else the newest.
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
