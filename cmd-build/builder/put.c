/* cmd-build/builder/put.c: files and trees of a context into a container's root, and the digest of what they are. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd-build/builder/put_in.h"
#include "common/base/beneath.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/data/tar_write.h"

#define MAX_DEPTH 1000

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
		return put_fail(p, errno, "copy the directory", "");
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
		return put_fail(p, errno, "create the directory", "");
	s.to = openat(at->to, name, flags);
	s.view = at->view < 0 ? -1 : openat(at->view, name, flags);
	/* A link to a directory, or a file, gives way. */
	if (s.to < 0 && !*made) {
		r = put_room(p, at, name);
		if (!r && mkdirat(at->to, name, 0755) < 0)
			r = put_fail(p, errno, "create the directory", "");
		s.to = r ? -1 : openat(at->to, name, flags);
	}
	if (!r && s.to < 0)
		r = put_fail(p, errno, "open the directory", "");
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
	r = put_header(p, st, '5', NULL, &x);
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
	int r = from < 0 ? put_fail(p, errno, "open", "") : spot_below(p, at, name, &into, &made);

	if (r < 0)
		return r;
	hoy_buf_putc(&p->name, '/');
	r = left_out ? 0 : put_dir_header(p, from, st, into.to);
	if (!r)
		r = put_dir(p, w, from, &into);
	spot_close(&into);
	if (!r && left_out && made && !unlinkat(at->to, name, AT_REMOVEDIR))
		return 0; /* nothing beneath it was wanted */
	return r || left_out ? r : put_finish(p, at->to, name, st);
}

static int put_entry(struct putter *p, struct walk *w, int dir, const char *name, const struct spot *at)
{
	bool out = p->ignore && ignore_matches(p->ignore, hoy_buf_str(&w->rel));
	const char *first = NULL;
	cleanup_fd int in = -1;
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : put_fail(p, errno, "look at", "");
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
		return put_fail(p, errno, "open", "");
	return S_ISREG(st.st_mode) ? put_regular(p, in, &st, at, name) : put_fail(p, EAGAIN, "read", "");
}

static int put_dir(struct putter *p, struct walk *w, int from, const struct spot *at)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	size_t name = p->name.len, rel = w->rel.len;
	int r = ++w->depth > MAX_DEPTH ? -ELOOP : list_names(from, &names);

	if (r < 0)
		return put_fail(p, -r, "copy", "");
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
	if (put_header(p, st, '6', NULL, NULL) < 0 || put_room(p, at, name) < 0)
		return -p->err->code;
	if (!p->dry && mknodat(at->to, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev) < 0)
		return put_fail(p, errno, "create", "");
	return put_finish(p, at->to, name, st);
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
		r = put_finish(p, at->to, name, &st);
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
			r = put_finish(p, at->to, name, &st);
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
