#!/usr/bin/env bash
# Compares api/openapi.yaml with that of the last release: a change needs a higher info.version, a breaking one a
# higher first number. The last release is the newest tag vX.Y.Z behind this commit; before the first one it is
# where this branch left the base branch: BASE, or origin/main, or on a pull request what it is to be merged into.
# Run by `make spec-diff`, which says how oasdiff is called.
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
if [ -n "$tag" ]; then
	name=$tag base=refs/tags/$tag
else
	name=${BASE:-origin/${GITHUB_BASE_REF:-main}}
	if git rev-parse --quiet --verify "$name^{commit}" >/dev/null; then
		base=$(git merge-base HEAD "$name") || fail "this branch and $name have no commit in common."
	elif [ -n "${BASE:-}${GITHUB_BASE_REF:-}" ]; then
		fail "there is no release yet, and no $name to compare with: fetch it, or set BASE."
	else
		echo "spec-diff: there is no release and no $name yet: nothing to compare with."
		exit 0
	fi
fi
if ! git cat-file -e "$base:$spec" 2>/dev/null; then
	echo "spec-diff: $name has no $spec: this is the first one."
	exit 0
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
git show "$base:$spec" >"$tmp/base.yaml"
tr -d '\r' <"$spec" >"$tmp/here.yaml" # a checkout on Windows may have put them there
old=$(version "$tmp/base.yaml" "$name")
new=$(version "$tmp/here.yaml" "$spec")
if cmp -s "$tmp/base.yaml" "$tmp/here.yaml"; then
	echo "spec-diff: $spec is that of $name, $old."
	exit 0
fi
if lower "$new" "$old"; then
	fail "info.version went down, from $old in $name to $new."
fi

cd "$tmp"
breaking=$($oasdiff breaking --severity-levels "$levels" --format json base.yaml here.yaml) || fail 'oasdiff failed.'
if [ "$breaking" != '[]' ]; then
	$oasdiff breaking --severity-levels "$levels" --color never base.yaml here.yaml
	[ "${new%%.*}" -gt "${old%%.*}" ] ||
		fail "this breaks who was generated from $name, $old: raise the first number of info.version, now $new."
fi
[ "$new" != "$old" ] || fail "$spec differs from $name, and info.version is $old in both: raise it."
echo "spec-diff: $name has $old, here is $new: as it should be."
