/* cmd-image/transfer/unpack_dirs.c: where an entry goes, and what is there already. */
#include "cmd-image/transfer/unpack_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/beneath.h"
#include "common/base/fd.h"

void forget_dirs(struct unpack *u)
{
	for (int i = 0; i < DIRS; i++) {
		free(u->dirs[i].path);
		hoy_close(u->dirs[i].path ? u->dirs[i].fd : -1);
		u->dirs[i] = (struct dir){ NULL, -1, false, 0 };
	}
}

static int open_dir(struct unpack *u, const char *path)
{
	int fd = hoy_open_beneath(u->rootfd, path, O_PATH | O_DIRECTORY, 0, HOY_IN_ROOT);

	/* A parent that the tar doesn't have is made as the library makes it. */
	return fd == -ENOENT ? hoy_mkdir_in_root(u->rootfd, path, 0755) : fd;
}

/*
 * Symlinks may lead deeper than any path does, where nobody could reach what lies there. (A path without symlinks is as short
 * as the tar says, even if it is too long together with that of the root.)
 */
static bool too_deep(struct unpack *u, int fd, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS };
	char self[32], way[8];
	int again;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (readlink(self, way, sizeof(way)) >= 0)
		return false;
	again = syscall(SYS_openat2, u->rootfd, path, &how, sizeof(how));
	hoy_close(again);
	return again < 0;
}

int get_dir(struct unpack *u, const char *path, bool *setgid)
{
	struct dir *old = &u->dirs[0];
	struct stat st;
	int fd, r;

	*setgid = false;
	if (!*path)
		return u->rootfd;
	for (int i = 0; i < DIRS; i++) {
		struct dir *d = &u->dirs[i];

		if (d->path && !strcmp(d->path, path)) {
			d->used = ++u->clock;
			*setgid = d->setgid;
			return d->fd;
		}
		if (d->used < old->used)
			old = d;
	}
	fd = open_dir(u, path);
	if (fd < 0)
		return fd;
	r = fstat(fd, &st) < 0 ? -errno : too_deep(u, fd, path) ? -ENAMETOOLONG : 0;
	if (r < 0) {
		hoy_close(fd);
		return r;
	}
	free(old->path);
	hoy_close(old->fd);
	*old = (struct dir){ strdup(path), fd, st.st_mode & S_ISGID, ++u->clock };
	*setgid = old->setgid;
	return old->path ? fd : -ENOMEM;
}

int enter(struct unpack *u, struct hoy_err *err)
{
	char *slash = strrchr(u->path, '/');

	u->base = slash ? slash + 1 : u->path;
	if (slash)
		*slash = '\0';
	u->parent = get_dir(u, slash ? u->path : "", &u->parent_setgid);
	if (slash)
		*slash = '/';
	/* A whiteout's own name may be longer than the name that it takes away. */
	if (strlen(u->base) > (strncmp(u->base, ".wh.", 4) ? 255 : 259))
		return hoy_fail_errno(err, ENAMETOOLONG, "cannot unpack '%.60s...'", u->base);
	if (u->parent == -ENOTDIR)
		return -ENOTDIR;
	if (u->parent == -ENAMETOOLONG)
		return hoy_fail_errno(err, ENAMETOOLONG, "cannot unpack '%.60s...'", u->path);
	return u->parent < 0 ? hoy_fail_errno(err, -u->parent, "cannot unpack '%s'", u->path) : 0;
}

/* ---- replacing ---- */

int drop_line(struct unpack *u, uint64_t pos, off_t at, int64_t len)
{
	if (u->n_drops == u->drops_cap) {
		size_t cap = u->drops_cap ? 2 * u->drops_cap : 16;
		struct split_drop *d = realloc(u->drops, cap * sizeof(*d));

		if (!d)
			return -ENOMEM;
		u->drops = d;
		u->drops_cap = cap;
	}
	u->drops[u->n_drops++] = (struct split_drop){ pos, at, len };
	return 0;
}

/* A file of this layer goes away, but its bytes belong to the tar: keep them aside. */
static int keep_content(struct unpack *u, int dirfd, const char *name, const struct stat *st)
{
	cleanup_fd int fd = -1;
	ssize_t n = 0;
	uint64_t pos;
	int r;

	if (!u->record || !S_ISREG(st->st_mode) || !posmap_get(&u->inodes, st->st_ino, &pos))
		return 0;
	if (u->spool < 0)
		u->spool = openat(u->rootfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (u->spool < 0 || fd < 0)
		return -errno;
	n = hoy_copy_fd(fd, u->spool);
	if (n < 0)
		return n;
	r = drop_line(u, pos, u->spool_end, n);
	u->spool_end += n;
	posmap_del(&u->inodes, st->st_ino);
	return r;
}

static int keep_tree(struct unpack *u, int dirfd, const char *name, int depth)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;
	int r = 0;

	if (!d)
		return -errno;
	while (!r && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		r = S_ISDIR(st.st_mode) ? depth > 2000 ? -ELOOP : keep_tree(u, fd, e->d_name, depth + 1) :
					  keep_content(u, fd, e->d_name, &st);
	}
	return r;
}

int make_way(struct unpack *u, bool want_dir)
{
	struct stat st;
	int r;

	if (fstatat(u->parent, u->base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode) && want_dir)
		return 1;
	r = S_ISDIR(st.st_mode) ? keep_tree(u, u->parent, u->base, 0) : keep_content(u, u->parent, u->base, &st);
	if (!r)
		r = S_ISDIR(st.st_mode) ? hoy_remove_tree(u->parent, u->base) :
		    unlinkat(u->parent, u->base, 0) < 0 ? -errno : 0;
	if (r < 0)
		return r;
	/* What the cached names lead to may have been it. */
	forget_dirs(u);
	u->parent = -1;
	return 0;
}
