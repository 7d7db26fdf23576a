#!/bin/sh
set -e
if [ "$1" = serve ]; then
	for f in /docker-entrypoint.d/*.sh; do
		if [ -x "$f" ]; then "$f"; fi
	done
fi
echo "ready; starting $*"
exec "$@"
