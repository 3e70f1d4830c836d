#!/usr/bin/env bash
# Tries specdiff.sh in a repository made for it. Run by `make spec-diff-test`.
set -euo pipefail
script=$(cd "$(dirname "$0")" && pwd)/specdiff.sh
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# The git configuration of the person who runs this does not count.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME=test GIT_AUTHOR_EMAIL=test@example.com GIT_COMMITTER_NAME=test GIT_COMMITTER_EMAIL=test@example.com
failed=0

# A spec of the given version, with one change applied by sed.
write() { # version, change
	mkdir -p api
	sed -e "${2:-}" >api/openapi.yaml <<-SPEC
		openapi: 3.0.3
		info:
		  title: Test
		  version: $1 # not the version of another key
		paths:
		  /a/:
		    get:
		      operationId: getA
		      tags: [T]
		      responses:
		        '200':
		          description: A.
		          content:
		            application/json:
		              schema: {\$ref: '#/components/schemas/A'}
		        '404':
		          description: No A.
		components:
		  schemas:
		    A:
		      type: object
		      properties:
		        one: {type: string}
		        two: {type: string} #two
		        maybe: {type: string, nullable: true}
		        any: {nullable: true}
		    B: {type: string}
	SPEC
}
commit() { git add -A && git commit -q -m change; }
repository() {
	rm -rf "$tmp/repo" && git init -q -b main "$tmp/repo" && cd "$tmp/repo"
	echo text >README && commit
}
released() { repository && write "$1" && commit && git tag "v$2"; }

# What specdiff.sh says here, and whether it succeeds.
expect() { # ok or fails, words, name
	local got=ok out
	out=$(bash "$script" 2>&1) || got=fails
	if [ "$got" = "$1" ] && grep -qF -- "$2" <<<"$out"; then
		echo "ok    $3"
	else
		printf 'WRONG %s: %s, want %s with "%s"\n%s\n' "$3" "$got" "$1" "$2" "$out"
		failed=1
	fi
}

add='s/^\( *\)two: .*/&\n\1three: {type: string}/'
change() { # version here, change, then as expect
	released 1.2.3 0.1.0 && write "$1" "$2" && expect "$3" "$4" "$5"
}
change 1.2.3 '' ok 'is that of v0.1.0' 'no change'
change 1.3.0 "$add" ok 'as it should be' 'field added, minor raised'
change 1.10.0 "$add" ok 'as it should be' 'versions are numbers, not text'
change 1.2.3 "$add" fails 'raise it' 'field added, same version'
change 1.2.3 's/No A/There is no A/' fails 'raise it' 'text changed, same version'
change 1.2.2 "$add" fails 'went down' 'version lowered'
change 0.9.9 '/two:/d' fails 'went down' 'version lowered, field removed'
change 1.3.0 '/two:/d' fails 'raise the first number' 'field removed, minor raised'
change 2.0.0 '/two:/d' ok 'as it should be' 'field removed, major raised'
change 1.3.0 's/getA/readA/' fails 'raise the first number' 'operation renamed, minor raised'
change 1.3.0 '/404/,/No A/d' fails 'raise the first number' 'status removed, minor raised'
change 1.3.0 '/    B:/d' fails 'raise the first number' 'schema removed, minor raised'
change 1.3.0 's/tags: .*/tags: [U]/' fails 'raise the first number' 'tag renamed, minor raised'
change 1.3.0 's/two: {type: string}/two: {type: integer}/' fails 'raise the first number' 'type changed, minor raised'
change 1.3.0 's/two: {type: string}/two: {type: string, format: uuid}/' fails 'raise the first number' 'format added, minor raised'
change 1.3.0 's/two: {type: string}/two: {type: string, enum: [a]}/' fails 'raise the first number' 'values listed, minor raised'
change 1.3.0 's/maybe: .*/maybe: {type: string}/' fails 'raise the first number' 'no null any more, minor raised'
change 1.3.0 's/any: .*/any: {type: string, nullable: true}/' fails 'raise the first number' 'type given, minor raised'
change 1.3 "$add" fails 'not three numbers' 'no version'
change 1.3.0 's/^paths:/paths: [/' fails 'oasdiff failed' 'not YAML'

released 1.0.0 0.1.0 && write 2.0.0 '/two:/d' && commit && git tag v0.10.0 && git tag v0.11.0-rc.1 && git tag vendor
write 2.0.1 '/two:/d'
expect ok 'v0.10.0 has 2.0.0' 'newest tag, by number'
git checkout -q -f -b old v0.1.0 && write 1.0.1
expect ok 'v0.1.0 has 1.0.0' 'a later release that is not behind this commit'

repository && write 1.0.0 && commit && write 0.1.0 '/two:/d'
expect ok 'no release yet' 'before the first release'
released 1.0.0 0.1.0 && git rm -q api/openapi.yaml && commit && git tag v0.2.0 && write 1.0.0
expect ok 'v0.2.0 has no api/openapi.yaml' 'first spec'

released 1.0.0 0.1.0 && git clone -q --depth 1 "file://$tmp/repo" "$tmp/shallow" && cd "$tmp/shallow"
expect fails 'this clone is shallow' 'shallow clone'

exit $failed
