#!/bin/bash
# Usage: build.sh VERSION [BASE]
#
# Makes the docker image scheduler-test-postgres:VERSION, which is PostgreSQL
# as the official image has it, with pgbouncer, libfaketime and nftables beside it:
#  - with BASE (an official image that is here already), from that;
#  - else from Debian's packages. No container registry is needed.
#
# Does nothing if the image is here and its recipe has not changed since. Two
# builds of one version do not get in each other's way: the second one waits,
# and then finds the work done.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

[[ $# == 1 || $# == 2 ]] || die 'usage: build.sh VERSION [BASE]'
version=$1
base=${2:-}
require_version "$version"
require_docker

image=$repository:$version
hash=$(test_hash "$here")
if [[ $(image_hash "$image") == "$hash" ]]; then
	exit 0
fi
if command -v flock >/dev/null; then
	exec 9>"${TMPDIR:-/tmp}/$repository-$version-$UID.lock"
	flock 9
	if [[ $(image_hash "$image") == "$hash" ]]; then
		exit 0
	fi
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# build DOCKERFILE ARGS...
build() {
	docker build --quiet --file "$here/$1" --tag "$image" --label "$label=$hash" "${@:2}" "$here" >"$log" 2>&1 || {
		tail -n 15 "$log" >&2
		die "docker build of $image failed: see above"
	}
}

previous=$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null || true)
if [[ -n $base ]]; then
	build Dockerfile.official --build-arg "BASE=$base"
else
	"$here/rootfs.sh" "$version" "$image-rootfs"
	build Dockerfile --build-arg "ROOTFS=$image-rootfs" --build-arg "VERSION=$version"
fi
# Containers of other runs may still use the old image: then it stays.
[[ -z $previous ]] || docker image rm "$previous" >/dev/null 2>&1 || true
