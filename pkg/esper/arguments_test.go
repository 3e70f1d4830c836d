package esper_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
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
			"Key0\u00a0Canary", "Key0\u0085Canary", "Key0\xffCanary",
		},
		"the mark at its beginning":   {"\ufeffKey0Canary"},
		"pass the key alone":          {"Bearer Key0Canary", "bearer Key0Canary"},
		"begins or ends with a space": {" Key0Canary", "Key0Canary ", " "},
		"Reveal":                      {printed, "Bearer-" + printed},
	} {
		for _, key := range keys {
			c := given(advice, key)
			for _, op := range operations(c, "good") {
				_, _, err := op.do(t.Context())
				refused(op.name, key, err, advice)
			}
			if key != "" { // which means the client's own key
				_, err := clientFor(t, p.URL, "good").RenewToken(t.Context(), renewal(key))
				refused("AccessToken", key, err, advice, "RenewRequest.AccessToken")
			}
		}
	}
	equal(t, "requests", len(p.arrivals()), 0)
	t.Setenv("ESPER_ENVIRONMENT", p.URL)
	for advice, keys := range map[string][]string{
		"name of a scheme": {"Token Key0Canary"},
		"a header line": {
			"Authorization: Bearer 0Canary", "X-Api-Key: 0Canary", "Authorization 0Canary", "x-api-key:0Canary", "curl 0Canary",
		},
		"in quotes": {`"Key0Canary"`, "'Key0Canary'", "\u201cKey0Canary\u201d", `K"`},
		"an assignment": {
			"ESPER_API_KEY=0Canary", "export ESPER_API_KEY=0Canary", "ESPER_API_KEY = 0Canary", "esper_api_key=0Canary",
		},
		"a URL":           {"https://foo.esper.cloud/0Canary", "file:///0Canary", "op://vault/key", "vault:secret/esper#key"},
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
			_, err = c.RenewToken(t.Context(), renewal(key))
			must(t, err) // the same text from a token source
		}
	}
	for _, key := range []string{
		"/k3Jd8Yq0/abcDEF1234567890abcd", "abc+/def==", "eyJhbGciOiJub25lIn0.e30.", "id:secret", "a-b_c~d", "key", "token",
		"AbcdefGhijklmnop0123456789qrst", "projects", "x.y!z:1", "__x", "**", "#x", "!x", "ENC", "a=b=c", "xxx-1", "%2541",
	} {
		t.Setenv("ESPER_API_KEY", key)
		c, err := esper.NewFromEnv(esper.WithTransport(&http.Transport{DisableKeepAlives: true}))
		must(t, err)
		_, err = c.TokenInfo(t.Context())
		must(t, err)
		equal(t, key+" arrived", strings.HasSuffix(p.keys(), " "+key), true)
	}
}

func TestBadArguments(t *testing.T) {
	p := newProbe(t, nil)
	c := clientFor(t, p.URL, "good", nil, esper.WithTransport(nil), esper.WithLogger(nil), esper.WithMiddleware())
	for _, id := range []string{
		"", " ", "570", "{" + enterpriseID + "}", "urn:uuid:" + enterpriseID, strings.ReplaceAll(enterpriseID, "-", ""),
		enterpriseID + "/", enterpriseID + "\n", " " + enterpriseID, enterpriseID[:33] + "../", strings.Repeat("../", 12),
		enterpriseID[:35] + "%", enterpriseID[:35] + "?", "f44373cb1-800-43c6-aab3-c81f8b1f435c",
		"Esper [" + enterpriseID + "]", strings.Repeat("0", 36), strings.Repeat("é", 18),
	} {
		_, err := c.RenewToken(t.Context(), esper.RenewRequest{EnterpriseID: id, DeveloperAppID: developerAppID})
		checkRefused(t, id, err, "RenewRequest.EnterpriseID is not a UUID such as "+enterpriseID+"; TokenInfo tells it", "")
		_, err = c.RenewToken(t.Context(), esper.RenewRequest{EnterpriseID: enterpriseID, DeveloperAppID: id})
		checkRefused(t, id, err, "RenewRequest.DeveloperAppID", "")
		equal(t, id, outcomeOf(err), noRenewal)
		_, err = c.RenewPersonalAccessToken(t.Context(), id, -1)
		checkRefused(t, id, err, "id of the personal access token", "")
	}
	for _, expiry := range []int64{0, -2} {
		_, err := c.RenewPersonalAccessToken(t.Context(), tokenID, expiry)
		checkRefused(t, "an expiry", err, "a moment in the future, or -1 for never", "")
	}
	_, err := esper.New(p.URL, nil)
	checkRefused(t, "nil source", err, "use APIKey", "")
	empty := func() (*oauth2.Token, error) { return nil, nil } //nolint:nilnil // the mistake that is tested
	for i, op := range operations(clientOf(t, p.URL, sourceFunc(empty)), "good") {
		_, _, err := op.do(t.Context())
		checkRefused(t, op.name+", source without token", err, "neither a token nor an error", "")
		if i < 4 { // the generated client panics
			_, _, err = operations(c, "good")[i].do(nil)
			checkRefused(t, op.name+", nil context", err, "context is nil", "")
		}
	}
	nilFrom := func(http.RoundTripper) http.RoundTripper { return nil }
	retry := func(attempts int, minWait, maxWait time.Duration) esper.Option {
		return esper.WithRetry(esper.Retry{MaxAttempts: attempts, MinWait: minWait, MaxWait: maxWait})
	}
	t.Setenv("ESPER_ENVIRONMENT", p.URL)
	t.Setenv("ESPER_API_KEY", "good")
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
			if _, err := esper.NewFromEnv(opt); advice != "" {
				checkRefused(t, fmt.Sprint(advice, " ", i), err, advice, "ESPER_") // which is not to blame
			} else if err != nil {
				t.Errorf("option %d: %v", i, err)
			}
		}
	}
	equal(t, "requests", len(p.arrivals()), 0)
	upper := esper.RenewRequest{EnterpriseID: strings.ToUpper(enterpriseID), DeveloperAppID: developerAppID}
	_, err = c.RenewToken(t.Context(), upper)
	must(t, err)
}

