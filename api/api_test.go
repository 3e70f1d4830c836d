package api_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/esper-go/esper-go/api"
)

// kin-openapi checks the format date-time by itself, but uuid only with this.
func init() {
	openapi3.DefineStringFormatValidator("uuid",
		openapi3.NewRegexpFormatValidator(openapi3.FormatOfStringForUUIDOfRFC9562))
}

const (
	tokenInfoPath = "/v1/token-info/"
	renewPath     = "/v0/enterprise/{enterprise_id}/developerapp/{developerapp_id}/renew-token/"
	tokensPath    = "/authn2/v0/personal-access-token/"
)

func load(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	markUntyped(doc)
	return doc
}

// markUntyped tells kin-openapi that a schema without a type takes null too, as OpenAPI has it.
func markUntyped(doc *openapi3.T) {
	_ = doc.WalkSchemas(func(_ string, s *openapi3.SchemaRef) error {
		s.Value.Nullable = s.Value.Nullable || s.Value.Type == nil
		return nil
	})
}

func TestSpecIsTheFile(t *testing.T) {
	file, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(api.Spec, file) {
		t.Error("api.Spec is not openapi.yaml")
	}
}

func TestSpecIsValid(t *testing.T) {
	doc := load(t)
	if !strings.HasPrefix(doc.OpenAPI, "3.0.") {
		t.Errorf("openapi: %s, want 3.0.x", doc.OpenAPI)
	}
	err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation(), openapi3.EnableSchemaFormatValidation())
	if err != nil {
		t.Error(err)
	}
}

// TestValidationBites checks that validation finds an example of the wrong shape, and one of the wrong
// format.
func TestValidationBites(t *testing.T) {
	for _, tc := range []struct{ name, from, to string }{
		{"uuid", "example: f44373cb-1800-43c6-aab3-c81f8b1f435c\n    DeveloperappId", "example: Esper\n    DeveloperappId"},
		{"date-time", "expires_on: '2019-11-19T15:42:16.637203Z'", "expires_on: '2019-11-19 15:42'"},
		{"type", "token: example-new-key", "token: [571]"},
		{"required", "token: example-new-key\n        expires_at", "expires_at"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed := bytes.Replace(api.Spec, []byte(tc.from), []byte(tc.to), 1)
			if bytes.Equal(changed, api.Spec) {
				t.Fatalf("%q is not in the spec", tc.from)
			}
			doc, err := openapi3.NewLoader().LoadFromData(changed)
			if err != nil {
				t.Fatal(err)
			}
			markUntyped(doc)
			if doc.Validate(t.Context(), openapi3.EnableExamplesValidation()) == nil {
				t.Error("validation passed")
			}
		})
	}
}

