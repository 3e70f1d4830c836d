package api_test

import (
	"strings"
	"testing"
)

const (
	getAt    = "/paths/~1v1~1token-info~1/get"
	renewAt  = "/paths/~1v0~1enterprise~1{enterprise_id}~1developerapp~1{developerapp_id}~1renew-token~1/post"
	infoAt   = "/components/schemas/TokenInfoV1"
	renewsAt = "/components/schemas/TokenRenewV0"
)

// TestUpstreamSeesAnyChange changes openapi.yaml in one place at a time. Each change has to be reported, with its place.
func TestUpstreamSeesAnyChange(t *testing.T) {
	type object = map[string]any
	unchanged, u := tree(t), vendor(t)
	rows, _ := deviations(t)
	text := object{"type": "string", "description": "A text.", "example": "a"}
	for _, tc := range []struct {
		name, from, to string // the value at from moves to to; if from is empty, value is put there
		value          any    // if from is empty and value is nil, the value at to is removed
		want           string
	}{
		{"no trailing slash", "/paths/~1v1~1token-info~1", "/paths/~1v1~1token-info", nil, "/paths/~1v1~1token-info/get/operationId ("},
		{"method", getAt, "/paths/~1v1~1token-info~1/post", nil, "/paths/~1v1~1token-info~1/post/operationId ("},
		{"operationId", "", getAt + "/operationId", "tokenInfo", getAt + "/operationId ("},
		{"tag", "", getAt + "/tags", []any{"Tokens"}, getAt + "/tags/0 ("},
		{"operation added", "", "/paths/~1v0~1more~1", object{"get": object{"responses": object{"200": text}}}, "/paths/~1v0~1more~1/get/"},
		{"operation removed", "", renewAt, nil, renewAt + "/operationId ("},
		{"deprecated", "", getAt + "/deprecated", true, getAt + "/deprecated ("},
		{"request body", "", renewAt + "/requestBody", object{"content": object{"application/json": object{"schema": text}}}, renewAt + "/requestBody/content/"},
		{"no security", "", getAt + "/security", []any{}, getAt + "/security ("},
		{"security for all", "", "/security", []any{}, "/security ("},
		{"security scheme", "", "/components/securitySchemes/apiKey/scheme", "basic", "/components/securitySchemes/apiKey/scheme ("},
		{"server", "", "/servers", []any{object{"url": "https://foo-api.esper.cloud"}}, "/servers/0/url ("},
		{"server added", "", renewAt + "/servers", []any{object{"url": "https://foo-api.esper.cloud"}}, renewAt + "/servers/0/url ("},

		{"parameter's place", "", "/components/parameters/AccessToken/in", "header", renewAt + "/parameters/access_token/in (/components/parameters/AccessToken/in)"},
		{"parameter's name", "", "/components/parameters/AccessToken/name", "token", renewAt + "/parameters/token/in ("},
		{"parameter optional", "", "/components/parameters/AccessToken/required", nil, renewAt + "/parameters/access_token/required ("},
		{"parameter's format", "", "/components/parameters/EnterpriseId/schema/format", nil, renewAt + "/parameters/enterprise_id/schema/format ("},
		{"parameter's minimum", "", "/components/parameters/AccessToken/schema/minLength", 2.0, renewAt + "/parameters/access_token/schema/minLength ("},
		{"parameter added", "", getAt + "/parameters", []any{object{"name": "q", "in": "query", "schema": text}}, getAt + "/parameters/q/in ("},
		{"parameter for a path", "", "/paths/~1v1~1token-info~1/parameters", []any{object{"name": "q", "in": "query", "schema": text}}, "/paths/~1v1~1token-info~1/parameters/q/in ("},

		{"status removed", "", getAt + "/responses/404", nil, getAt + "/responses/404/content/"},
		{"status added", "", getAt + "/responses/418", object{"$ref": "#/components/responses/NotFound"}, getAt + "/responses/418/content/"},
		{"status changed", renewAt + "/responses/201", renewAt + "/responses/202", nil, renewAt + "/responses/202/content/"},
		{"explained status removed", "", getAt + "/responses/429", nil, getAt + "/responses/429/content/"},
		{"schema of a status", "", renewAt + "/responses/201/content/application~1json/schema/$ref", "#/components/schemas/TokenInfoV1", "/schema/$ref ("},
		{"media type added", "", "/components/responses/NotFound/content/text~1plain", object{"schema": text}, "/content/text~1plain/schema/type ("},
		{"status added without content", "", getAt + "/responses/502", object{"description": "a"}, getAt + "/responses/502 ("},
		{"a link's parameter", "", getAt + "/responses/200/links/renewToken/parameters/access_token", "$response.body#/id", getAt + "/responses/200/links/renewToken/parameters/access_token ("},
		{"header added", "", "/components/responses/NotFound/headers", object{"X-A": object{"schema": text}}, getAt + "/responses/404/headers/X-A/schema/type ("},
		{"header's type", "", "/components/headers/RetryAfter/schema/type", "integer", getAt + "/responses/429/headers/Retry-After/schema/type ("},

		{"field renamed", infoAt + "/properties/developer_app", infoAt + "/properties/developerapp", nil, infoAt + "/properties/developerapp/type ("},
		{"field removed", "", renewsAt + "/properties/user", nil, renewsAt + "/properties/user/x-types/0 ("},
		{"field added", "", renewsAt + "/properties/extra", text, renewsAt + "/properties/extra/type ("},
		{"field added that is called like a text", "", renewsAt + "/properties/description", text, renewsAt + "/properties/description/type ("},
		{"field required", "", infoAt + "/required", []any{"id", "enterprise", "token"}, infoAt + "/required/token ("},
		{"field not required", "", infoAt + "/required", []any{"enterprise"}, infoAt + "/required/id ("},
		{"type", "", renewsAt + "/properties/token/type", "integer", renewsAt + "/properties/token/type ("},
		{"type where a row explains another", "", renewsAt + "/properties/enterprise/type", "integer", renewsAt + "/properties/enterprise/type ("},
		{"type behind a reference", "", "/components/schemas/ScopeList/items/type", "integer", infoAt + "/properties/scope/items/type (/components/schemas/ScopeList/items/type)"},
		{"format", "", infoAt + "/properties/expires_on/format", "date", infoAt + "/properties/expires_on/format ("},
		{"format added", "", renewsAt + "/properties/token/format", "uuid", renewsAt + "/properties/token/format ("},
		{"not nullable", "", infoAt + "/properties/expires_on/nullable", nil, infoAt + "/properties/expires_on/nullable ("},
		{"nullable", "", renewsAt + "/properties/token/nullable", true, renewsAt + "/properties/token/nullable ("},
		{"as the vendor has it", "", infoAt + "/properties/enterprise/format", "uuid", infoAt + "/properties/enterprise/format ("},
		{"enum", "", renewsAt + "/properties/token/enum", []any{"a"}, renewsAt + "/properties/token/enum/a ("},
		{"read only", "", renewsAt + "/properties/token/readOnly", true, renewsAt + "/properties/token/readOnly ("},
		{"closed object", "", infoAt + "/additionalProperties", false, infoAt + "/additionalProperties ("},
		{"a union", "", infoAt + "/properties/id/oneOf", []any{text, object{"type": "integer"}}, infoAt + "/properties/id/oneOf/0/type ("},
		{"schema that nothing uses", "", "/components/schemas/More", text, "/components/schemas/More ("},
		{"parameter that nothing uses", "", "/components/parameters/More", text, "/components/parameters/More ("},
		{"OpenAPI's version", "", "/openapi", "3.1.0", "/openapi ("},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spec, value := clone(unchanged).(object), tc.value
			if tc.from != "" {
				value = at(spec, tc.from)
				put(spec, tc.from, nil)
			}
			put(spec, tc.to, value)
			problems, _ := compare(u, rows, spec)
			for _, problem := range problems {
				if strings.Contains(problem, tc.want) && strings.Contains(problem, "the vendor has") {
					return
				}
			}
			t.Errorf("no problem names %s:\n%s", tc.want, strings.Join(problems, "\n"))
		})
	}
}

