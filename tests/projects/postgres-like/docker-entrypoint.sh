#!/usr/bin/env bash
set -Eeo pipefail
if [ "$(id -u)" = 0 ]; then
	chown postgres "$PGDATA"
	exec setpriv --reuid=postgres --regid=postgres --init-groups "$BASH_SOURCE" "$@"
fi
touch "$PGDATA/PG_VERSION"
echo "initialised as $(stat -c %u "$PGDATA/PG_VERSION")"
