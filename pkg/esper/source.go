package esper

import (
	"context"
	"net/url"
	"strings"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper/internal/origin"
)

// source holds the methods of the caller's token source, including the optional ones (see New). They are funcs so that
// fmt prints addresses and nothing of the source.
type source struct {
	token  func(ctx context.Context) (*oauth2.Token, error)
	reject func(ctx context.Context, token *oauth2.Token) (*oauth2.Token, error) // may be nil
	renew  func(ctx context.Context, r RenewRequest) (*RenewedToken, error)      // may be nil
}

func newSource(tokens oauth2.TokenSource, base *url.URL) (source, error) {
	if tokens == nil {
		return source{}, invalid("the token source is nil; use APIKey for a key that does not change")
	}
	if key, ok := tokens.(apiKey); ok {
		if _, err := key.Token(); err != nil {
			return source{}, err
		}
	}
	if bound, ok := tokens.(interface{ Server() *url.URL }); ok {
		if server := bound.Server(); server != nil {
			u := *server
			origin.Normalize(&u)
			if u.Scheme != base.Scheme || u.Host != base.Host || strings.TrimRight(u.EscapedPath(), "/") != base.EscapedPath() {
				return source{}, invalid("the token source's key is for another server than the environment; it is not sent there")
			}
		}
	}
	s := source{token: func(context.Context) (*oauth2.Token, error) { return tokens.Token() }}
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

// get asks the source for a token that can be sent.
func (s source) get(ctx context.Context) (*oauth2.Token, error) {
	token, err := s.token(ctx)
	if err == nil && token == nil {
		err = invalid("the token source returned neither a token nor an error")
	}
	if err == nil {
		err = checkKey(token.AccessToken, "the key from the token source")
	}
	if err != nil {
		return nil, err
	}
	return token, nil
}
