package espertest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

func TestRevokeExpireNewKey(t *testing.T) {
	for name, end := range map[string]func(*espertest.Server){"Revoke": (*espertest.Server).Revoke, "Expire": (*espertest.Server).Expire} {
		s := espertest.NewServer(t, espertest.KeepOldKey())
		first := s.Token()
		wantStatus(t, mustSend(t, "POST", renewURL(s, first), first), 201)
		second := s.Token()
		end(s)
		for _, key := range []string{first, second, s.Token()} {
			wantEnvelope(t, mustSend(t, "GET", infoURL(s), key), 401)
		}
		third := s.NewKey()
		if third != s.Token() || third == first || third == second {
			t.Errorf("%s: the new key is %q", name, third)
		}
		r := mustSend(t, "GET", infoURL(s), third)
		if wantStatus(t, r, 200); r.json["token"] != third || r.json["id"] != "572" {
			t.Errorf("%s: %s, want the new key with id 572", name, r.body)
		}
		if again := s.NewKey(); again == third || mustSend(t, "GET", infoURL(s), third).status != 200 {
			t.Errorf("%s: a second new key is %q, want another one, and the first still valid", name, again)
		}
	}
}

func TestFaultsQueue(t *testing.T) {
	s := espertest.NewServer(t)
	info := func() int { return mustSend(t, "GET", infoURL(s), s.Token()).status }
	renew := func() int { return mustSend(t, "POST", renewURL(s, s.Token()), s.Token()).status }
	s.Fail(1, espertest.Fault{Status: 503})
	s.Fail(2, espertest.Fault{Status: 429})
	s.FailOperation("renewToken", 1, espertest.Fault{Status: 500})
	s.FailOperation("RenewToken", 1, espertest.Fault{Status: 502})
	got := fmt.Sprint(info(), renew(), info(), renew(), info(), info(), renew())
	if want := "503 500 429 502 429 200 201"; got != want {
		t.Errorf("statuses %s, want %s", got, want)
	}
	s.FailOperation("TokenInfo", -1, espertest.Fault{Status: 504})
	if got := fmt.Sprint(info(), renew(), info()); got != "504 201 504" {
		t.Errorf("statuses %s, want the fault for token info alone", got)
	}
	s.Fail(1, espertest.Fault{Status: 500})
	s.FailOperation("getTokenInfo", 0, espertest.Fault{})
	if got := fmt.Sprint(info(), info()); got != "500 200" {
		t.Errorf("statuses %s, want the fault of Fail alone", got)
	}
}

func TestFailOperationRefusesUnknownNames(t *testing.T) {
	s := espertest.New()
	defer s.Close()
	s.FailOperation("renew", 1, espertest.Fault{Status: 500})
	s.FailOperation("renewToken", 1, espertest.Fault{Status: 99})
	if v := fmt.Sprint(s.Violations()); !strings.Contains(v, `no operation "renew"`) || !strings.Contains(v, "Fault.Status is 99") {
		t.Error(v)
	}
	wantStatus(t, mustSend(t, "POST", renewURL(s, s.Token()), s.Token()), 201)
}

// An endpoint of WithHandler accepts the same keys as the server, and gets faults in the same way.
func TestWithHandler(t *testing.T) {
	const pattern = "POST /v0/enterprise/{enterprise}/device/"
	device := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Path", r.URL.Path)
		w.WriteHeader(http.StatusAccepted)
		_, _ = fmt.Fprintf(w, "%s %s %s", r.PathValue("enterprise"), r.URL.Query().Get("q"), body)
	}
	s := espertest.NewServer(t, espertest.WithHandler(pattern, http.HandlerFunc(device)))
	ask := func(key string) reply {
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/v0/enterprise/e-1/device/?q=7", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		r, err := do(req)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := ask(s.Token()); r.status != 202 || r.body != "e-1 7 body" || r.header.Get("X-Path") != "/v0/enterprise/e-1/device/" {
		t.Errorf("%d %q %v, want the handler's answer", r.status, r.body, r.header)
	}
	wantEnvelope(t, ask("another-key"), 401)
	s.FailOperation(pattern, 1, espertest.Fault{Status: 503})
	if a, b := ask(s.Token()).status, ask(s.Token()).status; a != 503 || b != 202 {
		t.Errorf("statuses %d %d, want 503 and 202", a, b)
	}
	s.Revoke()
	wantEnvelope(t, ask(s.Token()), 401)
	if n := len(s.Requests()); n != 5 {
		t.Errorf("%d requests were recorded, want 5", n)
	}
	// A request that no handler matches is still a violation.
	other := espertest.New(espertest.WithHandler(pattern, http.HandlerFunc(device)))
	defer other.Close()
	wantStatus(t, mustSend(t, "GET", other.URL+"/v0/enterprise/e-1/device/", other.Token()), 404)
	wantStatus(t, mustSend(t, "GET", other.URL+"/v0/elsewhere/", other.Token()), 404)
	if len(other.Violations()) == 0 {
		t.Error("an unknown path is no violation")
	}
}

// In a bubble of testing/synctest, a year of waits takes no time, and no goroutine of the server is left at its end.
func TestTransportInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := espertest.NewServer(t, espertest.WithLifetime(400*24*time.Hour))
		client, err := esper.New(s.URL, esper.APIKey(s.Token()), esper.WithTransport(s.Transport()))
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		s.Fail(1, espertest.Fault{Status: 503, Header: http.Header{"Retry-After": {"20"}}})
		if _, err := client.TokenInfo(t.Context()); err != nil || time.Since(begun) != 20*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		s.FailOperation("TokenInfo", 1, espertest.Fault{Delay: time.Hour})
		if _, err := client.TokenInfo(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(365 * 24 * time.Hour)
		renewed, err := client.RenewToken(t.Context(), esper.RenewRequest{EnterpriseID: s.EnterpriseID, DeveloperAppID: s.DeveloperAppID})
		if err != nil || renewed.Token.Reveal() != s.Token() {
			t.Fatal(renewed, err)
		}
		if _, err := client.TokenInfo(t.Context()); !errors.Is(err, esper.ErrUnauthorized) {
			t.Errorf("the old key: %v", err)
		}
		s.FailOperation("renewToken", 1, espertest.Fault{Reset: espertest.BeforeHeader})
		_, err = client.RenewToken(t.Context(), esper.RenewRequest{EnterpriseID: s.EnterpriseID, DeveloperAppID: s.DeveloperAppID})
		var lost *esper.RenewalError
		if !errors.As(err, &lost) || lost.Outcome != esper.OutcomeUnknown {
			t.Error(err)
		}
	})
}

// The transport reaches the server whatever host a request names, so that a test can use the base URL of a real tenant.
func TestTransportReachesTheServer(t *testing.T) {
	s := espertest.NewServer(t)
	for _, base := range []string{s.URL, "https://foo-api.esper.cloud/api"} {
		client, err := esper.New(base, esper.APIKey(s.Token()), esper.WithTransport(s.Transport()))
		if err != nil {
			t.Fatal(err)
		}
		info, err := client.TokenInfo(t.Context())
		if err != nil || info.Token.Reveal() != s.Token() {
			t.Errorf("%s: %v", base, err)
		}
		client.CloseIdleConnections()
	}
	var printed strings.Builder
	if err := json.NewEncoder(&printed).Encode(s.Requests()); err != nil || strings.Contains(printed.String(), s.Token()) {
		t.Errorf("%v: %s", err, printed.String())
	}
	s.Close()
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Transport().RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
		t.Error("a closed server answers")
	}
}
