#!/bin/bash
# Usage: ensure.sh VERSION...
#
# Sees to it that there is an image to test each of these major versions of
# PostgreSQL with, and says in one line which one the tests will use:
#  1. what SCHEDULER_TEST_IMAGE_<VERSION> names;
#  2. scheduler-test-postgres:VERSION, if it is there and up to date;
#  3. the same, made from the official image, where a registry answers;
#  4. the same, made from Debian's packages.
# Quick when there is nothing to do.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

# A registry that does not say within so many seconds that it has the image
# counts as none; the pull itself may then take its time.
probe_seconds=20
pull_seconds=600

pull() {
	limit "$probe_seconds" docker manifest inspect "$1" >/dev/null 2>&1 &&
		limit "$pull_seconds" docker pull --quiet "$1" >/dev/null 2>&1
}

ensure() {
	local version=$1 start=$SECONDS
	local image=$repository:$version chosen=SCHEDULER_TEST_IMAGE_$version
	if [[ -n ${!chosen:-} ]]; then
		printf 'PostgreSQL %s: %s, as %s says\n' "$version" "${!chosen}" "$chosen"
	elif [[ $(image_hash "$image") == "$hash" ]]; then
		printf 'PostgreSQL %s: %s, which is here\n' "$version" "$image"
	elif pull "postgres:$version" && "$here/build.sh" "$version" "postgres:$version"; then
		printf 'PostgreSQL %s: %s, made from the official image in %d s\n' "$version" "$image" $((SECONDS - start))
	else
		printf 'PostgreSQL %s: making %s from Debian packages, a minute or two\n' "$version" "$image" >&2
		"$here/build.sh" "$version"
		printf 'PostgreSQL %s: %s, made from Debian packages in %d s\n' "$version" "$image" $((SECONDS - start))
	fi
}

[[ $# -gt 0 ]] || die 'usage: ensure.sh VERSION...'
require_docker
hash=$(test_hash "$here")
for version in "$@"; do
	require_version "$version"
	ensure "$version"
done
