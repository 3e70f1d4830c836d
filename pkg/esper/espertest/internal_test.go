package espertest

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/esper-go/esper-go/api"
)

// ask returns the answer of s to a request for the path of an operation, with the newest key, and checks it against the
// description.
func ask(t *testing.T, s *Server, method, template, query, body string) *httptest.ResponseRecorder {
	t.Helper()
	path := strings.NewReplacer("{enterprise_id}", s.EnterpriseID, "{developerapp_id}", s.DeveloperAppID,
		"{personal_access_token_id}", s.tokens[0].id).Replace(template)
	r := httptest.NewRequest(method, s.base+path+query, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+s.Token())
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.http.Config.Handler.ServeHTTP(w, r)
	described := s.doc.Paths.Value(template).GetOperation(method).Responses.Status(w.Code)
	if described == nil {
		t.Fatalf("%s %s: the description does not have the status %d", method, template, w.Code)
	}
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	_ = s.doc.WalkSchemas(func(_ string, schema *openapi3.SchemaRef) error {
		schema.Value.Nullable = schema.Value.Nullable || schema.Value.Type == nil // kin-openapi wants it said
		return nil
	})
	schema := described.Value.Content.Get(w.Header().Get("Content-Type")).Schema.Value
	if err := schema.VisitJSON(answer, openapi3.VisitAsResponse()); err != nil {
		t.Errorf("%s %s %d: %v", method, template, w.Code, err)
	}
	want := maps.Clone(schema.Properties)
	delete(want, "detail") // the other form of an error, from the framework
	if g, w := slices.Sorted(maps.Keys(answer)), slices.Sorted(maps.Keys(want)); !slices.Equal(g, w) {
		t.Errorf("%s %s has %v, want %v", method, template, g, w)
	}
	return w
}

const (
	infoPath   = "/v1/token-info/"
	renewPath  = "/v0/enterprise/{enterprise_id}/developerapp/{developerapp_id}/renew-token/"
	tokensPath = "/authn2/v0/personal-access-token/"
)

// Each answer of the server fits the description, and has exactly the properties of its schema.
func TestAnswersFitTheDescription(t *testing.T) {
	s := New()
	defer s.Close()
	query := func() string { return "?access_token=" + url.QueryEscape(s.Token()) }
	for _, c := range []struct {
		method, path, query, body string
		want                      int
	}{
		{"GET", infoPath, "", "", 200},
		{"POST", renewPath, query(), "", 201},
		{"POST", renewPath, "?access_token=other", "", 400},
		{"GET", tokensPath, "", "", 200},
		{"PUT", tokensPath + "{personal_access_token_id}", "", `{"expiry_at":-1}`, 200},
		{"PUT", tokensPath + "{personal_access_token_id}", "", `{"expiry_at":1}`, 400},
	} {
		if got := ask(t, s, c.method, c.path, c.query, c.body); got.Code != c.want {
			t.Errorf("%s %s: %d, want %d: %s", c.method, c.path, got.Code, c.want, got.Body)
		}
	}
	s.Revoke()
	if got := ask(t, s, "GET", infoPath, "", ""); got.Code != http.StatusUnauthorized {
		t.Errorf("status = %d with a revoked key, want 401", got.Code)
	}
}

// The server takes paths from the description.
func TestDescriptionDecides(t *testing.T) {
	replaced := func(old, replacement string) *Server {
		if !strings.Contains(string(api.Spec), old) {
			t.Fatalf("api.Spec has no %q", old)
		}
		s := start([]byte(strings.ReplaceAll(string(api.Spec), old, replacement)), nil)
		t.Cleanup(s.Close)
		return s
	}
	if got := ask(t, replaced("/v1/token-info/:", "/v9/info/:"), "GET", "/v9/info/", "", ""); got.Code != 200 {
		t.Errorf("status = %d on the moved path, want 200", got.Code)
	}
	s := replaced("getTokenInfo\n", "somethingNew\n")
	if got := s.answer(call{id: "somethingNew", bearer: s.Token()}); got.status != http.StatusNotImplemented {
		t.Errorf("status = %d for an operation without an answer, want 501", got.status)
	}
	if _, _, err := loadSpec([]byte("openapi: [")); err == nil {
		t.Error("loadSpec accepts what is no YAML")
	}
}
