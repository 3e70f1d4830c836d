package esper_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
)

// misplaced is a key that somebody put into the environment.
const misplaced = "Misplaced0Canary"

// untouchable fails the test when anything is sent.
func untouchable(t *testing.T) esper.Option {
	return instead(func(*http.Request) (*http.Response, error) {
		t.Error("a request was sent")
		return nil, errors.New("untouchable")
	})
}

func TestBadEnvironments(t *testing.T) {
	for advice, environments := range map[string][]string{
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
		"perhaps of the Esper Console": {
			"https://foo.esper.io", "https://foo.esper.cloud/dashboard#devices", "https://bar.foo-api.esper.cloud/api",
		},
		"has the path /api": {"https://foo-api.esper.cloud", "https://foo-api.esper.cloud/api/enterprise"},
		"goes on behind /api": {
			"https://foo-api.esper.cloud/api/v1", "https://esper.example/api/v0/enterprise/", "https://gw.example/api/v1",
			"https://gw.example/api/v1/token-info/",
		},
		"between them, hyphens": {
			misplaced + "_key", misplaced + "%20key", "Bearer " + misplaced, "fööbar", "foo\x00bar", "{tenant}",
			"-" + misplaced, misplaced + "-",
		},
		"59 at most":           {strings.Repeat("m", 60), misplaced + strings.Repeat("0", 60)},
		"scheme must be https": {"ftp://" + misplaced + ".example", "javascript://" + misplaced},
		"has no host":          {"file:///" + misplaced, "https://", "https:///" + misplaced, "https://:443/" + misplaced},
		"a space": {
			"ht tp://" + misplaced, "https://" + misplaced + "\n.example", `https://foo-api.esper.cloud\api`,
		},
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
			"https://foo-api.esper.cloud/api?access_token=" + misplaced, "https://foo-api.esper.cloud/api?",
			"https://foo-api.esper.cloud/api#" + misplaced,
		},
		"use https": {
			"http://foo-api.esper.cloud/" + misplaced, "http://localhost.evil.example", "http://evil.localhost",
			"http://0x7f000001", "http://0.0.0.0", "http://128.0.0.1", "http://192.168.0.1:8080", "http://[::]",
			"http://[::ffff:10.0.0.1]", "http://[fe80::1]", "HTTP://esper.example",
		},
	} {
		for _, environment := range environments {
			c, err := esper.New(environment, esper.APIKey("key"), untouchable(t))
			checkRefused(t, fmt.Sprintf("New(%q)", environment), err, advice, environment)
			if c != nil {
				t.Errorf("New(%q) returns a client", environment)
			}
		}
	}
	_, err := esper.New("ftp://esper.example", esper.APIKey("key"), esper.WithInsecureHTTP())
	checkRefused(t, "WithInsecureHTTP", err, "scheme must be https", "")
}

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
		"http://192.168.0.1:8080/api/":                                 {"insecure http://192.168.0.1:8080/api"},
		"https://" + strings.Repeat("m", 59) + "-api.esper.cloud/api/": {strings.Repeat("m", 59)},
	}
	for _, same := range []string{
		"https://esper.example:65535/a/b", "https://esper.example/a%2Fb", "https://esper.example/.well/..x",
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
			opts := []esper.Option{untouchable(t)}
			environment, insecure := strings.CutPrefix(environment, "insecure ")
			if insecure {
				opts = append(opts, esper.WithInsecureHTTP())
			}
			c, err := esper.New(environment, esper.APIKey("key"), opts...)
			if err != nil {
				t.Errorf("New(%q): %v", environment, err)
			} else if got := c.Generated().Server; got != want {
				t.Errorf("New(%q) calls %q, want %q", environment, got, want)
			}
		}
	}
	c := clientFor(t, "https://FOO-api.esper.cloud.:443/api/", "key")
	c.BaseURL().Host = "changed"
	if got := c.BaseURL().String(); got != "https://foo-api.esper.cloud/api" {
		t.Errorf("BaseURL is %s", got)
	}
}

func TestNewFromEnv(t *testing.T) {
	p := newProbe(t, nil)
	for complaint, pair := range map[string][2]string{
		"ESPER_ENVIRONMENT": {"", "k"}, "ESPER_API_KEY": {"foo", ""}, "tenant": {"foo bar", "k"}, "newline": {"foo", "k\n"},
	} {
		t.Setenv("ESPER_ENVIRONMENT", pair[0])
		t.Setenv("ESPER_API_KEY", pair[1])
		_, err := esper.NewFromEnv()
		checkRefused(t, fmt.Sprintf("%q", pair), err, complaint, "")
	}
	t.Setenv("ESPER_ENVIRONMENT", p.URL)
	t.Setenv("ESPER_API_KEY", "from-env")
	c, err := esper.NewFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	if _, err := c.TokenInfo(t.Context()); err != nil || p.only(t).Header.Get("Authorization") != "Bearer from-env" {
		t.Errorf("%v, %v", err, p.only(t).Header)
	}
	if _, err := esper.NewFromEnv(esper.WithTimeout(0)); err == nil || strings.Contains(err.Error(), "ESPER_") {
		t.Errorf("an option that cannot work is blamed on a variable: %v", err)
	}
}
