package esper_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper"
)

// renewing is a source with all the optional methods.
type renewing struct {
	key, next string // Reject returns next, or the rejected token if next is empty
	err       error  // of Reject
	server    string
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

func (s *renewing) Server() *url.URL {
	u, err := url.Parse(s.server)
	if err != nil || s.server == "" {
		return nil
	}
	return u
}

func (s *renewing) RenewToken(_ context.Context, r esper.RenewRequest) (*esper.RenewedToken, error) {
	s.renewals = append(s.renewals, r)
	return &esper.RenewedToken{Token: esper.NewSecret("renewed-by-the-source")}, nil
}

// knows starts a server that accepts only key.
func knows(t *testing.T, key string) *probe {
	return newProbe(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+key {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, refusal)
			return
		}
		answerWell(w, r)
	})
}

func (p *probe) keys() (keys []string) {
	for _, r := range p.arrivals() {
		keys = append(keys, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}
	return keys
}

var errLost = errors.New("the key is lost")

// After a 401 the client calls Reject once, and sends TokenInfo once more if Reject returns another key.
func TestSourceLearnsOfA401(t *testing.T) {
	for name, tc := range map[string]struct {
		source   renewing
		attempts int
		sent     []string
		want     error
	}{
		"another key":             {renewing{key: "old-key", next: "good-key"}, 4, []string{"old-key", "good-key"}, nil},
		"another key, no retries": {renewing{key: "old-key", next: "good-key"}, 1, []string{"old-key", "good-key"}, nil},
		"another bad key":         {renewing{key: "old-key", next: "older-key"}, 4, []string{"old-key", "older-key"}, esper.ErrUnauthorized},
		"the same key":            {renewing{key: "old-key"}, 4, []string{"old-key"}, esper.ErrUnauthorized},
		"an error":                {renewing{key: "old-key", err: errLost}, 4, []string{"old-key"}, errLost},
	} {
		t.Run(name, func(t *testing.T) {
			p := knows(t, "good-key")
			client, err := esper.New(p.URL, &tc.source, quickRetry(tc.attempts))
			if err != nil {
				t.Fatal(err)
			}
			defer client.CloseIdleConnections()
			_, err = client.TokenInfo(t.Context())
			if !errors.Is(err, tc.want) || tc.want != nil && !errors.Is(err, esper.ErrUnauthorized) {
				t.Errorf("%v, want %v", err, tc.want)
			}
			if !slices.Equal(p.keys(), tc.sent) || !slices.Equal(tc.source.rejected, []string{"old-key"}) {
				t.Errorf("sent %v, rejected %v", p.keys(), tc.source.rejected)
			}
		})
	}
}

// After a 401 to any other call, the client calls Reject too, but returns the 401.
func TestSourceLearnsOfA401OnEveryPath(t *testing.T) {
	p := knows(t, "good-key")
	source := &renewing{key: "old-key", next: "good-key"}
	client, err := esper.New(p.URL, source)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	resp, err := client.Generated().GetTokenInfo(t.Context())
	if err != nil || resp.StatusCode != http.StatusUnauthorized || resp.Body.Close() != nil {
		t.Errorf("%v, %v", resp, err)
	}
	renewed, err := client.RenewToken(t.Context(), renewal("a-key-of-somebody-else"))
	wantLost(t, renewed, err, esper.OutcomeNotRenewed, refusal)
	if !slices.Equal(source.rejected, []string{"old-key", "old-key"}) || len(p.keys()) != 2 {
		t.Errorf("rejected %v, sent %v", source.rejected, p.keys())
	}
}

// Only the source renews its own key. The client renews any other key.
func TestSourceRenewsItsOwnKey(t *testing.T) {
	p := newProbe(t, nil)
	source := &renewing{key: "own-key"}
	client, err := esper.New(p.URL, source)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	for _, key := range []string{"", "own-key"} {
		renewed, err := client.RenewToken(t.Context(), renewal(key))
		if err != nil || renewed.Token.Reveal() != "renewed-by-the-source" {
			t.Errorf("%q: %v, %v", key, renewed, err)
		}
	}
	params := &gen.RenewTokenParams{AccessToken: "own-key"}
	resp, err := client.Generated().RenewToken(t.Context(), enterpriseID, developerAppID, params)
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.Is(err, esper.ErrInvalidArgument) || !strings.Contains(err.Error(), "Client.RenewToken") {
		t.Errorf("Generated: %v", err)
	}
	if len(source.renewals) != 2 || len(p.keys()) != 0 {
		t.Fatalf("%d renewals by the source, %d requests", len(source.renewals), len(p.keys()))
	}
	renewed, err := client.RenewToken(t.Context(), renewal("another-key"))
	if err != nil || renewed.Token.Reveal() != "new-token" || len(source.renewals) != 2 || len(p.keys()) != 1 {
		t.Errorf("another key: %v, %v", renewed, err)
	}
}

// A renewal without an AccessToken renews the client's own key.
func TestRenewToken_OwnKey(t *testing.T) {
	p := newProbe(t, nil)
	renewed, err := clientFor(t, p.URL, "own key").RenewToken(t.Context(), renewal(""))
	if err != nil || renewed.Token.Reveal() != "new-token" {
		t.Fatal(renewed, err)
	}
	if r := p.only(t); r.URL.Query().Get("access_token") != "own key" || r.Header.Get("Authorization") != "Bearer own key" {
		t.Errorf("%s, %s", r.RequestURI, r.Header)
	}
}

// New refuses a source whose Server method names another server.
func TestSourceKnowsItsServer(t *testing.T) {
	for server, ok := range map[string]bool{
		"": true, "https://foo-api.esper.cloud/api": true, "https://FOO-api.esper.cloud.:443/api/": true,
		"https://bar-api.esper.cloud/api": false, "http://foo-api.esper.cloud/api": false, "https://foo-api.esper.cloud:8443/api": false,
		"https://foo-api.esper.cloud/other": false, "https://foo-api.esper.cloud": false,
	} {
		_, err := esper.New("foo", &renewing{key: "own-key", server: server})
		if (err == nil) != ok || !ok && !errors.Is(err, esper.ErrInvalidArgument) {
			t.Errorf("a key for %q with the environment foo: %v", server, err)
		}
	}
}

func TestBaseURL(t *testing.T) {
	c := clientFor(t, "https://FOO-api.esper.cloud.:443/api/", "key")
	u := c.BaseURL()
	u.Host = "changed"
	if got := c.BaseURL().String(); got != "https://foo-api.esper.cloud/api" {
		t.Errorf("BaseURL is %s", got)
	}
}
