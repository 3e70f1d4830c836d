package espertest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// The answers are those of the scenarios in which the server answers by itself, for generated clients: what the real
// server has been seen to send, or what Esper declares. They fit the description (TestScenariosFitTheDescription).
func TestAnswers(t *testing.T) {
	var scenarios []struct {
		Name, Key  string
		Own        bool
		Operations []string
		Answer     struct {
			Status int
			Body   map[string]any
		}
	}
	text, err := os.ReadFile("../../../api/conformance/scenarios.json")
	must(t, errors.Join(err, json.Unmarshal(text, &scenarios)))
	date, number := regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"`), regexp.MustCompile(`"expiry_at":1\d{9},`)
	tried := map[string]bool{}
	for _, scenario := range scenarios {
		for _, operation := range scenario.Operations {
			if !scenario.Own {
				continue
			}
			tried[operation] = true
			s := espertest.NewServer(t, espertest.WithToken(scenario.Key))
			got := want(t, ask(t, s, operation, `{"expiry_at":4102444800}`), scenario.Answer.Status)
			var answer map[string]any
			body := number.ReplaceAllString(date.ReplaceAllString(got.body, `"any date"`), `"expiry_at":"any number",`)
			if err := json.Unmarshal([]byte(body), &answer); err != nil || !reflect.DeepEqual(answer, scenario.Answer.Body) {
				t.Errorf("%s, %s: %v, %s; want %v", scenario.Name, operation, err, body, scenario.Answer.Body)
			}
			if ct := got.header.Get("Content-Type"); ct != "application/json" {
				t.Errorf("%s: Content-Type = %q", scenario.Name, ct)
			}
		}
	}
	if len(tried) != 4 {
		t.Errorf("the scenarios have %v, want all operations", tried)
	}
}

// The keys that the server has made, and for how long, decide about a request, and what a test has set.
func TestStatuses(t *testing.T) {
	type server = espertest.Server
	fault := func(status int) espertest.Fault { return espertest.Fault{Status: status} }
	for name, c := range map[string]struct {
		option     espertest.Option
		set        func(s *server)
		asks, want string // as statuses has them
	}{
		"renewal":           {nil, nil, "irIRir", "200 201 401 400 200 201"},
		"the old key stays": {espertest.KeepOldKey(), nil, "rIRI", "201 200 201 200"},
		"expired":           {espertest.WithLifetime(0), nil, "irl", "401 401 401"},
		"Expire":            {espertest.KeepOldKey(), func(s *server) { renew(t, s, s.Token()); s.Expire() }, "iI", "401 401"},
		"Revoke":            {espertest.KeepOldKey(), func(s *server) { renew(t, s, s.Token()); s.Revoke() }, "iI", "401 401"},
		"a key after that":  {espertest.KeepOldKey(), func(s *server) { s.Revoke(); s.NewKey() }, "iIri", "200 401 201 200"},
		"another key":       {nil, func(s *server) { s.NewKey() }, "iIrI", "200 200 201 200"},

		"retired":      {espertest.WithRetired(410), nil, "ril", "410 200 200"},
		"two retired":  {nil, func(s *server) { s.Retire(404, "renewToken", "TokenInfo") }, "ril", "404 404 200"},
		"brought back": {espertest.WithRetired(410), func(s *server) { s.Retire(0, "renewToken") }, "ir", "200 201"},

		"two faults":          {nil, func(s *server) { s.Fail(2, fault(503)) }, "iri", "503 503 200"},
		"always":              {nil, func(s *server) { s.Fail(-1, fault(500)) }, "iriri", "500 500 500 500 500"},
		"one, which ends all": {nil, func(s *server) { s.Fail(-1, fault(500)); s.Fail(1, fault(429)) }, "ii", "429 200"},
		"none":                {nil, func(s *server) { s.Fail(3, fault(502)); s.Fail(0, espertest.Fault{}) }, "i", "200"},
		"in a row, an operation's first": {nil, func(s *server) {
			s.Fail(1, fault(503))
			s.Fail(2, fault(429))
			s.FailOperation("renewToken", 1, fault(500))
			s.FailOperation("RenewToken", 1, fault(502))
		}, "iririir", "503 500 429 502 429 200 201"},
		"an operation's": {nil, func(s *server) { s.FailOperation("TokenInfo", -1, fault(504)) }, "iri", "504 201 504"},
		"an operation's removed": {nil, func(s *server) {
			s.FailOperation("getTokenInfo", -1, fault(504))
			s.Fail(1, fault(500))
			s.FailOperation("getTokenInfo", 0, espertest.Fault{})
		}, "ii", "500 200"},
	} {
		s := espertest.NewServer(t, c.option)
		if c.set != nil {
			c.set(s)
		}
		before := len(s.Requests())
		if got := statuses(t, s, c.asks); got != c.want || len(s.Requests()) != before+len(c.asks) {
			t.Errorf("%s: statuses %s, want %s; %d requests", name, got, c.want, len(s.Requests())-before)
		}
	}
}

