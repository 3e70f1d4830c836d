package espertest

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/api"
)

// newSpec loads the API's description with old replaced.
func newSpec(t *testing.T, old, replacement string) *spec {
	t.Helper()
	if !strings.Contains(string(api.Spec), old) {
		t.Fatalf("api.Spec has no %q", old)
	}
	s, err := loadSpec([]byte(strings.ReplaceAll(string(api.Spec), old, replacement)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// infoCall returns a request for token information with the server's key.
func infoCall(s *Server) call {
	r := httptest.NewRequest(http.MethodGet, s.URL+"/v1/token-info/", nil)
	return call{operation: s.spec.find(r), request: r, bearer: s.Token()}
}

func TestOwnAnswersAreChecked(t *testing.T) {
	s := New()
	defer s.Close()
	const secret = "cAnArY"
	c := infoCall(s)
	for body, want := range map[string]string{
		`{"id":"570","enterprise":"` + secret + `"}`: "",
		`{"id":"570"}`: "/enterprise breaks the schema's required",
		`{"id":"570","enterprise":"x","expires_on":"` + secret + `"}`: "/expires_on breaks the schema's format date-time",
		`{"id":"570","enterprise":{"` + secret + `":1}}`:              "/enterprise breaks the schema's type",
		secret: "cannot be read",
	} {
		err := s.spec.checkAnswer(c, answer{status: 200, header: jsonHeader(), body: []byte(body)})
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v, want it to pass", body, err)
		case want != "" && (err == nil || err.Error() != "GET /v1/token-info/: own answer 200: "+want):
			t.Errorf("%s: %v, want %s", body, err, want)
		case err != nil && strings.Contains(err.Error(), secret):
			t.Errorf("the error quotes a value: %v", err)
		}
	}
	s.spec = newSpec(t, "required: [id, enterprise]", "required: [id, enterprise, something]")
	s.act(infoCall(s))
	if got := s.Violations(); len(got) != 1 || !strings.HasSuffix(got[0].Error(), "/something breaks the schema's required") {
		t.Errorf("violations = %v, want one about the answer", got)
	}
}

// Each answer has exactly the properties that its schema in the description has.
func TestAnswersHaveTheDescribedProperties(t *testing.T) {
	s := New()
	defer s.Close()
	for name, v := range map[string]any{"TokenInfoV1": tokenInfo{}, "TokenRenewV0": renewal{}, "ErrorResponse": errorEnvelope{}} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		want := maps.Clone(s.spec.doc.Components.Schemas[name].Value.Properties)
		if name == "ErrorResponse" {
			delete(want, "detail") // the other form, from the framework
		}
		if g, w := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(g, w) {
			t.Errorf("%s has %v, want %v", name, g, w)
		}
	}
}

// The server takes paths and statuses from the description.
func TestDescriptionDecides(t *testing.T) {
	s := New()
	defer s.Close()
	s.spec = newSpec(t, "/v1/token-info/:", "/v9/info/:")
	r := httptest.NewRequest(http.MethodGet, s.URL+"/v9/info/", nil)
	if a := s.answer(call{operation: s.spec.find(r), request: r, bearer: s.Token()}); a.status != 200 {
		t.Errorf("status = %d on the moved path, want 200", a.status)
	}
	s.spec = newSpec(t, "'200':", "'202':")
	if a := s.answer(infoCall(s)); a.status != 202 {
		t.Errorf("status = %d, want the described 202", a.status)
	}
	s.spec = newSpec(t, "getTokenInfo\n", "somethingNew\n")
	if a := s.act(infoCall(s)); a.status != http.StatusNotImplemented {
		t.Errorf("status = %d for an operation without an answer, want 501", a.status)
	}
}

func TestLoadSpec(t *testing.T) {
	for _, text := range []string{"openapi: [", "openapi: 3.0.3\nservers: [{url: '::'}]"} {
		if _, err := loadSpec([]byte(text)); err == nil {
			t.Errorf("loadSpec accepts %q", text)
		}
	}
}
