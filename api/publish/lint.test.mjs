// Breaks the description in one way at a time: each break has to be found, by the rule that is there for it.

import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { parse } from "yaml";
import * as lint from "./lint.mjs";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "lint-"));
after(() => fs.rmSync(folder, { recursive: true }));

const infoPath = "/v1/token-info/";
const renewPath = "/v0/enterprise/{enterprise_id}/developerapp/{developerapp_id}/renew-token/";

// changed writes a copy of a file with one change in it, as JSON, which YAML's readers take too.
function changed(file, change) {
	const doc = parse(fs.readFileSync(file, "utf8"));
	change(doc);
	const copy = path.join(folder, path.basename(file));
	fs.writeFileSync(copy, JSON.stringify(doc, null, 2));
	return copy;
}

const { redocly, spectral } = lint;
const validation = (file) => lint.overlaid(file, lint.overlay);

// [what, who finds it, by which rule, how the description is broken]
const breaks = [
	["an operation without an id", redocly, "operation-operationId", (d) => delete d.paths[infoPath].get.operationId],
	["an id that is there twice", redocly, "operation-operationId-unique", (d) => (d.paths[infoPath].get.operationId = "renewToken")],
	["an id that is there twice", spectral, "operation-operationId-unique", (d) => (d.paths[infoPath].get.operationId = "renewToken")],
	["an id that is no name in a URL", redocly, "operation-operationId-url-safe", (d) => (d.paths[infoPath].get.operationId = "get token")],
	["a tag that is not declared", redocly, "operation-tag-defined", (d) => (d.paths[infoPath].get.tags = ["Keys"])],
	["no summary", redocly, "operation-summary", (d) => delete d.paths[infoPath].get.summary],
	["no 4xx", redocly, "operation-4xx-response", (d) => {
		for (const status of Object.keys(d.paths[infoPath].get.responses)) if (!/^2/.test(status)) delete d.paths[infoPath].get.responses[status];
	}],
	["no 2xx", spectral, "operation-success-response", (d) => {
		for (const status of ["200", "201"]) delete d.paths[renewPath].post.responses[status];
	}],
	["no security", redocly, "security-defined", (d) => delete d.security],
	["an unknown security scheme", redocly, "security-defined", (d) => (d.security = [{ other: [] }])],
	["no license", redocly, "info-license", (d) => delete d.info.license],
	["a path parameter that is not declared", redocly, "path-parameters-defined", (d) => d.paths[renewPath].post.parameters.shift()],
	["a path parameter that is not in the path", spectral, "path-params", (d) =>
		(d.paths[infoPath].get.parameters = [{ $ref: "#/components/parameters/EnterpriseId" }])],
	["a path parameter that is not required", validation, "required", (d) =>
		(d.components.parameters.EnterpriseId.required = false)],
	["two paths that cannot be told apart", redocly, "no-ambiguous-paths", (d) => (d.paths["/v0/{kind}/e/developerapp/{developerapp_id}/renew-token/"] = {})],
	["two paths that differ by a name only", redocly, "no-identical-paths", (d) =>
		(d.paths["/v0/enterprise/{enterprise}/developerapp/{app}/renew-token/"] = {})],
	["a path without its slash", spectral, "path-keys-trailing-slash", (d) => {
		d.paths["/v1/token-info"] = d.paths[infoPath];
		delete d.paths[infoPath];
	}],
	["a reference to nothing", redocly, "no-unresolved-refs", (d) => (d.paths[infoPath].get.responses["404"].$ref += "s")],
	["a component that nothing uses", redocly, "no-unused-components", (d) => (d.components.schemas.Unused = { type: "string" })],
	["a component that nothing uses", spectral, "oas3-unused-component", (d) => (d.components.schemas.Unused = { type: "string" })],
	["a property that OpenAPI has not", redocly, "struct", (d) => (d.components.schemas.ErrorResponse.propertys = {})],
	["a type that OpenAPI has not", redocly, "struct", (d) => (d.components.schemas.ErrorResponse.type = "record")],
	["an example of a body that does not fit", validation, "invalid example", (d) =>
		(d.components.examples.TokenRenewal.value.token = 1)],
	["an example of a body that does not fit", redocly, "no-invalid-media-type-examples", (d) =>
		(d.components.examples.TokenRenewal.value.token = 1)],
	["an example of a body that does not fit", spectral, "oas3-valid-media-example", (d) =>
		(d.components.examples.TokenRenewal.value.token = 1)],
	["null for a schema without a type", redocly, "nullable-type-sibling", (d) => (d.components.schemas.TokenInfoV1.properties.id.nullable = true)],
	["an example of a schema that does not fit", redocly, "no-invalid-schema-examples", (d) =>
		(d.components.schemas.TokenRenewV0.properties.token.example = 1)],
	["an example of a body that lacks what is required", validation, "invalid example", (d) =>
		delete d.components.examples.TokenRenewal.value.token],
	["an example of a schema that does not fit", validation, "invalid example", (d) =>
		(d.components.schemas.TokenRenewV0.properties.token.example = 1)],
	["an example of a parameter that does not fit", redocly, "no-invalid-parameter-examples", (d) =>
		(d.components.parameters.AccessToken.example = 1)],
	["a required property that is not described", redocly, "no-required-schema-properties-undefined", (d) =>
		d.components.schemas.TokenRenewV0.required.push("tokens")],
	["a server with a slash at its end", redocly, "no-server-trailing-slash", (d) => (d.servers[0].url += "/")],
	["a server with a variable that is not described", redocly, "no-undefined-server-variable", (d) => (d.servers[0].url += "/{zone}")],
];

