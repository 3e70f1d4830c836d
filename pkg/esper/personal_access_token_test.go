package esper_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
)

const tokenID = "0d3f8d3a-6f0f-4b8e-9d55-3a4c1b0f7e21"

// TestRenewPersonalAccessToken: the request is as Esper declares it, and the key is read whatever the other fields
// hold.
func TestRenewPersonalAccessToken(t *testing.T) {
	for _, body := range []string{
		`{"id": "` + tokenID + `", "token": "new-token", "expiry_at": 1888272000, "legacy_token_id": 571}`,
		`{"id": [1], "token": "new-token", "expiry_at": {}, "created_at": 1, "updated_at": "soon", "name": null}`,
	} {
		server := newProbe(t, answer(200, "application/json", body))
		reading := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			_, _ = io.ReadAll(req.Body) // as a careless middleware does
			return next.RoundTrip(req)
		})
		client := clientFor(t, server.URL, "old-key", reading)
		renewed, err := client.RenewPersonalAccessToken(t.Context(), tokenID, 1888272000)
		if err != nil || renewed.Token.Reveal() != "new-token" {
			t.Errorf("%s: %v, %v", body, renewed, err)
		}
		got := server.only(t)
		sent := strings.Join([]string{got.Method, got.RequestURI, got.body, got.Header.Get("Content-Type")}, " ")
		want := "PUT /authn2/v0/personal-access-token/" + tokenID + ` {"expiry_at":1888272000} application/json`
		if sent != want || got.Header.Get("Authorization") != "Bearer old-key" {
			t.Errorf("%s: %s %s %q %v", body, got.Method, got.URL, got.body, got.Header)
		}
	}
}

// TestListPersonalAccessTokens: malformed tokens do not spoil a list, but an answer without a whole list is an error.
func TestListPersonalAccessTokens(t *testing.T) {
	for body, want := range map[string]int{
		`{"count": 2, "personal_access_tokens": [{"id": "a"}, {"id": "b", "expiry_at": -1, "later": 1}]}`: 2,
		`{"personal_access_tokens": null}`: 0, `{"personal_access_tokens": [], "count": {}}`: 0,
		`{"personal_access_tokens": [{"id": 7, "created_at": 1}]}`: 1,
		`{}`: -1, `[]`: -1, `<html>`: -1, ``: -1, `{"personal_access_tokens": {}}`: -1, `{"personal_access_tokens": [{}`: -1,
	} {
		client := clientFor(t, memory, "key", piped(saying(raw(200, body))), quickRetry(1))
		list, err := client.ListPersonalAccessTokens(t.Context())
		if want < 0 && !errors.Is(err, esper.ErrInvalidResponse) || want >= 0 && (err != nil || len(list) != want) {
			t.Errorf("%.60s: %d, %v", body, len(list), err)
		}
	}
}

// TestListedKeysAreSecrets: no result, error or middleware shows a key from a list, however many keys there are.
func TestListedKeysAreSecrets(t *testing.T) {
	other := func(i int) string { return fmt.Sprintf("%04d-canary-%04d-Made0Up", i, i) } // no two begin or end alike
	var items []string
	for i := range 300 {
		items = append(items, fmt.Sprintf(`{"id": "x", "name": "key", "token": %q, "prefix": %q}`, other(i), other(i)[:8]))
	}
	last := other(299)
	list := strings.Join(items, ",")
	for _, status := range []int{200, 400, 500} {
		body := fmt.Sprintf(`{"message": "about %s", "personal_access_tokens": [%s]}`, last, list)
		server := piped(saying(raw(status, body, "X-Request-Id: "+last)))
		var seen string
		spy := watching(func(_ *http.Request, resp *http.Response) { seen = fmt.Sprintf("%+v %#v", resp, resp.Header) })
		client := clientFor(t, memory, "own-made-up-key", server, quickRetry(1), spy)
		list, err := client.ListPersonalAccessTokens(t.Context())
		text := fmt.Sprintf("%+v %v %#v %s", list, err, err, seen)
		if i := strings.Index(text, "-canary-0"); i >= 0 {
			t.Errorf("%d: the result, the error or the middleware shows a key: …%s", status, text[max(0, i-100):i+40])
		}
		if status == 200 && (err != nil || len(list) != 300 || list[299].Token.Reveal() != last) {
			t.Errorf("%d, %v", len(list), err)
		}
		if api, ok := errors.AsType[*esper.APIError](err); ok && api.Body != nil {
			t.Errorf("%d: the error keeps the body", status)
		}
	}
}
