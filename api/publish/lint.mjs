// Lints an OpenAPI description, puts the overlay on it, and validates what comes out.
//
//	node lint.mjs [openapi.yaml [overlay.yaml]]

import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import SwaggerParser from "@apidevtools/swagger-parser";

const here = import.meta.dirname;
export const root = path.resolve(here, "../..");
export const spec = path.join(root, "api/openapi.yaml");
export const spec31 = path.join(root, "api/openapi-3.1.yaml");
export const overlay = path.join(root, "gen/overlay.yaml");

// The tools neither report home nor look for newer versions of themselves.
const env = {
	...process.env,
	REDOCLY_TELEMETRY: "off",
	REDOCLY_SUPPRESS_UPDATE_NOTICE: "true",
	SCARF_ANALYTICS: "false",
	DO_NOT_TRACK: "1",
};

// run returns how a command ended and all that it said.
export function run(command, args, cwd = here) {
	const done = spawnSync(command, args, { cwd, env, encoding: "utf8", maxBuffer: 1 << 26 });
	if (done.error) throw done.error;
	return { ok: done.status === 0, stdout: done.stdout, output: done.stdout + done.stderr };
}

export const tool = (name, ...args) => run(path.join(here, "node_modules/.bin", name), args);

export const redocly = (file) => tool("redocly", "lint", "--config", "redocly.yaml", file);

export const spectral = (file) =>
	tool("spectral", "lint", "--ruleset", ".spectral.yaml", "--fail-severity", "hint", "--fail-on-unmatched-globs", file);

// swaggerParser validates with the JSON Schema of OpenAPI that many JavaScript tools use.
export async function swaggerParser(file) {
	try {
		await SwaggerParser.validate(file);
		return { ok: true, output: "" };
	} catch (error) {
		return { ok: false, output: String(error) };
	}
}

export const overlaid = (file, over) => run(process.env.GO || "go", ["run", "./api/publish/overlay", file, over], root);

export function redoclyOverlaid(content) {
	const folder = fs.mkdtempSync(path.join(os.tmpdir(), "overlaid-"));
	try {
		const file = path.join(folder, "openapi-overlaid.yaml");
		fs.writeFileSync(file, content);
		return redocly(file);
	} finally {
		fs.rmSync(folder, { recursive: true });
	}
}

async function main([file = spec, over = overlay]) {
	const show = (what, result) => {
		console.log(`== ${what}: ${result.ok ? "ok" : "FAILED"}`);
		if (!result.ok) console.log(result.output);
		if (!result.ok) process.exitCode = 1;
		return result;
	};
	show("Redocly", redocly(file));
	show("Spectral", spectral(file));
	show("swagger-parser", await swaggerParser(file));
	const result = show("overlay", overlaid(file, over));
	if (result.ok) show("Redocly, with the overlay", redoclyOverlaid(result.stdout));
	if (file !== spec) return;
	show("Redocly, OpenAPI 3.1", redocly(spec31));
	show("Spectral, OpenAPI 3.1", spectral(spec31));
	show("swagger-parser, OpenAPI 3.1", await swaggerParser(spec31));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2).map((f) => path.resolve(f)));
