// The reference page: Redoc, with everything that it needs in the one file.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parse } from "yaml";
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
export function reference(yaml) {
	const { title, version } = parse(yaml).info;
	const script = bundle(yaml);
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
<noscript><p>This page is drawn by a script. The same without: <a href="openapi.yaml">openapi.yaml</a>.</p></noscript>
<main id="redoc"></main>
<script>
${helper}</script>
${script.replace(remoteMark, mark)}
</body>
</html>
`;
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
