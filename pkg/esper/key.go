package esper

import (
	"regexp"
	"strings"
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
	if err := checkKey(key, "the API key"); err != nil {
		return apiKey{func() (*oauth2.Token, error) { return nil, err }}
	}
	token := &oauth2.Token{AccessToken: key}
	return apiKey{func() (*oauth2.Token, error) { return token, nil }}
}

// apiKey holds a func, which fmt prints as an address wherever it stands; of a pointer it would
// show the target under a verb that does not fit, such as %s.
type apiKey struct {
	token func() (*oauth2.Token, error)
}

func (k apiKey) Token() (*oauth2.Token, error) { return k.token() }

// checkKey refuses what cannot travel in an Authorization header, or plainly is no key.
func checkKey(key, name string) error {
	switch {
	case key == "":
		return invalid("%s is empty", name)
	case !utf8.ValidString(key):
		return invalid("%s is not UTF-8 text", name)
	case strings.ContainsFunc(key, invisible):
		return invalid("%s holds a control or invisible character, perhaps the newline at the end of a file or the mark at its beginning", name)
	case key[0] == ' ' || key[len(key)-1] == ' ':
		return invalid("%s begins or ends with a space, which would not arrive", name)
	case strings.Contains(key, NewSecret(key).String()):
		return invalid("%s is the placeholder of a printed Secret; the key itself is lost in that text, use Reveal", name)
	}
	if advice := pasted(key); advice != "" {
		return invalid("%s %s", name, advice)
	}
	return nil
}

// pasted says what was taken for a key by mistake, nothing if that is not so. A key is opaque: the server
// may issue anything, so these are texts that none would issue.
func pasted(key string) (advice string) {
	for _, mistake := range [...]struct{ pattern, advice string }{
		{`(?i)^(bearer|token|apikey|basic) `, "begins with the name of a scheme, such as Bearer, which is added here; pass the key alone"},
		{`(?i)^[a-z][a-z-]*: `, "is a header line; pass the key alone"},
		{"^([\"'`]).*[\"'`]$|^[\u2018\u201c\u00ab].*[\u2019\u201d\u00bb]$", "is in quotes; pass the key without them"},
		{`^(export )?[A-Z_][A-Z0-9_]*=[^=]`, "is an assignment, NAME=key; pass what is behind the equals sign"},
		{`^\$[A-Za-z_{(]|^%[A-Za-z_]+%$|^\{\{`, "is the name of a variable that was not expanded; pass its value"},
		{`(?i)^[a-z][a-z0-9+.-]*://`, "is a URL; pass the key that is to be found there"},
		{`^(~|\.{1,2})?/[^/]+/|^(~|\.{1,2})/|^[A-Za-z]:\\`, "is a path; pass the content of that file"},
		{`^\{\s*"`, "is a JSON document; pass the value of its token alone"},
	} {
		if regexp.MustCompile(mistake.pattern).MatchString(key) {
			return mistake.advice
		}
	}
	return ""
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
