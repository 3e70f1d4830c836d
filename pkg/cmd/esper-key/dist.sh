#!/usr/bin/env bash
# Makes the files that are attached to a release of the command: a static binary for each platform, its SBOM
# (CycloneDX), and the SHA-256 sums of all.
#
#   dist.sh vX.Y.Z FOLDER [PLATFORM...]
#
# The binaries are made by `go install` from the tag, so that anybody can make the same bytes again.
set -euo pipefail

version=$1 folder=$2
shift 2
platforms=("$@")
if [ ${#platforms[@]} = 0 ]; then
	platforms=(linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64)
fi
sbom=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" # outside of every module and workspace

for platform in "${platforms[@]}"; do
	os=${platform%/*} arch=${platform#*/}
	GOWORK=off GOBIN='' GOPATH="$work/go" GOMODCACHE=$(go env GOMODCACHE) CGO_ENABLED=0 GOOS=$os GOARCH=$arch \
		go install -trimpath -ldflags=-s "github.com/esper-go/esper-go/pkg/cmd/esper-key@$version"
	name=esper-key-$os-$arch
	if [ "$os" = windows ]; then name=$name.exe; fi
	find "$work/go/bin" -type f -exec mv {} "$folder/$name" \;
	GOWORK=off go run "$sbom" bin -json -output "$folder/$name.cdx.json" "$folder/$name"
done
cd "$folder"
sha256sum esper-key-* >SHA256SUMS
sha256sum --check --quiet SHA256SUMS
