package conformance

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/esper-go/esper-go/api"
)

func named(t *testing.T, name, operation string) scenario {
	t.Helper()
	all, err := loadScenarios()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(s scenario) bool { return s.Name == name && s.operation == operation })
	if i < 0 {
		t.Fatalf("no scenario %q of %s", name, operation)
	}
	return all[i]
}

// TestJudge judges answers of programs, most of which have one fault.
func TestJudge(t *testing.T) {
	const strings, limited, html, fields = "renewal, string id, bare UUIDs", "429 with Retry-After", "502 with HTML", "400, faults by field"
	const right = `{"status": 201, "value": {"id": 571, "user": "bindya", "enterprise": "f44373cb-1800-43c6-aab3-c81f8b1f435c",
		"developerapp": "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6", "token": "example-new-key", "expires_at": "2023-07-03T06:29:53.90602+02:00",
		"scope": "read write update introspection sdk register", "created_on": "2023-04-04T04:29:53.906020Z",
		"updated_on": "2023-04-04T04:29:53.906020Z", "undeclared": 1, "later": null}}`
	const renew, list, put = "renewToken", "listPersonalAccessTokens", "renewPersonalAccessToken"
	for _, tc := range []struct{ scenario, operation, reply, want string }{
		{strings, renew, right, ""},
		{strings, renew, `{"status": 201, "value": {"token": "other"}}`, "no created_on, no developerapp, no enterprise, no expires_at, no id, no scope, another token, no updated_on, no user"},
		{strings, renew, `{"status": 0, "failure": "ValueError"}`, "the new key is lost"},
		{strings, renew, `{"status": 201}`, "the new key is lost"},
		{strings, renew, `{"status": 201, "error": {"token": "example-new-key"}}`, "the new key is lost"},
		{strings, renew, `{"status": 200, "value": {"token": "example-new-key"}}`, "it is shown as a 200"},
		{"renewal, null fields", renew, `{"status": 201, "value": {"token": "example-new-key", "more": 1}}`, "another more"},
		{"renewal, dates without a zone", renew, `{"status": 201, "value": {"id": "571", "token": "example-new-key",
			"expires_at": "2023-07-03T04:29:53.906020Z", "created_on": "2023-04-04 04:29:53", "updated_on": "2023-04-04T04:29:53.906020"}}`, "another expires_at"},
		{limited, renew, `{"status": 429, "retry_after": "2", "error": {"errors": ["Request was throttled."], "message": "Wait a moment and try again.", "status": "429"}}`, ""},
		{limited, renew, `{"status": 429, "error": {"errors": ["Request was throttled."], "message": "Wait a moment and try again.", "status": 429}}`, "no Retry-After"},
		{limited, renew, `{"status": 429, "retry_after": "2", "value": {}}`, "it is shown as a success"},
		{fields, renew, `{"status": 400, "error": {"errors": {"access_token": ["This field is required."]}, "message": "Bad request", "status": 400}}`, ""},
		{fields, renew, `{"status": 400, "error": {"errors": ["access_token"], "message": "Bad request", "status": 400}}`, "another errors"},
		{fields, renew, `{"status": 0, "failure": "cannot be read"}`, "the status is lost"},
		{html, renew, `{"status": 502}`, ""},
		{html, renew, `{"status": 502, "failure": "no JSON"}`, ""},
		{html, renew, `{"status": 500}`, "it is shown as a 500"},
		{"token info", "getTokenInfo", `{"status": 200}`, "the answer is lost"},
		{"list of tokens", list, `{"status": 200}`, "the answer is lost"},
		{"list of tokens", list, `{"status": 200, "value": {"count": 1, "personal_access_tokens": [{
			"id": "0d3f8d3a-6f0f-4b8e-9d55-000000000001", "name": "token 1", "prefix": "fake-esp", "token": "********", "description": "",
			"created_at": "2023-04-04", "updated_at": "2023-04-04T04:29:53Z", "expiry_at": 1.888272E9, "legacy_token_id": 570.0,
			"legacy_developer_app_id": null}]}}`, "another created_at, no legacy_developer_app_id, another token"},
		{"list of tokens", list, `{"status": 200, "value": {"count": 1, "personal_access_tokens": []}}`, "another personal_access_tokens"},
		{"list, empty", list, `{"status": 200, "value": {"count": 0}}`, "no personal_access_tokens"},
		{"list, null", list, `{"status": 200, "value": {}}`, ""},
		{"personal token renewal, null fields", put, `{"status": 200, "value": {"token": "example-new-key"}}`, ""},
		{"personal token renewal, null fields", put, `{"status": 200, "error": {}}`, "the new key is lost"},
	} {
		s := named(t, tc.scenario, tc.operation)
		got, err := readReply([]byte(tc.reply))
		if err != nil {
			t.Errorf("%s: %v", tc.reply, err)
		}
		if problem := s.judge(got); problem != tc.want {
			t.Errorf("%s, %s: %q, want %q", tc.scenario, tc.reply, problem, tc.want)
		}
	}
	for _, tc := range []struct {
		reply   string
		arrived int
		want    string
	}{
		{`{"status": 0, "failure": "reset"}`, 1, ""},
		{`{"status": 201, "failure": "cut off"}`, 1, ""},
		{`{"status": 0, "failure": "reset"}`, 2, "the renewal is sent 2 times"},
		{`{"status": 0, "failure": "no such operation"}`, 0, "the renewal is not sent"},
		{`{"status": 201, "value": {"token": "example-new-key"}}`, 1, "it is shown as a success"},
	} {
		s := named(t, "answer cut off", "renewToken")
		got, err := readReply([]byte(tc.reply))
		if problem := s.judgeBroken(got, tc.arrived); err != nil || problem != tc.want {
			t.Errorf("%s, sent %d times: %q, %v; want %q", tc.reply, tc.arrived, problem, err, tc.want)
		}
	}
	for _, line := range []string{`{"status": "201"}`, `{"state": 1}`, `{} {}`, `hello`} {
		if _, err := readReply([]byte(line)); err == nil {
			t.Errorf("readReply accepts %s", line)
		}
	}
}

// TestScenariosFitTheDescription checks that the answers in scenarios.json fit the OpenAPI description, so that a client
// that rejects one of them is wrong.
func TestScenariosFitTheDescription(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	if err != nil {
		t.Fatal(err)
	}
	_ = doc.WalkSchemas(func(_ string, s *openapi3.SchemaRef) error {
		s.Value.Nullable = s.Value.Nullable || s.Value.Type == nil // kin-openapi accepts null only if this is set
		return nil
	})
	clock := strings.NewReplacer(anyDate, "2019-11-18T15:42:16.637203Z", `"`+anyNumber+`"`, "1888272000")
	operations := map[string]*openapi3.Operation{}
	for _, path := range doc.Paths.Map() {
		for _, op := range path.Operations() {
			operations[op.OperationID] = op
		}
	}
	all, err := loadScenarios()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		op := operations[s.operation]
		if s.body == nil { // the answer of a proxy
			continue
		}
		if op == nil || op.Responses.Status(s.Answer.Status) == nil {
			t.Errorf("%s, %s: the description does not have this status", s.Name, s.operation)
			continue
		}
		content := op.Responses.Status(s.Answer.Status).Value.Content
		var body any
		if err := json.Unmarshal([]byte(clock.Replace(s.answer())), &body); err != nil {
			t.Error(err)
		}
		if err := content.Get("application/json").Schema.Value.VisitJSON(body, openapi3.VisitAsResponse()); err != nil {
			t.Errorf("%s, %s: %v", s.Name, s.operation, err)
		}
	}
}
