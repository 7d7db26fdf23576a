/* cmd-build/builder/put.c: files and trees of a context into a container's root, and the digest of what they are. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cmd-build/builder/builder.h"
#include "common/base/beneath.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/data/tar_write.h"

#define MAX_DEPTH 1000

static int fail(struct putter *p, int code, const char *what, const char *name)
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
	return hoy_idmap_in(&p->of->uid, *uid, uid) && hoy_idmap_in(&p->of->gid, *gid, gid) ? 0 : fail(p, EINVAL, "find the owner of", "");
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
static int digest_header(struct putter *p, const struct stat *st, char type, const char *link, const struct xattrs *x)
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

static int finish(struct putter *p, int to, const char *name, const struct stat *st)
{
	struct timespec times[2] = { whole(p, st), whole(p, st) };
	uid_t uid;
	gid_t gid;

	if (p->dry)
		return 0;
	if (owner_outside(p, st, &uid, &gid) < 0)
		return -p->err->code;
	if (fchownat(to, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(p, errno, "change the owner of", "");
	if (!S_ISLNK(st->st_mode) && fchmodat(to, name, mode_of(p, st), 0) < 0)
		return fail(p, errno, "change the mode of", "");
	(void)utimensat(to, name, times, AT_SYMLINK_NOFOLLOW);
	return 0;
}

/* The same for the new file FD; and its attributes, after chown(), which takes file capabilities away. */
static int finish_file(struct putter *p, int fd, const struct stat *st, const struct xattrs *x)
{
	uid_t uid;
	gid_t gid;

	if (p->dry)
		return 0;
	if (owner_outside(p, st, &uid, &gid) < 0)
		return -p->err->code;
	if (fchown(fd, uid, gid) < 0)
		return fail(p, errno, "change the owner of", "");
	if (fchmod(fd, mode_of(p, st)) < 0)
		return fail(p, errno, "change the mode of", "");
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
		return fail(p, ENOTEMPTY, "replace the directory", "");
	return 0;
}

/* What is in the way of NAME goes; a directory only if it is empty. */
static int make_room(struct putter *p, const struct spot *at, const char *name)
{
	if (p->dry)
		return 0;
	if (check_hidden(p, at, name) < 0)
		return -p->err->code;
	if (!unlinkat(at->to, name, 0) || errno == ENOENT)
		return 0;
	if (errno == EISDIR || errno == EPERM)
		return unlinkat(at->to, name, AT_REMOVEDIR) < 0 ? fail(p, errno, "replace the directory", "") : 0;
	return fail(p, errno, "replace", "");
}

/* A new file NAME; most often nothing is in its way. */
static int create(struct putter *p, const struct spot *at, const char *name)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, fd, r = check_hidden(p, at, name);

	if (r < 0)
		return r;
	fd = openat(at->to, name, flags, 0600);
	if (fd < 0 && errno == EEXIST) {
		r = make_room(p, at, name);
		if (r < 0)
			return r;
		fd = openat(at->to, name, flags, 0600);
	}
	return fd < 0 ? fail(p, errno, "create", "") : fd;
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
			return n ? fail(p, errno, "read", "") : hoy_fail(p->err, EIO, "'%s' became shorter while it was read", hoy_buf_str(&p->name));
		r = p->dry ? 0 : hoy_write_full(out, piece, n);
		if (r < 0)
			return fail(p, -r, "write", "");
		if (digest(p, piece, n) < 0)
			return -ENOMEM;
		left -= n;
	}
	return pad ? digest(p, zeros, pad) : 0;
}

static int put_regular(struct putter *p, int in, const struct stat *st, const struct spot *at, const char *name)
{
	cleanup_fd int out = p->dry ? -1 : create(p, at, name);
	struct xattrs x;
	int r;

	if (out < 0 && !p->dry)
		return out;
	read_xattrs(in, &x);
	r = digest_header(p, st, '0', NULL, &x);
	if (!r)
		r = put_data(p, in, out, st->st_size);
	if (!r)
		r = finish_file(p, out, st, &x);
	xattrs_release(&x);
	return r;
}

/* FIRST is the name that the file had within this item; it lies beneath the directory BASE. */
static int put_link(struct putter *p, const struct stat *st, int base, const char *first, const struct spot *at, const char *name)
{
	int r = make_room(p, at, name);

	if (!r)
		r = digest_header(p, st, '1', first, NULL);
	if (!r && !p->dry && linkat(base, first, at->to, name, 0) < 0)
		r = fail(p, errno, "link", "");
	return r;
}

