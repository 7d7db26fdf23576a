/* cmd-image/transfer/layer_tidy.c: an upper directory that becomes a layer as it is. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cmd-image/transfer/layer_diff.h"
#include "common/base/fd.h"
#include "common/base/strv.h"
#include "common/store/layers.h"

#define MAX_DEPTH 1000

/* "redirect" of "trusted.overlay.redirect" and "user.overlay.redirect"; NULL for what is not overlay's. */
static const char *own_key(const char *key)
{
	if (!strncmp(key, "trusted.overlay.", 16))
		return key + 16;
	return !strncmp(key, "user.overlay.", 13) ? key + 13 : NULL;
}

/* What layers are made without goes: all but opaque marks, and what a tar has. 1: files are elsewhere, by a mark. */
static int tidy_xattrs(int fd)
{
	char names[8192];
	ssize_t n = flistxattr(fd, names, sizeof(names));

	if (n < 0)
		return errno == EOPNOTSUPP ? 0 : -errno;
	for (char *k = names; k < names + n; k += strlen(k) + 1) {
		const char *own = own_key(k);

		if (own && (!strcmp(own, "redirect") || !strcmp(own, "metacopy")))
			return 1;
		if (own ? strcmp(own, "opaque") != 0 : !strcmp(k, "system.posix_acl_access") || !strcmp(k, "system.posix_acl_default"))
			(void)fremovexattr(fd, k);
	}
	return 0;
}

static int set_time(int dir, const char *name, const struct stat *st, const struct diff_time *mtime)
{
	struct timespec ts[2];

	if (!mtime || (mtime->latest && st->st_mtime <= mtime->seconds && (st->st_mtime < mtime->seconds || !st->st_mtim.tv_nsec)))
		return 0;
	ts[0] = ts[1] = (struct timespec){ .tv_sec = mtime->seconds };
	return utimensat(dir, name, ts, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int tidy(int dir, const struct diff_time *mtime, int depth);

static int tidy_one(int dir, const char *name, const struct diff_time *mtime, int depth)
{
	cleanup_fd int fd = -1;
	struct stat st;
	int r = 0;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	/* By the name that a tar has for what is gone: unpacking decides what it is. */
	if (!strncmp(name, ".wh.", 4))
		return 1;
	if (S_ISSOCK(st.st_mode))
		return unlinkat(dir, name, 0) < 0 ? -errno : 0;
	/* All whiteouts may be one inode: its time is nobody's. */
	if (hoy_is_whiteout(&st))
		return 0;
	if (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode)) {
		fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		r = fd < 0 ? -errno : tidy_xattrs(fd);
	}
	if (!r && S_ISDIR(st.st_mode))
		r = tidy(fd, mtime, depth + 1);
	return r ? r : set_time(dir, name, &st, mtime);
}

static int tidy(int dir, const struct diff_time *mtime, int depth)
{
	int fd = depth > MAX_DEPTH ? -1 : openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	cleanup_dir DIR *dp = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dp)
		return depth > MAX_DEPTH ? -ELOOP : -errno;
	while (!r && (e = readdir(dp)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			r = tidy_one(dir, e->d_name, mtime, depth);
	return r;
}

int layer_tidy(int dir, const struct diff_time *mtime) { return tidy(dir, mtime, 0); }
