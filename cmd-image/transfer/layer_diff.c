#include "cmd-image/transfer/layer_diff.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/base/fd.h"
#include "common/base/links.h"
#include "common/base/strv.h"
#include "common/base/tree.h"
#include "common/data/tar_write.h"
#include "common/store/layers.h"

#define MAX_DEPTH 1000

struct diff {
	struct stream s;
	struct ring *ring;
	pthread_t t;
	enum diff_how how;
	struct hoy_idmaps maps;
	bool timed;
	struct diff_time time; /* of all entries, if timed */
	int dir, *below;
	size_t n_below;
	struct hoy_buf path, out; /* of the entry at hand; headers on their way */
	struct hoy_links links;
	struct hoy_err err;
};

static int fail(struct diff *d, int code, const char *what)
{
	return hoy_fail_errno(&d->err, code, "cannot %s '%s' of the layer", what, hoy_buf_str(&d->path));
}

/* Small things are handed over together: each hand-over wakes the reader. */
#define TOGETHER ((size_t)128 << 10)

static int flush_all(struct diff *d)
{
	int r = d->out.error ? hoy_fail_oom(&d->err) : ring_write(d->ring, hoy_buf_str(&d->out), d->out.len);

	hoy_buf_reset(&d->out);
	return r;
}

static int flush(struct diff *d) { return d->out.error || d->out.len >= TOGETHER ? flush_all(d) : 0; }

/* ---- attributes ---- */

struct xattrs {
	struct tar_xattr_out v[128];
	size_t n;
	char *names, *values[128];
};

static void xattrs_release(struct xattrs *x)
{
	for (size_t i = 0; i < x->n; i++)
		free(x->values[i]);
	free(x->names);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct tar_xattr_out *)a)->key, ((const struct tar_xattr_out *)b)->key);
}

/* As podman: file capabilities, and what users set; nothing of overlay's own. */
static bool travels(const char *key)
{
	return !strcmp(key, "security.capability") || (!strncmp(key, "user.", 5) && strncmp(key, "user.overlay.", 13));
}

static int read_xattrs(struct diff *d, int fd, struct xattrs *x)
{
	ssize_t n = flistxattr(fd, NULL, 0);

	if (n <= 0)
		return n < 0 && errno != EOPNOTSUPP ? fail(d, errno, "read the attributes of") : 0;
	x->names = malloc(n);
	n = x->names ? flistxattr(fd, x->names, n) : -1;
	for (char *k = x->names; n > 0 && k < x->names + n && x->n < ARRAY_SIZE(x->v); k += strlen(k) + 1) {
		ssize_t len = travels(k) ? fgetxattr(fd, k, NULL, 0) : -1;
		char *value = len < 0 ? NULL : malloc(len + 1);

		if (len < 0)
			continue;
		len = value ? fgetxattr(fd, k, value, len + 1) : -1;
		x->values[x->n] = value;
		x->v[x->n++] = (struct tar_xattr_out){ k, value, len < 0 ? 0 : len };
	}
	if (x->n)
		qsort(x->v, x->n, sizeof(*x->v), by_key);
	return x->names ? 0 : hoy_fail_oom(&d->err);
}

static bool has_xattr(int fd, const char *name)
{
	char key[64];

	snprintf(key, sizeof(key), "trusted.overlay.%s", name);
	if (fgetxattr(fd, key, NULL, 0) > 0)
		return true;
	snprintf(key, sizeof(key), "user.overlay.%s", name);
	return fgetxattr(fd, key, NULL, 0) > 0;
}

static int64_t time_of(const struct diff *d, const struct stat *st)
{
	return !d->timed || (d->time.latest && st->st_mtim.tv_sec < d->time.seconds) ? st->st_mtim.tv_sec : d->time.seconds;
}

/* ---- entries ---- */

static struct tar_item item_of(const struct diff *d, const struct stat *st, char type)
{
	return (struct tar_item){ .type = type, .name = hoy_buf_str(&d->path), .mtime = time_of(d, st), .uid = st->st_uid, .gid = st->st_gid,
				  .mode = st->st_mode & 07777 };
}

/*
 * The whiteout of NAME in the directory that d->path leads to. All of them may be one inode: podman's further ones name the
 * first as the target of a link, which for a file means nothing; a digest wants it.
 */
