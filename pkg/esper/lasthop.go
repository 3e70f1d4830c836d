package esper

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
)

var (
	errOtherHost  = errors.New("esper: the request was sent to another host than the base URL's; the key stays here")
	errSentTwice  = errors.New("esper: a middleware repeated a renewal, whose first sending may have been processed")
	errNoResponse = errors.New("esper: the transport returned neither a response nor an error")
	errNoSeal     = errors.New("esper: a middleware replaced the request's context; derive it from the request's own")
)

// lastHop adds the secrets to a request, just above net/http, and keeps the answer's echoes of
// them from going up.
type lastHop struct {
	origin *url.URL
	pooled http.RoundTripper
	fresh  *http.Transport // for renewals; nil if pooled is no *http.Transport
}

func (h *lastHop) RoundTrip(req *http.Request) (*http.Response, error) {
	s, ok := req.Context().Value(sealKey{}).(*seal)
	if !ok {
		return nil, refuse(req, errNoSeal)
	}
	return h.roundTrip(req.Context(), s, req)
}

// do is what an http.Client would do, but for its copies, where nothing stands between them.
func (h *lastHop) do(s *seal, req *http.Request) (*http.Response, error) {
	resp, err := h.roundTrip(s, s, req)
	if err == nil {
		return resp, nil
	}
	if record, ok := err.(tls.RecordHeaderError); ok && string(record.RecordHeader[:]) == "HTTP/" { //nolint:errorlint // a wrapped one is a proxy's
		err = http.ErrSchemeMismatch
	}
	verb := "Get"
	if req.Method != "" {
		verb = req.Method[:1] + strings.ToLower(req.Method[1:])
	}
	return nil, &url.Error{Op: verb, URL: req.URL.Redacted(), Err: err}
}

func (h *lastHop) roundTrip(ctx context.Context, s *seal, req *http.Request) (*http.Response, error) {
	switch {
	case req.URL.Scheme != h.origin.Scheme || req.URL.Host != h.origin.Host:
		return nil, refuse(req, errOtherHost)
	case s.once() && !s.sending.CompareAndSwap(false, true):
		return nil, refuse(req, errSentTwice)
	}
	resp, err := h.send(ctx, s, req)
	if err != nil {
		if !s.maySent.Load() {
			s.sending.Store(false)
		}
		return nil, s.secrets.redactError(err)
	}
	if resp == nil {
		return nil, errNoResponse
	}
	if resp.Body == nil { // net/http allows it where there is none
		resp.Body = http.NoBody
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		_ = resp.Body.Close() // a connection without an end: reading it would outlive every timeout
		resp.Body = http.NoBody
	}
	resp.Request = req // net/http put the unsealed one there
	s.scrub(resp)
	s.sealBody(resp)
	return resp, nil
}

// refuse closes the request's body, as a RoundTripper has to.
func refuse(req *http.Request, err error) error {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return err
}

// once reports whether the request exchanges a key, and so must not arrive twice.
func (s *seal) once() bool { return !s.query.IsZero() }

func (h *lastHop) send(ctx context.Context, s *seal, req *http.Request) (*http.Response, error) {
	if h.fresh == nil { // and the transport may do what net/http's does not: change what it is given
		req = req.Clone(ctx)
	}
	if !s.once() {
		s.maySent.Store(true)
		return h.pooled.RoundTrip(s.unseal(ctx, req))
	}
	if h.fresh == nil {
		// Only an error can tell that nothing was sent.
		s.maySent.Store(true)
		resp, err := h.pooled.RoundTrip(s.unseal(ctx, req))
		if err != nil && noConnection(err) {
			s.maySent.Store(false)
		}
		return resp, err
	}
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { s.maySent.Store(true) }}
	resp, err := h.fresh.RoundTrip(s.unseal(httptrace.WithClientTrace(ctx, trace), req))
	if err != nil {
		h.fresh.CloseIdleConnections() // ends a dial that nobody waits for any more, which net/http lets go on
	}
	if err == nil && strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		resp.Body, resp.ContentLength, resp.Uncompressed = newGunzip(resp.Body), -1, true
		resp.Header.Del("Content-Encoding")
		resp.Header.Del("Content-Length")
	}
	return resp, err
}

// unseal returns a copy of req with the secrets in it, whose context is ctx.
func (s *seal) unseal(ctx context.Context, req *http.Request) *http.Request {
	out := req.WithContext(s.quiet(ctx))
	out.Header = make(http.Header, len(req.Header)+1)
	for name, values := range req.Header {
		switch http.CanonicalHeaderKey(name) { // a map takes names in any case, and net/http sends them all
		case "Authorization":
		case "Idempotency-Key", "X-Idempotency-Key": // either makes net/http resend a POST by itself
			if !s.once() {
				out.Header[name] = values
			}
		default:
			out.Header[name] = values
		}
	}
	out.Header["Authorization"] = []string{s.bearer.Reveal()}
	u := *req.URL
	out.URL = &u
	if s.once() {
		u.RawQuery = strings.Replace(u.RawQuery, sealedParam, s.query.Reveal(), 1)
		out.Close = true
	}
	return out
}

// noConnection reports whether err proves that no connection was made.
func noConnection(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns)
}

// scrub takes out of an answer's head what would carry a key up: echoes, and the target of a
// redirect, which net/http would quote if it cannot parse it.
func (s *seal) scrub(resp *http.Response) {
	if resp.StatusCode/100 == 3 {
		resp.Header.Del("Location")
	}
	resp.Status = s.secrets.redact(resp.Status)
	s.secrets.redactHeader(resp.Header)
}
