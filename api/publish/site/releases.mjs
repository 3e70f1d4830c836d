// The released versions of the description: those of the tags.

import { spawnSync } from "node:child_process";
import { parse } from "yaml";

function git(root, ...args) {
	const done = spawnSync("git", args, { cwd: root, encoding: "utf8" });
	if (done.error) throw done.error;
	if (done.status !== 0) throw new Error(`git ${args.join(" ")}: ${done.stderr}`);
	return done.stdout;
}

// releases returns {version, yaml, tag}, the newest first. If tags share a version, the oldest tag's text counts, so that
// what is behind a link never changes.
export function releases(root) {
	const found = new Map();
	for (const tag of git(root, "tag", "--list", "v*", "--sort=version:refname").split("\n").filter(Boolean)) {
		if (!git(root, "ls-tree", "--name-only", tag, "api/openapi.yaml")) continue;
		const yaml = git(root, "show", `${tag}:api/openapi.yaml`);
		const { version } = parse(yaml).info;
		if (!/^\d+\.\d+\.\d+$/.test(version)) throw new Error(`${tag}: "${version}" is no version`);
		if (!found.has(version)) found.set(version, { version, yaml, tag });
	}
	return [...found.values()].sort((a, b) => b.version.localeCompare(a.version, "en", { numeric: true }));
}