static int put_special(struct putter *p, int dir, const struct stat *st, const struct spot *at, const char *name)
{
	char target[PATH_MAX] = "";
	char type = S_ISLNK(st->st_mode) ? '2' : S_ISCHR(st->st_mode) ? '3' : S_ISBLK(st->st_mode) ? '4' : '6';
	int r;

	if (S_ISSOCK(st->st_mode))
		return 0; /* a tar has none */
	if (type == '2' && readlinkat(dir, name, target, sizeof(target) - 1) < 0)
		return fail(p, errno, "read the link", "");
	/* To an overlay it would say that something is gone. */
	if (type == '3' && !st->st_rdev)
		return fail(p, EPERM, "copy the device", "");
	r = make_room(p, at, name);
	if (!r)
		r = digest_header(p, st, type, target, NULL);
	if (!r && !p->dry &&
	    (type == '2' ? symlinkat(target, at->to, name) : mknodat(at->to, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev)) < 0)
		r = fail(p, errno, "create", "");
	return r ? r : finish(p, at->to, name, st);
}

/* ---- trees ---- */

struct walk {
	int base;	    /* the directory that the item is put into */
	size_t skip;	    /* of p->name, what is not relative to it */
	struct hoy_buf rel; /* path in the context, for what is left out */
	int depth;
};

static int put_dir(struct putter *p, struct walk *w, int from, const struct spot *at);

int list_names(int dir, struct hoy_strv *ret)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dp = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dp) {
		int code = errno;

		hoy_close(fd);
		return -code;
	}
	while ((e = readdir(dp)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			hoy_strv_push(ret, e->d_name);
	hoy_strv_sort(ret);
	return ret->error ? -ENOMEM : 0;
}

void spot_close(struct spot *at)
{
	hoy_close(at->to);
	hoy_close(at->view);
	*at = SPOT_NONE;
}

/* The new directory FD is what shows through at VIEW. */
static int copy_up(struct putter *p, int fd, int view)
{
	struct timespec times[2];
	struct xattrs x;
	struct stat st;

	if (fstat(view, &st) < 0 || fchown(fd, st.st_uid, st.st_gid) < 0 || fchmod(fd, st.st_mode & 07777) < 0)
		return fail(p, errno, "copy the directory", "");
	times[0] = times[1] = st.st_mtim;
	read_xattrs(view, &x);
	set_xattrs(fd, &x);
	xattrs_release(&x);
	(void)futimens(fd, times);
	return 0;
}

int spot_below(struct putter *p, const struct spot *at, const char *name, struct spot *ret, bool *made)
{
	int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, r = 0;
	struct spot s = SPOT_NONE;

	*ret = s;
	*made = false;
	if (p->dry)
		return 0;
	*made = !mkdirat(at->to, name, 0755);
	if (!*made && errno != EEXIST)
		return fail(p, errno, "create the directory", "");
	s.to = openat(at->to, name, flags);
	s.view = at->view < 0 ? -1 : openat(at->view, name, flags);
	/* A link to a directory, or a file, gives way. */
	if (s.to < 0 && !*made) {
		r = make_room(p, at, name);
		if (!r && mkdirat(at->to, name, 0755) < 0)
			r = fail(p, errno, "create the directory", "");
		s.to = r ? -1 : openat(at->to, name, flags);
	}
	if (!r && s.to < 0)
		r = fail(p, errno, "open the directory", "");
	if (!r && *made && s.view >= 0) {
		r = copy_up(p, s.to, s.view);
		*made = false;
	}
	if (r < 0)
		spot_close(&s);
	*ret = s;
	return r;
}

/* The directory FROM itself, and its attributes for INTO. */
static int put_dir_header(struct putter *p, int from, const struct stat *st, int into)
{
	struct xattrs x;
	int r;

	read_xattrs(from, &x);
	r = digest_header(p, st, '5', NULL, &x);
	if (!r && !p->dry)
		set_xattrs(into, &x);
	xattrs_release(&x);
	return r;
}

/* A directory within the item: LEFT_OUT if only what is beneath it may be copied. */
static int put_subdir(struct putter *p, struct walk *w, int dir, const char *name, const struct stat *st, const struct spot *at, bool left_out)
{
	cleanup_fd int from = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct spot into = SPOT_NONE;
	bool made = false;
	int r = from < 0 ? fail(p, errno, "open", "") : spot_below(p, at, name, &into, &made);

	if (r < 0)
		return r;
	hoy_buf_putc(&p->name, '/');
	r = left_out ? 0 : put_dir_header(p, from, st, into.to);
	if (!r)
		r = put_dir(p, w, from, &into);
	spot_close(&into);
	if (!r && left_out && made && !unlinkat(at->to, name, AT_REMOVEDIR))
		return 0; /* nothing beneath it was wanted */
	return r || left_out ? r : finish(p, at->to, name, st);
}

static int put_entry(struct putter *p, struct walk *w, int dir, const char *name, const struct spot *at)
{
	bool out = p->ignore && ignore_matches(p->ignore, hoy_buf_str(&w->rel));
	const char *first = NULL;
	cleanup_fd int in = -1;
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fail(p, errno, "look at", "");
	if (out && !(S_ISDIR(st.st_mode) && ignore_look_below(p->ignore, hoy_buf_str(&w->rel))))
		return 0;
	if (S_ISDIR(st.st_mode))
		return put_subdir(p, w, dir, name, &st, at, out);
	if (S_ISSOCK(st.st_mode))
		return 0;
	if (hoy_links_name(&p->links, &st, hoy_buf_str(&p->name) + w->skip, &first) < 0)
		return hoy_fail_oom(p->err);
	if (first)
		return put_link(p, &st, w->base, first, at, name);
	if (!S_ISREG(st.st_mode))
		return put_special(p, dir, &st, at, name);
	in = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (in < 0 || fstat(in, &st) < 0)
		return fail(p, errno, "open", "");
	return S_ISREG(st.st_mode) ? put_regular(p, in, &st, at, name) : fail(p, EAGAIN, "read", "");
}

static int put_dir(struct putter *p, struct walk *w, int from, const struct spot *at)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	size_t name = p->name.len, rel = w->rel.len;
	int r = ++w->depth > MAX_DEPTH ? -ELOOP : list_names(from, &names);

	if (r < 0)
		return fail(p, -r, "copy", "");
	for (size_t i = 0; i < names.n && !r; i++) {
		hoy_buf_printf(&w->rel, "%s%s", rel ? "/" : "", names.v[i]);
		hoy_buf_puts(&p->name, names.v[i]);
		r = w->rel.error || p->name.error ? hoy_fail_oom(p->err) : put_entry(p, w, from, names.v[i], at);
		hoy_buf_cut(&p->name, name);
		hoy_buf_cut(&w->rel, rel);
	}
	w->depth--;
	return r;
}

