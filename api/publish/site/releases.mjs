// The versions of the description: those of the tags, and the one at hand.

import { spawnSync } from "node:child_process";
import { parse } from "yaml";

function git(root, ...args) {
	const done = spawnSync("git", args, { cwd: root, encoding: "utf8" });
	if (done.error) throw done.error;
	if (done.status !== 0) throw new Error(`git ${args.join(" ")}: ${done.stderr}`);
	return done.stdout;
}

// releases returns {version, yaml, tag}, the newest first. Where tags share a version, the oldest tag's text counts: what a
// link has once led to stays. The version at hand has no tag if it is not released.
export function releases(root, current) {
	const found = new Map();
	const add = (yaml, tag) => {
		const { version } = parse(yaml).info;
		if (!/^\d+\.\d+\.\d+$/.test(version)) throw new Error(`${tag ?? "openapi.yaml"}: "${version}" is no version`);
		if (!found.has(version)) found.set(version, { version, yaml, tag });
	};
	for (const tag of git(root, "tag", "--list", "v*", "--sort=version:refname").split("\n").filter(Boolean)) {
		const there = git(root, "ls-tree", "--name-only", tag, "api/openapi.yaml");
		if (there) add(git(root, "show", `${tag}:api/openapi.yaml`), tag);
	}
	add(current);
	return [...found.values()].sort((a, b) => b.version.localeCompare(a.version, "en", { numeric: true }));
}