// misplaced is a key that somebody put into the environment.
const misplaced = "Misplaced0Canary"

// badEnvironments are what New refuses, by the advice in its error.
var badEnvironments = map[string][]string{
	`pass a tenant name ("foo") or a base URL`: {"", " \r\n"},
	"nor a base URL with its scheme": {
		"bar-api.esper.cloud", misplaced + ".esper.cloud/api", "localhost:8080", "127.0.0.1", "/api", misplaced + "@foo",
		"foo?key=" + misplaced, "foo#" + misplaced, "https:" + misplaced, misplaced + "+/=",
	},
	"in quotes":                       {`"foo"`},
	"not expanded":                    unexpanded,
	"not resolved":                    unresolved,
	"a placeholder":                   placeholders,
	"an assignment":                   {"ESPER_ENVIRONMENT=foo"},
	"are environment and key swapped": {"AbcdefGhijklmnop0123456789qrst"},
	"leave it out":                    {"foo-api"},
	"perhaps of the Esper Console":    {"https://foo.esper.io", "https://a.esper.cloud/", "https://b.a-api.esper.cloud/"},
	"has the path /api":               {"https://foo-api.esper.cloud", "https://foo-api.esper.cloud/api/enterprise"},
	"goes on behind /api": {
		"https://foo-api.esper.cloud/api/v1", "https://gw.example/api/v0/enterprise/", "https://a.example/api/v1/token-info",
	},
	"between them, hyphens": {
		misplaced + "_key", misplaced + "%20key", "Bearer " + misplaced, "fööbar", "foo\x00bar", "{tenant}",
		"-" + misplaced, misplaced + "-",
	},
	"59 at most":           {strings.Repeat("m", 60), misplaced + strings.Repeat("0", 60)},
	"scheme must be https": {"ftp://" + misplaced + ".example", "javascript://" + misplaced},
	"has no host":          {"file:///" + misplaced, "https://", "https:///" + misplaced, "https://:443/" + misplaced},
	"a space":              {"ht tp://" + misplaced, "https://" + misplaced + "\n.example", `https://foo.example\api`},
	"cannot be parsed": {
		"://" + misplaced, "https://" + misplaced + "\x7f.example", "https://[::1", "https://esper.example:" + misplaced,
		"https://{tenant}-api.esper.cloud/api", "https://foo-api.esper.cloud/" + misplaced + "%zz",
	},
	"port is not a number": {"https://esper.example:", "https://esper.example:0", "https://esper.example:65536"},
	"neither a host name nor an IP address": {
		"https://" + misplaced + "..example", "https://." + misplaced + ".example", "https://*.foo.example",
		"https://<tenant>-api.esper.cloud/api", "https://foo-.example", "https://" + strings.Repeat("m", 64) + ".example",
		"https://" + strings.Repeat("m.", 127) + "mm", "https://300.300.300.300", "http://127.1", "http://[::1%25lo]",
	},
	"unset or unexpanded variable": {"https://-api.esper.cloud/api", "https://$TENANT-api.esper.cloud/api"},
	"remove it":                    {"https://admin:" + misplaced + "@foo-api.esper.cloud/api", "https://@foo.example"},
	"only scheme, host and path": {
		"https://foo.example/api?token=" + misplaced, "https://foo.example/api?", "https://foo.example/api#" + misplaced,
	},
	"use https": {
		"http://foo-api.esper.cloud/" + misplaced, "http://localhost.evil.example", "http://evil.localhost",
		"http://0x7f000001", "http://0.0.0.0", "http://128.0.0.1", "http://192.168.0.1:8080", "http://[::]",
		"http://[::ffff:10.0.0.1]", "http://[fe80::1]", "HTTP://esper.example", "http://127.evil.example",
	},
}

