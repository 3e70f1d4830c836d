// The pages beside the reference, as HTML.

import { anchor, operations } from "./reference.mjs";
import { code, escape, heading, home, inline, page, render, sample, table } from "./page.mjs";

// markdownPage renders a document of this repository, whose first heading is its title. A JSON pointer in it leads to the
// reference.
export function markdownPage(title, about, text, spec) {
	const [, first, rest] = /^# (.*)\n([^]*)/.exec(text);
	const html = render(rest).replace(/<code>(\/(?:<wbr>)?(?:components|paths|info|servers|security|openapi)\b.*?)<\/code>/g, (found, pointer) => {
		const plain = pointer.replace(/<[^>]*>/g, "");
		return `<a href="reference.html#${escape(anchor(spec, plain))}">${found}</a>`;
	}).replace(/(<td[^>]*>)(D\d\d)<\/td>/g, '$1<a href="#$2">$2</a></td>');
	return page({ title: `${title}, Esper token API`, about, header: `<p><a href="index.html">Esper token API</a></p>\n<h1>${inline(first)}</h1>\n`, main: html });
}

export const lost = page({
	title: "There is no such page, Esper token API",
	about: "There is no page at this address.",
	header: "<h1>There is no such page</h1>\n",
	main: `<p><a href="${home}">The Esper token API</a> has its description, a reference, and clients in other languages.</p>\n`,
});

const words = ["No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"];
export const count = (n, thing) => `${words[n] ?? n} ${thing}${n === 1 ? "" : "s"}`;

const files = (spec) => [
	["reference.html", "Reference", `${count(operations(spec).length, "operation")} with their examples, on one page.`],
	["openapi.yaml", "openapi.yaml", "The description, OpenAPI 3.0."],
	["openapi.json", "openapi.json", "The same as JSON."],
	["openapi-3.1.yaml", "openapi-3.1.yaml", "The same in OpenAPI 3.1, for generators of TypeScript and Python."],
	["openapi-overlaid.yaml", "openapi-overlaid.yaml", "With Go's types and names, for oapi-codegen."],
	["SHA256SUMS", "SHA256SUMS", "Checksums of these files."],
	["RESULTS.html", "Clients", "Which clients read every answer, and which send a renewal twice."],
	["DEVIATIONS.html", "Differences", "Where it differs from Esper's own description, and on whose evidence."],
];

function clientSection({ title, folder, versions, generate, use, once }) {
	return `${heading(4, folder, escape(title))}<p class="soft">${escape(versions)}</p>
${generate ? sample("Generate", generate, title) : "<p>Not generated: Esper's own client.</p>\n"}${
	once ? `<p>Without <code>${escape(once)}</code> it may send a renewal more than once.</p>\n` : ""}${
	use ? `<details><summary>How it is used</summary>\n${sample("Use", use, title)}</details>\n` : ""}`;
}

function versionItem({ version, tag }) {
	return `<li><a href="v/${version}/">${version}</a>, since ${escape(tag)}: <a href="v/${version}/openapi.yaml">YAML</a>, <a href="v/${version}/openapi.json">JSON</a></li>`;
}

export function indexPage({ spec, versions, clients }) {
	const { title, version, description } = spec.info;
	const languages = [...new Set(clients.map((client) => client.language))];
	const rows = operations(spec).map((op) => ({
		cells: [`<a href="reference.html#${op.operationId}">${code(op.operationId)}</a>`, code(`${op.method.toUpperCase()} ${op.url}`), escape(op.summary)],
	}));
	return page({
		title: `${title} ${version}`,
		about: "An OpenAPI description of Esper's token endpoints, as the server answers, with a reference and clients in other languages.",
		header: `<h1>${escape(title)} <span class="soft">${escape(version)}</span></h1>
<p class="lead">An OpenAPI description of Esper's token endpoints, as the server answers, and of personal access tokens, as Esper declares them. <a href="RESULTS.html">What each of ${clients.length} clients reads of it</a> is tested.</p>
`,
		main: `<ul class="cards">
${files(spec).map(([href, name, text]) => `<li><a href="${href}">${name}</a><p>${text}</p></li>`).join("\n")}
</ul>
${heading(2, "operations", "Operations")}${table("Operations", ["Operation", "Request", "What it does"], rows)}${render(description)}
${heading(2, "clients", "Generate a client")}
<p>These commands need <code>openapi.yaml</code> in the current folder. This project's tests run each of them as it stands, with the named versions, and use what it makes unchanged. <a href="RESULTS.html">The results</a> say what each client reads.</p>
${languages.map((language) => heading(3, language.toLowerCase(), escape(language)) + clients.filter((c) => c.language === language).map(clientSection).join("")).join("")}
${heading(2, "versions", "Versions")}
${versions.length ? `<p>These addresses stay. <a href="latest/">latest</a> is always the newest release.</p>
<ul>
${versions.map(versionItem).join("\n")}
</ul>` : "<p>Nothing is released yet. What is on this page may still change.</p>"}
`,
	});
}
