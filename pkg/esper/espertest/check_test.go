package espertest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// recorder is a testing.TB that keeps the errors and the cleanups.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	errors   []string
	cleanups []func()
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Helper()          {}

func TestViolationFailsTheOwningTest(t *testing.T) {
	tb := &recorder{TB: t}
	s := espertest.NewServer(tb)
	want(t, info(t, s, s.Token()), 200)
	if len(tb.errors) != 0 {
		t.Errorf("a good request failed the test: %q", tb.errors)
	}
	if noSlash := want(t, send(t, "GET", s.URL+"/v1/token-info", s.Token(), ""), 405); noSlash.header.Get("Allow") != "GET" {
		t.Errorf("Allow = %q, want GET", noSlash.header.Get("Allow"))
	}
	if len(tb.errors) != 1 || !strings.Contains(tb.errors[0], "trailing slash") || len(tb.cleanups) != 1 {
		t.Fatalf("errors %q, %d cleanups; want one about the missing slash, and one", tb.errors, len(tb.cleanups))
	}
	if r := send(t, "GET", "http://"+strings.Split(s.URL, "/")[2]+"/", "", ""); r.status != 404 {
		t.Errorf("status = %d outside the base path, want 404", r.status)
	}
	tb.cleanups[0]()
	if r := info(t, s, ""); r.err == nil {
		t.Error("the server outlives its test")
	}
}

const canary = "cAnArY &+%;=/key"

// leaks reports whether text holds the canary, raw or percent-encoded.
func leaks(text string) bool {
	for _, form := range []string{canary, url.QueryEscape(canary), url.PathEscape(canary), "cAnArY"} {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

func TestViolations(t *testing.T) {
	query := url.QueryEscape(canary)
	const renew = "/v0/enterprise/f44373cb-1800-43c6-aab3-c81f8b1f435c/developerapp/5fa87c46-bef7-4c1f-9ca8-ebf022d118b6/renew-token"
	const template = "/v0/enterprise/{enterprise_id}/developerapp/{developerapp_id}/renew-token"
	const tokens = "/authn2/v0/personal-access-token"
	const token = tokens + "/0d3f8d3a-6f0f-4b8e-9d55-000000000001"
	for name, c := range map[string]struct {
		method, target, body string
		status               int
		want                 string
	}{
		"list, no slash":    {"GET", tokens, "", 405, "GET " + tokens + ": the path lacks its trailing slash"},
		"token with slash":  {"PUT", token + "/", `{"expiry_at": -1}`, 404, "PUT /api" + tokens + "/…/: there is no such path"},
		"GET token":         {"GET", token, "", 405, "GET " + tokens + "/{personal_access_token_id}: the path does not have this method"},
		"dots":              {"GET", "/v1/../v1/token-info/", "", 404, "GET /api/v1/…/v1/token-info/: there is no such path"},
		"no number":         {"PUT", token, `{"expiry_at": "` + canary + `"}`, 400, "PUT " + tokens + "/{personal_access_token_id}: the body's /expiry_at breaks the schema's type"},
		"no expiry_at":      {"PUT", token, `{"` + canary + `": 1}`, 400, "PUT " + tokens + "/{personal_access_token_id}: the body's /expiry_at breaks the schema's required"},
		"no JSON":           {"PUT", token, canary, 400, "PUT " + tokens + "/{personal_access_token_id}: the body cannot be read"},
		"missing body":      {"PUT", token, "", 400, "PUT " + tokens + "/{personal_access_token_id}: the body is missing"},
		"no slash":          {"GET", "/v1/token-info", "", 405, "GET /v1/token-info: the path lacks its trailing slash"},
		"renewal, no slash": {"POST", renew + "?access_token=" + query, "", 405, "POST " + template + ": the path lacks its trailing slash"},
		"GET renewal":       {"GET", renew + "/?access_token=" + query, "", 405, "GET " + template + "/: the path does not have this method"},
		"POST info":         {"POST", "/v1/token-info/", "", 405, "POST /v1/token-info/: the path does not have this method"},
		"unknown path":      {"GET", "/v1/" + url.PathEscape(canary) + "/", "", 404, "GET /api/v1/…/: there is no such path"},
		"two slashes":       {"GET", "/v1/token-info//", "", 404, "GET /api/v1/token-info//: there is no such path"},
		"no access token":   {"POST", renew + "/", "", 400, "POST " + template + "/: query parameter access_token is missing"},
		"empty token":       {"POST", renew + "/?access_token=", "", 400, "POST " + template + "/: query parameter access_token "},
		"raw semicolon":     {"POST", renew + "/?access_token=" + query + ";" + query, "", 400, "POST " + template + "/: the query is not well-formed"},
		"no UUID": {
			"POST", strings.Replace(renew, "f44373cb-", query, 1) + "/?access_token=" + query, "", 403,
			"POST " + template + "/: path parameter enterprise_id breaks the schema's format uuid",
		},
		"a body": {"POST", renew + "/?access_token=" + query, "access_token=" + query, 201, "POST " + template + "/: the request has a body, the operation has none"},
	} {
		t.Run(name, func(t *testing.T) {
			s := espertest.New(espertest.WithToken(canary))
			defer s.Close()
			want(t, send(t, c.method, s.URL+c.target, canary, c.body), c.status)
			violations := s.Violations()
			if len(violations) != 1 || !strings.HasPrefix(violations[0].Error(), c.want) {
				t.Fatalf("violations = %v, want one: %s", violations, c.want)
			}
			if leaks(fmt.Sprintf("%v %+v %#v %q", violations, violations, violations[0], violations[0])) {
				t.Errorf("a violation holds the key: %v", violations)
			}
		})
	}
	s := espertest.New()
	defer s.Close()
	req, _ := http.NewRequest("PUT", s.URL+token, strings.NewReader(`{"expiry_at": -1}`))
	req.Header = http.Header{"Authorization": {"Bearer " + s.Token()}, "Content-Type": {"text/plain"}}
	want(t, do(req), 200)
	if said := fmt.Sprint(s.Violations()); !strings.Contains(said, `the body's content type is "text/plain"`) {
		t.Error(said)
	}
}
