#include "common/base/chowntree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/links.h"

#define MAX_DEPTH 1000

struct chown {
	const struct hoy_chown *how;
	int root;
	struct hoy_links links;
	struct hoy_buf path; /* of the directory at hand, with a slash behind it */
	struct hoy_err *err;
};

/* chown(2) takes away what makes a program privileged. */
static int chown_keeping(int dir, const char *name, const struct stat *st, uid_t uid, gid_t gid)
{
	char proc[64], cap[64];
	cleanup_free char *path = NULL;
	cleanup_fd int fd = S_ISREG(st->st_mode) ? openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
	ssize_t n = fd < 0 ? -1 : fgetxattr(fd, "security.capability", cap, sizeof(cap));

	if (S_ISREG(st->st_mode) && fd < 0)
		return -errno;
	if (fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISLNK(st->st_mode) && st->st_mode & (S_ISUID | S_ISGID) && fchmodat(dir, name, st->st_mode & 07777, 0) < 0)
		return -errno;
	if (n <= 0)
		return 0;
	/* The file open for reading may be the lower one still; by its name it is the copy. */
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", dir);
	path = hoy_path_join(proc, name);
	return !path ? -ENOMEM : lsetxattr(path, "security.capability", cap, n, 0) < 0 ? -errno : 0;
}

/* Another name of a file that has been met: 1, and in an overlay it becomes a name of the copy. */
static int met(struct chown *c, int dir, const char *name, const struct stat *st)
{
	cleanup_free char *path = NULL;
	const char *first = NULL;
	int r;

	if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
		return 0;
	path = hoy_asprintf("%s%s", hoy_buf_str(&c->path), name);
	r = path ? hoy_links_name(&c->links, st, path, &first) : -ENOMEM;
	if (r < 0 || !first)
		return r;
	if (c->how->overlay && (unlinkat(dir, name, 0) < 0 || linkat(c->root, first, dir, name, 0) < 0))
		return -errno;
	return 1;
}

static int chown_one(struct chown *c, int dir, const char *name, const struct stat *st)
{
	uid_t uid;
	gid_t gid;
	int r = met(c, dir, name, st);

	if (!r && !c->how->owner(c->how->arg, st, &uid, &gid))
		return hoy_fail(c->err, EINVAL, "'%s%s' belongs to %u:%u, which the container's ids do not include (its user namespace is too "
				"small)", hoy_buf_str(&c->path), name, st->st_uid, st->st_gid);
	if (!r && (uid != st->st_uid || gid != st->st_gid)) {
		if (c->how->keep)
			r = chown_keeping(dir, name, st, uid, gid);
		else if (fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
			r = -errno;
	}
	return r < 0 ? hoy_fail_errno(c->err, -r, "cannot change the owner of '%s%s'", hoy_buf_str(&c->path), name) : 0;
}

static int chown_tree(struct chown *c, int dir, int depth)
{
	int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	cleanup_dir DIR *d = again < 0 ? NULL : fdopendir(again);
	size_t len = c->path.len;
	struct dirent *e;

	if (!d || depth > MAX_DEPTH)
		return hoy_fail_errno(c->err, d ? ELOOP : errno, "cannot read '/%s'", hoy_buf_str(&c->path));
	while (!r && (e = readdir(d))) {
		struct stat st;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return hoy_fail_errno(c->err, errno, "cannot stat '%s'", e->d_name);
		r = chown_one(c, dir, e->d_name, &st);
		if (!r && S_ISDIR(st.st_mode)) {
			cleanup_fd int sub = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			hoy_buf_printf(&c->path, "%s/", e->d_name);
			r = sub < 0 || c->path.error ? hoy_fail_errno(c->err, sub < 0 ? errno : ENAMETOOLONG, "cannot open '%s'", e->d_name) :
						       chown_tree(c, sub, depth + 1);
			c->path.len = len;
			if (c->path.data)
				c->path.data[len] = '\0';
		}
	}
	return r;
}

int hoy_chown_tree(int dir, const struct hoy_chown *how, struct hoy_err *err)
{
	struct chown c = { .how = how, .root = dir, .path = HOY_BUF_INIT(1 << 20), .err = err };
	int r = chown_tree(&c, dir, 0);

	hoy_links_release(&c.links);
	hoy_buf_release(&c.path);
	return r;
}
