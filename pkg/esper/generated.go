package esper

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
)

// generatedDoer sends the requests of the generated client.
type generatedDoer struct{ client *Client }

func (d generatedDoer) Do(req *http.Request) (*http.Response, error) {
	const name = "Generated"
	source := d.client.source
	token, err := source.get(req.Context())
	if err != nil {
		return nil, err
	}
	a := newAttempt(req.Context(), d.client.timeout, NewSecret(token.AccessToken), req, !isSafe(req.Method))
	defer a.cancel()
	if source.renew != nil && !a.param.IsZero() {
		return nil, errOwnRenewal
	}
	got, err := a.send(d.client.chain)
	if err != nil {
		return nil, &callError{name, 1, err}
	}
	if got.status == http.StatusUnauthorized && source.reject != nil {
		_, _ = source.reject(req.Context(), token) // the caller gets the 401, whatever Reject returns
	}
	resp := &http.Response{
		Status: fmt.Sprintf("%d %s", got.status, http.StatusText(got.status)), StatusCode: got.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: got.header, ContentLength: int64(len(got.body)), Request: a.request,
	}
	rest := bytes.NewReader(got.body)
	resp.Body = bodyFunc(func(p []byte) (int, error) {
		n, err := rest.Read(p)
		if err == io.EOF && got.err != nil {
			err = got.err
		}
		return n, err
	})
	if got.err != nil {
		resp.ContentLength = -1
	}
	return resp, nil
}

// bodyFunc is a body that is a func, because fmt prints only the address of a func and so no key.
type bodyFunc func(p []byte) (int, error)

func (f bodyFunc) Read(p []byte) (int, error) { return f(p) }
func (bodyFunc) Close() error                 { return nil }
