# shellcheck shell=bash
# What the scripts here share.

# The repository of the test images; the tag is the major version. The Go
# package integration/testdb looks for the same name.
# shellcheck disable=SC2034 # for those who source this
repository=scheduler-test-postgres

# The image of the browser; integration/testdb looks for the same name.
# shellcheck disable=SC2034 # for those who source this
chromium_repository=scheduler-test-chromium

# The label that has the hash of what an image was made from.
label=scheduler.test.recipe

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

require_docker() {
	command -v docker >/dev/null ||
		die 'the docker command is missing: install Docker Engine (on Debian: apt-get install docker.io)'
	local reason
	reason=$(docker version --format '{{.Server.Version}}' 2>&1) ||
		die "docker does not answer (${reason//$'\n'/ }): start its daemon (service docker start), or point DOCKER_HOST at one"
}

require_version() {
	[[ $1 =~ ^[0-9]+$ ]] || die "'$1' is not a major version of PostgreSQL: give a number, such as 17"
}

# limit SECONDS COMMAND...: runs the command for at most so long, where
# timeout(1) is there.
limit() {
	if command -v timeout >/dev/null; then
		timeout "$@"
	else
		"${@:2}"
	fi
}

# recipe_hash FILE...: an image that is labelled with it needs no work.
recipe_hash() {
	if command -v sha256sum >/dev/null; then
		cat "$@" | sha256sum
	else
		cat "$@" | shasum -a 256
	fi | cut -d' ' -f1
}

# test_hash DIR: that of the test image.
test_hash() {
	recipe_hash "$1"/{Dockerfile,Dockerfile.official,build.sh,entrypoint.sh,rootfs.sh}
}

# image_hash IMAGE: what the image here is labelled with; nothing if it is not
# here.
image_hash() {
	docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$1" 2>/dev/null || true
}