/* PATH relative to the context, without what a cleaner one has not. */
static void relative(struct hoy_buf *b, const char *path)
{
	while (*path) {
		size_t len;

		path += strspn(path, "/");
		len = strcspn(path, "/");
		if (len && !(len == 1 && *path == '.')) {
			if (b->len)
				hoy_buf_putc(b, '/');
			hoy_buf_add(b, path, len);
		}
		path += len;
	}
}

static int put_special_item(struct putter *p, const char *path, const struct stat *st, const struct spot *at, const char *name)
{
	if (S_ISSOCK(st->st_mode))
		return hoy_fail(p->err, EINVAL, "'%s' is a socket, which an image cannot hold", path);
	if (digest_header(p, st, '6', NULL, NULL) < 0 || make_room(p, at, name) < 0)
		return -p->err->code;
	if (!p->dry && mknodat(at->to, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev) < 0)
		return fail(p, errno, "create", "");
	return finish(p, at->to, name, st);
}

/* Open PATH beneath p->from for reading. */
static int open_item(struct putter *p, const char *path, struct stat *st)
{
	cleanup_fd int at = hoy_open_beneath(p->from, *path ? path : ".", O_PATH, 0, HOY_IN_ROOT);
	char self[40];
	int in;

	if (at < 0 || fstat(at, st) < 0)
		return hoy_fail_errno(p->err, at < 0 ? -at : errno, "cannot open '%s'", path);
	if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode))
		return steal_fd(&at);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", at);
	in = open(self, O_RDONLY | O_CLOEXEC | (S_ISDIR(st->st_mode) ? O_DIRECTORY : 0));
	return in < 0 ? hoy_fail_errno(p->err, errno, "cannot open '%s'", path) : in;
}

int put_parent(struct putter *p, const char *path, const struct spot *at, const char *name, struct spot *ret)
{
	struct stat st;
	cleanup_fd int in = open_item(p, path, &st);
	bool made;
	int r;

	*ret = SPOT_NONE;
	if (in < 0)
		return in;
	if (!S_ISDIR(st.st_mode))
		return hoy_fail_errno(p->err, ENOTDIR, "cannot open '%s'", path);
	hoy_buf_printf(&p->name, "%s/", name);
	r = spot_below(p, at, name, ret, &made);
	if (!r)
		r = put_dir_header(p, in, &st, ret->to);
	if (!r)
		r = finish(p, at->to, name, &st);
	if (r < 0)
		spot_close(ret);
	return r;
}

int put_item(struct putter *p, const char *path, const struct spot *at, const char *name, bool whole)
{
	struct walk w = { .base = at->to, .rel = HOY_BUF_INIT(1 << 20), .skip = p->name.len };
	struct spot into = SPOT_NONE;
	cleanup_fd int in = -1;
	struct stat st;
	int r;

	in = open_item(p, path, &st);
	if (in < 0)
		return in;
	relative(&w.rel, path);
	if (S_ISDIR(st.st_mode) && whole) {
		r = put_parent(p, path, at, name, &into);
		if (!r)
			r = put_dir(p, &w, in, &into);
		if (!r)
			r = finish(p, at->to, name, &st);
		spot_close(&into);
	} else if (S_ISDIR(st.st_mode)) {
		r = put_dir(p, &w, in, at);
	} else {
		hoy_buf_puts(&p->name, name);
		r = S_ISREG(st.st_mode) ? put_regular(p, in, &st, at, name) : put_special_item(p, path, &st, at, name);
	}
	hoy_buf_release(&w.rel);
	return r;
}
