/* cmd-build/builder/put_file.c: one file of a context into a container's root, and what it is to the digest. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cmd-build/builder/put_in.h"
#include "common/base/beneath.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/data/tar_write.h"

int put_fail(struct putter *p, int code, const char *what, const char *name)
{
	return hoy_fail_errno(p->err, code, "cannot %s '%s%s'", what, hoy_buf_str(&p->name), name);
}

/* Whose what ST is about will be, to the image. */
static int owner(struct putter *p, const struct stat *st, uid_t *uid, gid_t *gid)
{
	bool keep = !p->chown && p->keep_owner;

	*uid = p->chown ? p->uid : keep ? st->st_uid : 0;
	*gid = p->chown ? p->gid : keep ? st->st_gid : 0;
	if (!keep || hoy_idmaps_empty(p->of))
		return 0;
	return hoy_idmap_in(&p->of->uid, *uid, uid) && hoy_idmap_in(&p->of->gid, *gid, gid) ? 0 : put_fail(p, EINVAL, "find the owner of", "");
}

/* And on the disk. */
static int owner_outside(struct putter *p, const struct stat *st, uid_t *uid, gid_t *gid)
{
	int r = owner(p, st, uid, gid);

	return r ? r : maps_out(p->to, uid, gid, p->err);
}

static mode_t mode_of(const struct putter *p, const struct stat *st)
{
	mode_t mode = st->st_mode & 07777;

	if (p->chmod)
		return chmod_mode(p->chmod, st->st_mode);
	if (S_ISLNK(st->st_mode))
		return 0777;
	return p->keep_setid ? mode : mode & ~06000U;
}

/* ---- the digest ---- */

static int digest(struct putter *p, const void *data, size_t len)
{
	return !p->md || EVP_DigestUpdate(p->md, data, len) == 1 ? 0 : hoy_fail_oom(p->err);
}

/* The header of an entry, without its time: content counts, not when it was written; but for what was fetched. */
int put_header(struct putter *p, const struct stat *st, char type, const char *link, const struct xattrs *x)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 20);
	struct tar_item i = { .type = type, .name = hoy_buf_str(&p->name), .link = link, .mode = mode_of(p, st) };
	uid_t uid;
	gid_t gid;

	if (owner(p, st, &uid, &gid) < 0)
		return -p->err->code;
	i.uid = uid;
	i.gid = gid;
	i.size = type == '0' ? st->st_size : 0;
	i.mtime = p->times ? st->st_mtim.tv_sec : 0;
	i.xattrs = x ? x->v : NULL;
	i.n_xattrs = x ? x->n : 0;
	if (type == '3' || type == '4') {
		i.major = major(st->st_rdev);
		i.minor = minor(st->st_rdev);
	}
	tar_put_header(&out, &i);
	return out.error ? hoy_fail_oom(p->err) : digest(p, out.data, out.len);
}

/* ---- one file ---- */

/* To the nearest second, as buildah's way through a tar has it. */
static struct timespec whole(const struct putter *p, const struct stat *st)
{
	if (p->forced)
		return (struct timespec){ .tv_sec = p->time };
	return (struct timespec){ .tv_sec = st->st_mtim.tv_sec + (st->st_mtim.tv_nsec >= 500000000) };
}

void put_time(const struct putter *p, int fd, const struct stat *st)
{
	struct timespec times[2] = { whole(p, st), whole(p, st) };

	(void)futimens(fd, times);
}

