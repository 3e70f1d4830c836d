// The reference page: the introduction, the operations and the schemas of a description, as plain HTML.

import { parse } from "yaml";
import { code, escape, heading, inline, page, render, sample, table, whole } from "./page.mjs";

const last = (ref) => ref.split("/").pop();

// operations of a description, in its order.
export const operations = (doc) => Object.entries(doc.paths).flatMap(([url, item]) =>
	Object.entries(item).filter(([, op]) => op.operationId).map(([method, op]) => ({ url, method, ...op })));

// resolve follows a reference.
const resolve = (doc, part) => (part.$ref ? part.$ref.slice(2).split("/").reduce((node, name) => node[name], doc) : part);

const show = (markdown) => render(markdown ?? "");
const link = (name) => `<a href="#${escape(name)}">${code(name)}</a>`;

// typeOf says in a few words what a schema allows.
function typeOf(schema) {
	if (schema.$ref) return link(last(schema.$ref));
	if (schema.type === "array") return `array of ${typeOf(schema.items)}${schema.nullable ? " or null" : ""}`;
	if (!schema.type) return escape((schema["x-types"] ?? ["anything"]).join(" or "));
	return whole(schema.type + (schema.format ? ` (${schema.format})` : "") + (schema.nullable ? " or null" : ""));
}

function operation(doc, op) {
	const parameters = (op.parameters ?? []).map((p) => resolve(doc, p));
	const content = (part) => part.content["application/json"];
	const body = op.requestBody && content(op.requestBody);
	const headers = (part) => Object.entries(part.headers ?? {}).map(([name, h]) => `<p>Header ${code(name)}: ${inline(resolve(doc, h).description)}</p>\n`).join("");
	const examples = (part) => Object.values(content(part).examples).map((e) => resolve(doc, e));
	const samples = (what, part) => examples(part).map((e) => sample(`${what}: ${e.summary}`, JSON.stringify(e.value, null, 2), op.operationId)).join("");
	const statuses = Object.entries(op.responses).map(([status, part]) => [status, resolve(doc, part)]);
	const good = statuses.filter(([status]) => status < "300"), bad = statuses.filter(([status]) => status >= "300");
	return `<section aria-labelledby="${op.operationId}">
${heading(3, op.operationId, escape(op.summary))}<p>${code(`${op.method.toUpperCase()} ${op.url}`)}</p>
${show(op.description)}${parameters.length ? table(`Parameters of ${op.operationId}`, ["Parameter", "In", "Type", "What it is", "Example"], parameters.map((p) => ({
		id: `${op.operationId}.${p.name}`,
		cells: [code(p.name) + (p.required ? " required" : ""), p.in, typeOf(p.schema), show(p.description), code(String(p.example ?? p.schema.example))],
	}))) : ""}${body ? `<p>The body is ${typeOf(body.schema)}.</p>\n${samples("Body", op.requestBody)}` : ""}${sample("curl, with the key in ESPER_API_KEY", curl(doc, op.url, op.method).trimEnd(), op.operationId)}${
		heading(4, `${op.operationId}-answers`, "Answers")}${table(`Answers of ${op.operationId}`, ["Status", "What it means", "Body"], statuses.map(([status, part]) => ({
		id: `${op.operationId}.${status}`, cells: [status, show(part.description) + headers(part), typeOf(content(part).schema)],
	})))}${good.map(([status, part]) => samples(status, part)).join("")}<details><summary>Examples of errors</summary>
${bad.map(([status, part]) => samples(status, part)).join("")}</details>
</section>
`;
}

function schema(name, whole) {
	const { description, required = [], properties } = whole;
	const rows = Object.entries(properties ?? {}).map(([key, p]) => ({
		id: `${name}.${key}`,
		cells: [code(key) + (required.includes(key) ? " required" : ""), typeOf(p), show(p.description), p.example === undefined ? "" : code(JSON.stringify(p.example))],
	}));
	return `<section aria-labelledby="${name}">
${heading(3, name, code(name))}${show(description)}${rows.length ? table(`Properties of ${name}`, ["Property", "Type", "What it is", "Example"], rows) : `<p>Type: ${typeOf(whole)}.</p>\n`}</section>
`;
}

