// Builds the site: the description in its forms, a reference page, and an index.
//
//	node site/build.mjs [folder]
//
// The same sources and tags give the same bytes. ROOT is the repository to read, for the tests.

import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { overlaid, root as ownRoot } from "../lint.mjs";
import { indexPage, markdownPage } from "./pages.mjs";
import { reference } from "./reference.mjs";
import { releases } from "./releases.mjs";

// clients returns what api/conformance says of each client, by language and title.
function clients(root) {
	const folder = path.join(root, "api/conformance");
	return fs.readdirSync(folder)
		.map((name) => path.join(folder, name, "client.json"))
		.filter((file) => fs.existsSync(file))
		.map((file) => JSON.parse(fs.readFileSync(file, "utf8")))
		.sort((a, b) => (a.language + a.title < b.language + b.title ? -1 : 1));
}

export function build(out, root = ownRoot) {
	const read = (file) => fs.readFileSync(path.join(root, file), "utf8");
	const yaml = read("api/openapi.yaml");
	const spec = parse(yaml);
	const over = overlaid(path.join(root, "api/openapi.yaml"), path.join(root, "gen/overlay.yaml"));
	if (!over.ok) throw new Error(over.output);

	fs.rmSync(out, { recursive: true, force: true });
	const write = (file, content) => {
		const target = path.join(out, file);
		fs.mkdirSync(path.dirname(target), { recursive: true });
		fs.writeFileSync(target, content);
	};
	const json = (doc) => JSON.stringify(doc, null, 2) + "\n";

	write("openapi.yaml", yaml);
	write("openapi.json", json(spec));
	write("openapi-overlaid.yaml", over.stdout);
	write("reference.html", reference(yaml));
	write("DEVIATIONS.html", markdownPage("Deviations", read("api/DEVIATIONS.md")));

	// The description at hand, and each one that was released, under a link that stays.
	const versions = releases(root, yaml);
	for (const { version, yaml } of versions) {
		write(`v/${version}/openapi.yaml`, yaml);
		write(`v/${version}/openapi.json`, json(parse(yaml)));
		write(`v/${version}/index.html`, reference(yaml));
	}
	write("index.html", indexPage({ spec, versions, clients: clients(root), results: read("api/conformance/RESULTS.md") }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	build(path.resolve(process.argv[2] ?? path.join(ownRoot, "dist")), process.env.ROOT || ownRoot);
}
