package esper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper"
)

func TestRedirectsAreNotFollowed(t *testing.T) {
	target := newProbe(t, nil)
	secure := unstartedProbe(nil)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for place, location := range map[string]string{
		"port":       target.URL + "/api/v1/token-info/",
		"host":       strings.Replace(target.URL, "127.0.0.1", "localhost", 1) + "/api/",
		"scheme":     secure.URL + "/api/",
		"no scheme":  strings.TrimPrefix(target.URL, "http:"),
		"same host":  "/api/elsewhere/",
		"with slash": "?again",
		"malformed":  "http://[::1",
		"none":       "",
	} {
		for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308, 399} {
			for _, transport := range []*http.Transport{nil, secure.Client().Transport.(*http.Transport)} {
				t.Run(fmt.Sprintf("%s/%d/%v", place, status, transport != nil), func(t *testing.T) {
					p := newProbe(t, func(w http.ResponseWriter, _ *http.Request) {
						if location != "" {
							w.Header().Set("Location", location)
						}
						w.WriteHeader(status)
					})
					c := clientFor(t, p.URL+"/api", "key", esper.WithTransport(transport), quickRetry(3))
					checkRedirect(t, c, status)
					if n := len(p.arrivals()); n != 4 {
						t.Errorf("%d requests, want 4: one for each call", n)
					}
					for _, r := range p.arrivals() {
						if strings.Contains(r.RequestURI, "elsewhere") || strings.Contains(r.RequestURI, "again") {
							t.Errorf("%s was followed", r.RequestURI)
						}
					}
				})
			}
		}
	}
	if n := len(target.arrivals()) + len(secure.arrivals()); n != 0 {
		t.Errorf("%d requests reached the target", n)
	}
}

// checkRedirect makes every call of c, and checks that each returns the redirect.
func checkRedirect(t *testing.T, c *esper.Client, status int) {
	each(t, c, "key", func(t *testing.T, do func(context.Context) error) {
		err := do(t.Context())
		var api *esper.APIError
		if !errors.Is(err, esper.ErrRedirect) || !errors.As(err, &api) || api.StatusCode != status || !strings.Contains(err.Error(), strconv.Itoa(status)) {
			t.Errorf("%v, want ErrRedirect that names %d", err, status)
		}
		var lost *esper.RenewalError
		if errors.As(err, &lost) && lost.Outcome != esper.OutcomeUnknown {
			t.Errorf("outcome %v, want OutcomeUnknown: the server may have renewed before it redirected", lost.Outcome)
		}
	})
	generated := c.Generated()
	info, err := generated.GetTokenInfo(t.Context())
	checkPassedOn(t, info, err, status)
	renewed, err := generated.RenewToken(t.Context(), enterpriseID, developerAppID, &gen.RenewTokenParams{AccessToken: "key"})
	checkPassedOn(t, renewed, err, status)
}

// checkPassedOn checks that resp is the redirect itself, without its target.
func checkPassedOn(t *testing.T, resp *http.Response, err error, status int) {
	t.Helper()
	if err != nil {
		t.Errorf("Generated: %v", err)
		return
	}
	_ = resp.Body.Close()
	if resp.StatusCode != status || resp.Header.Get("Location") != "" {
		t.Errorf("Generated: %s, Location %q", resp.Status, resp.Header.Get("Location"))
	}
}
