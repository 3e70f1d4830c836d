// What is in the built site, without a browser. SITE is the folder (dist/ at the root).

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { parse } from "yaml";
import { root } from "../lint.mjs";
import { build } from "./build.mjs";
import { escape } from "./page.mjs";
import { count } from "./pages.mjs";
import { curl, operations } from "./reference.mjs";

const dist = process.env.SITE || path.join(root, "dist");
const read = (file, folder = dist) => fs.readFileSync(path.join(folder, file), "utf8");
const list = (folder) => fs.readdirSync(folder, { recursive: true }).filter((f) => fs.statSync(path.join(folder, f)).isFile()).sort();

test("openapi.json is openapi.yaml", () => {
	assert.equal(read("openapi.yaml"), read("api/openapi.yaml", root));
	assert.deepEqual(JSON.parse(read("openapi.json")), parse(read("openapi.yaml")));
});

test("openapi-overlaid.yaml has Go's types, the others have not", () => {
	assert.match(read("openapi-overlaid.yaml"), /x-go-type: wire\.Secret/);
	assert.doesNotMatch(read("openapi.yaml"), /x-go-/);
});

test("SHA256SUMS is right", () => {
	const sums = read("SHA256SUMS").trim().split("\n").map((line) => line.split("  "));
	assert.deepEqual(sums.map(([, file]) => file).sort(), list(dist).filter((f) => /^openapi/.test(f)));
	for (const [sum, file] of sums) assert.equal(createHash("sha256").update(read(file)).digest("hex"), sum, file);
});

