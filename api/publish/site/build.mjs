// Builds the site: the description in its forms, a reference page, and an index.
//
//	node site/build.mjs [folder]
//
// The same sources and tags give the same bytes. ROOT is the repository to read, for the tests.

import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { overlaid, root as ownRoot } from "../lint.mjs";
import { indexPage, lost, markdownPage } from "./pages.mjs";
import { reference } from "./reference.mjs";
import { releases } from "./releases.mjs";

// clients returns what api/conformance says of each client, by language and title.
function clients(root) {
	const folder = path.join(root, "api/conformance");
	return fs.readdirSync(folder)
		.map((name) => path.join(folder, name, "client.json"))
		.filter((file) => fs.existsSync(file))
		.map((file) => ({ ...JSON.parse(fs.readFileSync(file, "utf8")), folder: path.basename(path.dirname(file)) }))
		.map((client) => ({ ...client, use: snippet(fs.readFileSync(path.join(folder, client.folder, client.snippet), "utf8")) }))
		.sort((a, b) => (a.language + a.title < b.language + b.title ? -1 : 1));
}

// snippet is the part of a program between the comments "snippet" and "end of snippet", moved to the left. Lines and blocks
// about info_first and by_itself are for the test alone.
function snippet(program) {
	const found = /^.*\bsnippet$\n([^]*?)^.*\bend of snippet$/m.exec(program);
	if (!found) return "";
	const lines = found[1].trimEnd().replace(/^([ \t]*).*(?:info_?first|by_?itself).*?(?:\{\n[^]*?^\1\})?$\n?/gim, "").split("\n");
	const indent = Math.min(...lines.filter(Boolean).map((line) => /^\s*/.exec(line)[0].length));
	return lines.map((line) => line.slice(indent)).join("\n");
}

export function build(out, root = ownRoot) {
	const read = (file) => fs.readFileSync(path.join(root, file), "utf8");
	const yaml = read("api/openapi.yaml");
	const spec = parse(yaml);
	const over = overlaid(path.join(root, "api/openapi.yaml"), path.join(root, "gen/overlay.yaml"));
	if (!over.ok) throw new Error(over.output);

	fs.rmSync(out, { recursive: true, force: true });
	const sums = [];
	const write = (file, content) => {
		if (/^openapi/.test(file)) sums.push(`${createHash("sha256").update(content).digest("hex")}  ${file}\n`);
		const target = path.join(out, file);
		fs.mkdirSync(path.dirname(target), { recursive: true });
		fs.writeFileSync(target, content);
	};
	const json = (doc) => JSON.stringify(doc, null, 2) + "\n";

	write("openapi.yaml", yaml);
	write("openapi.json", json(spec));
	write("openapi-3.1.yaml", read("api/openapi-3.1.yaml"));
	write("openapi-overlaid.yaml", over.stdout);
	write("SHA256SUMS", sums.join(""));
	write("reference.html", reference(yaml));
	write("DEVIATIONS.html", markdownPage("Differences", "Where this description differs from Esper's own, and on whose evidence.", read("api/DEVIATIONS.md"), spec));
	write("RESULTS.html", markdownPage("Clients", "Clients in other languages: what each reads of an answer, and what it does without one.", read("api/conformance/RESULTS.md").replaceAll("<br>", "; "), spec));
	write("404.html", lost);

	// Each released description, under an address that stays, and the newest one under "latest" too.
	const versions = releases(root);
	for (const [i, { version, yaml }] of versions.entries()) {
		for (const folder of i ? [`v/${version}`] : [`v/${version}`, "latest"]) {
			write(`${folder}/openapi.yaml`, yaml);
			write(`${folder}/openapi.json`, json(parse(yaml)));
			write(`${folder}/index.html`, reference(yaml, folder.replace(/[^/]+/g, "..") + "/"));
		}
	}
	write("index.html", indexPage({ spec, versions, clients: clients(root) }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	build(path.resolve(process.argv[2] ?? path.join(ownRoot, "dist")), process.env.ROOT || ownRoot);
}
