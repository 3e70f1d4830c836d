package esper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper"
)

// A middleware that only calls the next changes nothing that a caller sees.
func TestMiddlewareChangesNoOutcome(t *testing.T) {
	silent := newProbe(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	plain := newProbe(t, nil)
	type fault struct {
		base string
		opts []esper.Option
	}
	faults := map[string]fault{
		"none":            {base: plain.URL},
		"http, not https": {base: strings.Replace(plain.URL, "http:", "https:", 1)},
		"refused":         {base: "http://127.0.0.1:1"},
		"timeout":         {silent.URL, []esper.Option{esper.WithTimeout(300 * time.Millisecond)}},
	}
	for name, answer := range map[string]string{
		"closed":           "",
		"garbage":          "no status line\r\n\r\n",
		"cut":              "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
		"redirect":         "HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
		"no location":      "HTTP/1.1 307 Moved\r\nContent-Length: 0\r\n\r\n",
		"another protocol": "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n",
		"refusal":          "HTTP/1.1 401 Unauthorized\r\nContent-Length: 20\r\n\r\n{\"message\":\"expired\"",
	} {
		faults[name] = fault{base: rawServer(t, answer)}
	}
	proxy, err := url.Parse(faults["http, not https"].base)
	if err != nil {
		t.Fatal(err)
	}
	faults["http, not https, from a proxy"] = fault{"https://127.0.0.1:1", []esper.Option{
		esper.WithTransport(&http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return proxy, nil }}),
	}}
	address := regexp.MustCompile(`127\.0\.0\.1:\d+`)
	outcome := func(err error) string {
		return address.ReplaceAllString(fmt.Sprint(err, ", mismatch: ", errors.Is(err, http.ErrSchemeMismatch)), "ADDRESS")
	}
	through := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) { return next.RoundTrip(req) })
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			opts := append([]esper.Option{esper.WithRetry(esper.Retry{MaxAttempts: 1})}, f.opts...)
			direct := clientFor(t, f.base, "key", opts...)
			wrapped := clientFor(t, f.base, "key", append(opts, through)...)
			calls := map[string]func(*esper.Client) error{
				"TokenInfo":  func(c *esper.Client) error { _, err := c.TokenInfo(t.Context()); return err },
				"RenewToken": func(c *esper.Client) error { _, err := c.RenewToken(t.Context(), renewal("key")); return err },
				"Generated":  func(c *esper.Client) error { return generatedCall(t.Context(), c) },
			}
			for method, call := range calls {
				got, want := outcome(call(direct)), outcome(call(wrapped))
				if got != want {
					t.Errorf("%s:\ndirect:         %s\nwith middleware: %s", method, got, want)
				}
				if failed := !strings.HasPrefix(got, "<nil>"); failed != (name != "none") && method != "Generated" {
					t.Errorf("%s: %s", method, got)
				}
			}
		})
	}
}

// generatedCall calls GetTokenInfo with an empty method, which means GET, and returns an error that tells the status.
func generatedCall(ctx context.Context, c *esper.Client) error {
	unset := func(_ context.Context, req *http.Request) error { req.Method = ""; return nil }
	resp, err := c.Generated().GetTokenInfo(ctx, unset)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return fmt.Errorf("%s %d: %w", resp.Request.URL.Path, resp.StatusCode, err)
}

// Client.RenewToken requests the same path as the generated client, whatever the path of the base URL.
func TestRenewToken_PathBelowAnyBaseURL(t *testing.T) {
	for _, path := range []string{
		"", "/api", "/a%2Fb", "/a%3Fb%25", "/é", "/(a;b)*", "//a", "/%7Benterprise_id%7D", "/{developerapp_id}/x%7Benterprise_id%7D%2F",
	} {
		p := newProbe(t, nil)
		c := clientFor(t, p.URL+path, "key")
		if _, err := c.RenewToken(t.Context(), renewal("key")); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		resp, err := c.Generated().RenewToken(t.Context(), enterpriseID, developerAppID, &gen.RenewTokenParams{AccessToken: "key"})
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if seen := p.arrivals(); len(seen) != 2 || seen[0].RequestURI != seen[1].RequestURI {
			t.Errorf("%s: %s, want %s", path, seen[0].RequestURI, seen[1].RequestURI)
		}
	}
}