test("the index has the command, the versions and the setting of each client, and a snippet with the setting", () => {
	const index = read("index.html");
	const folder = path.join(root, "api/conformance");
	const clients = fs.readdirSync(folder).map((name) => path.join(folder, name, "client.json")).filter((f) => fs.existsSync(f));
	assert.ok(clients.length > 0);
	const snippets = new Map(index.split('<h4 id="').slice(1).map((part) => [part.split('"')[0], / aria-label="Use, .*?<code>([^]*?)<\/code><\/pre>/.exec(part)[1]]));
	assert.equal(snippets.size, clients.length, "each client has a snippet");
	for (const [name, text] of snippets) {
		let open = 0;
		for (const [bracket] of text.matchAll(/[{}]/g)) assert.ok((open += bracket === "{" ? 1 : -1) >= 0, `the snippet of ${name} closes what it does not open`);
	}
	assert.doesNotMatch(index, /info_?first|by_?itself/i);
	for (const file of clients) {
		const { title, language, versions, generate, once } = JSON.parse(fs.readFileSync(file, "utf8"));
		for (const text of [title, language, versions]) assert.ok(index.includes(escape(text)), text);
		if (generate) assert.ok(index.includes(`<code>${escape(generate)}</code></pre>`), generate);
		if (!once) continue;
		assert.ok(index.includes(`<code>${escape(once)}</code>`), once);
		const lines = snippets.get(path.basename(path.dirname(file))).split("\n");
		assert.ok(lines.some((line) => once.match(/\w+/g).every((word) => line.includes(word))), `the snippet of ${title} lacks ${once}`);
	}
	assert.ok(index.includes(`${count(operations(parse(read("openapi.yaml"))).length, "operation")} with`));
});

// Brotli would make it smaller still.
test("each page has at most 250 kB compressed", () => {
	for (const file of list(dist).filter((f) => f.endsWith(".html"))) assert.ok(gzipSync(read(file)).length < 250_000, file);
});

test("the results have each row of RESULTS.md", () => {
	const scenarios = read("api/conformance/RESULTS.md", root).split("\n").filter((row) => /^\| [A-Z]/.test(row));
	assert.ok(scenarios.length > 0);
	const cells = [...read("RESULTS.html").matchAll(/<td[^>]*>(.*?)<\/td>/g)].map((m) => m[1].replace(/<[^>]*>/g, ""));
	for (const row of scenarios) for (const cell of row.split(" | ").slice(1, 2)) assert.ok(cells.includes(escape(cell)), row);
});

test("the curl commands work", async () => {
	const fake = spawn(process.env.GO || "go", ["run", "./pkg/esper/espertest/fakeesper", "-addr", "127.0.0.1:0", "-keep-old-key"], { cwd: root, detached: true });
	try {
		const { url, key } = JSON.parse(await new Promise((resolve) => fake.stdout.once("data", resolve)));
		const doc = parse(read("openapi.yaml"));
		doc.servers = [{ url }];
		doc.components.parameters.PersonalAccessTokenId.example = "0d3f8d3a-6f0f-4b8e-9d55-000000000001";
		doc.components.schemas.PersonalAccessTokenRenewal.properties.expiry_at.example = Math.floor(Date.now() / 1000) + 86400;
		const env = { ...process.env, ESPER_API_KEY: key };
		const answers = Object.entries(doc.paths).flatMap(([path, item]) =>
			Object.keys(item).map((method) => JSON.parse(execFileSync("sh", ["-c", curl(doc, path, method)], { env, stdio: ["ignore", "pipe", "ignore"] }))));
		const tokens = answers.map((a) => a.token ?? a.personal_access_tokens[0].token);
		assert.deepEqual(tokens, [key, `${key}-renewed-1`, `${key}-renewed-1`, `${key}-renewed-2`]);
	} finally {
		process.kill(-fake.pid, "SIGINT");
	}
});

test("every link inside the site leads somewhere", () => {
	let links = 0;
	for (const file of list(dist).filter((f) => f.endsWith(".html"))) {
		const markup = read(file).replace(/<script[^]*?<\/script>/g, "");
		for (const [, href] of markup.matchAll(/\s(?:href|src)="([^"]*)"/g)) {
			const [, source] = /^https:\/\/github\.com\/esper-go\/esper-go\/blob\/main\/([^#]*)/.exec(href) ?? [];
			if (source) assert.ok(fs.existsSync(path.join(root, source)), `${file}: ${href}`);
			if (/^(https:|data:)/.test(href)) continue;
			const [to, fragment] = href.split("#");
			let target = to ? path.join(dist, path.dirname(file), to) : path.join(dist, file);
			if (href.endsWith("/")) target = path.join(target, "index.html");
			assert.ok(fs.existsSync(target) && fs.statSync(target).isFile(), `${file}: ${href}`);
			if (fragment) assert.ok(fs.readFileSync(target, "utf8").includes(`id="${fragment}"`), `${file}: ${href}`);
			links++;
		}
	}
	assert.ok(links > 10);
});

// A repository whose tags hold two versions of the description, and a third that is not tagged yet.
test("each released version keeps its address, and a build can be repeated", () => {
	const folder = fs.mkdtempSync(path.join(os.tmpdir(), "site-"));
	try {
		const repo = path.join(folder, "repo");
		for (const part of ["api/openapi.yaml", "api/openapi-3.1.yaml", "api/DEVIATIONS.md", "api/conformance", "gen/overlay.yaml"]) {
			fs.cpSync(path.join(root, part), path.join(repo, part), {
				recursive: true,
				filter: (from) => !/node_modules|\.build/.test(from),
			});
		}
		const git = (...args) => execFileSync("git", ["-c", "user.name=test", "-c", "user.email=test@example.com", ...args], { cwd: repo });
		const file = path.join(repo, "api/openapi.yaml");
		const original = fs.readFileSync(file, "utf8");
		const set = (version, tag, summary = "") => {
			fs.writeFileSync(file, original.replace(/^( {2}version: ).*/m, `$1${version}`).replace("Renew a token", `Renew a token${summary}`));
			if (!tag) return;
			git("add", "api");
			git("commit", "-q", "--allow-empty", "-m", tag);
			git("tag", tag);
		};
		git("init", "-q");
		git("commit", "-q", "--allow-empty", "-m", "before the description");
		git("tag", "v0.0.1");
		set("1.9.0", "v0.1.0");
		set("1.10.0", "v0.2.0");
		set("1.10.0", "v0.3.0", " (changed under the same version)");
		set("2.0.0");

		const [one, two] = ["one", "two"].map((name) => path.join(folder, name));
		build(one, repo);
		assert.deepEqual(fs.readdirSync(path.join(one, "v")).sort(), ["1.10.0", "1.9.0"]);
		assert.equal(read("latest/openapi.yaml", one), read("v/1.10.0/openapi.yaml", one));
		for (const version of ["1.9.0", "1.10.0"]) {
			assert.equal(parse(read(`v/${version}/openapi.yaml`, one)).info.version, version);
			assert.equal(JSON.parse(read(`v/${version}/openapi.json`, one)).info.version, version);
			assert.ok(read(`v/${version}/index.html`, one).includes(`<span class="soft">${version}</span>`));
		}
		assert.doesNotMatch(read("v/1.10.0/openapi.yaml", one), /changed under/);
		const shown = [...read("index.html", one).matchAll(/<li><a href="v\/([\d.]+)\/">[^<]*<\/a>, ([^:]*)/g)].map((m) => m.slice(1));
		assert.deepEqual(shown, [["1.10.0", "since v0.2.0"], ["1.9.0", "since v0.1.0"]]);

		build(two, repo);
		assert.deepEqual(list(two), list(one));
		for (const file of list(one)) assert.equal(read(file, two), read(file, one), file);
	} finally {
		fs.rmSync(folder, { recursive: true });
	}
});
