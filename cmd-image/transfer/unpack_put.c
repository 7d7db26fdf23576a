/* cmd-image/transfer/unpack_put.c: files, directories, links, devices and whiteouts, with their attributes. */
#include "cmd-image/transfer/unpack_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/base/beneath.h"
#include "common/base/fd.h"

/* From this size on, writing to the disk starts when the file is complete, so that the sync at the end finds less to do. */
#define EARLY_WRITE ((int64_t)1 << 20)

/* ---- attributes ---- */

static bool ours(const char *key)
{
	return !strncmp(key, "trusted.overlay.", 16) || !strncmp(key, "user.overlay.", 13) || !strcmp(key, "security.selinux");
}

static int set_xattrs(struct unpack *u, int fd, const char *path)
{
	const struct tar_entry *e = &u->tar.e;

	for (size_t i = 0; i < e->n_xattrs; i++) {
		const char *key = e->xattr_data.data + e->xattrs[i].key, *value = e->xattr_data.data + e->xattrs[i].value;
		int r;

		/* overlayfs's own words, in a layer, would let it lead the kernel elsewhere. */
		if (ours(key))
			continue;
		r = fd >= 0 ? fsetxattr(fd, key, value, e->xattrs[i].len, 0) : lsetxattr(path, key, value, e->xattrs[i].len, 0);
		if (r < 0 && errno != EOPNOTSUPP && !(errno == EPERM && (u->o->userns || !strncmp(key, "user.", 5))))
			return -errno;
	}
	return 0;
}

static int owner_error(struct unpack *u, int r)
{
	return u->o->ignore_chown_errors && (r == -EPERM || r == -EINVAL) ? 0 : r;
}

static bool must_chown(const struct unpack *u)
{
	return !u->o->own && (u->tar.e.uid || u->tar.e.gid || u->parent_setgid || u->o->userns);
}

static struct timespec mtime_of(const struct tar_entry *e)
{
	/* Before 1970 counts as 1970, as in the library. */
	return e->mtime < 0 ? (struct timespec){ 0, 0 } : (struct timespec){ e->mtime, e->mtime_ns };
}

static int finish_fd(struct unpack *u, int fd)
{
	const struct tar_entry *e = &u->tar.e;
	struct timespec ts[2] = { mtime_of(e), mtime_of(e) };
	int r = 0;

	if (must_chown(u) && fchown(fd, e->uid, e->gid) < 0)
		r = owner_error(u, -errno);
	if (!r && e->n_xattrs)
		r = set_xattrs(u, fd, NULL);
	/* chown() takes these away, and open() may not have given them. */
	if (!r && e->mode & 07000 && fchmod(fd, e->mode) < 0)
		r = -errno;
	if (!r && futimens(fd, ts) < 0)
		r = -errno;
	return r;
}

