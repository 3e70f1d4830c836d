package esper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper"
)

type sourceFunc func() (*oauth2.Token, error)

func (f sourceFunc) Token() (*oauth2.Token, error) { return f() }

// renewing is a source with Reject, Server and RenewToken.
type renewing struct {
	key, next string // Reject returns next, or the rejected token if next is empty
	err       error  // of Reject
	server    *url.URL
	rejected  []string
	renewals  []esper.RenewRequest
}

func (s *renewing) Token() (*oauth2.Token, error) { return &oauth2.Token{AccessToken: s.key}, nil }

func (s *renewing) Reject(_ context.Context, token *oauth2.Token) (*oauth2.Token, error) {
	s.rejected = append(s.rejected, token.AccessToken)
	if s.err != nil || s.next == "" {
		return token, s.err
	}
	return &oauth2.Token{AccessToken: s.next}, nil
}

func (s *renewing) Server() *url.URL { return s.server }

func (s *renewing) RenewToken(_ context.Context, r esper.RenewRequest) (*esper.RenewedToken, error) {
	s.renewals = append(s.renewals, r)
	return &esper.RenewedToken{Token: esper.NewSecret("renewed-by-the-source")}, nil
}

// contextSource is a source whose Token method must not be called.
type contextSource func(context.Context) (*oauth2.Token, error)

func (contextSource) Token() (*oauth2.Token, error) { panic("Token was asked instead of TokenContext") }

func (f contextSource) TokenContext(ctx context.Context) (*oauth2.Token, error) { return f(ctx) }

var errSource = errors.New("the vault is sealed")

// Each attempt asks the source once, and an error of the source is returned as it is.
func TestSource(t *testing.T) {
	p := newProbe(t, answers(http.StatusTooManyRequests, "", ""))
	asked := 0
	c := clientOf(t, p.URL, sourceFunc(func() (*oauth2.Token, error) {
		if asked++; asked%4 == 0 {
			return nil, errSource
		}
		return &oauth2.Token{AccessToken: fmt.Sprint("key-", asked)}, nil
	}), quickRetry(9))
	_, err := c.TokenInfo(t.Context())
	equal(t, "TokenInfo", err, errSource)
	_, err = c.RenewToken(t.Context(), renewal("old"))
	equal(t, "RenewToken", outcomeOf(err), esper.OutcomeNotRenewed)
	equal(t, "RenewToken", errors.Unwrap(err), errSource)
	equal(t, "keys of the requests", p.keys(), "key-1 key-2 key-3 key-5 key-6 key-7")
}

// knows starts a server that accepts only key. A gateway in front of it refuses the key gateway-key.
func knows(t *testing.T, key string) *probe {
	return newProbe(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Authorization") {
		case "Bearer " + key:
			answers(200, "", goodAnswer)(w, r)
		case "Bearer gateway-key":
			answers(http.StatusUnauthorized, "", "Unauthorized")(w, r)
		default:
			answers(http.StatusUnauthorized, "", refusal)(w, r)
		}
	})
}