static int put_whiteout(struct diff *d, const char *name, const struct stat *st)
{
	cleanup_free char *wh = hoy_asprintf("%s.wh.%s", hoy_buf_str(&d->path), name);
	struct tar_item i = item_of(d, st, '0');

	if (!wh || hoy_links_name(&d->links, st, wh, &i.link) < 0)
		return hoy_fail_oom(&d->err);
	i.name = wh;
	i.mode = 0;
	tar_put_header(&d->out, &i);
	return flush(d);
}

/*
 * A piece of data of at most SIZE bytes, to P. A file that was cut short while we read (the container runs) goes on with zeros: what the
 * header promised must come.
 */
static ssize_t read_piece(struct diff *d, int fd, void *p, size_t size)
{
	ssize_t n = read(fd, p, size);

	if (n < 0)
		return fail(d, errno, "read");
	if (!n)
		memset(p, 0, n = size);
	return n;
}

static int put_small(struct diff *d, int fd, size_t left)
{
	static const char zeros[TAR_BLOCK];
	size_t pad = tar_padding((int64_t)left);

	while (left) {
		char *p = hoy_buf_reserve(&d->out, left);
		ssize_t n = p ? read_piece(d, fd, p, left) : hoy_fail_oom(&d->err);

		if (n < 0)
			return n;
		d->out.len += n;
		left -= n;
	}
	hoy_buf_add(&d->out, zeros, pad);
	return flush(d);
}

static int put_data(struct diff *d, int fd, int64_t left)
{
	static const char zeros[TAR_BLOCK];
	size_t pad = tar_padding(left);
	int r;

	if (left < (int64_t)TOGETHER)
		return put_small(d, fd, left);
	r = flush_all(d);
	while (left && !r) {
		unsigned char *p;
		ssize_t room = ring_room(d->ring, &p), n;

		if (room < 0)
			return -EPIPE;
		n = read_piece(d, fd, p, room < left ? room : left);
		if (n < 0)
			return n;
		ring_add(d->ring, n);
		left -= n;
	}
	return r ? r : pad ? ring_write(d->ring, zeros, pad) : 0;
}

/* With its data, or as another name of FIRST; its attributes come with both. */
static int put_file(struct diff *d, int dir, const char *name, const struct stat *st, const char *first)
{
	cleanup_fd int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct tar_item i = item_of(d, st, first ? '1' : '0');
	struct xattrs x = { .n = 0 };
	int r = fd < 0 ? fail(d, errno, "open") : read_xattrs(d, fd, &x);

	i.link = first;
	i.size = first ? 0 : st->st_size;
	i.xattrs = x.v;
	i.n_xattrs = x.n;
	if (!r)
		tar_put_header(&d->out, &i);
	xattrs_release(&x);
	if (!r)
		r = flush(d);
	return r || first ? r : put_data(d, fd, st->st_size);
}

static int put_other(struct diff *d, int dir, const char *name, const struct stat *st)
{
	struct tar_item i = item_of(d, st, S_ISLNK(st->st_mode) ? '2' : S_ISCHR(st->st_mode) ? '3' : S_ISBLK(st->st_mode) ? '4' : '6');
	char target[PATH_MAX] = "";

	if (S_ISSOCK(st->st_mode))
		return 0;
	if (i.type == '2' && readlinkat(dir, name, target, sizeof(target) - 1) < 0)
		return fail(d, errno, "read the link");
	i.link = target;
	if (i.type == '3' || i.type == '4') {
		i.major = major(st->st_rdev);
		i.minor = minor(st->st_rdev);
	}
	tar_put_header(&d->out, &i);
	return flush(d);
}

static int put_entry(struct diff *d, int dir, const char *name, const struct stat *st)
{
	struct tar_item i = item_of(d, st, '1');

	if (hoy_links_name(&d->links, st, hoy_buf_str(&d->path), &i.link) < 0)
		return hoy_fail_oom(&d->err);
	if (S_ISREG(st->st_mode))
		return put_file(d, dir, name, st, i.link);
	if (!i.link)
		return put_other(d, dir, name, st);
	tar_put_header(&d->out, &i);
	return flush(d);
}

