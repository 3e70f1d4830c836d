#!/usr/bin/env bash
# Fails unless a commit may be released: it is on main, and the workflow ci has passed for it there.
set -euo pipefail

commit=$1
git merge-base --is-ancestor "$commit" origin/main || { echo "$commit is not on main"; exit 1; }
passed=$(gh run list --workflow ci.yml --branch main --commit "$commit" --status success --json databaseId --jq length)
[ "$passed" -gt 0 ] || { echo "the tests of $commit have not passed on main"; exit 1; }