int put_finish(struct putter *p, int to, const char *name, const struct stat *st)
{
	struct timespec times[2] = { whole(p, st), whole(p, st) };
	uid_t uid;
	gid_t gid;

	if (p->dry)
		return 0;
	if (owner_outside(p, st, &uid, &gid) < 0)
		return -p->err->code;
	if (fchownat(to, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return put_fail(p, errno, "change the owner of", "");
	if (!S_ISLNK(st->st_mode) && fchmodat(to, name, mode_of(p, st), 0) < 0)
		return put_fail(p, errno, "change the mode of", "");
	(void)utimensat(to, name, times, AT_SYMLINK_NOFOLLOW);
	return 0;
}

/*
 * The same for the new file FD; and its attributes, after chown(), which takes file capabilities away. What most files have from the
 * beginning isn't set once more: a look costs a fraction of a change.
 */
static int finish_file(struct putter *p, int fd, const struct stat *st, const struct xattrs *x)
{
	struct stat now;
	uid_t uid;
	gid_t gid;

	if (p->dry)
		return 0;
	if (owner_outside(p, st, &uid, &gid) < 0)
		return -p->err->code;
	if (fstat(fd, &now) < 0)
		return put_fail(p, errno, "look at", "");
	if ((now.st_uid != uid || now.st_gid != gid) && fchown(fd, uid, gid) < 0)
		return put_fail(p, errno, "change the owner of", "");
	if ((now.st_mode & 07777) != mode_of(p, st) && fchmod(fd, mode_of(p, st)) < 0)
		return put_fail(p, errno, "change the mode of", "");
	set_xattrs(fd, x);
	put_time(p, fd, st);
	return 0;
}

/* A directory that shows through may be hidden by something else only if it is empty. */
static int check_hidden(struct putter *p, const struct spot *at, const char *name)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	cleanup_fd int fd = at->view < 0 ? -1 : openat(at->view, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 && (list_names(fd, &names) < 0 || names.n))
		return put_fail(p, ENOTEMPTY, "replace the directory", "");
	return 0;
}

/* What is in the way of NAME goes; a directory only if it is empty. */
int put_room(struct putter *p, const struct spot *at, const char *name)
{
	if (p->dry)
		return 0;
	if (check_hidden(p, at, name) < 0)
		return -p->err->code;
	if (!unlinkat(at->to, name, 0) || errno == ENOENT)
		return 0;
	if (errno == EISDIR || errno == EPERM)
		return unlinkat(at->to, name, AT_REMOVEDIR) < 0 ? put_fail(p, errno, "replace the directory", "") : 0;
	return put_fail(p, errno, "replace", "");
}

/* A new file NAME; most often nothing is in its way. */
static int create(struct putter *p, const struct spot *at, const char *name, mode_t mode)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, fd, r = check_hidden(p, at, name);

	if (r < 0)
		return r;
	fd = openat(at->to, name, flags, mode & 0777);
	if (fd < 0 && errno == EEXIST) {
		r = put_room(p, at, name);
		if (r < 0)
			return r;
		fd = openat(at->to, name, flags, mode & 0777);
	}
	return fd < 0 ? put_fail(p, errno, "create", "") : fd;
}

static int put_data(struct putter *p, int in, int out, int64_t left)
{
	static const char zeros[TAR_BLOCK];
	size_t pad = tar_padding(left);
	char piece[65536];

	while (left) {
		ssize_t n = read(in, piece, left < (int64_t)sizeof(piece) ? (size_t)left : sizeof(piece));
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? put_fail(p, errno, "read", "") : hoy_fail(p->err, EIO, "'%s' became shorter while it was read", hoy_buf_str(&p->name));
		r = p->dry ? 0 : hoy_write_full(out, piece, n);
		if (r < 0)
			return put_fail(p, -r, "write", "");
		if (digest(p, piece, n) < 0)
			return -ENOMEM;
		left -= n;
	}
	return pad ? digest(p, zeros, pad) : 0;
}

int put_regular(struct putter *p, int in, const struct stat *st, const struct spot *at, const char *name)
{
	cleanup_fd int out = p->dry ? -1 : create(p, at, name, mode_of(p, st));
	struct xattrs x;
	int r;

	if (out < 0 && !p->dry)
		return out;
	read_xattrs(in, &x);
	r = put_header(p, st, '0', NULL, &x);
	if (!r)
		r = put_data(p, in, out, st->st_size);
	if (!r)
		r = finish_file(p, out, st, &x);
	xattrs_release(&x);
	return r;
}

/* FIRST is the name that the file had within this item; it lies beneath the directory BASE. */
int put_link(struct putter *p, const struct stat *st, int base, const char *first, const struct spot *at, const char *name)
{
	int r = put_room(p, at, name);

	if (!r)
		r = put_header(p, st, '1', first, NULL);
	if (!r && !p->dry && linkat(base, first, at->to, name, 0) < 0)
		r = put_fail(p, errno, "link", "");
	return r;
}

int put_special(struct putter *p, int dir, const struct stat *st, const struct spot *at, const char *name)
{
	char target[PATH_MAX] = "";
	char type = S_ISLNK(st->st_mode) ? '2' : S_ISCHR(st->st_mode) ? '3' : S_ISBLK(st->st_mode) ? '4' : '6';
	int r;

	if (S_ISSOCK(st->st_mode))
		return 0; /* a tar has none */
	if (type == '2' && readlinkat(dir, name, target, sizeof(target) - 1) < 0)
		return put_fail(p, errno, "read the link", "");
	/* To an overlay it would say that something is gone. */
	if (type == '3' && !st->st_rdev)
		return put_fail(p, EPERM, "copy the device", "");
	r = put_room(p, at, name);
	if (!r)
		r = put_header(p, st, type, target, NULL);
	if (!r && !p->dry &&
	    (type == '2' ? symlinkat(target, at->to, name) : mknodat(at->to, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev)) < 0)
		r = put_fail(p, errno, "create", "");
	return r ? r : put_finish(p, at->to, name, st);
}
