package esper

import (
	"cmp"
	"context"
	"net/url"

	"github.com/google/uuid"
	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper/internal/origin"
	"github.com/esper-go/esper-go/pkg/wire"
)

// Secret is a text that does not print; see [wire.Secret].
type Secret = wire.Secret

// NewSecret returns a Secret that holds s; the zero Secret for the empty string.
func NewSecret(s string) Secret { return wire.NewSecret(s) }

// APIKey returns a source that always returns key. It is safe for concurrent use. If the key cannot be sent in a
// header, [New] returns [ErrInvalidArgument], and so does the source's Token method.
func APIKey(key string) oauth2.TokenSource { return newAPIKey(key, "the API key") }

// newAPIKey is APIKey with a name for the key in errors. It also refuses texts that people paste by mistake.
func newAPIKey(key, name string) apiKey {
	token, err := &oauth2.Token{AccessToken: key}, error(nil)
	if advice := cmp.Or(origin.BadKey(key), origin.Pasted(key, true)); advice != "" {
		token, err = nil, invalid("%s %s", name, advice)
	}
	return func() (*oauth2.Token, error) { return token, err }
}

// apiKey is a func because fmt prints only the address of a func, whatever the verb. Under some verbs, such as %s, fmt
// would follow a pointer and print the key.
type apiKey func() (*oauth2.Token, error)

func (k apiKey) Token() (*oauth2.Token, error) { return k() }

// checkKey refuses a text that cannot be sent as a key. Name says in the error where the text is from.
func checkKey(key, name string) error {
	if advice := origin.BadKey(key); advice != "" {
		return invalid("%s %s", name, advice)
	}
	return nil
}

// checkUUID requires the 36-character form of RFC 9562, because the server's path takes neither braces nor "urn:uuid:".
func checkUUID(id, name string) error {
	if len(id) != 36 || uuid.Validate(id) != nil {
		return invalid("%s is not a UUID such as f44373cb-1800-43c6-aab3-c81f8b1f435c; TokenInfo tells it", name)
	}
	return nil
}

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
			if u, err := origin.Parse(server.String(), true); err != nil || *u != *base { // both as Parse writes them
				return source{}, invalid("the token source's key is for another server than the environment; it is not sent there")
			}
		}
	}
	s := source{token: func(context.Context) (*oauth2.Token, error) { return tokens.Token() }}
	if t, ok := tokens.(interface {
		TokenContext(context.Context) (*oauth2.Token, error)
	}); ok {
		s.token = t.TokenContext
	}
	if t, ok := tokens.(interface {
		Reject(context.Context, *oauth2.Token) (*oauth2.Token, error)
	}); ok {
		s.reject = func(ctx context.Context, old *oauth2.Token) (*oauth2.Token, error) {
			return checked(t.Reject(ctx, old))
		}
	}
	if t, ok := tokens.(interface {
		RenewToken(context.Context, RenewRequest) (*RenewedToken, error)
	}); ok {
		s.renew = t.RenewToken
	}
	return s, nil
}

// get asks the source for a token that can be sent.
func (s source) get(ctx context.Context) (*oauth2.Token, error) {
	token, err := checked(s.token(ctx))
	if token == nil && err == nil {
		err = invalid("the token source returned neither a token nor an error")
	}
	return token, err
}

// checked refuses a token that cannot be sent.
func checked(token *oauth2.Token, err error) (*oauth2.Token, error) {
	if err == nil && token != nil {
		err = checkKey(token.AccessToken, "the key from the token source")
	}
	return token, err
}
