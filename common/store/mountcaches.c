#include "common/store/mountcaches.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/tree.h"
#include "common/conf/dirs.h"
#include "common/data/time.h"
#include "common/store/lock.h"

#define LOCKS "buildah-cache-lockfiles"

static char *place(void)
{
	const char *dir = getenv("TMPDIR");

	return hoy_asprintf("%s/buildah-cache-%u", dir && *dir ? dir : "/var/tmp", (unsigned)hoy_rootless_uid());
}

int hoy_mountcaches_open(bool make, struct hoy_err *err)
{
	cleanup_free char *path = place();
	cleanup_fd int fd = -1;
	struct stat st;

	if (!path)
		return hoy_fail_oom(err);
	if (make && mkdir(path, 0755) < 0 && errno != EEXIST)
		return hoy_fail_errno(err, errno, "cannot create '%s'", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && !make)
		return -ENOENT;
	if (fd < 0 && errno != ELOOP && errno != ENOTDIR)
		return hoy_fail_errno(err, errno, "cannot open '%s'", path);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid())
		return hoy_fail(err, EPERM, "'%s' is no build cache of ours", path);
	return steal_fd(&fd);
}

/* The lock directory of NAME, locked as HOW says; again, if it was dropped before it was locked. */
static int open_locked(int caches, const char *name, int how)
{
	cleanup_free char *path = hoy_asprintf(LOCKS "/%s", name);
	struct stat st;

	for (;;) {
		cleanup_fd int fd = path ? hoy_open_dir_p(caches, path, 0700) : -ENOMEM;

		if (fd < 0)
			return fd;
		while (flock(fd, how) < 0)
			if (errno != EINTR)
				return -errno;
		if (fstat(fd, &st) < 0)
			return -errno;
		if (st.st_nlink)
			return steal_fd(&fd);
	}
}

int hoy_mountcache_use(int caches, const char *name)
{
	int fd = open_locked(caches, name, LOCK_SH);

	if (fd >= 0)
		hoy_mountcache_used(fd);
	return fd;
}

void hoy_mountcache_used(int lockdir) { (void)futimens(lockdir, NULL); }

static int64_t mtime_of(const struct stat *st) { return st->st_mtim.tv_sec * HOY_NS + st->st_mtim.tv_nsec; }

/* What buildah has used says so by its own times, if at all. */
static int64_t last_use(int caches, const char *name)
{
	cleanup_free char *lock = hoy_asprintf(LOCKS "/%s", name);
	struct stat st;
	int64_t at = 0;

	if (!fstatat(caches, name, &st, AT_SYMLINK_NOFOLLOW))
		at = mtime_of(&st);
	if (lock && !fstatat(caches, lock, &st, AT_SYMLINK_NOFOLLOW) && mtime_of(&st) > at)
		at = mtime_of(&st);
	return at;
}

int hoy_mountcaches_list(int caches, struct hoy_mountcache **ret, size_t *ret_n)
{
	cleanup_fd int fd = openat(caches, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	cleanup_free struct hoy_mountcache *v = NULL;
	struct dirent *e;
	size_t n = 0;

	if (!d)
		return -errno;
	(void)steal_fd(&fd);
	while ((e = readdir(d))) {
		struct hoy_mountcache *more;

		if (*e->d_name == '.' || !strcmp(e->d_name, LOCKS) || strlen(e->d_name) >= sizeof(v->name))
			continue;
		more = realloc(v, (n + 1) * sizeof(*v));
		if (!more)
			return -ENOMEM;
		v = more;
		snprintf(v[n].name, sizeof(v[n].name), "%s", e->d_name);
		v[n].used = last_use(caches, e->d_name);
		v[n++].bytes = hoy_tree_size(caches, e->d_name);
	}
	*ret = steal_ptr(&v);
	*ret_n = n;
	return 0;
}

int hoy_mountcache_drop(int caches, const char *name)
{
	cleanup_free char *path = hoy_asprintf(LOCKS "/%s", name);
	cleanup_fd int dir = open_locked(caches, name, LOCK_EX | LOCK_NB);
	struct hoy_lock lock = HOY_LOCK_INIT;
	int r = dir < 0 || !path ? dir : hoy_lock_open(&lock, dir, "buildah-cache-lockfile", false);

	if (!r)
		r = hoy_lock_try(&lock, true);
	if (!r)
		r = hoy_remove_tree(caches, name);
	if (!r)
		r = hoy_remove_tree(caches, path);
	hoy_lock_close(&lock);
	return r == -EAGAIN ? 0 : r < 0 ? r : 1;
}

/* Drop all of which there is a name in DIR. */
static int drop_all(int caches, int dir)
{
	cleanup_free struct hoy_mountcache *v = NULL;
	size_t n = 0;
	int r = hoy_mountcaches_list(dir, &v, &n);

	for (size_t i = 0; i < n && r >= 0; i++)
		r = hoy_mountcache_drop(caches, v[i].name);
	return r < 0 ? r : 0;
}

int hoy_mountcaches_clear(struct hoy_err *err)
{
	cleanup_free char *path = place();
	cleanup_fd int caches = path ? hoy_mountcaches_open(false, err) : hoy_fail_oom(err), locks = -1;
	int r;

	if (caches < 0)
		return caches == -ENOENT ? 0 : caches;
	r = drop_all(caches, caches);
	locks = openat(caches, LOCKS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (!r && locks >= 0)
		r = drop_all(caches, locks);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot remove the build cache '%s'", path);
	(void)unlinkat(caches, LOCKS, AT_REMOVEDIR);
	(void)rmdir(path);
	return 0;
}
