#!/bin/bash
# The entrypoint of the test image. It keeps the parts of the official image's
# contract that the tests use: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB,
# POSTGRES_INITDB_ARGS, POSTGRES_HOST_AUTH_METHOD, PGDATA, the scripts in
# /docker-entrypoint-initdb.d, and "postgres -c name=value" as the command.
set -euo pipefail

die() {
	printf 'entrypoint: %s\n' "$*" >&2
	exit 1
}

# Replaces this process by the same script run as the user postgres.
become_postgres() {
	export HOME=/var/lib/postgresql
	exec setpriv --reuid=postgres --regid=postgres --init-groups -- "${BASH_SOURCE[0]}" "$@"
}

# Creates the cluster. The server that runs meanwhile listens on its socket
# only, so nobody can connect from outside before everything is in place.
init_cluster() {
	local user=${POSTGRES_USER:-postgres}
	local database=${POSTGRES_DB:-$user}
	local auth=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
	local password=${POSTGRES_PASSWORD:-}
	if [[ -z $password && $auth != trust ]]; then
		die 'POSTGRES_PASSWORD is not set: set it, or set POSTGRES_HOST_AUTH_METHOD=trust'
	fi

	local copied=no
	if [[ $user == postgres && -z ${POSTGRES_INITDB_ARGS:-} ]]; then
		# initdb is most of a start; the image has its result, without a password.
		tar -xf /var/lib/postgresql/initialized.tar -C "$PGDATA"
		copied=yes
	else
		# The arguments are split as by a shell, as the official image does.
		eval 'initdb --username="$user" --pwfile=<(printf "%s\n" "$password") '"${POSTGRES_INITDB_ARGS:-}"
	fi
	printf '\nhost all all all %s\n' "$auth" >>"$PGDATA/pg_hba.conf"

	local options
	options=$(printf '%q ' "$@" -c listen_addresses= -p 5432)
	pg_ctl --pgdata="$PGDATA" --options="$options" --wait start

	local -a psql=(psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="$user" --no-password)
	export PGPASSWORD=$password
	if [[ $copied == yes && -n $password ]]; then
		"${psql[@]}" --quiet --dbname=postgres --set=password="$password" <<<"ALTER ROLE postgres PASSWORD :'password';"
	fi
	if [[ $database != postgres ]]; then
		"${psql[@]}" --dbname=postgres --set=db="$database" <<<'CREATE DATABASE :"db";'
	fi
	local file
	for file in /docker-entrypoint-initdb.d/*; do
		case $file in
		*.sh) # shellcheck disable=SC1090 # the caller's own script
			. "$file" ;;
		*.sql) "${psql[@]}" --dbname="$database" --file="$file" ;;
		esac
	done
	unset PGPASSWORD

	pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
	printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

[[ ${1:-} != -* ]] || set -- postgres "$@"

case ${1:-} in
postgres)
	if [[ $(id -u) == 0 ]]; then
		install -d -m 700 -o postgres -g postgres "$PGDATA"
		become_postgres "$@"
	fi
	if [[ ! -s $PGDATA/PG_VERSION ]]; then
		chmod 700 "$PGDATA"
		init_cluster "${@:2}"
	fi
	;;
pgbouncer)
	[[ $(id -u) != 0 ]] || become_postgres "$@"
	;;
esac

exec "$@"
