#!/usr/bin/env bash
# Makes the files that are attached to a release of the command, step by step:
#
#   dist.sh binaries FOLDER vX.Y.Z [PLATFORM...]   a static binary for each platform
#   dist.sh licenses FOLDER                        LICENSES.txt, of all that the binaries are linked from
#   dist.sh packages FOLDER vX.Y.Z                 a deb and an rpm from each binary for Linux, with LICENSES.txt
#   dist.sh sboms    FOLDER                        an SBOM (CycloneDX) for each binary
#
# The binaries are made by `go install` from the tag, so that anybody can make the same bytes again. Programs of others run
# in the last two steps alone, which get a copy of the binaries.
set -euo pipefail

step=$1 folder=$2 version=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0
sbom=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" # outside of every module and workspace
export GOWORK=off

binaries() {
	for platform in "$@"; do
		local os=${platform%/*} arch=${platform#*/} suffix=
		if [ "$os" = windows ]; then suffix=.exe; fi
		GOBIN='' GOPATH="$work/go" GOMODCACHE=$(go env GOMODCACHE) CGO_ENABLED=0 GOOS=$os GOARCH=$arch \
			go install -trimpath -ldflags=-s "github.com/esper-go/esper-go/pkg/cmd/esper-key@$version"
		find "$work/go/bin" -type f -exec mv {} "$folder/esper-key-$os-$arch$suffix" \;
	done
}

licenses() {
	echo 'esper-key is linked from the modules below. Its own licence:'
	cat "$here/../../../LICENSE"
	printf '\n=== The Go standard library\n\n'
	cat "$(go env GOROOT)/LICENSE"
	local modules
	modules=$(go version -m "$folder"/esper-key-* | awk '$1 == "dep" && $2 !~ "^github.com/esper-go/" { print $2 "@" $3 }' | sort -u)
	# shellcheck disable=SC2086 # a list
	go mod download -json $modules | awk -F '"' '$2 == "Path" { path = $4 } $2 == "Dir" { print path, $4 }' | while read -r path dir; do
		printf '\n=== %s\n\n' "$path"
		find "$dir" -maxdepth 1 -type f -iregex '.*/\(licen[cs]e\|copying\|notice\|unlicense\)[^/]*' | sort | xargs -d '\n' cat /dev/null |
			grep . || { echo "$path has no licence" >&2; exit 1; }
	done
}

packages() {
	local native command
	native="$folder/esper-key-linux-$(go env GOARCH)"
	chmod +x "$native"
	cp -r "$here"/package/* "$here/../../examples/deploy/systemd"/* "$folder/LICENSES.txt" .
	sed -i 's#/usr/local/bin/#/usr/bin/#' ./*.service
	for shell in bash zsh fish; do "$native" completion "$shell" >"completion.$shell"; done
	{
		printf '.TH ESPER-KEY 1 "" "esper-key %s"\n.SH NAME\nesper-key \\- keep an Esper API key renewed\n' "$version"
		for command in '' $("$native" __complete '' 2>/dev/null | awk '!/^:/ { print $1 }'); do
			printf '.SH "%s"\n.nf\n' "ESPER-KEY${command:+ ${command^^}}"
			"$native" help $command | sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^[.']/\\\\\&&/"
			echo .fi
		done
	} >esper-key.1
	for binary in "$folder"/esper-key-linux-*; do
		install -m 0755 "$binary" esper-key
		for kind in deb rpm; do
			ARCH=${binary##*-} VERSION=$version go run "$nfpm" package --config nfpm.yaml --packager "$kind" --target "$folder/"
		done
	done
}

sboms() {
	for binary in "$folder"/esper-key-*; do go run "$sbom" bin -json -output "$binary.cdx.json" "$binary"; done
}

case $step in
binaries)
	shift 3
	if [ $# = 0 ]; then set -- linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64; fi
	binaries "$@"
	;;
licenses) licenses >"$folder/LICENSES.txt" ;;
packages | sboms) "$step" ;;
*) sed -n '2,/^$/p' "$0" >&2 && exit 2 ;;
esac
