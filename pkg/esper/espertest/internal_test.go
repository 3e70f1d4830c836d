package espertest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/api"
)

// The server takes paths and operations from the description.
func TestDescriptionDecides(t *testing.T) {
	changed := strings.NewReplacer("/v1/token-info/:", "/v9/info/:", "listPersonalAccessTokens\n", "somethingNew\n").Replace(string(api.Spec))
	s := start([]byte(changed), nil)
	defer s.Close()
	for path, want := range map[string]int{
		"/v9/info/": http.StatusOK, "/v1/token-info/": http.StatusNotFound,
		"/authn2/v0/personal-access-token/": http.StatusNotImplemented, // an operation without an answer
	} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		req.Header.Set("Authorization", "Bearer "+s.Token())
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil || resp.Body.Close() != nil || resp.StatusCode != want {
			t.Errorf("%s: %v, %v; want %d", path, resp, err, want)
		}
	}
}
