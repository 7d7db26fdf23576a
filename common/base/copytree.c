#include "common/base/copytree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/fs.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/links.h"

#define MAX_DEPTH 1000

struct copy {
	int root;
	bool special;
	struct hoy_links links;
	struct hoy_buf path; /* of the directory that is being copied, with a slash behind it */
};

/* 1: the copy of this file was there already, under another name, and has got this one too. */
static int link_copy(struct copy *c, int to, const char *name, const struct stat *st)
{
	cleanup_free char *path = st->st_nlink < 2 ? NULL : hoy_asprintf("%s%s", hoy_buf_str(&c->path), name);
	const char *first;
	int r;

	if (st->st_nlink < 2)
		return 0;
	r = path ? hoy_links_name(&c->links, st, path, &first) : -ENOMEM;
	if (r < 0 || !first)
		return r;
	return linkat(c->root, first, to, name, 0) < 0 ? -errno : 1;
}

static int copy_xattrs(int from, int to)
{
	cleanup_free char *names = NULL, *value = NULL;
	ssize_t n = flistxattr(from, NULL, 0);

	if (n <= 0)
		return 0;
	names = malloc(n);
	value = malloc(XATTR_SIZE_MAX);
	if (!names || !value)
		return -ENOMEM;
	n = flistxattr(from, names, n);
	for (char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
		ssize_t len = fgetxattr(from, p, value, XATTR_SIZE_MAX);

		/* An ordinary user may not set them all, and not every file system has all kinds. */
		if (len >= 0 && fsetxattr(to, p, value, len, 0) < 0 && errno != EPERM && errno != EOPNOTSUPP)
			return -errno;
	}
	return 0;
}

int hoy_copy_attrs(int from, int to, const struct stat *st)
{
	struct timespec t[2] = { st->st_atim, st->st_mtim };
	int r;

	/* A change of owner drops set-id bits and capabilities: first. */
	if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0)
		return -errno;
	r = copy_xattrs(from, to);
	return r ? r : futimens(to, t) < 0 ? -errno : 0;
}

static int copy_file(int from, int to, const char *name, const struct stat *st)
{
	cleanup_fd int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	cleanup_fd int out = in < 0 ? -1 : openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	ssize_t n = 0;

	if (out < 0)
		return -errno;
	if (st->st_size && ioctl(out, FICLONE, in) < 0)
		n = hoy_copy_fd(in, out);
	return n < 0 ? (int)n : hoy_copy_attrs(in, out, st);
}

static int copy_other(int from, int to, const char *name, const struct stat *st)
{
	struct timespec t[2] = { st->st_atim, st->st_mtim };
	char target[PATH_MAX];
	ssize_t n;

	if (S_ISLNK(st->st_mode)) {
		n = readlinkat(from, name, target, sizeof(target) - 1);
		if (n < 0)
			return -errno;
		target[n] = '\0';
		if (symlinkat(target, to, name) < 0)
			return -errno;
	} else if (mknodat(to, name, st->st_mode, st->st_rdev) < 0) {
		return -errno;
	}
	if (fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISLNK(st->st_mode) && fchmodat(to, name, st->st_mode & 07777, 0) < 0)
		return -errno;
	return utimensat(to, name, t, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int copy_dir(struct copy *c, int from, int to, int depth);

static int copy_subdir(struct copy *c, int from, int to, const char *name, int depth)
{
	cleanup_fd int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), out = -1;
	size_t len = c->path.len;
	int r;

	if (in < 0 || (mkdirat(to, name, 0700) < 0 && errno != EEXIST))
		return -errno;
	out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (out < 0)
		return -errno;
	hoy_buf_printf(&c->path, "%s/", name);
	r = c->path.error ? -c->path.error : copy_dir(c, in, out, depth + 1);
	if (!c->path.error)
		c->path.data[c->path.len = len] = '\0';
	return r;
}

static int copy_entry(struct copy *c, int from, int to, const char *name, int depth)
{
	struct stat st;
	int r;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return copy_subdir(c, from, to, name, depth);
	if (!c->special && !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return 0;
	r = link_copy(c, to, name, &st);
	if (r)
		return r < 0 ? r : 0;
	return S_ISREG(st.st_mode) ? copy_file(from, to, name, &st) : copy_other(from, to, name, &st);
}

static int copy_dir(struct copy *c, int from, int to, int depth)
{
	int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;

	if (!d)
		return -errno;
	if (depth > MAX_DEPTH)
		return -ELOOP;
	while (!r && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			r = copy_entry(c, from, to, e->d_name, depth);
	if (!r && fstat(from, &st) < 0)
		r = -errno;
	return r ? r : hoy_copy_attrs(from, to, &st);
}

int hoy_copy_tree(int from, int to, bool special)
{
	cleanup_fd int in = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int out = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct copy c = { .root = out, .special = special, .path = HOY_BUF_INIT(1 << 20) };
	int r = in < 0 || out < 0 ? -errno : copy_dir(&c, in, out, 0);

	hoy_links_release(&c.links);
	hoy_buf_release(&c.path);
	return r;
}
