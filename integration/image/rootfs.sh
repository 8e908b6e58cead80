#!/bin/bash
# Usage: rootfs.sh VERSION IMAGE
#
# Makes IMAGE, a minimal Debian with PostgreSQL VERSION, pgbouncer, libfaketime and
# nftables in it, from the package mirror that this machine's apt is configured with.
# build.sh makes the test image out of it, and keeps it: this is the slow part.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

[[ $# == 2 ]] || die 'usage: rootfs.sh VERSION IMAGE'
version=$1
image=$2
hash=$(recipe_hash "${BASH_SOURCE[0]}")
if [[ $(image_hash "$image") == "$hash" ]]; then
	exit 0
fi

# The release of Debian that carries this version.
case $version in
15) suite=bookworm ;;
17) suite=trixie ;;
*) die "no release of Debian carries PostgreSQL $version: use 15 or 17, or name an image in SCHEDULER_TEST_IMAGE_$version" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! command -v mmdebstrap >/dev/null; then
	command -v apt-get >/dev/null ||
		die "no registry to pull postgres:$version from, and this is not a Debian machine to build it on: name an image in SCHEDULER_TEST_IMAGE_$version"
	[[ $(id -u) == 0 ]] || die 'mmdebstrap is missing: as root, apt-get install mmdebstrap'
	install=(apt-get install -y --no-install-recommends mmdebstrap)
	{ "${install[@]}" || { apt-get update && "${install[@]}"; }; } >"$work/apt.log" 2>&1 || {
		tail -n 5 "$work/apt.log" >&2
		die 'mmdebstrap is missing and apt-get cannot install it: see above'
	}
fi

# apt's source lines for the suite, from the mirrors that this machine's apt uses
# for Debian itself. apt is asked what it would fetch if it had no lists: so
# either kind of sources file will do, and a machine where nobody has run apt-get
# update.
mkdir -p "$work/lists/partial"
apt-get update --print-uris -o Dir::State::Lists="$work/lists" -o Debug::NoLocking=1 |
	sed -nE "s#^'([^']*/debian(-security)?)/dists/([^/']+)/main/binary-[^/']+/Packages[^']*'.*#\1 \3#p" |
	sort -u >"$work/mirrors"
lines=()
while read -r uri release; do
	suffix=${release#"${release%%-*}"}
	case $suffix in
	'' | -updates | -security) lines+=("deb $uri $suite$suffix main") ;;
	esac
done <"$work/mirrors"
[[ ${#lines[@]} -gt 0 ]] ||
	die "apt's configuration on this machine names no mirror of Debian: add one, or name an image in SCHEDULER_TEST_IMAGE_$version"

# How this machine's apt reaches its mirrors holds for mmdebstrap too.
apt-config dump --format '%F "%v";%n' |
	grep -E '^Acquire::(https?::Proxy|Check-)' >"$work/apt.conf" || true

# localedef, and away with /usr/share/i18n: en_US.utf8 is the official image's
# locale, and the sources of the others are larger than a database. The cluster
# that postgresql-common makes when it is installed is not wanted either.
# shellcheck disable=SC2016 # $1 is for mmdebstrap's shell
mmdebstrap --quiet --variant=minbase \
	--include="postgresql-$version,pgbouncer,locales,libfaketime,nftables" \
	--aptopt="$work/apt.conf" \
	--dpkgopt=force-unsafe-io \
	--dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--customize-hook='chroot "$1" localedef -i en_US -c -f UTF-8 -A /usr/share/locale/locale.alias en_US.UTF-8' \
	--customize-hook='rm -rf "$1"/usr/share/i18n "$1"/var/lib/postgresql/* "$1"/etc/postgresql/* "$1"/var/log/*' \
	"$suite" - "${lines[@]}" 2>"$work/mmdebstrap.log" |
	docker import - "$image-$$" >/dev/null || {
	docker image rm "$image-$$" >/dev/null 2>&1 || true
	tail -n 15 "$work/mmdebstrap.log" >&2
	die "cannot make a Debian $suite with PostgreSQL $version: see above"
}

# The label says that it is complete, so it comes last.
printf 'FROM %s\nLABEL %s=%s\n' "$image-$$" "$label" "$hash" |
	docker build --quiet --tag "$image" - >"$work/build.log" 2>&1 || {
	tail -n 15 "$work/build.log" >&2
	die "docker build of $image failed: see above"
}
docker image rm "$image-$$" >/dev/null
