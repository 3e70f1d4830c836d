package esper_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
)

// checkRefused checks that err is ErrInvalidArgument with this advice, and that no level of it repeats the input.
func checkRefused(t *testing.T, what string, err error, advice, input string) {
	t.Helper()
	if !errors.Is(err, esper.ErrInvalidArgument) || !strings.Contains(err.Error(), advice) {
		t.Errorf("%s: %v, want ErrInvalidArgument with %q", what, err, advice)
	}
	for ; err != nil; err = errors.Unwrap(err) {
		repeats := len(input) > 5 && strings.Contains(err.Error(), input) && !strings.Contains(advice, input)
		if repeats || strings.Contains(strings.ToLower(err.Error()), "canary") {
			t.Errorf("%s: %q repeats the input", what, err)
		}
	}
}

// Texts that stand where somebody wanted a key or an environment: references that were not resolved, and others.
var (
	unresolved = []string{
		"@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/k/)", "ENC(c2VjcmV0)", "!Ref Esper", "!Sub Esper",
		"ENC[AES256_GCM,data:Zm9v,iv:YmFy,tag:YmF6,type:str]", "!secret esper", "projects/p/secrets/s/versions/latest",
	}
	unexpanded   = []string{"__ESPER_KEY__", "#{ESPER_KEY}", "{{ key }}", "${ESPER_KEY}", "${{ x.KEY }}", "$ESPER_KEY"}
	placeholders = []string{"[MASKED]", "[REDACTED]", "<your key>", "xxxxxxxx", "***"}
)

