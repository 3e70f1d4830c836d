package esper_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
)

// misplaced is a key that somebody put into the environment.
const misplaced = "Misplaced0Canary"

// untouchable fails the test when anything is sent.
func untouchable(t *testing.T) esper.Option {
	return roundTripFunc(func(*http.Request) (*http.Response, error) {
		t.Error("a request was sent")
		return nil, errors.New("untouchable")
	}).option()
}

func TestBadEnvironments(t *testing.T) {
	for _, tc := range []struct{ environment, advice string }{
		{" \r\n", `pass a tenant name ("foo") or a base URL`},
		{"https://foo.esper.io", "perhaps of the Esper Console"},
		{"", `pass a tenant name ("foo") or a base URL`},
		// Neither a tenant nor a URL.
		{"foo.esper.cloud", "nor a base URL with its scheme"},
		{misplaced + ".esper.cloud/api", "nor a base URL with its scheme"},
		{"localhost:8080", "nor a base URL with its scheme"},
		{"127.0.0.1", "nor a base URL with its scheme"},
		{"/api", "nor a base URL with its scheme"},
		{misplaced + "@foo", "nor a base URL with its scheme"},
		{"foo?key=" + misplaced, "nor a base URL with its scheme"},
		{"foo#" + misplaced, "nor a base URL with its scheme"},
		{"https:" + misplaced, "nor a base URL with its scheme"},
		{"mailto:" + misplaced + "@esper.example", "nor a base URL with its scheme"},
		{"bar-api.esper.cloud", "a host name of the Esper cloud"},
		{`"foo"`, "in quotes"},
		{"$ESPER_ENVIRONMENT", "not expanded"},
		{"ESPER_ENVIRONMENT=foo", "an assignment"},
		// Keys, and addresses of the Esper cloud that are not the API's.
		{"AbcdefGhijklmnop0123456789qrst", "are environment and key swapped"},
		{"foo-api", "leave it out"},
		{"https://foo.esper.cloud", "perhaps of the Esper Console"},
		{"https://foo.esper.cloud/dashboard#devices", "perhaps of the Esper Console"},
		{"https://esper.cloud/api", "perhaps of the Esper Console"},
		{"https://bar.foo-api.esper.cloud/api", "perhaps of the Esper Console"},
		{"https://foo-api.esper.cloud", "has the path /api"},
		{"https://foo-api.esper.cloud/v1", "has the path /api"},
		{"https://foo-api.esper.cloud/api/enterprise", "has the path /api"},
		{"https://foo-api.esper.cloud/api/v1", "goes on behind /api"},
		{"https://esper.example/api/v0/enterprise/", "goes on behind /api"},
		// Tenants that are no DNS label.
		{misplaced + "_key", "between them, hyphens"},
		{misplaced + "+/=", "nor a base URL with its scheme"},
		{misplaced + "%20key", "between them, hyphens"},
		{"Bearer " + misplaced, "between them, hyphens"},
		{"fööbar", "between them, hyphens"},
		{"foo\x00bar", "between them, hyphens"},
		{"{tenant}", "between them, hyphens"},
		{"-" + misplaced, "between them, hyphens"},
		{misplaced + "-", "between them, hyphens"},
		{misplaced + " " + misplaced, "between them, hyphens"},
		{strings.Repeat("m", 60), "at most 59 fit"},
		{misplaced + strings.Repeat("0", 60), "at most 59 fit"},
		// Schemes.
		{"://" + misplaced, "cannot be parsed"},
		{"ftp://" + misplaced + ".example", "scheme must be https"},
		{"ws://" + misplaced + ".example", "scheme must be https"},
		{"file:///" + misplaced, "has no host"},
		{"javascript://" + misplaced, "scheme must be https"},
		{"ht tp://" + misplaced, "a space"},
		// Hosts and ports.
		{"https://", "has no host"},
		{"https:///" + misplaced, "has no host"},
		{"https://:443/" + misplaced, "has no host"},
		{"https://" + misplaced + " .example", "a space"},
		{"https://" + misplaced + "\n.example", "a space"},
		{"https://" + misplaced + "\x7f.example", "cannot be parsed"},
		{"https://[::1", "cannot be parsed"},
		{"https://esper.example:" + misplaced, "cannot be parsed"},
		{"https://" + misplaced + ".example:", "port is not a number"},
		{"https://" + misplaced + ".example:0", "port is not a number"},
		{"https://" + misplaced + ".example:65536", "port is not a number"},
		{"https://" + misplaced + ".example:-1", "cannot be parsed"},
		{"https://" + misplaced + "..example", "neither a host name nor an IP address"},
		{"https://." + misplaced + ".example", "neither a host name nor an IP address"},
		{"https://*." + misplaced + ".example", "neither a host name nor an IP address"},
		{"https://{tenant}-api.esper.cloud/api", "cannot be parsed"},
		{"https://<tenant>-api.esper.cloud/api", "neither a host name nor an IP address"},
		{"https://" + misplaced + "%20.example", "cannot be parsed"},
		// What a base URL may not carry.
		{"https://" + misplaced + "@foo-api.esper.cloud/api", "remove it"},
		{"https://admin:" + misplaced + "@foo-api.esper.cloud/api", "remove it"},
		{"https://@foo-api.esper.cloud/api", "remove it"},
		{"https://foo-api.esper.cloud/api?access_token=" + misplaced, "only scheme, host and path"},
		{"https://foo-api.esper.cloud/api?", "only scheme, host and path"},
		{"https://foo-api.esper.cloud/api#" + misplaced, "only scheme, host and path"},
		{"https://foo-api.esper.cloud/api#", "only scheme, host and path"},
		{"https://foo-api.esper.cloud/" + misplaced + "/../api", "segment of dots"},
		{"https://foo-api.esper.cloud/./" + misplaced, "segment of dots"},
		{"https://foo-api.esper.cloud/" + misplaced + "/%2e%2E/api", "segment of dots"},
		{"https://foo-api.esper.cloud/" + misplaced + "%zz", "cannot be parsed"},
		// http beyond loopback.
		{"http://foo-api.esper.cloud/" + misplaced, "use https"},
		{"http://localhost.evil.example", "use https"},
		{"http://evil.localhost", "use https"},
		{"http://127.0.0.1.nip.example", "use https"},
		{`https://foo-api.esper.cloud\api`, "a backslash"},
		{"https://$TENANT-api.esper.cloud/api", "unexpanded variable"},
		{"https://foo,bar.example", "neither a host name"},
		{"https://(foo).example", "neither a host name"},
		{"https://-api.esper.cloud/api", "unset"},
		{"https://foo-.example", "neither a host name"},
		{"https://" + strings.Repeat("m", 64) + ".example", "neither a host name"},
		{"https://" + strings.Repeat("m.", 127) + "mm", "neither a host name"},
		{"https://300.300.300.300", "neither a host name"},
		{"http://127.1", "neither a host name"},
		{"http://2130706433", "neither a host name"},
		{"http://0x7f000001", "use https"},
		{"http://0.0.0.0", "use https"},
		{"http://128.0.0.1", "use https"},
		{"http://192.168.0.1:8080", "use https"},
		{"http://[::]", "use https"},
		{"http://[::2]", "use https"},
		{"http://[::ffff:10.0.0.1]", "use https"},
		{"http://[fe80::1]", "use https"},
		{"http://[::1%25lo]", "neither a host name nor an IP address"},
		{"HTTP://esper.example", "use https"},
	} {
		c, err := esper.New(tc.environment, esper.APIKey("key"), untouchable(t))
		if c != nil || !errors.Is(err, esper.ErrInvalidArgument) {
			t.Errorf("New(%q) = %v, %v, want ErrInvalidArgument", tc.environment, c, err)
			continue
		}
		text := err.Error()
		if !strings.Contains(text, tc.advice) {
			t.Errorf("New(%q): %q, want advice %q", tc.environment, text, tc.advice)
		}
		if strings.Contains(strings.ToLower(text), strings.ToLower(misplaced)) || len(tc.environment) > 5 && strings.Contains(text, tc.environment) {
			t.Errorf("New(%q): %q repeats the input", tc.environment, text)
		}
		for wrapped := err; wrapped != nil; wrapped = errors.Unwrap(wrapped) {
			if strings.Contains(wrapped.Error(), misplaced) {
				t.Errorf("New(%q): the wrapped error %q repeats the input", tc.environment, wrapped)
			}
		}
	}
}

