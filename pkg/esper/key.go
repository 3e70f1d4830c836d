package esper

import (
	"context"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/wire"
)

// Secret is a text that does not print; see [wire.Secret].
type Secret = wire.Secret

// NewSecret returns a Secret that holds s; the zero Secret for the empty string.
func NewSecret(s string) Secret { return wire.NewSecret(s) }

// APIKey returns a source that always answers with key, safe for concurrent use. [New] refuses one
// whose key cannot be sent; its Token method answers such a key with [ErrInvalidArgument].
func APIKey(key string) oauth2.TokenSource {
	token := &oauth2.Token{AccessToken: key}
	return apiKey{func() *oauth2.Token { return token }}
}

// apiKey holds a func, which fmt prints as an address wherever it stands; of a pointer it would
// show the target under a verb that does not fit, such as %s.
type apiKey struct{ token func() *oauth2.Token }

func (k apiKey) Token() (*oauth2.Token, error) {
	token := k.token()
	if err := checkKey(token.AccessToken, "the API key"); err != nil {
		return nil, err
	}
	return token, nil
}

// contextSource is a source whose wait for a key ends with the call that needs it.
type contextSource interface {
	TokenContext(ctx context.Context) (*oauth2.Token, error)
}

// credential is a key that was found fit to send, and the value of its Authorization field.
type credential struct{ key, bearer Secret }

// keyFunc asks a source for the key of one attempt. A func shows nothing of the source to fmt.
type keyFunc func(ctx context.Context) (*credential, error)

func newKeyFunc(tokens oauth2.TokenSource) keyFunc {
	ask := func(context.Context) (*oauth2.Token, error) { return tokens.Token() }
	if s, ok := tokens.(contextSource); ok {
		ask = s.TokenContext
	}
	var last atomic.Pointer[credential] // a source answers with the same key for weeks
	return func(ctx context.Context) (*credential, error) {
		token, err := ask(ctx)
		if err != nil {
			return nil, err
		}
		if token == nil {
			return nil, invalid("the token source returned neither a token nor an error")
		}
		if c := last.Load(); c != nil && c.key.Reveal() == token.AccessToken {
			return c, nil
		}
		if err := checkKey(token.AccessToken, "the key from the token source"); err != nil {
			return nil, err
		}
		c := &credential{NewSecret(token.AccessToken), NewSecret("Bearer " + token.AccessToken)}
		last.Store(c)
		return c, nil
	}
}

// checkKey refuses what cannot travel in an Authorization header, or plainly is no key.
func checkKey(key, name string) error {
	switch {
	case key == "":
		return invalid("%s is empty", name)
	case !utf8.ValidString(key):
		return invalid("%s is not UTF-8 text", name)
	case strings.ContainsFunc(key, invisible):
		return invalid("%s holds a control or invisible character, perhaps the newline at the end of a file or the mark at its beginning", name)
	case len(key) > 7 && strings.EqualFold(key[:7], "Bearer "):
		return invalid("%s begins with Bearer, which is added here; pass the key alone", name)
	case key[0] == ' ' || key[len(key)-1] == ' ':
		return invalid("%s begins or ends with a space, which would not arrive", name)
	case strings.Contains(key, NewSecret(key).String()):
		return invalid("%s is the placeholder of a printed Secret; the key itself is lost in that text, use Reveal", name)
	}
	return nil
}

// checkUUID wants the 36 characters of RFC 9562: no braces, no urn, which would not fit the path.
func checkUUID(id, name string) error {
	switch {
	case id == "":
		return invalid("%s is empty; TokenInfo tells it", name)
	case len(id) != 36 || uuid.Validate(id) != nil:
		return invalid("%s is not a UUID such as f44373cb-1800-43c6-aab3-c81f8b1f435c; TokenInfo tells it", name)
	}
	return nil
}

// invisible reports whether r is a control or format character, or a space that is not the plain one.
func invisible(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.IsSpace(r) && r != ' '
}