// No key is taken that cannot be sent, on any way to the client. APIKey and NewFromEnv also recognise what people paste
// by mistake. A token source and a RenewRequest accept these texts, because the server may issue any text as a key.
func TestBadKeys(t *testing.T) {
	p := newProbe(t, nil)
	refused := func(what, key string, err error, advice ...string) {
		for _, part := range advice {
			checkRefused(t, fmt.Sprintf("%s %q", what, key), err, part, key)
		}
	}
	given := func(advice, key string) *esper.Client {
		_, err := esper.New(p.URL, esper.APIKey(key))
		refused("APIKey", key, err, advice)
		_, err = esper.APIKey(key).Token()
		refused("Token of APIKey", key, err, advice)
		return clientOf(t, p.URL, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: key}))
	}
	printed := fmt.Sprint(esper.NewSecret("x"))
	for advice, keys := range map[string][]string{
		"is empty":                     {""},
		"newline at the end of a file": {"Key0Canary\n", "Key0Canary\r\n"},
		"control or invisible character": {
			"Key0\nCanary", "Key0\tCanary", "Key0Canary\x00", "Key0Canary\x7f", "Key0\r\nX-Evil: 1", "Key0Canary\u200b",
			"Key0\u00a0Canary", "Key0\u0085Canary",
		},
		"the mark at its beginning":   {"\ufeffKey0Canary"},
		"pass the key alone":          {"Bearer Key0Canary", "bearer Key0Canary"},
		"begins or ends with a space": {" Key0Canary", "Key0Canary ", " "},
		"Reveal":                      {printed, "Bearer-" + printed},
	} {
		for _, key := range keys {
			c := given(advice, key)
			each(t, c, "good", func(t *testing.T, do func(context.Context) error) {
				refused("source", key, do(t.Context()), advice)
			})
			refused("Generated, source", key, generatedCall(t.Context(), c), advice)
			if key != "" { // which means the client's own key
				_, err := clientFor(t, p.URL, "good").RenewToken(t.Context(), renewal(key))
				refused("AccessToken", key, err, advice, "RenewRequest.AccessToken")
			}
		}
	}
	wantCount(t, "requests", p.count.Load(), 0)
	t.Setenv("ESPER_ENVIRONMENT", p.URL)
	for advice, keys := range map[string][]string{
		"name of a scheme": {"Token Key0Canary"},
		"a header line": {
			"Authorization: Bearer Key0Canary", "X-Api-Key: Key0Canary", "Authorization Key0Canary", "x-api-key:Key0Canary",
			"curl -H Authorization:Key0Canary",
		},
		"in quotes": {`"Key0Canary"`, "'Key0Canary'", "\u201cKey0Canary\u201d", `K"`},
		"an assignment": {
			"ESPER_API_KEY=Key0Canary", "export ESPER_API_KEY=Key0Canary", "ESPER_API_KEY = Key0Canary",
			"esper_api_key=Key0Canary",
		},
		"a URL": {
			"https://foo.esper.cloud/Key0Canary", "file:///Key0Canary", "op://vault/esper/key", "vault:secret/esper#key",
		},
		"a path":          {"/run/secrets/Key0Canary", "./Key0Canary", "~/Key0Canary", `C:\Key0Canary`, "@/run/secrets/key"},
		"a JSON document": {`{"token": "Key0Canary"}`},
		"not expanded":    append(unexpanded, "%ESPER_API_KEY%", "$(cat key)"),
		"not resolved":    unresolved,
		"a placeholder":   append(placeholders, "null"),
	} {
		for _, key := range keys {
			c := given(advice, key)
			t.Setenv("ESPER_API_KEY", key)
			_, err := esper.NewFromEnv()
			refused("NewFromEnv", key, err, advice, "the key in ESPER_API_KEY")
			if _, err := c.RenewToken(t.Context(), renewal(key)); err != nil {
				t.Errorf("%q from a token source: %v", key, err)
			}
		}
	}
	for _, key := range []string{
		"/k3Jd8Yq0/abcDEF1234567890abcd", "abc+/def==", "eyJhbGciOiJub25lIn0.e30.", "id:secret", "a-b_c~d", "key", "token",
		"AbcdefGhijklmnop0123456789qrst", "projects", "x.y!z:1", "__x", "**", "#x", "!x", "ENC", "a=b=c", "xxx-1", "%2541",
	} {
		if _, err := clientFor(t, p.URL, key).TokenInfo(t.Context()); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestBadIDs(t *testing.T) {
	p := newProbe(t, nil)
	c := clientFor(t, p.URL, "good")
	for _, id := range []string{
		"", " ", "570", "{" + enterpriseID + "}", "urn:uuid:" + enterpriseID, strings.ReplaceAll(enterpriseID, "-", ""),
		enterpriseID + "0", enterpriseID[:35], enterpriseID + "/", enterpriseID + "\n", " " + enterpriseID,
		"../" + enterpriseID, enterpriseID[:33] + "../", strings.Repeat("../", 12), enterpriseID[:35] + "%",
		enterpriseID[:35] + "?", "f44373cb1-800-43c6-aab3-c81f8b1f435c", "Esper [" + enterpriseID + "]",
		strings.Repeat("0", 36), strings.Repeat("é", 18),
	} {
		for field, r := range map[string]esper.RenewRequest{
			"RenewRequest.EnterpriseID":   {EnterpriseID: id, DeveloperAppID: developerAppID},
			"RenewRequest.DeveloperAppID": {EnterpriseID: enterpriseID, DeveloperAppID: id},
		} {
			_, err := c.RenewToken(t.Context(), r)
			checkRefused(t, fmt.Sprintf("%s %q", field, id), err, field, "")
			checkRefused(t, fmt.Sprintf("%s %q", field, id), err, "TokenInfo tells it", "")
			if outcomeOf(err) != noRenewal {
				t.Errorf("%s %q: %#v", field, id, err)
			}
		}
	}
	for id, expiry := range map[string]int64{"": -1, "canary-made-up": -1, tokenID: 0, strings.ToUpper(tokenID): -2} {
		_, err := c.RenewPersonalAccessToken(t.Context(), id, expiry)
		checkRefused(t, fmt.Sprintf("%q, %d", id, expiry), err, "", "")
	}
	wantCount(t, "requests", p.count.Load(), 0)
	upper := renewal("good")
	upper.EnterpriseID = strings.ToUpper(upper.EnterpriseID)
	if _, err := c.RenewToken(t.Context(), upper); err != nil {
		t.Errorf("an id in upper case: %v", err)
	}
}

func TestBadArguments(t *testing.T) {
	p := newProbe(t, nil)
	c := clientFor(t, p.URL, "good", nil, esper.WithTransport(nil), esper.WithLogger(nil), esper.WithMiddleware())
	each(t, c, "good", func(t *testing.T, do func(context.Context) error) {
		checkRefused(t, "nil context", do(nil), "context is nil", "")
	})
	_, err := esper.New(p.URL, nil)
	checkRefused(t, "nil source", err, "use APIKey", "")
	empty := func() (*oauth2.Token, error) { return nil, nil } //nolint:nilnil // the mistake that is tested
	nothing := clientOf(t, p.URL, sourceFunc(empty))
	each(t, nothing, "good", func(t *testing.T, do func(context.Context) error) {
		checkRefused(t, "source without token", do(t.Context()), "neither a token nor an error", "")
	})
	nilFrom := func(http.RoundTripper) http.RoundTripper { return nil }
	retry := func(attempts int, minWait, maxWait time.Duration) esper.Option {
		return esper.WithRetry(esper.Retry{MaxAttempts: attempts, MinWait: minWait, MaxWait: maxWait})
	}
	for advice, opts := range map[string][]esper.Option{ // "" if they are right
		"must be positive":        {esper.WithTimeout(0), esper.WithTimeout(-1)},
		"negative":                {retry(-1, 0, 0), retry(0, -1, 0), retry(0, 0, -1)},
		"more than":               {retry(0, 2, 1)},
		"user agent":              {esper.WithUserAgent(""), esper.WithUserAgent("a\r\nX: y")},
		"middleware returned nil": {esper.WithMiddleware(nilFrom)},
		"middleware is nil":       {esper.WithMiddleware(nil)},
		"":                        {retry(0, time.Hour, 0), retry(0, 0, time.Nanosecond), esper.WithUserAgent("mine/1 (a)")},
	} {
		for i, opt := range opts {
			if _, err := esper.New(p.URL, esper.APIKey("good"), opt); advice != "" {
				checkRefused(t, fmt.Sprint(advice, " ", i), err, advice, "")
			} else if err != nil {
				t.Errorf("option %d: %v", i, err)
			}
		}
	}
	wantCount(t, "requests", p.count.Load(), 0)
}
