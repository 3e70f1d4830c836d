package api_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/esper-go/esper-go/api"
)

func TestSchemasAreDocumented(t *testing.T) {
	doc := load(t)
	properties := 0
	for name, s := range doc.Components.Schemas {
		if s.Value.Description == "" {
			t.Errorf("%s has no description", name)
		}
		for key, p := range s.Value.Properties {
			properties++
			if p.Value.Description == "" || p.Value.Example == nil {
				t.Errorf("%s.%s: description %q, example %v", name, key, p.Value.Description, p.Value.Example)
			}
		}
	}
	if properties != 36 {
		t.Errorf("%d properties, want 10 + 9 + 2 + 10 + 1 + 4", properties)
	}
}

// TestCompoundSchemasAreNamed: for an object or an array without a name, each generator makes up a
// different one.
func TestCompoundSchemasAreNamed(t *testing.T) {
	doc, seen := load(t), 0
	err := doc.WalkSchemas(func(at string, s *openapi3.SchemaRef) error {
		if !s.Value.Type.Is("object") && !s.Value.Type.Is("array") {
			return nil
		}
		seen++ // each schema is visited once, at its first place, which may be a reference
		if s.Ref != "" {
			return nil
		}
		name, ok := strings.CutPrefix(at, "/components/schemas/")
		if !ok || strings.Contains(name, "/") {
			t.Errorf("%s is compound and has no name", at)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := len(doc.Components.Schemas); seen != want {
		t.Errorf("%d compound schemas, want all %d named ones", seen, want)
	}
}

// TestUntyped: a value that comes in more than one shape has no type, no name, and lists its types for OpenAPI 3.1. It is
// not marked nullable, which tools that follow OpenAPI 3.0 strictly refuse beside a missing type. Nothing is a oneOf: see
// the comment in the spec.
func TestUntyped(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	if err != nil {
		t.Fatal(err)
	}
	untyped := 0
	err = doc.WalkSchemas(func(at string, s *openapi3.SchemaRef) error {
		if s.Value.OneOf != nil || s.Value.AnyOf != nil || s.Value.AllOf != nil {
			t.Errorf("%s is a union", at)
		}
		if s.Value.Type != nil {
			return nil
		}
		untyped++
		anything := strings.HasSuffix(at, "/ErrorResponse/properties/errors") || strings.HasSuffix(at, "/schema/properties/errors")
		if s.Ref != "" || s.Value.Nullable || (s.Value.Extensions["x-types"] == nil) != anything {
			t.Errorf("%s has no type: name %q, nullable %t, x-types %v", at, s.Ref, s.Value.Nullable, s.Value.Extensions["x-types"])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if untyped != 11 {
		t.Errorf("%d properties have no type, want 11", untyped)
	}
}

// TestLeafFirst: a schema stands after those that it refers to, for a generator that writes classes in this order.
func TestLeafFirst(t *testing.T) {
	_, text, _ := strings.Cut(string(api.Spec), "\n  schemas:\n")
	text, _, _ = strings.Cut(text, "\n  examples:\n")
	seen, references, name := map[string]bool{}, 0, ""
	for _, found := range regexp.MustCompile(`(?m)^    (\w+):$|#/components/schemas/(\w+)`).FindAllStringSubmatch(text, -1) {
		if found[1] != "" {
			seen[name], name = true, found[1]
		} else if references++; !seen[found[2]] {
			t.Errorf("%s refers to %s, which comes later", name, found[2])
		}
	}
	if want := len(load(t).Components.Schemas); len(seen) != want || references < 3 {
		t.Errorf("%d schemas, want %d; %d references between them, want at least 3", len(seen), want, references)
	}
}

func TestFormats(t *testing.T) {
	schemas := load(t).Components.Schemas
	for _, name := range []string{"enterprise", "developerapp"} {
		// The vendor declares uuid. A client that enforces this format loses every real renewal.
		if got := schemas["TokenRenewV0"].Value.Properties[name].Value.Format; got != "" {
			t.Errorf("TokenRenewV0.%s has the format %s", name, got)
		}
	}
	for path, want := range map[string]string{
		"TokenInfoV1.expires_on": "date-time", "TokenInfoV1.created_on": "date-time",
		"TokenInfoV1.updated_on": "date-time", "TokenInfoV1.id": "", "TokenRenewV0.id": "",
		// A client that fails on a date without a zone loses the key with the answer.
		"TokenRenewV0.expires_at": "", "TokenRenewV0.created_on": "", "TokenRenewV0.updated_on": "",
		"PersonalAccessToken.id": "", "PersonalAccessToken.created_at": "", "PersonalAccessToken.updated_at": "", "PersonalAccessToken.expiry_at": "",
		"TokenInfoV1.token": "password", "TokenRenewV0.token": "password", "PersonalAccessToken.token": "password",
		"TokenInfoV1.source_refresh_token": "", // a format without a type makes one generator fail
	} {
		name, key, _ := strings.Cut(path, ".")
		if p := schemas[name].Value.Properties[key]; p == nil || p.Value.Format != want {
			t.Errorf("%s: %+v, want the format %q", path, p, want)
		}
	}
	if r := schemas["TokenRenewV0"].Value.Required; len(r) != 1 || r[0] != "token" {
		t.Errorf("TokenRenewV0 requires %v, want the token and nothing else", r)
	}
	if r := schemas["PersonalAccessToken"].Value.Required; len(r) != 0 {
		t.Errorf("PersonalAccessToken requires %v: a client would lose the new key if one of these is missing", r)
	}
}

// TestBodies: what the server has been seen to send fits, and what is wrong does not.
func TestBodies(t *testing.T) {
	const renewal = `{"id": 571, "user": "bindya",
		"enterprise": "Esper [f44373cb-1800-43c6-aab3-c81f8b1f435c]",
		"developerapp": "DeveloperApp object (5fa87c46-bef7-4c1f-9ca8-ebf022d118b6)",
		"token": "example-new-key", "expires_at": "2023-07-03T04:29:53.906020Z",
		"scope": "read write update introspection sdk register",
		"created_on": "2023-04-04T04:29:53.906020Z", "updated_on": "2023-04-04T04:29:53.906020Z"}`
	const info = `{"id": "570", "enterprise": "f44373cb-1800-43c6-aab3-c81f8b1f435c", "user": "bindya",
		"developer_app": "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6", "source_refresh_token": null,
		"token": "example-key", "expires_on": "2019-11-19T15:42:16.637203Z", "scope": ["read", "write"]}`
	replace := func(in, from, to string) string {
		t.Helper()
		if !strings.Contains(in, from) {
			t.Fatalf("%s is not in the body", from)
		}
		return strings.Replace(in, from, to, 1)
	}
	schemas := load(t).Components.Schemas
	for _, tc := range []struct {
		name, schema, body string
		fits               bool
	}{
		{"real renewal", "TokenRenewV0", renewal, true},
		{"string id", "TokenRenewV0", replace(renewal, `571`, `"571"`), true},
		{"bare UUID", "TokenRenewV0", replace(renewal, `"Esper [f44373cb-1800-43c6-aab3-c81f8b1f435c]"`, `"f44373cb-1800-43c6-aab3-c81f8b1f435c"`), true},
		{"bare app UUID", "TokenRenewV0", replace(renewal, `"DeveloperApp object (5fa87c46-bef7-4c1f-9ca8-ebf022d118b6)"`, `"5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"`), true},
		{"null metadata", "TokenRenewV0", `{"user": null, "enterprise": null, "developerapp": null, "token": "k", "expires_at": null, "scope": null}`, true},
		{"only a token", "TokenRenewV0", `{"token": "k"}`, true},
		{"unknown property", "TokenRenewV0", `{"token": "k", "later": [1]}`, true},
		{"no token", "TokenRenewV0", replace(renewal, `"token"`, `"other"`), false},
		{"null token", "TokenRenewV0", `{"token": null}`, false},
		{"scope array", "TokenRenewV0", `{"token": "k", "scope": ["read"]}`, false},
		{"date in Python's form", "TokenRenewV0", `{"token": "k", "expires_at": "2023-07-03 04:29:53"}`, true},

		{"info", "TokenInfoV1", info, true},
		{"integer id", "TokenInfoV1", replace(info, `"570"`, `570`), true},
		{"integer user", "TokenInfoV1", replace(info, `"bindya"`, `7`), true},
		{"integer refresh token", "TokenInfoV1", replace(info, `"source_refresh_token": null`, `"source_refresh_token": 12`), true},
		{"string refresh token", "TokenInfoV1", replace(info, `"source_refresh_token": null`, `"source_refresh_token": "x"`), true},
		{"null optionals", "TokenInfoV1", `{"id": 1, "enterprise": "x", "user": null, "developer_app": null, "token": null, "expires_on": null, "scope": null}`, true},
		{"no id", "TokenInfoV1", `{"enterprise": "x"}`, false},
		{"null id", "TokenInfoV1", `{"id": null, "enterprise": "x"}`, true},
		{"null enterprise", "TokenInfoV1", `{"id": 1, "enterprise": null}`, false},
		{"scope string", "TokenInfoV1", `{"id": 1, "enterprise": "x", "scope": "read"}`, false},

		{"personal token", "PersonalAccessToken", `{"id": "x", "token": "k", "expiry_at": 1888272000, "created_at": "2023-04-04", "legacy_token_id": 570}`, true},
		{"only a personal token", "PersonalAccessToken", `{"token": "k"}`, true},
		{"numbers for moments", "PersonalAccessToken", `{"token": "k", "created_at": 1, "updated_at": 1, "expiry_at": -1, "legacy_token_id": "570"}`, true},
		{"all null", "PersonalAccessToken", `{"id": null, "name": null, "description": null, "prefix": null, "token": null, "created_at": null, "expiry_at": null, "legacy_token_id": null, "legacy_developer_app_id": null}`, true},
		{"null list", "PersonalAccessTokenList", `{"count": null, "personal_access_tokens": null, "next": null}`, true},
		{"list of others", "PersonalAccessTokenList", `{"personal_access_tokens": ["a"]}`, false},
		{"renewal without a time", "PersonalAccessTokenRenewal", `{}`, false},

		{"error list", "ErrorResponse", `{"errors": ["a"], "message": "m", "status": 400}`, true},
		{"error objects", "ErrorResponse", `{"errors": [{"code": "x", "at": 1}]}`, true},
		{"errors by field", "ErrorResponse", `{"errors": {"access_token": ["This field is required."]}}`, true},
		{"error text", "ErrorResponse", `{"errors": "a"}`, true},
		{"null error", "ErrorResponse", `{"errors": null, "message": null, "status": null}`, true},
		{"status text", "ErrorResponse", `{"status": "400"}`, true},
		{"detail", "ErrorResponse", `{"detail": "d"}`, true},
		{"empty error", "ErrorResponse", `{}`, true},
		{"message list", "ErrorResponse", `{"message": ["a"]}`, false},
		{"no object", "ErrorResponse", `"a"`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := schemas[tc.schema].Value.VisitJSON(decode(t, tc.body), openapi3.EnableFormatValidation())
			if (err == nil) != tc.fits {
				t.Errorf("fits: %t, want %t: %v", err == nil, tc.fits, err)
			}
		})
	}
}