test("nothing is found in an unbroken copy", () => {
	const copy = changed(lint.spec, () => {});
	for (const linter of [redocly, spectral, validation]) assert.ok(linter(copy).ok, linter(copy).output);
});

for (const [what, linter, rule, change] of breaks) {
	test(`${linter.name} finds ${what}`, () => {
		const { ok, output } = linter(changed(lint.spec, change));
		assert.ok(!ok, "it passed");
		assert.match(output, new RegExp(`\\b${rule}\\b`));
	});
}

test("swagger-parser finds a description of the server's variable in OpenAPI 3.1", async () => {
	const broken = changed(lint.spec31, (d) => (d.servers[0].variables.tenant.description = "The environment name."));
	assert.match((await lint.swaggerParser(broken)).output, /servers\/0\/variables\/tenant must NOT have unevaluated properties/);
});

const add = (action) => (d) => d.actions.push(action);
for (const [what, change, says] of [
	["an action that matches nothing", add({ target: "$.components.schemas.Nothing", update: { "x-go-type": "any" } }), /Nothing/],
	["an action that changes nothing", add({ target: "$.info", update: { title: "Esper token API" } }), /does nothing/],
	["an action without a target", add({ update: { "x-go-type": "any" } }), /target/],
	["a result that is no OpenAPI document", add({ target: "$.info.version", remove: true }), /version/],
	["a result with an example that does not fit", add({ target: "$.components.examples.TokenRenewal.value", update: { token: [1] } }), /integerId/],
]) {
	test(`the overlay finds ${what}`, () => {
		const { ok, output } = lint.overlaid(lint.spec, changed(lint.overlay, change));
		assert.ok(!ok, "it passed");
		assert.match(output, says);
	});
}

test("Redocly finds what an overlay has broken", () => {
	const { ok, stdout } = lint.overlaid(lint.spec, changed(lint.overlay, add({ target: "$.paths.*.get.summary", remove: true })));
	assert.ok(ok, "the overlay was not applied");
	const result = lint.redoclyOverlaid(stdout);
	assert.ok(!result.ok, "it passed");
	assert.match(result.output, /\boperation-summary\b/);
});