func TestKeys(t *testing.T) {
	s := espertest.NewServer(t, espertest.WithLifetime(time.Hour))
	wantTime(t, info(t, s, s.Token()).json["expires_on"], time.Hour)
	for i, name := range []string{"fake-esper-key-renewed-1", "fake-esper-key-renewed-2"} {
		got := renew(t, s, s.Token()).json
		if got["token"] != name || s.Token() != name || got["id"] != float64(571+i) {
			t.Errorf("renewal %d: %v; Token() = %q", i, got, s.Token())
		}
		wantTime(t, got["expires_at"], time.Hour)
		wantTime(t, got["created_on"], 0)
	}
	first, second := s.NewKey(), s.NewKey()
	if got := info(t, s, second).json; first == second || second != s.Token() || got["token"] != second || got["id"] != "574" {
		t.Errorf("the new keys are %q and %q: %v", first, second, got)
	}
	usual := espertest.NewServer(t)
	wantTime(t, info(t, usual, usual.Token()).json["expires_on"], 90*24*time.Hour)
}

// If the server refuses a well-formed request, that is no violation: else NewServer would fail the test.
func TestRefusals(t *testing.T) {
	s := espertest.NewServer(t, espertest.WithToken(""))
	key, other := s.Token(), "00000000-0000-0000-0000-000000000000"
	want(t, info(t, s, ""), 401)
	want(t, info(t, s, "wrong"), 401)
	want(t, send(t, "POST", renewURL(s, key), "wrong", ""), 401)
	want(t, send(t, "POST", renewURL(s, "wrong"), key, ""), 400)
	want(t, send(t, "POST", renewURL(s, key)+"&access_token=twice", key, ""), 400)
	want(t, send(t, "POST", strings.Replace(renewURL(s, key), s.EnterpriseID, other, 1), key, ""), 403)
	want(t, send(t, "POST", strings.Replace(renewURL(s, key), s.DeveloperAppID, other, 1), key, ""), 403)
	for _, values := range [][]string{{"Basic " + key}, {key}, {"Bearer " + key, "Bearer " + key}} {
		req, _ := http.NewRequest("GET", infoURL(s), nil)
		req.Header["Authorization"] = values
		want(t, do(req), 401)
	}
	if s.Token() != key {
		t.Error("a refused renewal made a key")
	}
	s.Retire(404)
	want(t, renew(t, s, key), 404)
}

// A renewal through either endpoint replaces the key for both, and no other key.
func TestPersonalAccessTokens(t *testing.T) {
	s := espertest.NewServer(t)
	list := func() []esper.PersonalAccessToken {
		t.Helper()
		list, err := clientOf(t, s, s.URL).ListPersonalAccessTokens(t.Context())
		must(t, err)
		return list
	}
	first := s.Token()
	second := s.NewKey()
	old := list()
	if len(old) != 2 || old[0].Token.Reveal() != first || old[1].Token.Reveal() != second || old[0].LegacyTokenID != "570" || old[0].ID == old[1].ID {
		t.Fatalf("%+v", old)
	}
	want(t, renew(t, s, first), 201)
	renewed := s.Token()
	if again := list(); again[0].ID != old[0].ID || again[0].Token.Reveal() != renewed || again[1].Token.Reveal() != second {
		t.Errorf("after renewToken: %+v", again)
	}
	token, err := clientOf(t, s, s.URL).RenewPersonalAccessToken(t.Context(), string(old[0].ID), time.Now().Add(time.Hour).Unix())
	if err != nil || token.Token.Reveal() != s.Token() || token.ID != old[0].ID {
		t.Fatalf("%+v, %v", token, err)
	}
	want(t, info(t, s, renewed), 401)
	want(t, info(t, s, second), 200)
	wantTime(t, want(t, info(t, s, s.Token()), 200).json["expires_on"], time.Hour)
	s.Revoke()
	s.NewKey()
	left := list()
	if len(left) != 1 {
		t.Fatalf("%d tokens after Revoke and NewKey, want 1", len(left))
	}

	for _, tc := range []struct {
		id, body, says string
		want           int
	}{
		{string(left[0].ID), `{"expiry_at": 7}`, "expiry_at: This is not in the future", 400},
		{string(left[0].ID), `{"expiry_at": 2000000000000}`, "The unit is seconds", 400},
		{string(old[0].ID), `{"expiry_at": -1}`, "Not found", 404},
		{string(left[0].ID), `{"expiry_at": -1}`, `"expiry_at":-1`, 200},
	} {
		got := want(t, send(t, "PUT", s.URL+"/authn2/v0/personal-access-token/"+tc.id, s.Token(), tc.body), tc.want)
		if !strings.Contains(got.body, tc.says) {
			t.Errorf("%s: %s; want %q", tc.body, got.body, tc.says)
		}
	}
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
	s := espertest.New(espertest.WithHandler(pattern, http.HandlerFunc(device)))
	defer s.Close()
	const path = "/v0/enterprise/e-1/device/"
	ask := func(key string) reply { return send(t, "POST", s.URL+path+"?q=7", key, "body") }
	if r := want(t, ask(s.Token()), 202); r.body != "e-1 7 body" || r.header.Get("X-Path") != path {
		t.Errorf("%q %v, want the handler's answer", r.body, r.header)
	}
	want(t, ask("another-key"), 401)
	s.FailOperation(pattern, 1, espertest.Fault{Status: 503})
	if a, b := ask(s.Token()).status, ask(s.Token()).status; a != 503 || b != 202 {
		t.Errorf("statuses %d %d, want 503 and 202", a, b)
	}
	s.Revoke()
	want(t, ask(s.Token()), 401)
	if len(s.Requests()) != 5 || len(s.Violations()) != 0 {
		t.Errorf("%d requests, want 5, and %v", len(s.Requests()), s.Violations())
	}
	want(t, send(t, "GET", s.URL+path, s.Token(), ""), 404) // no handler has this method
	want(t, send(t, "GET", s.URL+"/v0/elsewhere/", s.Token(), ""), 404)
	if len(s.Violations()) != 2 {
		t.Errorf("an unknown path is no violation: %v", s.Violations())
	}
}

