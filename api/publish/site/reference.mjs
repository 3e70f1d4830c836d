// The reference page: Redoc, with everything that it needs in the one file.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parse, stringify } from "yaml";
import { tool } from "../lint.mjs";
import { escape } from "./pages.mjs";

// The page may fetch nothing: what a later Redoc wants from elsewhere fails, and shows in the test.
export const policy =
	"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; form-action 'none'";

// Redoc loads its mark from its maker's server. The name stays, as text.
const mark = "data:image/svg+xml," + encodeURIComponent(
	'<svg xmlns="http://www.w3.org/2000/svg" width="48" height="14"><text y="11" font-family="sans-serif" font-size="12" fill="#0044d4">Redocly</text></svg>');
const remoteMark = /https:\/\/cdn\.redoc\.ly\/redoc\/logo-mini(-full)?\.svg/g;

const [style, helper] = ["reference.css", "reference.js"].map((name) => fs.readFileSync(path.join(import.meta.dirname, name), "utf8"));

// reference renders in the browser only: the markup that Redoc could make beforehand links to paths of a server.
// Up leads to the index.
export function reference(yaml, up = "") {
	const { title, version } = parse(yaml).info;
	const script = bundle(withSamples(yaml));
	if (script.search(remoteMark) < 0) throw new Error("Redoc's mark is not where it was");
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${escape(`${title} ${version}`)}</title>
<link rel="icon" href="data:,">
<style>
${style}</style>
</head>
<body>
<p class="back"><a href="${up}index.html">Esper token API</a></p>
<noscript><p>This page is drawn by a script. The same without: <a href="openapi.yaml">openapi.yaml</a>.</p></noscript>
<main id="redoc"></main>
<script>
${helper}</script>
${script.replace(remoteMark, mark)}
</body>
</html>
`;
}

// curl returns a command that calls an operation, with the examples of its parameters and the key in ESPER_API_KEY. The
// key goes to curl's standard input: every user of a machine can read the arguments of a program.
export function curl(doc, url, method) {
	const parameters = (doc.paths[url][method].parameters ?? []).map((p) => doc.components.parameters[p.$ref.split("/").pop()]);
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
	const ref = doc.paths[url][method].requestBody?.content["application/json"].schema.$ref;
	if (!ref) return "";
	const { properties } = doc.components.schemas[ref.split("/").pop()];
	const example = Object.fromEntries(Object.entries(properties).map(([name, p]) => [name, p.example]));
	return ` \\\n  --header 'Content-Type: application/json' --data '${JSON.stringify(example)}'`;
}

// withSamples adds the curl command to each operation. Redoc shows it.
function withSamples(yaml) {
	const doc = parse(yaml);
	for (const [url, item] of Object.entries(doc.paths)) {
		for (const [method, op] of Object.entries(item)) op["x-codeSamples"] = [{ lang: "Shell", label: "curl", source: curl(doc, url, method) }];
	}
	return stringify(doc);
}

// bundle returns Redoc's script and the description in it.
function bundle(yaml) {
	const folder = fs.mkdtempSync(path.join(os.tmpdir(), "reference-"));
	try {
		const [source, page] = ["openapi.yaml", "page.html"].map((name) => path.join(folder, name));
		fs.writeFileSync(source, yaml);
		const built = tool("redocly", "build-docs", source, "--config", "redocly.yaml", "--inlineBundle", "--output", page);
		if (!built.ok) throw new Error(built.output);
		const html = fs.readFileSync(page, "utf8");
		const end = "</script>";
		return html.slice(html.indexOf('<script type="module">'), html.lastIndexOf(end) + end.length);
	} finally {
		fs.rmSync(folder, { recursive: true });
	}
}
