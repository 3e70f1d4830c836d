package espertest_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTokenInfo(t *testing.T) {
	s := espertest.NewServer(t)
	got := mustSend(t, "GET", infoURL(s), s.Token())
	wantStatus(t, got, 200)
	if ct := got.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type = %q", ct)
	}
	for name, want := range map[string]any{
		"id": "570", "user": "bindya", "token": "fake-esper-key", "source_refresh_token": nil,
		"enterprise": "f44373cb-1800-43c6-aab3-c81f8b1f435c", "developer_app": s.DeveloperAppID,
	} {
		if v, ok := got.json[name]; !ok || v != want {
			t.Errorf("%s = %v, want %v", name, v, want)
		}
	}
	if want := `"scope":["read","write","update","introspection","sdk","register"]`; !strings.Contains(got.body, want) {
		t.Errorf("body = %s, want %s in it", got.body, want)
	}
	wantExpiry(t, got.json["expires_on"], 90*24*time.Hour)
	wantExpiry(t, got.json["created_on"], 0)
	wantExpiry(t, got.json["updated_on"], 0)
}

func TestRenewal(t *testing.T) {
	s := espertest.NewServer(t, espertest.WithLifetime(time.Hour))
	first := s.Token()
	got := mustSend(t, "POST", renewURL(s, first), first)
	wantStatus(t, got, 201)
	for name, want := range map[string]any{
		"id": 571.0, "user": "bindya", "token": "fake-esper-key-renewed-1",
		"enterprise":   "Esper [" + s.EnterpriseID + "]",
		"developerapp": "DeveloperApp object (" + s.DeveloperAppID + ")",
		"scope":        "read write update introspection sdk register",
	} {
		if got.json[name] != want {
			t.Errorf("%s = %v, want %v", name, got.json[name], want)
		}
	}
	wantExpiry(t, got.json["expires_at"], time.Hour)

	second := s.Token()
	if second != got.json["token"] {
		t.Errorf("Token() = %q, which is not the key in the answer", second)
	}
	wantEnvelope(t, mustSend(t, "GET", infoURL(s), first), 401)
	wantEnvelope(t, mustSend(t, "POST", renewURL(s, first), second), 400)
	info := mustSend(t, "GET", infoURL(s), second)
	if info.json["id"] != "571" || info.json["token"] != second {
		t.Errorf("info = %s, want that of the new key", info.body)
	}
	again := mustSend(t, "POST", renewURL(s, second), second)
	if again.json["id"] != 572.0 || s.Token() != "fake-esper-key-renewed-2" {
		t.Errorf("second renewal = %s, want id 572 and -renewed-2", again.body)
	}
}

func TestKeepOldKey(t *testing.T) {
	s := espertest.NewServer(t, espertest.KeepOldKey())
	first := s.Token()
	wantStatus(t, mustSend(t, "POST", renewURL(s, first), first), 201)
	wantStatus(t, mustSend(t, "GET", infoURL(s), first), 200)
	wantStatus(t, mustSend(t, "POST", renewURL(s, first), s.Token()), 201)
	wantStatus(t, mustSend(t, "GET", infoURL(s), s.Token()), 200)
}

func TestExpiry(t *testing.T) {
	s := espertest.NewServer(t, espertest.WithLifetime(0))
	wantEnvelope(t, mustSend(t, "GET", infoURL(s), s.Token()), 401)
}

// If the server refuses a well-formed request, that is no violation: else NewServer would fail the test.
func TestRefusals(t *testing.T) {
	s := espertest.NewServer(t, espertest.WithToken(""))
	key, other := s.Token(), "00000000-0000-0000-0000-000000000000"
	wantEnvelope(t, mustSend(t, "GET", infoURL(s), ""), 401)
	wantEnvelope(t, mustSend(t, "GET", infoURL(s), "wrong"), 401)
	wantEnvelope(t, mustSend(t, "POST", renewURL(s, key), "wrong"), 401)
	wantEnvelope(t, mustSend(t, "POST", renewURL(s, "wrong"), key), 400)
	wantEnvelope(t, mustSend(t, "POST", renewURL(s, key)+"&access_token=twice", key), 400)
	wantEnvelope(t, mustSend(t, "POST", strings.Replace(renewURL(s, key), s.EnterpriseID, other, 1), key), 403)
	wantEnvelope(t, mustSend(t, "POST", strings.Replace(renewURL(s, key), s.DeveloperAppID, other, 1), key), 403)
	for _, values := range [][]string{{"Basic " + key}, {key}, {"Bearer " + key, "Bearer " + key}} {
		req, _ := http.NewRequest("GET", infoURL(s), nil)
		req.Header["Authorization"] = values
		got, err := do(req)
		if err != nil {
			t.Fatal(err)
		}
		wantEnvelope(t, got, 401)
	}
	if s.Token() != key {
		t.Error("a refused renewal made a key")
	}
}