func TestRequests(t *testing.T) {
	for _, key := range []string{"a&b", "a+b", "100%", "a;b", "a=b", "a/b", "two words", "%2F+%26", "a?b#c", canary} {
		s := espertest.NewServer(t, espertest.WithToken(key))
		if got := want(t, renew(t, s, key), 201); got.json["token"] != key+"-renewed-1" {
			t.Errorf("key %q: new key %q", key, got.json["token"])
		}
		req, _ := http.NewRequest("GET", infoURL(s)+"?a=b+c", nil)
		req.Header.Set("User-Agent", "test/1")
		want(t, do(req), 401)
		all := s.Requests()
		if len(all) != 2 {
			t.Fatalf("%d requests, want 2", len(all))
		}
		if r := all[0]; r.Method != "POST" || r.Key.Reveal() != key || r.AccessToken.Reveal() != key || len(r.Query) != 0 ||
			r.Header.Get("Authorization") != "" || !strings.HasSuffix(r.Path, "/renew-token/") {
			t.Errorf("first request = %+v with %q and %q", r, r.Key.Reveal(), r.AccessToken.Reveal())
		}
		if r := all[1]; r.Method != "GET" || r.Path != "/api/v1/token-info/" || r.Query.Get("a") != "b c" ||
			r.Header.Get("User-Agent") != "test/1" || !r.Key.IsZero() || !r.AccessToken.IsZero() {
			t.Errorf("second request = %+v", r)
		}
		printed := fmt.Sprintf("%v %+v %#v %s %q %v", all, all, all, all, all, &all[0])
		if encoded, err := json.Marshal(all); err != nil || key == canary && leaks(printed+string(encoded)) {
			t.Errorf("%v; the key is shown: %s %s", err, printed, encoded)
		}
	}
}

func TestListenerAndClose(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := espertest.New(espertest.WithListener(l))
	if s.URL != "http://"+l.Addr().String()+"/api" {
		t.Errorf("URL = %q, listener is on %v", s.URL, l.Addr())
	}
	want(t, info(t, s, s.Token()), 200)
	// Close waits neither for a request whose body never ends, nor for a delay.
	conn, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "POST /api/v1/token-info/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
	s.Fail(-1, espertest.Fault{Delay: time.Hour})
	delayed := make(chan reply)
	go func() { delayed <- info(t, s, s.Token()) }()
	for len(s.Requests()) < 2 {
		time.Sleep(time.Millisecond)
	}
	s.Close()
	s.Close()
	if r := <-delayed; r.err == nil {
		t.Error("the server answered after Close")
	}
	if r := info(t, s, s.Token()); r.err == nil {
		t.Error("the server answers after Close")
	}
	goleak.VerifyNone(t)
}

// The methods are safe for concurrent use; the race detector looks on.
func TestConcurrentUse(t *testing.T) {
	s := espertest.NewServer(t, espertest.KeepOldKey())
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			s.Fail(0, espertest.Fault{})
			want(t, renew(t, s, "fake-esper-key"), 201)
			_, _, _ = s.Requests(), s.Violations(), s.Token()
		})
	}
	all.Wait()
	if got := s.Token(); got != "fake-esper-key-renewed-20" {
		t.Errorf("Token() = %q after 20 renewals", got)
	}
}
