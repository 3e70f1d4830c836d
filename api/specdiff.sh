#!/usr/bin/env bash
# Compares api/openapi.yaml with that of the last release, the newest tag vX.Y.Z behind this commit. A change needs a
# higher info.version, and a breaking one a higher first number. Before the first release nothing is compared.
# `make spec-diff` runs this, and sets OASDIFF.
set -euo pipefail
oasdiff=${OASDIFF:?run this by make spec-diff}
levels=$(cd "$(dirname "$0")" && pwd)/specdiff.levels
cd "$(git rev-parse --show-toplevel)"
spec=api/openapi.yaml

fail() {
	echo "spec-diff: $*" >&2
	exit 1
}

# The version under info:, which has to be three plain numbers.
version() { # file, what it is
	local found
	found=$(awk '/^[^ #]/ { info = /^info:/ } info && /^  version:/ { print $2; exit }' "$1" | tr -d "\"'\r")
	[[ $found =~ ^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$ ]] ||
		fail "info.version of $2 is \"$found\", not three numbers like 1.0.0."
	echo "$found"
}

# Is version $1 lower than $2?
lower() {
	local a b i
	IFS=. read -ra a <<<"$1"
	IFS=. read -ra b <<<"$2"
	for i in 0 1 2; do
		if ((a[i] != b[i])); then
			((a[i] < b[i]))
			return
		fi
	done
	return 1
}

if [ "$(git rev-parse --is-shallow-repository)" = true ]; then
	fail 'this clone is shallow, so the last release may be missing: git fetch --unshallow --tags (in CI: fetch-depth: 0).'
fi
tag=$(git tag --list 'v*' --merged HEAD --sort=-version:refname |
	awk '!found && /^v[0-9]+\.[0-9]+\.[0-9]+$/ { print; found = 1 }')
if [ -z "$tag" ]; then
	echo "spec-diff: there is no release yet: nothing to compare with."
	exit 0
fi
if ! git cat-file -e "refs/tags/$tag:$spec" 2>/dev/null; then
	echo "spec-diff: $tag has no $spec: this is the first one."
	exit 0
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
git show "refs/tags/$tag:$spec" >"$tmp/base.yaml"
tr -d '\r' <"$spec" >"$tmp/here.yaml" # a checkout on Windows may have put them there
old=$(version "$tmp/base.yaml" "$tag")
new=$(version "$tmp/here.yaml" "$spec")
if cmp -s "$tmp/base.yaml" "$tmp/here.yaml"; then
	echo "spec-diff: $spec is that of $tag, $old."
	exit 0
fi
if lower "$new" "$old"; then
	fail "info.version went down, from $old in $tag to $new."
fi

cd "$tmp"
breaking=$($oasdiff breaking --severity-levels "$levels" --format json base.yaml here.yaml) || fail 'oasdiff failed.'
if [ "$breaking" != '[]' ]; then
	$oasdiff breaking --severity-levels "$levels" --color never base.yaml here.yaml
	[ "${new%%.*}" -gt "${old%%.*}" ] ||
		fail "this breaks who was generated from $tag, $old: raise the first number of info.version, now $new."
fi
[ "$new" != "$old" ] || fail "$spec differs from $tag, and info.version is $old in both: raise it."
echo "spec-diff: $tag has $old, here is $new: as it should be."
