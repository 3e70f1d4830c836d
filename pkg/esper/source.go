package esper

import (
	"context"
	"net/url"
	"strings"
	"sync/atomic"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper/internal/body"
	"github.com/esper-go/esper-go/pkg/esper/internal/origin"
	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

// source holds the methods of the caller's token source, including the optional ones (see New). They are funcs so that
// fmt prints addresses and nothing of the source.
type source struct {
	token  func(ctx context.Context) (*oauth2.Token, error)
	reject func(ctx context.Context, token *oauth2.Token) (*oauth2.Token, error) // may be nil
	renew  func(ctx context.Context, r RenewRequest) (*RenewedToken, error)      // may be nil
	last   atomic.Pointer[credential]                                            // kept, because most sources return the same key for weeks
}

func newSource(tokens oauth2.TokenSource, base *url.URL) (*source, error) {
	if tokens == nil {
		return nil, invalid("the token source is nil; use APIKey for a key that does not change")
	}
	if key, ok := tokens.(apiKey); ok {
		if _, err := key.Token(); err != nil {
			return nil, err
		}
	}
	if bound, ok := tokens.(interface{ Server() *url.URL }); ok {
		if server := bound.Server(); server != nil {
			u := *server
			origin.Normalize(&u)
			if u.Scheme != base.Scheme || u.Host != base.Host || strings.TrimRight(u.EscapedPath(), "/") != base.EscapedPath() {
				return nil, invalid("the token source's key is for another server than the environment; it is not sent there")
			}
		}
	}
	s := &source{token: func(context.Context) (*oauth2.Token, error) { return tokens.Token() }}
	if t, ok := tokens.(interface {
		TokenContext(ctx context.Context) (*oauth2.Token, error)
	}); ok {
		s.token = t.TokenContext
	}
	if t, ok := tokens.(interface {
		Reject(ctx context.Context, token *oauth2.Token) (*oauth2.Token, error)
	}); ok {
		s.reject = t.Reject
	}
	if t, ok := tokens.(interface {
		RenewToken(ctx context.Context, r RenewRequest) (*RenewedToken, error)
	}); ok {
		s.renew = t.RenewToken
	}
	return s, nil
}

// get returns a token and its credential. If token is nil, it asks the source for one.
func (s *source) get(ctx context.Context, token *oauth2.Token) (*credential, *oauth2.Token, error) {
	if token == nil {
		var err error
		if token, err = s.token(ctx); err != nil {
			return nil, nil, err
		}
	}
	if token == nil {
		return nil, nil, invalid("the token source returned neither a token nor an error")
	}
	if c := s.last.Load(); c != nil && c.key.Reveal() == token.AccessToken {
		return c, token, nil
	}
	if err := checkKey(token.AccessToken, "the key from the token source"); err != nil {
		return nil, nil, err
	}
	authorization := []string{"Bearer " + token.AccessToken}
	c := &credential{key: NewSecret(token.AccessToken), authorization: func() []string { return authorization }}
	s.last.Store(c)
	return c, token, nil
}

// credential is a key that checkKey has accepted.
type credential struct {
	key           Secret
	authorization func() []string                // the values of the header field; a func, so that fmt prints no key
	last          atomic.Pointer[redact.Matcher] // kept, because most calls look for the same secrets
}

// maxListed is how many keys a list of personal access tokens may hold.
const maxListed = 1 << 10

// matcher returns a Matcher for the secrets of attempt a.
func (a *attempt) matcher() *redact.Matcher { return a.matcherOf(Secret{}, nil) }

// matcherOf returns a Matcher for the secrets of attempt a, for key, and for what may be a key in answer.
func (a *attempt) matcherOf(key Secret, answer []byte) *redact.Matcher {
	const few = 8 // keys are looked for in an answer that is about one key
	var buf [3 + few]Secret
	most := few
	if a.list {
		most = maxListed
	}
	secrets := redact.Usable(body.Tokens(append(buf[:0], a.credential.key, a.accessToken, key), answer, most))
	if m := a.credential.last.Load(); m != nil && m.For(secrets) {
		return m
	}
	m := redact.New(secrets...)
	if !a.list { // the keys of a list are not kept after the call
		a.credential.last.Store(m)
	}
	return m
}