func TestGoodEnvironments(t *testing.T) {
	for environment, want := range map[string]string{
		"foo":                                             "https://foo-api.esper.cloud/api/",
		"FOO":                                             "https://foo-api.esper.cloud/api/",
		"\ufefffoo\r\n":                                   "https://foo-api.esper.cloud/api/",
		" https://foo-api.esper.cloud/api\t":              "https://foo-api.esper.cloud/api/",
		"a":                                               "https://a-api.esper.cloud/api/",
		"0":                                               "https://0-api.esper.cloud/api/",
		"foo-bar-2":                                       "https://foo-bar-2-api.esper.cloud/api/",
		"az-AZ-09":                                        "https://az-az-09-api.esper.cloud/api/",
		"xn--fbar-5qaa":                                   "https://xn--fbar-5qaa-api.esper.cloud/api/",
		strings.Repeat("m", 59):                           "https://" + strings.Repeat("m", 59) + "-api.esper.cloud/api/",
		"https://foo-api.esper.cloud/api":                 "https://foo-api.esper.cloud/api/",
		"https://foo-api.esper.cloud/api/":                "https://foo-api.esper.cloud/api/",
		"https://foo-api.esper.cloud/api///":              "https://foo-api.esper.cloud/api/",
		"HTTPS://foo-api.esper.cloud/api":                 "https://foo-api.esper.cloud/api/",
		"https://esper.example":                           "https://esper.example/",
		"https://esper.example/":                          "https://esper.example/",
		"https://esper.example:8443/a/b":                  "https://esper.example:8443/a/b/",
		"https://esper.example:65535":                     "https://esper.example:65535/",
		"https://esper.example/a%2Fb/":                    "https://esper.example/a%2Fb/",
		"https://esper.example/.well/..x":                 "https://esper.example/.well/..x/",
		"https://10.0.0.1/api":                            "https://10.0.0.1/api/",
		"https://[2001:db8::1]:8443/api":                  "https://[2001:db8::1]:8443/api/",
		"http://localhost:8080/api":                       "http://localhost:8080/api/",
		"http://LOCALHOST":                                "http://localhost/",
		"http://127.0.0.1:8080":                           "http://127.0.0.1:8080/",
		"http://127.255.255.254":                          "http://127.255.255.254/",
		"http://localhost.:80/api":                        "http://localhost/api/",
		"http://[::1]:8080/api":                           "http://[::1]:8080/api/",
		"http://[0:0:0:0:0:0:0:1]/":                       "http://[0:0:0:0:0:0:0:1]/",
		"http://[::ffff:127.0.0.1]/api":                   "http://[::ffff:127.0.0.1]/api/",
		"https://localhost.evil.example/api":              "https://localhost.evil.example/api/",
		"insecure http://esper.example/api":               "http://esper.example/api/",
		"insecure http://192.168.0.1:8080/api":            "http://192.168.0.1:8080/api/",
		"https://" + strings.Repeat("m", 63) + ".example": "https://" + strings.Repeat("m", 63) + ".example/",
		"https://" + strings.Repeat("m.", 125) + "com":    "https://" + strings.Repeat("m.", 125) + "com/",
	} {
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
	if _, err := esper.New("ftp://esper.example", esper.APIKey("key"), esper.WithInsecureHTTP()); !errors.Is(err, esper.ErrInvalidArgument) {
		t.Errorf("WithInsecureHTTP lets ftp through: %v", err)
	}
}

func TestNewFromEnv(t *testing.T) {
	p := newProbe(t, nil)
	for _, tc := range []struct{ environment, key, complaint string }{
		{"", "k", "ESPER_ENVIRONMENT"},
		{"foo", "", "ESPER_API_KEY"},
		{"", "", "ESPER_ENVIRONMENT"},
		{"foo bar", "k", "tenant"},
		{"foo", misplaced + "\n", "newline"},
		{p.URL, "from-env", ""},
	} {
		t.Setenv("ESPER_ENVIRONMENT", tc.environment)
		t.Setenv("ESPER_API_KEY", tc.key)
		c, err := esper.NewFromEnv()
		if tc.complaint != "" {
			if c != nil || !errors.Is(err, esper.ErrInvalidArgument) || !strings.Contains(err.Error(), tc.complaint) || strings.Contains(err.Error(), misplaced) {
				t.Errorf("%q, %q: %v, want ErrInvalidArgument about %q", tc.environment, tc.key, err, tc.complaint)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.TokenInfo(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := p.only(t).Header.Get("Authorization"); got != "Bearer from-env" {
			t.Errorf("Authorization = %q", got)
		}
		c.CloseIdleConnections()
	}
	if _, err := esper.NewFromEnv(esper.WithTimeout(0)); !errors.Is(err, esper.ErrInvalidArgument) || strings.Contains(err.Error(), "ESPER_") {
		t.Errorf("an option that cannot work is blamed on a variable: %v", err)
	}
}
