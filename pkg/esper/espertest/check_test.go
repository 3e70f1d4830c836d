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

// leaks reports whether text holds the canary, whose beginning is the same in every encoding.
func leaks(text string) bool { return strings.Contains(text, "cAnArY") }

func TestViolations(t *testing.T) {
	query := url.QueryEscape(canary)
	const renew = "/v0/enterprise/f44373cb-1800-43c6-aab3-c81f8b1f435c/developerapp/5fa87c46-bef7-4c1f-9ca8-ebf022d118b6/renew-token"
	const template = "/v0/enterprise/{enterprise_id}/developerapp/{developerapp_id}/renew-token"
	const tokens = "/authn2/v0/personal-access-token"
	const token, byID = tokens + "/0d3f8d3a-6f0f-4b8e-9d55-000000000001", tokens + "/{personal_access_token_id}"
	const noObject, required, wholeNumber = "The body is no JSON object", "expiry_at: This field is required", "expiry_at: Want a whole number of seconds since 1970"
	for _, c := range []struct {
		request, body string
		status        int
		says          string // the answer
		want          string
	}{
		{"PUT " + token + "/", `{"expiry_at": -1}`, 404, "", "PUT /api" + tokens + "/…/: there is no such path"},
		{"GET /v1/../v1/token-info/", "", 404, "", "GET /api/v1/…/v1/token-info/: there is no such path"},
		{"PUT " + token, `{"expiry_at": "` + canary + `"}`, 400, wholeNumber, "PUT " + byID + ": the body's /expiry_at breaks the schema's type"},
		{"PUT " + token, `{"expiry_at": null}`, 400, required, "PUT " + byID + ": the body's /expiry_at breaks the schema's nullable"},
		{"PUT " + token, `{"` + canary + `": 1}`, 400, required, "PUT " + byID + ": the body's /expiry_at breaks the schema's required"},
		{"PUT " + token, canary, 400, noObject, "PUT " + byID + ": the body cannot be read"},
		{"PUT " + token, `["` + canary + `"]`, 400, noObject, "PUT " + byID + ": the body breaks the schema's type"},
		{"PUT " + token, "", 400, noObject, "PUT " + byID + ": the body is missing"},
		{"POST " + renew + "?access_token=" + query, "", 405, "", "POST " + template + ": the path lacks its trailing slash"},
		{"GET " + renew + "/?access_token=" + query, "", 405, "", "GET " + template + "/: the path does not have this method"},
		{"POST /v1/token-info/", "", 405, "", "POST /v1/token-info/: the path does not have this method"},
		{"GET /v1/" + url.PathEscape(canary) + "/", "", 404, "", "GET /api/v1/…/: there is no such path"},
		{"GET /v1/token-info//", "", 404, "", "GET /api/v1/token-info//: there is no such path"},
		{"POST " + renew + "/", "", 400, "", "POST " + template + "/: query parameter access_token is missing"},
		{"POST " + renew + "/?access_token=", "", 400, "", "POST " + template + "/: query parameter access_token "},
		{"POST " + renew + "/?access_token=" + query + ";" + query, "", 400, "", "POST " + template + "/: the query is not well-formed"},
		{
			"POST " + strings.Replace(renew, "f44373cb-", query, 1) + "/?access_token=" + query, "", 403, "",
			"POST " + template + "/: path parameter enterprise_id breaks the schema's format uuid",
		},
		{"POST " + renew + "/?access_token=" + query, "access_token=" + query, 201, "", "POST " + template + "/: the request has a body, the operation has none"},
	} {
		t.Run(c.want, func(t *testing.T) {
			s := espertest.New(espertest.WithToken(canary))
			defer s.Close()
			method, target, _ := strings.Cut(c.request, " ")
			if got := want(t, send(t, method, s.URL+target, canary, c.body), c.status); !strings.Contains(got.body, c.says) {
				t.Errorf("the answer does not say %s: %s", c.says, got.body)
			}
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
