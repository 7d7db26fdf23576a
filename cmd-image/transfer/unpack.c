#include "cmd-image/transfer/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cmd-image/transfer/posmap.h"
#include "cmd-image/transfer/split.h"
#include "cmd-image/transfer/tar.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"
#include "common/base/strv.h"

#define DIRS 8
/* From this size on, writing to the disk starts when the file is complete, so that the sync at the end finds less to do. */
#define EARLY_WRITE ((int64_t)1 << 20)

struct dir {
	char *path; /* NULL: unused */
	int fd;
	bool setgid;
	unsigned used;
};

/* A directory whose mtime is set when nothing more is put into it. */
struct late {
	size_t path; /* in the buffer of paths */
	int64_t sec, ns;
};

struct unpack {
	struct tar tar;
	struct split split;
	bool record;
	int rootfd, splitfd, spool;
	off_t spool_end;
	const struct unpack_opts *o;
	struct unpack_result *res;
	struct dir dirs[DIRS];
	unsigned clock;
	struct posmap inodes; /* inode of a file with data -> position of its line in the tar-split */
	struct posmap names;  /* hash of a clean name -> position of its line */
	struct split_drop *drops;
	size_t n_drops, drops_cap;
	struct late *late;
	size_t n_late, late_cap;
	struct hoy_buf paths;
	/* the entry at hand */
	char path[TAR_NAME_MAX + 1];
	const char *base;
	int parent;
	bool parent_setgid;
	uint64_t crc;
	bool on_disk; /* its data is in a file of its name */
};

int tar_clean(const char *name, size_t len, char *ret, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len;) {
		size_t k = i;

		while (k < len && name[k] != '/')
			k++;
		if (k - i == 2 && !memcmp(name + i, "..", 2)) {
			if (!n)
				return -EXDEV;
			while (n && ret[n - 1] != '/')
				n--;
			if (n)
				n--;
		} else if (k > i && !(k - i == 1 && name[i] == '.')) {
			if (n + 1 + (k - i) >= size)
				return -ENAMETOOLONG;
			if (n)
				ret[n++] = '/';
			memcpy(ret + n, name + i, k - i);
			n += k - i;
		}
		i = k + 1;
	}
	ret[n] = '\0';
	return n;
}

/* ---- sets of ids ---- */

static int id_add(struct id_set *s, unsigned id)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (s->v[mid] == id)
			return 0;
		if (s->v[mid] < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (s->n == 65536) /* a set of more serves nobody */
		return 0;
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 8;
		unsigned *v = realloc(s->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		s->v = v;
		s->cap = cap;
	}
	memmove(s->v + lo + 1, s->v + lo, (s->n - lo) * sizeof(*s->v));
	s->v[lo] = id;
	s->n++;
	return 0;
}

void unpack_result_release(struct unpack_result *r)
{
	free(r->uids.v);
	free(r->gids.v);
	share_release(&r->files);
	*r = (struct unpack_result){ 0 };
}

/* ---- directories ---- */

static void forget_dirs(struct unpack *u)
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

/* The directory PATH beneath the root, from the few that were used last. The fd stays the cache's. */
static int get_dir(struct unpack *u, const char *path, bool *setgid)
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

/* Split u->path into its open parent and its last component. */
static int enter(struct unpack *u, struct hoy_err *err)
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

static int drop_line(struct unpack *u, uint64_t pos, off_t at, int64_t len)
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

/* Something is there already. 1: a directory, and one is wanted; 0: it is gone now. */
static int make_way(struct unpack *u, bool want_dir)
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