/* ---- directories ---- */

/* An opaque directory hides something if a layer below has it, and no layer between has taken it away. */
static bool hides(const struct diff *d)
{
	cleanup_free char *path = strdup(hoy_buf_str(&d->path));
	struct stat st;

	if (path && *path)
		path[strlen(path) - 1] = '\0';
	for (size_t i = 0; path && i < d->n_below; i++)
		if (!fstatat(d->below[i], path, &st, AT_SYMLINK_NOFOLLOW))
			return !hoy_is_whiteout(&st);
	return false;
}

static int put_dir(struct diff *d, int fd, const struct stat *st)
{
	struct tar_item i = item_of(d, st, '5');
	struct xattrs x = { .n = 0 };
	int r = read_xattrs(d, fd, &x);

	i.xattrs = x.v;
	i.n_xattrs = x.n;
	if (!r)
		tar_put_header(&d->out, &i);
	xattrs_release(&x);
	if (!r && d->how == DIFF_UPPER && has_xattr(fd, "opaque") && hides(d)) {
		cleanup_free char *mark = hoy_asprintf("%s.wh..wh..opq", hoy_buf_str(&d->path));
		struct tar_item o = item_of(d, st, '0');

		if (!mark)
			return hoy_fail_oom(&d->err);
		o.name = mark;
		o.mode = st->st_mode & 0777;
		o.mtime = d->timed && !d->time.latest ? d->time.seconds : 0; /* as podman's */
		tar_put_header(&d->out, &o);
	}
	return r ? r : flush(d);
}

