package origin

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
)

// Check accepts every way to write the base URL's server, and no other server.
func TestCheck(t *testing.T) {
	base, err := Parse("https://FOO-api.esper.cloud.:443/api/", false)
	if err != nil || base.String() != "https://foo-api.esper.cloud/api" {
		t.Fatal(base, err)
	}
	for name, tc := range map[string]struct {
		url, host, opaque string
		ok                bool
	}{
		"as built":              {"https://foo-api.esper.cloud/x", "foo-api.esper.cloud", "", true},
		"no Host field":         {"https://foo-api.esper.cloud/x", "", "", true},
		"case":                  {"HTTPS://Foo-API.esper.cloud/x", "FOO-api.esper.cloud", "", true},
		"default port":          {"https://foo-api.esper.cloud:443/x", "foo-api.esper.cloud:443", "", true},
		"trailing dot":          {"https://foo-api.esper.cloud./x", "foo-api.esper.cloud.", "", true},
		"both":                  {"https://foo-api.esper.cloud.:0443/x", "", "", true},
		"another host":          {"https://bar-api.esper.cloud/x", "", "", false},
		"a longer host":         {"https://foo-api.esper.cloud.evil.example/x", "", "", false},
		"another port":          {"https://foo-api.esper.cloud:8443/x", "", "", false},
		"an empty port":         {"https://foo-api.esper.cloud:/x", "", "", false},
		"the other scheme":      {"http://foo-api.esper.cloud/x", "", "", false},
		"its port":              {"http://foo-api.esper.cloud:443/x", "", "", false},
		"another Host field":    {"https://foo-api.esper.cloud/x", "evil.example", "", false},
		"its port in Host":      {"https://foo-api.esper.cloud/x", "foo-api.esper.cloud:8443", "", false},
		"opaque":                {"https://foo-api.esper.cloud/x", "foo-api.esper.cloud", "//evil.example/x", false},
		"opaque path":           {"https://foo-api.esper.cloud/x", "foo-api.esper.cloud", "/x", false},
		"no host":               {"https:///x", "", "", false},
		"user in front of host": {"https://foo-api.esper.cloud@evil.example/x", "", "", false},
	} {
		u, err := url.Parse(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		u.Opaque = tc.opaque
		if err := Check(base, &http.Request{URL: u, Host: tc.host}); (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrOther) {
			t.Errorf("%s: %v, want ok %t", name, err, tc.ok)
		}
	}
	if Check(base, &http.Request{}) == nil {
		t.Error("a request without a URL is let through")
	}
}
