package esper

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	accessTokenParam = "access_token"
	sealedToken      = "sealed"
	// sealedParam stands in the URL for the access token, above the last hop.
	sealedParam = accessTokenParam + "=" + sealedToken
)

// seal carries the secrets of one attempt past everything between the doer and the last hop, as
// the request's context. Whoever makes one has it ended, by closing the answer's body or itself.
type seal struct {
	context.Context
	cancel  context.CancelFunc
	secrets secrets // the key, and the access token of a renewal
	bearer  Secret  // the value of Authorization
	query   Secret  // what sealedParam stands for, as it was encoded

	sending atomic.Bool          // a renewal is on its way, or was
	maySent atomic.Bool          // a server may have got the request
	body    atomic.Pointer[body] // of the answer
}

type sealKey struct{}

// Value finds the seal itself under sealKey, also through contexts derived from it.
func (s *seal) Value(key any) any {
	if key == (sealKey{}) {
		return s
	}
	return s.Context.Value(key)
}

// String is all that a printed context shows.
func (s *seal) String() string { return "esper call" }

// end gives up the attempt, and the answers that a middleware did not pass on.
func (s *seal) end() {
	for b := s.body.Load(); b != nil; b = b.before {
		_ = b.free()
	}
	s.cancel()
}

// doer sends the requests of the generated client, and those of this package.
type doer struct {
	key     keyFunc
	timeout time.Duration
	direct  *lastHop // nil if there is anything above it
	http    *http.Client
}

// newSeal makes the seal of an attempt that exchanges token, if that is not zero.
func (d *doer) newSeal(ctx context.Context, c *credential, token Secret) *seal {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	s := &seal{Context: ctx, cancel: cancel, secrets: secrets{c.key, token}, bearer: c.bearer}
	if !token.IsZero() {
		s.query = NewSecret(accessTokenParam + "=" + url.QueryEscape(token.Reveal()))
	}
	return s
}

// Do is for calls through Client.Generated. It takes the access token out of the URL before
// anything sees the request.
func (d *doer) Do(req *http.Request) (*http.Response, error) {
	key, err := d.key(req.Context())
	if err != nil {
		return nil, err
	}
	s := d.newSeal(req.Context(), key, Secret{})
	req = req.WithContext(s)
	u := *req.URL
	s.sealQuery(&u)
	req.URL = &u
	return d.send(s, req)
}

// send does not change req, nor use its context.
func (d *doer) send(s *seal, req *http.Request) (resp *http.Response, err error) {
	if d.direct != nil {
		resp, err = d.direct.do(s, req)
	} else {
		resp, err = d.http.Do(req.Clone(s)) //nolint:gosec // the last hop knows the only host
	}
	if err != nil {
		err = s.ended(s.secrets.redactError(err))
		s.end()
		return nil, err
	}
	s.openBody(resp)
	return resp, nil
}

// sealQuery moves the access token out of u. Other parameters stay, to the letter.
func (s *seal) sealQuery(u *url.URL) {
	var sealed strings.Builder
	separator := ""
	for param := range strings.SplitSeq(u.RawQuery, "&") {
		sealed.WriteString(separator)
		separator = "&"
		name, value, _ := strings.Cut(param, "=")
		if decoded, err := url.QueryUnescape(name); err != nil || decoded != accessTokenParam {
			sealed.WriteString(param)
			continue
		}
		token, err := url.QueryUnescape(value)
		if err != nil {
			token = value // malformed, and no less secret
		}
		s.secrets[1] = NewSecret(token)
		s.query = NewSecret(param)
		sealed.WriteString(sealedParam)
	}
	u.RawQuery = sealed.String()
}

// ended adds the context's own error where net/http reports the cause that a caller gave it.
func (s *seal) ended(err error) error {
	if end := s.Err(); end != nil && !errors.Is(err, end) {
		return fmt.Errorf("%w: %w", end, err)
	}
	return err
}