static int list(int dir, struct hoy_strv *ret)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dp = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (dp && (e = readdir(dp)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			hoy_strv_push(ret, e->d_name);
	hoy_strv_sort(ret);
	return !dp ? -errno : ret->error ? -ENOMEM : 0;
}

static int walk(struct diff *d, int dir, int below, int depth);

static int walk_dir(struct diff *d, int dir, const char *name, const struct stat *st, int below, int depth)
{
	cleanup_fd int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_fd int under = below < 0 ? -1 : openat(below, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat there;
	int r;

	if (fd < 0)
		return fail(d, errno, "open");
	hoy_buf_putc(&d->path, '/');
	r = under >= 0 && !fstat(under, &there) && hoy_same_meta(st, &there) ? 0 : put_dir(d, fd, st);
	return r ? r : walk(d, fd, under, depth + 1);
}

/* Who the owner is in the container. Whiteouts are the kernel's own, and keep theirs. */
static int inside(struct diff *d, struct stat *st)
{
	if ((d->maps.uid.n && !hoy_idmap_in(&d->maps.uid, st->st_uid, &st->st_uid)) ||
	    (d->maps.gid.n && !hoy_idmap_in(&d->maps.gid, st->st_gid, &st->st_gid)))
		return hoy_fail(&d->err, EINVAL, "'%s' of the layer belongs to %u:%u, who is nobody in the container", hoy_buf_str(&d->path),
				st->st_uid, st->st_gid);
	return 0;
}

static int walk_entry(struct diff *d, int dir, const char *name, int below, int depth)
{
	size_t len = d->path.len;
	struct stat st, there;
	int r;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fail(d, errno, "look at"); /* a running container removes things */
	if (d->how == DIFF_UPPER && hoy_is_whiteout(&st))
		return put_whiteout(d, name, &st);
	hoy_buf_puts(&d->path, name);
	r = inside(d, &st);
	if (r < 0)
		return r;
	if (S_ISDIR(st.st_mode))
		r = walk_dir(d, dir, name, &st, below, depth);
	else if (below >= 0 && !fstatat(below, name, &there, AT_SYMLINK_NOFOLLOW) && hoy_same_meta(&st, &there))
		r = 0;
	else
		r = put_entry(d, dir, name, &st);
	if (!d->path.error && d->path.data)
		d->path.data[d->path.len = len] = '\0';
	return r;
}

/* What is below and not here has been removed. */
static int walk_gone(struct diff *d, int dir, int below, const struct hoy_strv *names)
{
	cleanup_strv struct hoy_strv old = HOY_STRV_INIT;
	struct stat st;
	int r = list(below, &old);

	if (r < 0 || fstat(dir, &st) < 0)
		return fail(d, r < 0 ? -r : errno, "read");
	st.st_nlink = 1; /* the directory's attributes, for files that are no more */
	for (size_t i = 0; i < old.n && !r; i++)
		if (!hoy_strv_has(names, old.v[i]))
			r = put_whiteout(d, old.v[i], &st);
	return r;
}

static int walk(struct diff *d, int dir, int below, int depth)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	int r = depth > MAX_DEPTH ? -ELOOP : list(dir, &names);

	if (r < 0)
		return fail(d, -r, "read");
	for (size_t i = 0; i < names.n && !r; i++)
		r = transfer_cancelled ? hoy_fail(&d->err, ECANCELED, "stopped") : walk_entry(d, dir, names.v[i], below, depth);
	return r || below < 0 ? r : walk_gone(d, dir, below, &names);
}

static void *writer(void *arg)
{
	static const char end[2 * TAR_BLOCK];
	struct diff *d = arg;
	int r = walk(d, d->dir, d->how == DIFF_COMPARE ? d->below[0] : -1, 0);

	if (!r)
		r = flush_all(d);
	if (!r)
		ring_write(d->ring, end, sizeof(end));
	ring_end(d->ring, &d->err);
	return NULL;
}

/* ---- the stream ---- */

static ssize_t df_peek(struct stream *s, const unsigned char **ret, struct hoy_err *err)
{
	return stream_peek(&((struct diff *)s)->ring->stream, ret, err);
}
static void df_take(struct stream *s, size_t n) { stream_take(&((struct diff *)s)->ring->stream, n); }

static void release(struct diff *d)
{
	stream_free(d->ring ? &d->ring->stream : NULL);
	for (size_t i = 0; i < d->n_below; i++)
		hoy_close(d->below[i]);
	hoy_close(d->dir);
	hoy_links_release(&d->links);
	hoy_buf_release(&d->path);
	hoy_buf_release(&d->out);
	free(d->below);
	free(d);
}

static void df_free(struct stream *s)
{
	struct diff *d = (struct diff *)s;

	ring_stop(d->ring);
	pthread_join(d->t, NULL);
	release(d);
}

struct stream *layer_diff(enum diff_how how, int dir, const struct hoy_idmaps *maps, const struct diff_time *mtime, const int *below, size_t n)
{
	struct diff *d = calloc(1, sizeof(*d));

	if (!d) {
		for (size_t i = 0; i < n; i++)
			hoy_close(below[i]);
		hoy_close(dir);
		return NULL;
	}
	*d = (struct diff){ .s = { df_peek, df_take, df_free, NULL }, .ring = ring_new(1 << 20), .how = how, .dir = dir, .n_below = n,
			    .below = calloc(n + 1, sizeof(int)), .path = HOY_BUF_INIT(1 << 20), .out = HOY_BUF_INIT(4 << 20), .err = HOY_ERR_INIT };
	if (maps)
		d->maps = *maps;
	d->timed = mtime != NULL;
	d->time = mtime ? *mtime : (struct diff_time){ 0, false };
	if (d->below && n)
		memcpy(d->below, below, n * sizeof(int));
	else if (!d->below)
		d->n_below = 0;
	if (d->ring && d->below && !pthread_create(&d->t, NULL, writer, d))
		return &d->s;
	release(d);
	return NULL;
}

static bool needs_mount(int dir, int depth)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dp = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	bool yes = false;

	while (dp && !yes && depth < MAX_DEPTH && (e = readdir(dp))) {
		cleanup_fd int f = -1;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || (e->d_type != DT_DIR && e->d_type != DT_REG && e->d_type != DT_UNKNOWN))
			continue;
		f = openat(dirfd(dp), e->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (f < 0)
			continue;
		yes = has_xattr(f, "redirect") || fgetxattr(f, "trusted.overlay.metacopy", NULL, 0) >= 0 ||
		      fgetxattr(f, "user.overlay.metacopy", NULL, 0) >= 0 || (e->d_type != DT_REG && needs_mount(f, depth + 1));
	}
	return yes;
}

bool layer_needs_mount(int dir) { return needs_mount(dir, 0); }
