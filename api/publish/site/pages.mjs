// The pages around the reference, as HTML.

import fs from "node:fs";
import path from "node:path";
import MarkdownIt from "markdown-it";

const style = fs.readFileSync(path.join(import.meta.dirname, "style.css"), "utf8");
const markdown = new MarkdownIt({ html: false });
export const escape = markdown.utils.escapeHtml;

// A table that is too wide scrolls by itself, also with the keyboard. A client that does all well is shown in green.
markdown.renderer.rules.table_open = () => '<div class="table" tabindex="0" role="region" aria-label="Table">\n<table>\n';
markdown.renderer.rules.table_close = () => "</table>\n</div>\n";
markdown.renderer.rules.th_open = () => '<th scope="col">';
markdown.renderer.rules.td_open = (tokens, i) => (/^all well$/.test(tokens[i + 1].content) ? '<td class="ok">' : "<td>");

function page(title, header, main) {
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'">
<title>${escape(title)}</title>
<link rel="icon" href="data:,">
<style>
${style}</style>
</head>
<body>
<a class="skip" href="#main">To the content</a>
<header>
${header}</header>
<main id="main">
${main}</main>
<footer><p>Made from <a href="https://github.com/esper-go/esper-go">github.com/esper-go/esper-go</a>, Apache-2.0. This is not a page of Esper's.
<a href="https://github.com/esper-go/esper-go/issues/new?template=description.yml">Report that the description is wrong.</a></p></footer>
</body>
</html>
`;
}

// markdownPage renders a document whose first heading is its title. It is one of this repository's own.
export function markdownPage(title, text) {
	const [, heading, rest] = /^# (.*)\n([^]*)/.exec(text);
	return page(title, `<p><a href="index.html">Esper token API</a></p>\n<h1>${markdown.renderInline(heading)}</h1>\n`, markdown.render(rest));
}

const operations = (spec) => Object.entries(spec.paths).flatMap(([url, item]) =>
	Object.entries(item).filter(([, op]) => op.operationId).map(([method, op]) => ({ url, method: method.toUpperCase(), ...op })));

const files = [
	["reference.html", "Reference", "Both operations with their examples, on one page that works without a network."],
	["openapi.yaml", "openapi.yaml", "The description, OpenAPI 3.0."],
	["openapi.json", "openapi.json", "The same as JSON."],
	["openapi-3.1.yaml", "openapi-3.1.yaml", "The same in OpenAPI 3.1, for generators of TypeScript and Python."],
	["openapi-overlaid.yaml", "openapi-overlaid.yaml", "With Go's types and names, for oapi-codegen."],
	["SHA256SUMS", "SHA256SUMS", "Checksums of these files."],
	["DEVIATIONS.html", "Differences", "Where it differs from Esper's own description, and on whose evidence."],
];

function clientSection({ title, language, versions, generate, use }) {
	return `<h3>${escape(title)}</h3>
<p class="soft">${escape(language)} · ${escape(versions)}</p>
${generate ? `<pre><code>${escape(generate)}</code></pre>\n` : "<p>Not generated: Esper's own client.</p>\n"}${
	use ? `<details><summary>How it is used</summary>\n<pre><code>${escape(use)}</code></pre>\n</details>\n` : ""}`;
}

function versionItem({ version, tag }) {
	return `<li><a href="v/${version}/">${version}</a>, since ${escape(tag)}: <a href="v/${version}/openapi.yaml">YAML</a>, <a href="v/${version}/openapi.json">JSON</a></li>`;
}

// The matrix is the first table of RESULTS.md; what follows it there is on this page in another form.
function matrix(results) {
	const rows = results.split("\n");
	const start = rows.findIndex((row) => row.startsWith("|"));
	if (start < 0) throw new Error("RESULTS.md has no table");
	const length = rows.slice(start).findIndex((row) => !row.startsWith("|"));
	return rows.slice(start, length < 0 ? undefined : start + length).join("\n").replaceAll("<br>", "; ");
}

export function indexPage({ spec, versions, clients, results }) {
	const { title, version, description } = spec.info;
	return page(`${title} ${version}`, `<h1>${escape(title)} <span class="soft">${escape(version)}</span></h1>
<p class="lead">An OpenAPI description of Esper's two token endpoints, as the server really answers. Clients generated from it read every renewal, and keep the new key.</p>
`, `<ul class="cards">
${files.map(([href, name, text]) => `<li><a href="${href}">${name}</a><p>${text}</p></li>`).join("\n")}
</ul>
<h2>Operations</h2>
<div class="table" tabindex="0" role="region" aria-label="Operations">
<table>
<thead><tr><th scope="col">Operation</th><th scope="col">Request</th><th scope="col">What it does</th></tr></thead>
<tbody>
${operations(spec).map((op) => `<tr><td><code>${escape(op.operationId)}</code></td><td><code>${op.method} ${escape(op.url)}</code></td><td>${escape(op.summary)}</td></tr>`).join("\n")}
</tbody>
</table>
</div>
${markdown.render(description)}
<h2>Generate a client</h2>
<p>These commands need <code>openapi.yaml</code> in the current folder. This project's tests run each of them as it stands, with the named versions, and use what it makes unchanged.</p>
${clients.map(clientSection).join("")}
<h2>Conformance</h2>
<p>Each client calls a server with the answers of the real one, in every shape. "All well" means that it showed everything that was sent.</p>
${markdown.render(matrix(results))}
<h2>Versions</h2>
${versions.length ? `<p>These addresses stay. <a href="latest/">latest</a> is always the newest release.</p>
<ul>
${versions.map(versionItem).join("\n")}
</ul>` : "<p>Nothing is released yet. What is on this page may still change.</p>"}
`);
}