func TestBadEnvironments(t *testing.T) {
	t.Setenv("ESPER_API_KEY", "key")
	for advice, environments := range badEnvironments {
		for _, environment := range environments {
			c, err := esper.New(environment, esper.APIKey("key"))
			checkRefused(t, fmt.Sprintf("New(%q)", environment), err, advice, environment)
			equal(t, environment, c, nil)
			if !strings.Contains(environment, "\x00") { // which no variable can hold
				t.Setenv("ESPER_ENVIRONMENT", environment)
				_, err = esper.NewFromEnv()
				checkRefused(t, fmt.Sprintf("NewFromEnv, %q", environment), err, " (in ESPER_ENVIRONMENT)", environment)
			}
		}
	}
	_, err := esper.New("ftp://esper.example", esper.APIKey("key"), esper.WithInsecureHTTP())
	checkRefused(t, "WithInsecureHTTP", err, "scheme must be https", "")
}

// An environment has one form, however it is written. New refuses a source whose Server method names another.
func TestGoodEnvironments(t *testing.T) {
	good := map[string][]string{
		"https://foo-api.esper.cloud/api/": {
			"foo", "FOO", "\ufefffoo\r\n", " https://foo-api.esper.cloud/api\t", "https://foo-api.esper.cloud/api",
			"https://foo-api.esper.cloud/api///", "HTTPS://foo-api.esper.cloud.:443/api/",
		},
		"https://0-api.esper.cloud/api/":                               {"0"},
		"https://az-az-09-api.esper.cloud/api/":                        {"az-AZ-09"},
		"https://xn--fbar-5qaa-api.esper.cloud/api/":                   {"xn--fbar-5qaa"},
		"https://esper.example/":                                       {"https://esper.example", "https://esper.example/"},
		"http://localhost/":                                            {"http://LOCALHOST", "http://localhost.:80/"},
		"https://" + strings.Repeat("m", 59) + "-api.esper.cloud/api/": {strings.Repeat("m", 59)},
	}
	for _, same := range []string{
		"https://esper.example:65535", "https://esper.example:65535/a/b", "https://esper.example/a%2Fb",
		"https://127.255.255.254:8080", "https://esper.example/.well/..x",
		"https://[2001:db8::1]:8443/api", "http://127.255.255.254:8080", "http://[0:0:0:0:0:0:0:1]",
		"http://[::ffff:127.0.0.1]", "https://localhost.evil.example/api", "https://gw.example/api/v1/esper",
		"https://gw.example/api/v2/proxy/esper/api",
		"https://gw.example/esper/api/v1-proxy", "https://" + strings.Repeat("m.", 125) + "com",
		"https://k8s.example/api/v1/namespaces/iot/services/https:esper:443/proxy/api",
	} {
		good[same+"/"] = []string{same}
	}
	for want, environments := range good {
		for _, environment := range environments {
			c := clientFor(t, environment, "key")
			equal(t, environment, c.Generated().Server, want)
			for other, forms := range good {
				for _, form := range forms {
					if server, err := url.Parse(form); err == nil && server.IsAbs() {
						_, err := esper.New(environment, &renewing{key: "key", server: server})
						equal(t, environment+", key of "+form, errors.Is(err, esper.ErrInvalidArgument), other != want)
					}
				}
			}
		}
	}
	c := clientFor(t, "https://FOO-api.esper.cloud.:443/api/", "key")
	c.BaseURL().Host = "changed"
	equal(t, "BaseURL", c.BaseURL().String(), "https://foo-api.esper.cloud/api")
}
