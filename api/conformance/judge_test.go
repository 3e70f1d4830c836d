package conformance

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/esper-go/esper-go/api"
)

// TestJudge judges answers of programs with faults that hardly any of the clients in RESULTS.md has. TestConformance
// shows how the others are judged.
func TestJudge(t *testing.T) {
	all := loadScenarios(t)
	const right = `"id": 571, "user": "bindya", "enterprise": "f44373cb-1800-43c6-aab3-c81f8b1f435c",
		"developerapp": "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6", "token": "example-new-key", "expires_at": "2023-07-03T06:29:53.90602+02:00",
		"scope": "read write update introspection sdk register", "created_on": "2023-04-04T04:29:53.906020Z"`
	const renewal, limited, none = "renewal, string id, bare UUIDs", "429 with Retry-After", "answer cut off"
	for _, tc := range []struct {
		scenario, reply string
		arrived         int
		want            string
	}{
		{"list of tokens", `{"status": 200, "value": {"count": 1, "personal_access_tokens": [{"id": "0d3f8d3a-6f0f-4b8e-9d55-000000000001",
			"name": "token 1", "prefix": "fake-esp", "token": "fake-esper-key", "created_at": "2023-04-04 :29:53Z", "description": "",
			"updated_at": "2023-04-04T04:29:53Z", "expiry_at": 1.888272E9, "legacy_token_id": 570.0,
			"legacy_developer_app_id": "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"}]}}`, 1, "another personal_access_tokens"},
		{"list, empty", `{"status": 200, "value": {"count": 0}}`, 1, "no personal_access_tokens"},
		{"renewal, dates without a zone", `{"status": 201, "value": {"id": "571", "token": "example-new-key",
			"expires_at": "2023-07-03T04:29:53.906020Z", "created_on": "2023-04-04 04:29:53", "updated_on": "2023-04-04T04:29:53.906020"}}`, 1, "another expires_at"},
		{renewal, `{"status": 201, "value": {` + right + `, "user": "another", "more": 1}}`, 1, "another more, no updated_on, another user"},
		{renewal, `{"status": 201, "error": {"token": "example-new-key"}}`, 1, "the new key is lost"},
		{renewal, `{"status": 200, "value": {` + right + `}}`, 1, "it is shown as a 200"},
		{limited, `{"status": 429, "error": {"errors": ["Request was throttled."], "message": "Wait a moment and try again.", "status": "429"}}`, 1, "no Retry-After"},
		{limited, `{"status": 429, "retry_after": "2", "value": {}}`, 1, "it is shown as a success"},
		{none, `{"status": 0, "failure": "reset"}`, 2, "the renewal is sent 2 times"},
		{none, `{"status": 0, "failure": "no such operation"}`, 0, "the renewal is sent 0 times"},
		{none, `{"status": 201, "value": {"token": "example-new-key"}}`, 1, "it is shown as a success"},
	} {
		s := all[slices.IndexFunc(all, func(s scenario) bool { return s.Name == tc.scenario && s.operation != "renewPersonalAccessToken" })]
		got, err := readReply([]byte(tc.reply))
		if problem := s.judge(got, tc.arrived); err != nil || problem != tc.want {
			t.Errorf("%s, %s: %q, %v; want %q", tc.scenario, tc.reply, problem, err, tc.want)
		}
	}
}

// TestScenariosFitTheDescription checks that the answers in scenarios.json fit the OpenAPI description, so that a client
// that rejects one of them is wrong.
func TestScenariosFitTheDescription(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	must(t, err)
	_ = doc.WalkSchemas(func(_ string, s *openapi3.SchemaRef) error {
		s.Value.Nullable = s.Value.Nullable || s.Value.Type == nil // kin-openapi accepts null only if this is set
		return nil
	})
	schemas := map[string]*openapi3.Schema{} // by operation and status
	for _, path := range doc.Paths.Map() {
		for _, op := range path.Operations() {
			for status, response := range op.Responses.Map() {
				schemas[op.OperationID+" "+status] = response.Value.Content.Get("application/json").Schema.Value
			}
		}
	}
	clock := strings.NewReplacer(anyDate, "2019-11-18T15:42:16.637203Z", `"`+anyNumber+`"`, "1888272000")
	for _, s := range loadScenarios(t) {
		if s.body == nil { // the answer of a proxy
			continue
		}
		var body any
		must(t, json.Unmarshal([]byte(clock.Replace(s.answer())), &body))
		if schema := schemas[s.operation+" "+strconv.Itoa(s.Answer.Status)]; schema == nil {
			t.Errorf("%s, %s: the description does not have this status", s.Name, s.operation)
		} else if err := schema.VisitJSON(body, openapi3.VisitAsResponse()); err != nil {
			t.Errorf("%s, %s: %v", s.Name, s.operation, err)
		}
	}
}
