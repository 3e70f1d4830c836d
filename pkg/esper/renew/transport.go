package renew

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper/internal/origin"
)

// Transport returns a RoundTripper that sends the key in use with each request, for any endpoint
// of the source's server; a request for another host is refused, so that no redirect takes the key
// along. Base does the sending, nil is http.DefaultTransport.
//
// After a 401 the store is read: if another process has replaced the key, a GET or HEAD is sent
// once more with the new one. If the refused key is still the current one, the server is asked, and
// if it does not know the key the error is [ErrKeyLost], for this request and all that follow. Any
// other 401 is passed on.
func (s *Source) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{source: s, base: base}
}

// Server returns the base URL of the server that the key is for. [esper.New] refuses any other for
// this source.
func (s *Source) Server() *url.URL {
	u := *s.server
	return &u
}

// Reject is called by a client after a 401 with the token that was refused. It reads the store, asks
// the server about the key if there is no other, and returns the token to go on with: the same one if
// there is none, or if it cannot be told in time. The errors are ctx's and [ErrKeyLost].
func (s *Source) Reject(ctx context.Context, token *oauth2.Token) (*oauth2.Token, error) {
	newer, err := s.rejected(ctx, token.AccessToken)
	if err != nil || newer == "" {
		return token, err
	}
	return &oauth2.Token{AccessToken: newer}, nil
}

type transport struct {
	source *Source
	base   http.RoundTripper
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, sent := req.Context(), false
	defer func() {
		if !sent && req.Body != nil {
			_ = req.Body.Close()
		}
	}()
	if err := origin.Check(t.source.server, req); err != nil {
		return nil, fmt.Errorf("renew: %w", err)
	}
	token, err := t.source.TokenContext(ctx)
	if err != nil {
		return nil, err
	}
	sent = true
	resp, err := t.send(req, token.AccessToken)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	newer, err := t.source.rejected(ctx, token.AccessToken)
	if err != nil {
		drain(resp)
		return nil, err
	}
	if newer == "" || req.Method != http.MethodGet && req.Method != http.MethodHead || req.Body != nil && req.Body != http.NoBody {
		return resp, nil
	}
	drain(resp)
	return t.send(req, newer)
}

func (t *transport) send(req *http.Request, key string) (*http.Response, error) {
	out := req.Clone(req.Context())
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	maps.DeleteFunc(out.Header, func(name string, _ []string) bool { // in any case: net/http would send each
		return http.CanonicalHeaderKey(name) == "Authorization"
	})
	out.Header["Authorization"] = []string{"Bearer " + key}
	resp, err := t.base.RoundTrip(out)
	if err == nil {
		resp.Request = req // not the one with the key in it
	}
	return resp, err
}

// drain lets the connection be used again.
func drain(resp *http.Response) {
	const most = 64 << 10
	_, _ = io.CopyN(io.Discard, resp.Body, most)
	_ = resp.Body.Close()
}

// rejected finds out what a 401 for key means. It returns another key if there is one by now,
// nothing if the server knows key or cannot be asked, and ErrKeyLost if it refuses key.
func (s *Source) rejected(ctx context.Context, key string) (newer string, err error) {
	if h := s.current.Load(); h.doc.Key != key && h.lost == nil {
		return h.doc.Key, nil
	}
	select {
	case <-s.steps.DoChan("rejected "+key, func() (any, error) { s.onUnauthorized(key); return nil, nil }):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	switch h := s.current.Load(); {
	case h.lost != nil:
		return "", h.lost
	case h.doc.Key != key:
		return h.doc.Key, nil
	}
	return "", nil
}

// onUnauthorized looks whether key has been replaced, and asks the server about it if not: seldom, since an
// endpoint may answer 401 for reasons of its own, and often.
func (s *Source) onUnauthorized(key string) {
	ctx, cancel := context.WithTimeout(context.Background(), stepTime)
	defer cancel()
	s.work <- struct{}{}
	defer func() { <-s.work }()
	before := s.current.Load()
	err := s.checkRefused(ctx, key)
	h := s.current.Load()
	if errors.Is(err, ErrKeyLost) {
		h = h.failed(time.Now(), 0)
		h.lost = err
		s.set(h)
		s.report(before, err)
	} else if h.doc.Key != before.doc.Key {
		s.report(before, nil)
	}
}

// checkRefused returns ErrKeyLost if the server refuses key and there is no other. Another process may be
// about to store one, and holds the lock meanwhile.
func (s *Source) checkRefused(ctx context.Context, key string) error {
	h, err := s.reload(ctx)
	ask := !time.Now().Before(s.doubted.Add(doubtTime))
	if h.doc.Key != key || h.lost != nil || !ask && h.doc.Attempt == nil {
		return err
	}
	unlock, err := s.store.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if h, err = s.reload(ctx); err != nil || h.doc.Key != key || !ask {
		return err
	}
	s.doubted = time.Now()
	return s.check(ctx, h, "a request with it got 401")
}
