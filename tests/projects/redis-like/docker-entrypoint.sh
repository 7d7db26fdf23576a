#!/bin/sh
set -e
if [ "$1" = store-server ] && [ "$(id -u)" = 0 ]; then
	find . \! -user store -exec chown store '{}' +
	exec setpriv --reuid=store --regid=store --clear-groups -- "$0" "$@"
fi
umask 0077
exec "$@"