func TestOddKeys(t *testing.T) {
	for _, key := range []string{"a&b", "a+b", "100%", "a;b", "a=b", "a/b", "two words", "%2F+%26", "a?b#c"} {
		s := espertest.NewServer(t, espertest.WithToken(key))
		got := mustSend(t, "POST", renewURL(s, key), key)
		wantStatus(t, got, 201)
		if got.json["token"] != key+"-renewed-1" {
			t.Errorf("key %q: new key %q", key, got.json["token"])
		}
		r := s.Requests()[0]
		if r.Key.Reveal() != key || r.AccessToken.Reveal() != key || len(r.Query) != 0 {
			t.Errorf("key %q arrived as %q and %q, beside %v", key, r.Key.Reveal(), r.AccessToken.Reveal(), r.Query)
		}
	}
}

func TestRequests(t *testing.T) {
	s := espertest.NewServer(t)
	if got := s.Requests(); len(got) != 0 {
		t.Errorf("Requests() = %v before any", got)
	}
	req, _ := http.NewRequest("GET", infoURL(s)+"?a=b+c", nil)
	req.Header.Set("User-Agent", "test/1")
	if _, err := do(req); err != nil {
		t.Fatal(err)
	}
	mustSend(t, "POST", renewURL(s, "x"), "y")
	got := s.Requests()
	if len(got) != 2 {
		t.Fatalf("%d requests, want 2", len(got))
	}
	if r := got[0]; r.Method != "GET" || r.Path != "/api/v1/token-info/" || r.Query.Get("a") != "b c" ||
		r.Header.Get("User-Agent") != "test/1" || !r.Key.IsZero() || !r.AccessToken.IsZero() {
		t.Errorf("first request = %+v", r)
	}
	if r := got[1]; r.Method != "POST" || r.Key.Reveal() != "y" || r.AccessToken.Reveal() != "x" ||
		r.Header.Get("Authorization") != "" || !strings.HasSuffix(r.Path, "/renew-token/") {
		t.Errorf("second request = %+v", r)
	}
}

func TestListenerAndClose(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := espertest.New(espertest.WithListener(l))
	if s.URL != "http://"+l.Addr().String()+"/api" {
		t.Errorf("URL = %q, listener is on %v", s.URL, l.Addr())
	}
	wantStatus(t, mustSend(t, "GET", infoURL(s), s.Token()), 200)
	s.Close()
	s.Close()
	if _, err := send("GET", infoURL(s), s.Token()); err == nil {
		t.Error("the server answers after Close")
	}
	goleak.VerifyNone(t)
}

// Close does not wait for a request whose body never ends.
func TestCloseDuringBody(t *testing.T) {
	s := espertest.New()
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(s.URL, "http://"), "/api"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "POST /api/v1/token-info/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
	time.Sleep(50 * time.Millisecond)
	s.Close()
	goleak.VerifyNone(t)
}

func TestConcurrentUse(t *testing.T) {
	s := espertest.NewServer(t, espertest.KeepOldKey())
	key := s.Token()
	errs := make(chan error)
	for range 20 {
		go func() {
			s.Fail(0, espertest.Fault{})
			_, err := send("POST", renewURL(s, key), key)
			_, _, _ = s.Requests(), s.Violations(), s.Token()
			errs <- err
		}()
	}
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := s.Token(); got != "fake-esper-key-renewed-20" {
		t.Errorf("Token() = %q after 20 renewals, want -renewed-20 at its end", got)
	}
}