static int retry_parent(struct unpack *u, struct hoy_err *err) { return u->parent < 0 ? enter(u, err) : 0; }

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
	return u->tar.e.uid || u->tar.e.gid || u->parent_setgid || u->o->userns;
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
		if ((there || must_chown(u)) && fchown(fd, e->uid, e->gid) < 0 && (r = owner_error(u, -errno)) < 0)
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
	if (fchownat(u->parent, u->base, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
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

static int put_whiteout(struct unpack *u, struct hoy_err *err)
{
	const struct tar_entry *e = &u->tar.e;
	const char *name = u->base + 4;
	int r;

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

/* ---- one entry ---- */

static int put_entry(struct unpack *u, struct hoy_err *err)
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

static int place(struct unpack *u, struct hoy_err *err)
{
	struct tar_entry *e = &u->tar.e;
	bool whiteout;
	int r;

	if (e->uid < 0 || e->gid < 0 || e->uid >= UINT32_MAX || e->gid >= UINT32_MAX)
		return hoy_fail(err, ERANGE, "'%s' in the tar has an owner that is out of range", u->path);
	r = enter(u, err);
	whiteout = u->base && !strncmp(u->base, ".wh.", 4);
	if (r == -ENOTDIR && whiteout)
		return 0; /* its parent is whited out itself */
	if (r == -ENOTDIR)
		return hoy_fail_errno(err, ENOTDIR, "cannot unpack '%s'", u->path);
	if (r < 0)
		return r;
	if (!whiteout && (id_add(&u->res->uids, e->uid) < 0 || id_add(&u->res->gids, e->gid) < 0))
		return hoy_fail_oom(err);
	err->code = 0;
	r = whiteout ? put_whiteout(u, err) : put_entry(u, err);
	if (r < 0 && !err->code)
		return hoy_fail_errno(err, -r, "cannot unpack '%s'", u->path);
	return r;
}

static uint64_t hash(const char *s)
{
	uint64_t h = 0xcbf29ce484222325;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3;
	return h ^ h >> 32;
}

/* The data of an entry that has no file of its own goes into the recipe itself. */
static int embed_data(struct unpack *u, struct hoy_err *err)
{
	const unsigned char *p;
	ssize_t n;

	while ((n = tar_data(&u->tar, &p, err)) > 0)
		if (u->record)
			split_raw(&u->split, p, n);
	return n;
}

/* One line for each name: readers refuse a second one. */
static int record(struct unpack *u, const char *clean, struct hoy_err *err)
{
	const struct tar_entry *e = &u->tar.e;
	int64_t size = u->on_disk ? e->size : 0;
	uint64_t h, pos;
	int r = 0;

	h = hash(clean);
	if (posmap_get(&u->names, h, &pos)) {
		if (!size)
			return 0;
		/* Backwards: most often it is the one that has just been replaced. */
		for (size_t i = u->n_drops; i && pos != UINT64_MAX; i--)
			if (u->drops[i - 1].pos == pos)
				pos = UINT64_MAX;
		if (pos != UINT64_MAX)
			r = drop_line(u, pos, 0, 0);
	}
	if (!r && u->o->share && size >= SHARE_LEAST)
		r = share_add(&u->res->files, clean, size, u->crc);
	pos = split_file(&u->split, hoy_buf_str(&e->name), e->name.len, size, u->crc);
	if (!r)
		r = posmap_put(&u->names, h, pos);
	return r < 0 ? hoy_fail_oom(err) : u->split.error ? hoy_fail_errno(err, -u->split.error, "cannot write the tar-split") : 0;
}

static int entry(struct unpack *u, struct hoy_err *err)
{
	const struct tar_entry *e = &u->tar.e;
	char clean[TAR_NAME_MAX + 1];
	int n, r = 0;

	if (memchr(hoy_buf_str(&e->name), '\0', e->name.len) || memchr(hoy_buf_str(&e->link), '\0', e->link.len))
		return hoy_fail(err, HOY_EFORMAT, "a name in the tar contains a NUL");
	n = tar_clean(hoy_buf_str(&e->name), e->name.len, u->path, sizeof(u->path));
	if (n < 0)
		return hoy_fail(err, EXDEV, "'%s' in the tar leads above the root", hoy_buf_str(&e->name));
	u->on_disk = false;
	u->base = NULL;
	strcpy(clean, u->path);
	/* The root's own attributes are the parent layer's. */
	if (e->type != 'g' && n)
		r = place(u, err);
	if (!r && !u->on_disk)
		r = embed_data(u, err);
	u->res->entries++;
	return r || !u->record ? r : record(u, clean, err);
}

/* ---- the end ---- */

static int set_dir_times(struct unpack *u, struct hoy_err *err)
{
	bool setgid;

	/* Backwards: should a directory appear twice, its last entry counts. */
	for (size_t i = 0; i < u->n_late; i++) {
		const char *path = u->paths.data + u->late[i].path, *slash = strrchr(path, '/');
		struct timespec ts[2] = { { u->late[i].sec, u->late[i].ns }, { u->late[i].sec, u->late[i].ns } };
		char parent[TAR_NAME_MAX + 1];
		int dir, r = 0;

		snprintf(parent, sizeof(parent), "%.*s", slash ? (int)(slash - path) : 0, path);
		dir = get_dir(u, parent, &setgid);
		if (dir < 0 || utimensat(dir, slash ? slash + 1 : path, ts, AT_SYMLINK_NOFOLLOW) < 0)
			r = dir < 0 ? -dir : errno;
		/* Its place may have been taken by something else. */
		if (r == EIO || r == ENOSPC || r == EDQUOT || r == EROFS)
			return hoy_fail_errno(err, r, "cannot set the time of '%s'", path);
	}
	return 0;
}

static int by_pos(const void *a, const void *b)
{
	const struct split_drop *x = a, *y = b;

	return x->pos < y->pos ? -1 : x->pos > y->pos;
}

static int end_split(struct unpack *u, struct hoy_err *err)
{
	int r = split_end(&u->split);

	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot write the tar-split");
	if (!u->n_drops)
		return 0;
	qsort(u->drops, u->n_drops, sizeof(*u->drops), by_pos);
	return split_rewrite(u->splitfd, u->drops, u->n_drops, u->spool, u->rootfd, err);
}

static void raw(void *arg, const void *data, size_t n)
{
	struct unpack *u = arg;

	split_raw(&u->split, data, n);
}

static void release(struct unpack *u)
{
	forget_dirs(u);
	tar_release(&u->tar);
	if (u->record)
		split_release(&u->split);
	posmap_release(&u->inodes);
	posmap_release(&u->names);
	hoy_close(u->spool);
	hoy_buf_release(&u->paths);
	free(u->drops);
	free(u->late);
	free(u);
}

int unpack_tar(struct stream *tar, int difffd, int splitfd, const struct unpack_opts *o, struct unpack_result *ret,
	       struct hoy_err *err)
{
	struct unpack *u = calloc(1, sizeof(*u));
	struct hoy_err own = HOY_ERR_INIT;
	int r;

	*ret = (struct unpack_result){ 0 };
	err = err ? err : &own;
	if (!u)
		return hoy_fail_oom(err);
	u->rootfd = difffd;
	u->splitfd = splitfd;
	u->spool = -1;
	u->record = splitfd >= 0;
	u->o = o;
	u->res = ret;
	u->paths.max = HOY_BUF_OURS;
	for (int i = 0; i < DIRS; i++)
		u->dirs[i].fd = -1;
	tar_init(&u->tar, tar, u->record ? raw : NULL, u);
	r = u->record ? split_init(&u->split, splitfd) : 0;
	if (r < 0)
		hoy_fail_oom(err);
	while (!r && (r = tar_next(&u->tar, err)) > 0)
		r = entry(u, err);
	if (!r)
		r = set_dir_times(u, err);
	if (!r && u->record)
		r = end_split(u, err);
	release(u);
	return r;
}
