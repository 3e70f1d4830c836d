package espertest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

func listOf(t *testing.T, s *espertest.Server) []esper.PersonalAccessToken {
	t.Helper()
	client, err := esper.New(s.URL, esper.APIKey(s.Token()))
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.ListPersonalAccessTokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestPersonalAccessTokens: a renewal through either endpoint replaces the key for both, and no other key.
func TestPersonalAccessTokens(t *testing.T) {
	s := espertest.NewServer(t)
	first := s.Token()
	second := s.NewKey()
	list := listOf(t, s)
	if len(list) != 2 || list[0].Token.Reveal() != first || list[1].Token.Reveal() != second || list[0].LegacyTokenID != "570" || list[0].ID == list[1].ID {
		t.Fatalf("%+v", list)
	}
	wantStatus(t, mustSend(t, "POST", renewURL(s, first), first), 201)
	renewed := s.Token()
	if again := listOf(t, s); again[0].ID != list[0].ID || again[0].Token.Reveal() != renewed || again[1].Token.Reveal() != second {
		t.Errorf("after renewToken: %+v", again)
	}
	client, err := esper.New(s.URL, esper.APIKey(renewed))
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(time.Hour).Unix()
	token, err := client.RenewPersonalAccessToken(t.Context(), string(list[0].ID), end)
	if err != nil || token.Token.Reveal() != s.Token() || token.ID != list[0].ID {
		t.Fatalf("%+v, %v", token, err)
	}
	wantStatus(t, mustSend(t, "GET", infoURL(s), renewed), 401)
	wantStatus(t, mustSend(t, "GET", infoURL(s), second), 200)
	wantExpiry(t, mustSend(t, "GET", infoURL(s), s.Token()).json["expires_on"], time.Hour)
	s.Revoke()
	s.NewKey()
	if left := listOf(t, s); len(left) != 1 {
		t.Errorf("%d tokens after Revoke and NewKey, want 1", len(left))
	}
}

func TestRenewalOfTokensIsRefused(t *testing.T) {
	s := espertest.New()
	defer s.Close()
	path := s.URL + "/authn2/v0/personal-access-token/"
	id := string(listOf(t, s)[0].ID)
	for _, tc := range []struct {
		id, body, says string
		want           int
	}{
		{id, ``, "The body is no JSON object", 400},
		{id, `expiry_at=7`, "The body is no JSON object", 400},
		{id, `{}`, "expiry_at: This field is required", 400},
		{id, `{"expiry_at": null}`, "expiry_at: This field is required", 400},
		{id, `{"expiry_at": 7}`, "expiry_at: This is not in the future", 400},
		{id, `{"expiry_at": "soon"}`, "expiry_at: Want a whole number of seconds since 1970", 400},
		{id, `{"expiry_at": 2000000000000}`, "The unit is seconds", 400},
		{"00000000-0000-0000-0000-000000000000", `{"expiry_at": -1}`, "Not found", 404},
		{id, `{"expiry_at": -1}`, `"expiry_at":-1`, 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, path+tc.id, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.Token())
		req.Header.Set("Content-Type", "application/json")
		got, err := do(req)
		if err != nil || got.status != tc.want || !strings.Contains(got.body, tc.says) {
			t.Errorf("%s: %+v, %v; want %d with %q", tc.body, got, err, tc.want, tc.says)
		}
	}
	if got := listOf(t, s); got[0].ExpiryAt != "-1" {
		t.Errorf("%+v", got)
	}
	if n := len(s.Violations()); n != 5 { // what is no JSON object, no expiry_at, and an expiry_at that is no number
		t.Errorf("%d violations, want 5: %v", n, s.Violations())
	}
}

func TestRetire(t *testing.T) {
	s := espertest.NewServer(t, espertest.WithRetired(410))
	key := s.Token()
	wantEnvelope(t, mustSend(t, "POST", renewURL(s, key), key), 410)
	wantStatus(t, mustSend(t, "GET", infoURL(s), key), 200)
	s.Retire(404, "renewToken", "TokenInfo")
	wantEnvelope(t, mustSend(t, "POST", renewURL(s, key), key), 404)
	wantEnvelope(t, mustSend(t, "GET", infoURL(s), key), 404)
	if len(listOf(t, s)) != 1 {
		t.Error("the list of personal access tokens does not have the key's")
	}
	s.Retire(0, "renewToken", "TokenInfo")
	wantStatus(t, mustSend(t, "GET", infoURL(s), key), 200)
	wantStatus(t, mustSend(t, "POST", renewURL(s, key), key), 201)
	other := espertest.New()
	defer other.Close()
	other.Retire(404, "nothing")
	if len(other.Violations()) != 1 {
		t.Error("Retire reports no violation for an unknown operation")
	}
}
