/*
 * common/store/mountcaches.h: the directories of RUN --mount=type=cache, at buildah's place: $TMPDIR (or /var/tmp)/buildah-cache-UID/NAME.
 * Beside them, buildah-cache-lockfiles/NAME/ has the lock file that buildah takes where only one RUN may use a cache. Of that directory
 * itself, flock() says who uses the cache at all, and its time of modification when that was.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hoy_err;

/* Open the directory of all, made if MAKE; only if it is ours and no link. -ENOENT without a sentence: there is none. */
int hoy_mountcaches_open(bool make, struct hoy_err *err);
/*
 * Cache NAME is used from now on: it isn't dropped as long as the descriptor of its lock directory, which this returns, is open.
 * hoy_mountcache_used() notes that it was used until now.
 */
int hoy_mountcache_use(int caches, const char *name);
void hoy_mountcache_used(int lockdir);

struct hoy_mountcache {
	char name[64];
	int64_t used, bytes;
};
/* All that there are, in new memory; 0 or -errno. */
int hoy_mountcaches_list(int caches, struct hoy_mountcache **ret, size_t *ret_n);
/* Remove NAME with all that it holds: 1, or 0 if somebody uses it, or -errno. */
int hoy_mountcache_drop(int caches, const char *name);
/* Remove all that nobody uses, and the directory of all if nothing is left. 0 (also if there is none) or an error with a sentence. */
int hoy_mountcaches_clear(struct hoy_err *err);
