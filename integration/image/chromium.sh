#!/bin/bash
# Usage: chromium.sh VERSION...
#
# Sees to it that there is a Chromium to test the pages with, and says in one line
# which one the tests will use:
#  1. the program that SCHEDULER_TEST_CHROMIUM names;
#  2. the docker image scheduler-test-chromium, if it is there and up to date;
#  3. the same, made from Debian's packages, over the last of these versions' test
#     image of PostgreSQL: that is a Debian that knows how to reach its mirrors.
# Quick when there is nothing to do. A second build waits for the first.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

[[ $# -gt 0 ]] || die 'usage: chromium.sh VERSION...'
if [[ -n ${SCHEDULER_TEST_CHROMIUM:-} ]]; then
	command -v "$SCHEDULER_TEST_CHROMIUM" >/dev/null ||
		die "SCHEDULER_TEST_CHROMIUM names no program: '$SCHEDULER_TEST_CHROMIUM'"
	printf 'Chromium: %s, as SCHEDULER_TEST_CHROMIUM says\n' "$SCHEDULER_TEST_CHROMIUM"
	exit 0
fi
version=${!#}
require_version "$version"
require_docker

image=$chromium_repository
hash=$(recipe_hash "$here"/{Dockerfile.chromium,chromium.sh})
up_to_date() {
	[[ $(image_hash "$image") == "$hash" ]] || return 1
	printf 'Chromium: %s, which is here\n' "$image"
	exit 0
}
up_to_date || true
if command -v flock >/dev/null; then
	exec 9>"${TMPDIR:-/tmp}/$image-$UID.lock"
	flock 9
	up_to_date || true
fi

chosen=SCHEDULER_TEST_IMAGE_$version
base=${!chosen:-$repository:$version}
if docker image inspect "$repository:$version-rootfs" >/dev/null 2>&1; then
	base=$repository:$version-rootfs
fi
printf 'Chromium: making %s from Debian packages, a minute or two\n' "$image" >&2
start=$SECONDS
log=$(mktemp)
trap 'rm -f "$log"' EXIT
previous=$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null || true)
# --network: a proxy that apt is told of may be on this machine's loopback.
docker build --quiet --network host --file "$here/Dockerfile.chromium" --tag "$image" --label "$label=$hash" --build-arg "BASE=$base" "$here" >"$log" 2>&1 || {
	tail -n 15 "$log" >&2
	die "docker build of $image over $base failed: see above; or name a browser of this machine in SCHEDULER_TEST_CHROMIUM"
}
# Containers of other runs may still use the old image: then it stays.
[[ -z $previous ]] || docker image rm "$previous" >/dev/null 2>&1 || true
printf 'Chromium: %s, made from Debian packages in %d s\n' "$image" $((SECONDS - start))