/* What has no descriptor: symlinks, devices. */
static int finish_name(struct unpack *u, bool mode)
{
	const struct tar_entry *e = &u->tar.e;
	struct timespec ts[2] = { mtime_of(e), mtime_of(e) };
	char path[64 + 256];
	int r = 0;

	if (must_chown(u) && fchownat(u->parent, u->base, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		r = owner_error(u, -errno);
	if (!r && e->n_xattrs) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", u->parent, u->base);
		r = set_xattrs(u, -1, path);
	}
	if (!r && mode && fchmodat(u->parent, u->base, e->mode, 0) < 0)
		r = -errno;
	if (!r && utimensat(u->parent, u->base, ts, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	return r;
}

/* ---- kinds of entries ---- */

static int write_data(struct unpack *u, int fd, struct hoy_err *err)
{
	const unsigned char *p;
	ssize_t n;

	u->crc = 0;
	while ((n = tar_data(&u->tar, &p, err)) > 0) {
		int r = hoy_write_full(fd, p, n);

		if (r < 0)
			return hoy_fail_errno(err, -r, "cannot write '%s' of the layer", u->path);
		if (u->record)
			u->crc = crc64(u->crc, p, n);
	}
	return n;
}

/* A tar-split can only name whole files: what lies in the tar is kept in the recipe itself. */
static int write_sparse(struct unpack *u, int fd, struct hoy_err *err)
{
	struct sparse *s = &u->tar.e.map;
	struct sparse_out out;
	const unsigned char *p;
	ssize_t n;
	int r = 0;

	if (u->o->max_sparse && s->size > u->o->max_sparse)
		return hoy_fail(err, EFBIG, "a layer unpacks to more than the %lld bytes that --max-layer-size allows", (long long)u->o->max_sparse);
	sparse_out_init(&out, s, fd);
	while (!r && (n = tar_data(&u->tar, &p, err)) != 0) {
		if (n < 0)
			return n;
		if (u->record)
			split_raw(&u->split, p, n);
		r = sparse_out_write(&out, p, n);
	}
	if (!r)
		r = sparse_out_end(&out);
	return sparse_fail(r, u->path, err);
}

static int put_file(struct unpack *u, struct hoy_err *err)
{
	const struct tar_entry *e = &u->tar.e;
	cleanup_fd int fd = -1;
	struct stat st;
	int r, tries = 2;

	do {
		fd = openat(u->parent, u->base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, e->mode & 0777);
		if (fd >= 0 || errno != EEXIST)
			break;
		r = make_way(u, false);
		if (!r)
			r = retry_parent(u, err);
		if (r < 0)
			return r;
	} while (--tries);
	if (fd < 0)
		return -errno;
	r = e->sparse ? write_sparse(u, fd, err) : e->size ? write_data(u, fd, err) : 0;
	if (!r)
		r = finish_fd(u, fd);
	if (r < 0)
		return r;
	u->on_disk = !e->sparse;
	if (u->record && e->size && u->on_disk) {
		if (fstat(fd, &st) < 0)
			return -errno;
		r = posmap_put(&u->inodes, st.st_ino, u->split.pos + (u->split.seg.len > 0));
	}
	if (e->size >= EARLY_WRITE)
		sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	return r;
}

static int remember_dir(struct unpack *u)
{
	struct timespec ts = mtime_of(&u->tar.e);

	if (u->n_late == u->late_cap) {
		size_t cap = u->late_cap ? 2 * u->late_cap : 256;
		struct late *l = realloc(u->late, cap * sizeof(*l));

		if (!l)
			return -ENOMEM;
		u->late = l;
		u->late_cap = cap;
	}
	u->late[u->n_late++] = (struct late){ u->paths.len, ts.tv_sec, ts.tv_nsec };
	hoy_buf_add(&u->paths, u->path, strlen(u->path) + 1);
	return u->paths.error ? -u->paths.error : 0;
}

static int put_dir(struct unpack *u, struct hoy_err *err)
{
	const struct tar_entry *e = &u->tar.e;
	cleanup_fd int fd = -1;
	bool there = false;
	int r = 0;

	if (mkdirat(u->parent, u->base, e->mode & 01777) < 0) {
		if (errno != EEXIST)
			return -errno;
		r = make_way(u, true);
		there = r == 1;
		if (!r)
			r = retry_parent(u, err);
		if (!r && mkdirat(u->parent, u->base, e->mode & 01777) < 0)
			r = -errno;
		if (r < 0)
			return r;
	}
	if (there || must_chown(u) || e->n_xattrs || e->mode & 06000) {
		fd = openat(u->parent, u->base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		if (((there && !u->o->own) || must_chown(u)) && fchown(fd, e->uid, e->gid) < 0 && (r = owner_error(u, -errno)) < 0)
			return r;
		r = set_xattrs(u, fd, NULL);
		if (!r && fchmod(fd, e->mode) < 0)
			r = -errno;
		if (there)
			forget_dirs(u); /* of its setgid bit */
	}
	return r < 0 ? r : remember_dir(u);
}

/* What a link's entry says of owner, mode and time counts for the file, as in the library. */
static int finish_link(struct unpack *u)
{
	const struct tar_entry *e = &u->tar.e;
	struct timespec ts[2] = { mtime_of(e), mtime_of(e) };
	char path[64 + 256];
	struct stat st;
	int r = 0;

	if (fstatat(u->parent, u->base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!u->o->own && fchownat(u->parent, u->base, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		r = owner_error(u, -errno);
	if (!r && e->n_xattrs) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", u->parent, u->base);
		r = set_xattrs(u, -1, path);
	}
	if (r || S_ISLNK(st.st_mode))
		return r;
	return fchmodat(u->parent, u->base, e->mode, 0) < 0 || utimensat(u->parent, u->base, ts, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int put_link(struct unpack *u, struct hoy_err *err)
{
	char target[TAR_NAME_MAX + 1], *slash;
	const struct tar_entry *e = &u->tar.e;
	int dir, n = tar_clean(hoy_buf_str(&e->link), e->link.len, target, sizeof(target)), r;
	struct stat a, b;

	if (n <= 0)
		return hoy_fail(err, EXDEV, "the hard link '%s' leads out of the layer", u->path);
	slash = strrchr(target, '/');
	if (slash)
		*slash = '\0';
	/* Not get_dir(): nothing may be made for a target that isn't there. */
	dir = slash ? hoy_open_beneath(u->rootfd, target, O_PATH | O_DIRECTORY, 0, HOY_IN_ROOT) : dup(u->rootfd);
	if (dir < 0)
		return hoy_fail_errno(err, -dir, "cannot make the hard link '%s' to '%s'", u->path, hoy_buf_str(&e->link));
	slash = slash ? slash + 1 : target;
	r = linkat(dir, slash, u->parent, u->base, 0) < 0 ? -errno : 0;
	if (r == -EEXIST) {
		if (!fstatat(dir, slash, &a, AT_SYMLINK_NOFOLLOW) && !fstatat(u->parent, u->base, &b, AT_SYMLINK_NOFOLLOW) &&
		    a.st_ino == b.st_ino)
			r = 0; /* it is that already; to make way would remove the target */
		else
			r = make_way(u, false);
		if (!r && u->parent < 0) {
			r = enter(u, err);
			if (!r)
				r = linkat(dir, slash, u->parent, u->base, 0) < 0 ? -errno : 0;
		}
	}
	hoy_close(dir);
	if (!r)
		r = finish_link(u);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot make the hard link '%s' to '%s'", u->path, hoy_buf_str(&e->link)) : 0;
}

static int put_symlink(struct unpack *u, struct hoy_err *err)
{
	const char *to = hoy_buf_str(&u->tar.e.link);
	int r = symlinkat(to, u->parent, u->base) < 0 ? -errno : 0;

	if (r == -EEXIST) {
		r = make_way(u, false);
		if (!r)
			r = retry_parent(u, err);
		if (!r)
			r = symlinkat(to, u->parent, u->base) < 0 ? -errno : 0;
	}
	return r < 0 ? r : finish_name(u, false);
}

static int make_node(struct unpack *u, mode_t kind, dev_t dev, struct hoy_err *err)
{
	int r = mknodat(u->parent, u->base, kind, dev) < 0 ? -errno : 0;

	if (r == -EEXIST) {
		r = make_way(u, false);
		if (!r)
			r = retry_parent(u, err);
		if (!r)
			r = mknodat(u->parent, u->base, kind, dev) < 0 ? -errno : 0;
	}
	return r;
}

static int put_node(struct unpack *u, struct hoy_err *err)
{
	const struct tar_entry *e = &u->tar.e;
	mode_t kind = e->type == '3' ? S_IFCHR : e->type == '4' ? S_IFBLK : S_IFIFO;
	int r;

	if (u->o->userns && kind != S_IFIFO)
		return 0;
	r = make_node(u, kind | (e->mode & 0777), kind == S_IFIFO ? 0 : makedev(e->major, e->minor), err);
	return r < 0 ? r : finish_name(u, true);
}

static int put_opaque(struct unpack *u)
{
	const char *key = u->o->userns ? "user.overlay.opaque" : "trusted.overlay.opaque";
	char path[64];

	if (u->parent == u->rootfd)
		return fsetxattr(u->rootfd, key, "y", 1, 0) < 0 ? -errno : 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", u->parent);
	return setxattr(path, key, "y", 1, 0) < 0 ? -errno : 0;
}

int put_whiteout(struct unpack *u, struct hoy_err *err)
{
	const struct tar_entry *e = &u->tar.e;
	const char *name = u->base + 4;
	int r;

	if (u->o->whiteouts == WHITEOUTS_APPLY)
		return apply_whiteout(u, err);
	if (!strcmp(name, ".wh..opq"))
		return put_opaque(u);
	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return hoy_fail(err, HOY_EFORMAT, "the whiteout '%s' names nothing", u->path);
	/* The name within u->path, so that entering the directory again finds it. */
	memmove((char *)u->base, name, strlen(name) + 1);
	r = make_node(u, S_IFCHR, 0, err);
	if (!r && must_chown(u) && fchownat(u->parent, u->base, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		r = owner_error(u, -errno);
	return r;
}

int put_entry(struct unpack *u, struct hoy_err *err)
{
	switch (u->tar.e.type) {
	case '0':
		return put_file(u, err);
	case '1':
		return put_link(u, err);
	case '2':
		return put_symlink(u, err);
	case '3':
	case '4':
	case '6':
		return put_node(u, err);
	case '5':
		return put_dir(u, err);
	}
	return hoy_fail(err, HOY_EFORMAT, "'%s' in the tar is of the unknown type 0x%02x", u->path, (unsigned char)u->tar.e.type);
}
