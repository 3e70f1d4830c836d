// What all pages share: the frame, and how Markdown, samples and tables become HTML.

import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import MarkdownIt from "markdown-it";

const [style, script] = ["style.css", "copy.js"].map((name) => fs.readFileSync(path.join(import.meta.dirname, name), "utf8"));
const markdown = new MarkdownIt({ html: false });
export const escape = markdown.utils.escapeHtml;
export const home = "https://esper-go.github.io/esper-go/";

// The pages load nothing, and run the one script that is in them.
const hash = createHash("sha256").update(script).digest("base64");
const policy = `default-src 'none'; script-src 'sha256-${hash}'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'`;
const icon = "data:image/svg+xml," + encodeURIComponent(
	'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" fill="none" stroke="#2f7de1" stroke-width="4"><circle cx="10" cy="16" r="6"/><path d="M16 16h14M26 16v7"/></svg>');

export function page({ title, about, header, main, contents = "" }) {
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${escape(title)}</title>
<meta name="description" content="${escape(about)}">
<link rel="icon" href="${icon}">
<style>
${style}</style>
</head>
<body>
<a class="skip" href="#main">To the content</a>
<header>
${header}</header>
<main id="main">
${contents ? `<div class="beside">\n<nav class="contents" aria-label="On this page">\n${contents}</nav>\n<div>\n${main}</div>\n</div>` : main}
</main>
<footer><p>Made from <a href="https://github.com/esper-go/esper-go">github.com/esper-go/esper-go</a>, Apache-2.0. This is not a page of Esper's.
<a href="https://github.com/esper-go/esper-go/issues/new?template=description.yml">Report that the description is wrong.</a></p></footer>
<script>${script}</script>
</body>
</html>
`;
}

// In a table, a name with hyphens stays on one line, unless it is so long that a small screen may not have the width.
export const whole = (html) => html.replace(/[^\s<>]*-[^\s<>]*/g, (name) => (name.length > 40 ? name : `<span>${name}</span>`));

// code may break after what separates the parts of a path.
export const code = (text) => `<code>${whole(escape(text).replace(/~1|[/}](?=[\w{])/g, "$&<wbr>"))}</code>`;

// heading can be linked: it has an id, and leads to itself.
export const heading = (level, id, html) => `<h${level} id="${escape(id)}"><a href="#${escape(id)}">${html}</a></h${level}>\n`;

// sample shows a text to copy, below its name. Of several samples with one name, of tells whose this is.
export const sample = (name, text, of = "") =>
	`<div class="sample" role="group" aria-label="${escape(of ? `${name}, ${of}` : name)}"><div>${escape(name)}</div><pre tabindex="0"><code>${escape(text)}</code></pre></div>\n`;

// table makes a table of rows of HTML cells. On a small screen each cell shows its label.
export function table(name, labels, rows) {
	const cells = (row) => row.cells.map((cell, i) => `<td data-label="${escape(labels[i])}">${cell}</td>`).join("");
	return `${tableStart(name)}<thead><tr>${labels.map((label) => `<th scope="col">${escape(label)}</th>`).join("")}</tr></thead>
<tbody>
${rows.map((row) => `<tr${row.id ? ` id="${escape(row.id)}"` : ""}>${cells(row)}</tr>\n`).join("")}</tbody>
</table>
</div>
`;
}

const tableStart = (name) => `<div class="table" tabindex="0" role="region" aria-label="${escape(name)}">\n<table>\n`;

const rules = markdown.renderer.rules;
rules.text = (tokens, i) => whole(escape(tokens[i].content));
rules.code_inline = (tokens, i) => code(tokens[i].content);
rules.fence = (tokens, i) => sample("Command", tokens[i].content.trimEnd(), tokens[i].meta);
rules.table_open = (tokens, i) => tableStart(tokens[i].meta);
rules.table_close = () => "</table>\n</div>\n";
rules.heading_open = (tokens, i) => `<${tokens[i].tag} id="${tokens[i].meta}"><a href="#${tokens[i].meta}">`;
rules.heading_close = (tokens, i) => `</a></${tokens[i].tag}>\n`;

// Headings and rows of tables that begin with an id such as D01 can be linked; cells carry the label of their column.
markdown.core.ruler.push("labels", ({ tokens }) => {
	const ids = new Set();
	let labels, column, name = "";
	for (const [i, token] of tokens.entries()) {
		const text = tokens[i + 1]?.content ?? "";
		if (token.type === "heading_open") {
			name = text.replaceAll("`", "");
			const slug = name.toLowerCase().replace(/[^\p{L}\d]+/gu, "-").replace(/^-|-$/g, "");
			for (let n = 1; ids.has(token.meta = n > 1 ? `${slug}-${n}` : slug); n++);
			ids.add(token.meta);
		}
		if (token.type === "table_open") [labels, token.meta] = [[], name || "Table"];
		if (token.type === "fence") token.meta = /\*\*(.*?)\*\*/.exec(tokens[i - 2].content)?.[1] ?? name;
		if (token.type === "th_open") {
			labels.push(text);
			token.attrSet("scope", "col");
		}
		if (token.type === "tr_open") {
			column = 0;
			if (/^D\d\d$/.test(tokens[i + 2].content)) token.attrSet("id", tokens[i + 2].content);
		}
		if (token.type === "td_open") {
			token.attrSet("data-label", labels[column++]);
			if (text === "all well" || text === "once") token.attrSet("class", "ok");
		}
	}
});

export const render = (text) => markdown.render(text);
export const inline = (text) => markdown.renderInline(text);