// TestExamples validates every example without kin-openapi's own walk, which has options to skip
// examples. The counts at the end show that it has found all of them.
func TestExamples(t *testing.T) {
	doc := load(t)
	got := map[string]int{}
	check := func(kind, at string, schema *openapi3.Schema, example any) {
		t.Helper()
		got[kind]++
		if err := schema.VisitJSON(example, openapi3.EnableFormatValidation()); err != nil {
			t.Errorf("%s example at %s: %v", kind, at, err)
		}
	}
	err := doc.WalkSchemas(func(at string, s *openapi3.SchemaRef) error {
		if s.Value.Example != nil {
			check("schema", at, s.Value, s.Value.Example)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range doc.Components.Parameters {
		check("parameter", name, p.Value.Schema.Value, p.Value.Example)
	}
	for name, h := range doc.Components.Headers {
		check("header", name, h.Value.Schema.Value, h.Value.Example)
	}
	used := map[*openapi3.Example]bool{}
	bodies := func(at string, r *openapi3.Response) {
		if r.Content == nil {
			return
		}
		for name, example := range r.Content["application/json"].Examples {
			check("media", at+" "+name, r.Content["application/json"].Schema.Value, example.Value.Value)
			used[example.Value] = true
		}
	}
	for name, r := range doc.Components.Responses {
		bodies(name, r.Value)
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.RequestBody != nil {
				media := op.RequestBody.Value.Content["application/json"]
				for name, example := range media.Examples {
					check("media", method+" "+path+" "+name, media.Schema.Value, example.Value.Value)
					used[example.Value] = true
				}
			}
			for status, r := range op.Responses.Map() {
				if r.Ref == "" {
					bodies(method+" "+path+" "+status, r.Value)
				}
			}
		}
	}
	for name, example := range doc.Components.Examples {
		if !used[example.Value] {
			t.Errorf("the example %s is used by no response", name)
		}
	}
	// Schema examples: 15 named schemas, less 6 whose examples are whole bodies; 10+9+2+10+1+4 properties,
	// less 4+2+1+4+2 that are references; and 1 schema of array items.
	want := map[string]int{"schema": 37, "parameter": 4, "header": 1, "media": 19}
	if !maps.Equal(got, want) {
		t.Errorf("examples checked: %v, want %v", got, want)
	}
}

func TestOperations(t *testing.T) {
	doc := load(t)
	schemas := map[string]string{
		"getTokenInfo": "TokenInfoV1", "renewToken": "TokenRenewV0",
		"listPersonalAccessTokens": "PersonalAccessTokenList", "renewPersonalAccessToken": "PersonalAccessToken",
	}
	ids := map[string]string{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			ids[op.OperationID] = method + " " + path
			successor := strings.HasPrefix(path, tokensPath)
			if !strings.HasSuffix(path, "/") && method != "PUT" {
				t.Errorf("%s does not end in a slash, which gets 405", path)
			}
			if (op.RequestBody != nil) != (method == "PUT") {
				t.Errorf("%s has a request body: %t", op.OperationID, op.RequestBody != nil)
			}
			if strings.Contains(op.Description, "soon be deprecated") == successor || op.Deprecated {
				t.Errorf("%s: the deprecation notice belongs in the descriptions of the two old endpoints, and nowhere else", op.OperationID)
			}
			if strings.Contains(op.Description, "has not been seen on the wire") != successor {
				t.Errorf("%s: only a description of personal access tokens says \"has not been seen on the wire\", and each does", op.OperationID)
			}
			success := schemas[op.OperationID]
			want := []string{"200", "400", "401", "403", "404", "405", "429", "500"}
			if strings.HasPrefix(op.OperationID, "renew") {
				want = slices.Insert(want, 1, "201")
			}
			if got := slices.Sorted(maps.Keys(op.Responses.Map())); !slices.Equal(got, want) {
				t.Errorf("%s answers %v, want %v", op.OperationID, got, want)
			}
			for status, r := range op.Responses.Map() {
				schema, want := r.Value.Content["application/json"].Schema.Ref, "ErrorResponse"
				if status[0] == '2' {
					want = success
				}
				if schema != "#/components/schemas/"+want {
					t.Errorf("%s %s: %q, want %s", op.OperationID, status, schema, want)
				}
				if len(r.Value.Content["application/json"].Examples) == 0 {
					t.Errorf("%s %s: no example", op.OperationID, status)
				}
				if _, ok := r.Value.Headers["Retry-After"]; ok != (status == "429") {
					t.Errorf("%s %s: Retry-After is there: %t", op.OperationID, status, ok)
				}
			}
		}
	}
	want := map[string]string{
		"getTokenInfo": "GET " + tokenInfoPath, "renewToken": "POST " + renewPath,
		"listPersonalAccessTokens": "GET " + tokensPath, "renewPersonalAccessToken": "PUT " + tokensPath + "{personal_access_token_id}",
	}
	if !maps.Equal(ids, want) {
		t.Errorf("operations %v, want %v", ids, want)
	}
}

func TestServerSecurityAndParameters(t *testing.T) {
	doc := load(t)
	if len(doc.Servers) != 1 || doc.Servers[0].URL != "https://{tenant}-api.esper.cloud/api" ||
		doc.Servers[0].Variables["tenant"] == nil || doc.Servers[0].Variables["tenant"].Default != "foo" {
		t.Errorf("servers: %+v", doc.Servers)
	}
	scheme := doc.Components.SecuritySchemes["apiKey"]
	if scheme == nil || scheme.Value.Type != "http" || scheme.Value.Scheme != "bearer" {
		t.Errorf("apiKey is not http bearer: %+v", scheme)
	}
	if len(doc.Security) != 1 || doc.Security[0]["apiKey"] == nil {
		t.Errorf("security: %v, want apiKey everywhere", doc.Security)
	}
	if got := doc.Paths.Value(tokenInfoPath).Get.Parameters; len(got) != 0 {
		t.Errorf("getTokenInfo has parameters: %v", got)
	}
	got := map[string]string{}
	for _, p := range doc.Paths.Value(renewPath).Post.Parameters {
		got[p.Value.Name] = p.Value.In + " " + p.Value.Schema.Value.Format
		if !p.Value.Required || p.Value.Description == "" {
			t.Errorf("%s: required %t, description %q", p.Value.Name, p.Value.Required, p.Value.Description)
		}
	}
	want := map[string]string{"enterprise_id": "path uuid", "developerapp_id": "path uuid", "access_token": "query password"}
	if !maps.Equal(got, want) {
		t.Errorf("parameters %v, want %v", got, want)
	}
}

// decode reads JSON as kin-openapi's own filters do.
func decode(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}