// reference makes the page of a description. Up leads to the index.
export function reference(yaml, up = "") {
	const doc = parse(yaml), ops = operations(doc), schemas = Object.entries(doc.components.schemas);
	const { title, version, description } = doc.info;
	const items = (all) => `<ul>\n${all.map(([id, html]) => `<li><a href="#${id}">${html}</a></li>`).join("\n")}\n</ul>\n`;
	const schemes = Object.entries(doc.components.securitySchemes).map(([name, s]) => ({ id: name, cells: [code(name), `${s.type}, ${s.scheme}`, show(s.description)] }));
	return page({
		title: `Reference, ${title} ${version}`,
		about: `The ${ops.length} operations of the ${title}, with their parameters, answers, examples and schemas.`,
		header: `<p><a href="${up}index.html">Esper token API</a></p>\n<h1>Reference <span class="soft">${escape(version)}</span></h1>\n`,
		contents: items([["introduction", "Introduction"], ...doc.tags.map((tag) => [`tag-${tag.name}`, escape(tag.name)]), ["schemas", "Schemas"]]).replace(
			/<li><a href="#tag-(\w+)">.*?<\/a>/g, (item, tag) => item + "\n" + items(ops.filter((op) => op.tags[0] === tag).map((op) => [op.operationId, escape(op.summary)]))),
		main: `${heading(2, "introduction", "Introduction")}${show(description)}
<p>The server is ${doc.servers.map((s) => code(s.url)).join(", ")}.</p>
${table("Authentication", ["Scheme", "Type", "What it is"], schemes)}
${doc.tags.map((tag) => heading(2, `tag-${tag.name}`, escape(tag.name)) + show(tag.description) + ops.filter((op) => op.tags[0] === tag.name).map((op) => operation(doc, op)).join("")).join("")}
${heading(2, "schemas", "Schemas")}${schemas.map(([name, s]) => schema(name, s)).join("")}`,
	});
}

// anchor is where the reference page speaks of the place to which a JSON pointer leads.
export function anchor(doc, pointer) {
	const [first, second, third, fourth, fifth] = pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
	if (first === "paths") return doc.paths[second][third].operationId + (fourth === "responses" ? `.${fifth}` : "");
	if (first !== "components") return "introduction";
	if (second === "schemas" && !third) return "schemas";
	if (second === "schemas") return third + (fourth === "properties" ? `.${fifth}` : "");
	if (second === "securitySchemes") return third;
	const uses = ({ $ref }) => $ref === `#/components/${second}/${third}`;
	for (const op of operations(doc)) {
		if ((op.parameters ?? []).some(uses)) return `${op.operationId}.${doc.components[second][third].name}`;
		const status = Object.keys(op.responses).find((status) => uses(op.responses[status]));
		if (status) return `${op.operationId}.${status}`;
	}
	return "schemas";
}

// curl returns a command that calls an operation, with the examples of its parameters and the key in ESPER_API_KEY. The
// key goes to curl's standard input: every user of a machine can read the arguments of a program.
export function curl(doc, url, method) {
	const parameters = (doc.paths[url][method].parameters ?? []).map((p) => resolve(doc, p));
	const base = doc.servers[0].url.replace(/\{(\w+)\}/g, (_, name) => doc.servers[0].variables[name].default);
	const address = base + url.replace(/\{(\w+)\}/g, (_, name) => parameters.find((p) => p.name === name).example);
	const query = parameters.filter((p) => p.in === "query");
	const lines = [`header = "Authorization: Bearer %s"\\n`].concat(query.map((p) => `data-urlencode = "${p.name}=%s"\\n`));
	const keys = lines.map(() => ' "$ESPER_API_KEY"').join("");
	const request = method === "get" ? "" : ` --request ${method.toUpperCase()}`;
	return `printf '${lines.join("")}'${keys} |\n  curl --config -${query.length ? " --get" : ""}${request}${body(doc, url, method)} \\\n  ${address}\n`;
}

// body is what a curl command sends besides: the examples of the body's properties.
function body(doc, url, method) {
	const part = doc.paths[url][method].requestBody;
	if (!part) return "";
	const { properties } = resolve(doc, part.content["application/json"].schema);
	const example = Object.fromEntries(Object.entries(properties).map(([name, p]) => [name, p.example]));
	return ` \\\n  --header 'Content-Type: application/json' --data '${JSON.stringify(example)}'`;
}