// TestUpstreamSeesIdleRows changes upstream.json or DEVIATIONS.md instead. Each change has to be reported.
func TestUpstreamSeesIdleRows(t *testing.T) {
	edit := func(u upstream, id string, change func(*difference)) {
		for _, p := range u.Places {
			for i := range p.Differences {
				if p.Differences[i].ID == id {
					change(&p.Differences[i])
				}
			}
		}
	}
	spec := tree(t)
	for _, tc := range []struct {
		name   string
		change func(upstream, map[string]row)
		want   string
	}{
		{"a row without a difference", func(_ upstream, rows map[string]row) {
			rows["D99"] = row{where: "/info"}
		}, "D99 (/info) has to explain"},
		{"a difference without a row", func(_ upstream, rows map[string]row) { delete(rows, "D36") }, "D36 has no row"},
		{"prose without a row", func(_ upstream, rows map[string]row) { delete(rows, "D07") }, "D07 has no row"},
		{"both", func(u upstream, _ map[string]row) { u.Prose["D21"] = "no reason" }, "D21 ("},
		{"a row for another place", func(_ upstream, rows map[string]row) {
			rows["D36"] = row{where: rows["D37"].where, vendor: "string, date-time", here: "null"}
		}, "D36 (/components/schemas/TokenRenewV0/properties/scope) has to explain"},
		{"the vendor means the same by now", func(u upstream, _ map[string]row) {
			for _, p := range u.Places {
				for i := range p.Vendor {
					if p.Under+p.Vendor[i].At == infoAt+"/properties/enterprise" {
						p.Vendor[i].Is = map[string]any{"type": "string"}
					}
				}
			}
		}, "D22 explains nothing"},
		{"the sources differ", func(u upstream, _ map[string]row) {
			u.Places[1].Vendor = append(u.Places[1].Vendor, fact{At: "/operationId", Source: "[py]", Is: "get_token_info"})
		}, "the sources differ at " + getAt + "/operationId"},
		{"a row that says another type", func(_ upstream, rows map[string]row) {
			rows["D24"] = row{where: rows["D24"].where, vendor: "`integer`", here: rows["D24"].here}
		}, "D24: the vendor's cell in DEVIATIONS.md does not name"},
		{"a row that forgets null", func(_ upstream, rows map[string]row) {
			rows["D24"] = row{where: rows["D24"].where, vendor: rows["D24"].vendor, here: "`string`"}
		}, "D24: here and DEVIATIONS.md do not agree on null"},
		{"a difference that says something else", func(u upstream, _ map[string]row) {
			edit(u, "D10", func(d *difference) { d.Here = 2.0 })
		}, renewAt + "/parameters/access_token/schema/minLength ("},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := vendor(t)
			rows, _ := deviations(t)
			tc.change(u, rows)
			problems, _ := compare(u, rows, spec)
			if !strings.Contains(strings.Join(problems, "\n"), tc.want) {
				t.Errorf("no problem says %q:\n%s", tc.want, strings.Join(problems, "\n"))
			}
		})
	}
}