// keys returns the keys that arrived.
func (p *probe) keys() string {
	var keys []string
	for _, r := range p.arrivals() {
		keys = append(keys, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}
	return strings.Join(keys, " ")
}

// After a 401, of Esper or of a gateway, the client calls Reject once, and sends TokenInfo once more if Reject returns
// another key. Any other call returns the 401.
func TestSourceLearnsOfA401(t *testing.T) {
	errLost := errors.New("the key is lost")
	for name, tc := range map[string]struct {
		source   renewing
		attempts int
		sent     string
		want     error
	}{
		"another key":               {renewing{next: "good-key"}, 4, "old-key good-key", nil},
		"another key, no retries":   {renewing{next: "good-key"}, 1, "old-key good-key", nil},
		"another bad key":           {renewing{next: "older-key"}, 4, "old-key older-key", esper.ErrUnauthorized},
		"the same key":              {renewing{}, 4, "old-key", esper.ErrUnauthorized},
		"a key that cannot be sent": {renewing{next: "bad\nkey"}, 4, "old-key", esper.ErrInvalidArgument},
		"an error":                  {renewing{err: errLost}, 4, "old-key", errLost},
		"a gateway's":               {renewing{next: "good-key"}, 1, "gateway-key good-key", nil},
	} {
		p := knows(t, "good-key")
		tc.source.key, _, _ = strings.Cut(tc.sent, " ")
		client := clientOf(t, p.URL, &tc.source, quickRetry(tc.attempts))
		_, err := client.TokenInfo(t.Context())
		if !errors.Is(err, tc.want) || tc.want != nil && !errors.Is(err, esper.ErrUnauthorized) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
		equal(t, name+": sent", p.keys(), tc.sent)
		equal(t, name+": rejected", strings.Join(tc.source.rejected, " "), tc.source.key)
		_, _, err = readAll(client.Generated().GetTokenInfo(t.Context()))
		must(t, err) // the answer is returned as it is
		if _, err := client.RenewToken(t.Context(), renewal("a-key-of-somebody-else")); err == nil {
			t.Errorf("%s: RenewToken: no error", name)
		}
		equal(t, name+": sent", p.keys(), tc.sent+strings.Repeat(" "+tc.source.key, 2))
		equal(t, name+": rejected", len(tc.source.rejected), 3)
	}
}

// Only the source renews its own key. The client renews any other key.
func TestSourceRenewsItsOwnKey(t *testing.T) {
	p := newProbe(t, nil)
	source := &renewing{key: "own-key"}
	client := clientOf(t, p.URL, source)
	for _, key := range []string{"", "own-key"} {
		renewed, err := client.RenewToken(t.Context(), renewal(key))
		must(t, err)
		equal(t, "own key", renewed.Token.Reveal(), "renewed-by-the-source")
	}
	params := &gen.RenewTokenParams{AccessToken: "own-key"}
	_, _, err := readAll(client.Generated().RenewToken(t.Context(), enterpriseID, developerAppID, params))
	checkRefused(t, "Generated", err, "Client.RenewToken", "")
	_, err = client.RenewPersonalAccessToken(t.Context(), tokenID, -1)
	checkRefused(t, "RenewPersonalAccessToken", err, "Client.RenewToken", "")
	equal(t, "requests with the own key", p.keys(), "")
	renewed, err := client.RenewToken(t.Context(), renewal("another-key"))
	must(t, err)
	equal(t, "another key", renewed.Token.Reveal()+" "+p.keys(), newKey+" own-key")
	equal(t, "renewals by the source", len(source.renewals), 2)
}

// meddler is a middleware that reads the body, and sets headers that it should not set. It changes those of its own
// request in place.
func meddler(next http.RoundTripper) http.RoundTripper {
	return roundTripFunc(func(req *http.Request) (*http.Response, error) {
		req.Header["Accept"][0] += ";spoilt"
		if req.Body != nil {
			_, _ = io.ReadAll(req.Body)
		}
		req = req.Clone(req.Context())
		for _, name := range strings.Fields("Authorization authorization Idempotency-Key idempotency-key X-Idempotency-Key") {
			req.Header[name] = []string{"Bearer meddler"}
		}
		return next.RoundTrip(req)
	})
}

// The requests are as the description wants them, and a key arrives as it is, also if a middleware has read the body. A
// renewal without an AccessToken renews the client's own key.
func TestRequestOnTheWire(t *testing.T) {
	changelog, err := os.ReadFile("../../CHANGELOG.md")
	version := "esper-go/"
	if m := regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+)\]`).FindSubmatch(changelog); m != nil {
		version += string(m[1])
	} else if version += "0.0.0"; err != nil { // nothing is released
		t.Error(err)
	}
	bases := []string{"", "/", "/api/", "/a/b%2Fc/", "/a%3Fb%25", "/%C3%A9", "/(a;b)*", "//a", "/%7Bid%7D"}
	for i, key := range []string{
		"plain", "a&b", "a+b", "a%b", "a%2Fb", "a%252Fb", "a;b", "a=b", "a/b?c#d", "a b  c", `a"b\c`, "ключ-é", "&lt;",
		"access_token=x&access_token=y", "sealed", "{}|^`<>", "~!*'()", strings.Repeat("%25", 2000),
	} {
		base, agent, accept, opt := bases[i%len(bases)], version, "application/json;spoilt", esper.WithMiddleware(meddler)
		given := key
		if i%2 == 1 {
			agent, accept, opt = "mine/1", "application/json", esper.WithUserAgent("mine/1")
			given = "" // means the client's own key
		}
		p := newProbe(t, nil)
		c := clientFor(t, p.URL+base, key, opt)
		_, err := c.TokenInfo(t.Context())
		_, renewErr := c.RenewToken(t.Context(), renewal(given))
		_, putErr := c.RenewPersonalAccessToken(t.Context(), tokenID, 1888272000)
		must(t, errors.Join(err, renewErr, putErr))
		header := func(more string) string {
			return fmt.Sprintf("map[Accept:[%s] Authorization:[Bearer %s] %sUser-Agent:[%s]] ", accept, key, more, agent)
		}
		for i, want := range []string{
			"GET /v1/token-info/ map[] " + header(""),
			"POST /v0/enterprise/" + enterpriseID + "/developerapp/" + developerAppID + "/renew-token/ " +
				fmt.Sprintf("map[access_token:[%s]] ", key) + header("Connection:[close] Content-Length:[0] "),
			"PUT /authn2/v0/personal-access-token/" + tokenID + " map[] " + header("Connection:[close] "+
				"Content-Length:[24] Content-Type:[application/json] ") + `{"expiry_at":1888272000}`,
		} {
			r := p.arrivals()[i]
			path, _, _ := strings.Cut(r.RequestURI, "?")
			text, _ := io.ReadAll(r.Body)
			got := fmt.Sprintf("%s %s %v %v %s", r.Method, path, r.URL.Query(), r.Header, text)
			equal(t, "request", got, strings.Replace(want, " ", " "+strings.TrimRight(base, "/"), 1))
		}
		equal(t, "requests", len(p.arrivals()), 3)
	}
}
