#!/usr/bin/env bash
# The modules that are released beside the main one have no replace in their go.mod, so that `go install` works from a
# tag. Here they use this checkout all the same:
#
#   modules.sh workspace   writes a go.work into each, which git ignores
#   modules.sh tidy        go mod tidy in each
#   modules.sh check       fails if tidy would change something, or a go.mod holds what no release may
set -euo pipefail
cd "$(dirname "$0")/.."

main=github.com/esper-go/esper-go
# Each module, and the other ones that it needs.
modules=("pkg/esper/renew/kubestore:" "pkg/cmd/esper-key:pkg/esper/renew/kubestore")

replaces() { # folder, needed folder...
	local up
	up=$(sed -E 's#[^/]+#..#g' <<<"$1")
	echo "$main => $up"
	shift
	for needed in "$@"; do echo "$main/$needed => $up/$needed"; done
}

workspace() { # folder, needed folder...
	{
		printf 'go %s\n\nuse .\n\nreplace (\n' "$(awk '$1 == "go" { print $2 }' "$1/go.mod")"
		replaces "$@" | sed 's/^/\t/'
		printf ')\n'
	} >"$1/go.work.$$"
	mv "$1/go.work.$$" "$1/go.work" # at once: another command may be reading it
}

# A module that is not released yet has no sum in go.sum, and is replaced in a copy of go.mod.
tidy() { # how, folder, needed folder...
	local how=$1 folder=$2 flags=() line
	shift
	while read -r line; do
		if ! grep -qE "^${line%% *} v[^ /]+ " "$folder/go.sum"; then flags+=("-replace=${line/ => /=}"); fi
	done < <(replaces "$@")
	(
		cd "$folder"
		mkdir -p .build
		cp go.mod .build/tidy.mod
		cp go.sum .build/tidy.sum
		if [ ${#flags[@]} -gt 0 ]; then go mod edit "${flags[@]}" .build/tidy.mod; fi
		GOWORK=off go mod tidy ${how:+"$how"} -modfile=.build/tidy.mod
		if [ -n "$how" ]; then exit; fi
		cp .build/tidy.sum go.sum
		cp .build/tidy.mod go.mod
		for flag in "${flags[@]}"; do
			flag=${flag%=*}
			go mod edit "-drop${flag#-}" go.mod
		done
	)
}

for entry in "${modules[@]}"; do
	folder=${entry%%:*}
	needed=${entry#*:}
	# shellcheck disable=SC2086 # the folders have no spaces
	case ${1:-} in
	workspace) workspace "$folder" $needed ;;
	tidy) tidy '' "$folder" $needed ;;
	check)
		if grep -nE '^(replace|exclude)\b' "$folder/go.mod"; then
			echo "$folder/go.mod: no release may have this"
			exit 1
		fi
		tidy -diff "$folder" $needed || { echo "$folder/go.mod is not tidy: .github/modules.sh tidy"; exit 1; }
		;;
	*)
		echo "usage: $0 workspace | tidy | check" >&2
		exit 2
		;;
	esac
done
