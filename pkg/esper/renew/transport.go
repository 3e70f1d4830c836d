package renew

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper/internal/network"
	"github.com/esper-go/esper-go/pkg/esper/internal/origin"
	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

// Transport returns a RoundTripper that sends the key in use with each request, for any endpoint of the
// source's server. It refuses a request for another scheme, host or port, so that a redirect cannot take the
// key to another server. Base sends the requests and sees the key; nil means http.DefaultTransport.
//
// After a 401, the transport calls [Source.Reject]. If Reject returns another key, the transport sends the
// request once more, provided that the request has no body or its GetBody is set. If Reject fails, its error
// is returned, such as [ErrKeyLost]. In any other case the caller gets the 401.
func (s *Source) Transport(base http.RoundTripper) http.RoundTripper {
	return &transport{source: s, base: cmp.Or(base, http.DefaultTransport)}
}

type transport struct {
	source *Source
	base   http.RoundTripper
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	refuse := func(err error) (*http.Response, error) {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	if err := origin.Check(t.source.server, req); err != nil {
		return refuse(fmt.Errorf("renew: %w", err))
	}
	token, err := t.source.TokenContext(req.Context())
	if err != nil {
		return refuse(err)
	}
	resp, err := t.send(req, token, req.Body)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	newer, err := t.source.Reject(req.Context(), token)
	if err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	again := req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
	if newer.AccessToken == token.AccessToken || !again {
		return resp, nil
	}
	body := req.Body
	if req.GetBody != nil {
		if body, err = req.GetBody(); err != nil {
			return resp, nil //nolint:nilerr // the caller learns more from the 401
		}
	}
	_ = resp.Body.Close()
	return t.send(req, newer, body)
}

func (t *transport) send(req *http.Request, token *oauth2.Token, body io.ReadCloser) (*http.Response, error) {
	out := req.WithContext(network.RedactTrace(req.Context()))
	out.Body = body
	out.Header = http.Header{"Authorization": {"Bearer " + token.AccessToken}}
	for name, values := range req.Header {
		if http.CanonicalHeaderKey(name) != "Authorization" { // in upper or lower case: net/http would send each of them
			out.Header[name] = values
		}
	}
	resp, err := t.base.RoundTrip(out)
	if err != nil {
		return nil, t.clean(err, token)
	}
	resp.Request = req // not out, which has the key in it
	return resp, nil
}

// clean replaces an error of base that could show a key. Such an error holds the key in its text, or comes from
// net/http and is of an unknown kind, which may quote an answer.
func (t *transport) clean(err error, token *oauth2.Token) error {
	_, _, kind := network.Kind(err)
	_, standard := t.base.(*http.Transport)
	echoes := redact.Repeats(err.Error(), token.AccessToken)
	switch {
	case !echoes && (kind != nil || !standard):
		return err
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	}
	return fmt.Errorf("renew: no usable answer (%T, whose text may quote the answer and is not shown)", err)
}
