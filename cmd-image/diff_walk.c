/* cmd-image/diff_walk.c: two ways to find changes: an overlay's upper directory tells them, two trees are compared. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cmd-image/diff.h"
#include "common/base/beneath.h"
#include "common/base/buf.h"
#include "common/base/fd.h"
#include "common/base/tree.h"

#define MAX_DEPTH 1000

struct walk {
	struct diff_list *l;
	struct hoy_buf path; /* of the directory at hand, with a slash in front, without one behind; "" for the root */
	struct hoy_strv told; /* directories that have been told of or need not be */
	const int *below;
	size_t n;
};

static void tell(struct walk *w, char kind, const char *path)
{
	hoy_strv_pushf(&w->l->v, "%c%s", kind, path);
}

static void cut(struct walk *w, size_t len)
{
	w->path.len = len;
	if (w->path.data)
		w->path.data[len] = '\0';
}

/* The names in the directory FD (which becomes the stream's), sorted. */
static int names_in(int fd, struct hoy_strv *ret)
{
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d)
		return -errno;
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			hoy_strv_push(ret, e->d_name);
	hoy_strv_sort(ret);
	return ret->error ? -ENOMEM : 0;
}

static int list(int dirfd, struct hoy_strv *ret)
{
	return names_in(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret);
}

static int sub(int dirfd, const char *name) { return openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }

/* ---- an upper directory ---- */

static bool whiteout(const struct stat *st) { return S_ISCHR(st->st_mode) && !st->st_rdev; }

static bool opaque(int fd)
{
	char self[32], value[4];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return (getxattr(self, "trusted.overlay.opaque", value, sizeof(value)) == 1 && *value == 'y') ||
	       (getxattr(self, "user.overlay.opaque", value, sizeof(value)) == 1 && *value == 'y');
}

/*
 * PATH in one lower layer. 1: it is there; 0: it is not, and those below may have it; -ENOENT: it is hidden from them; or
 * another error.
 */
static int in_layer(int layer, const char *path, struct stat *ret)
{
	cleanup_free char *part = strdup(path + 1);
	bool hides = false;

	if (!part)
		return -ENOMEM;
	for (char *end = part;; *end++ = '/') {
		cleanup_fd int fd = -1;

		end += strcspn(end, "/");
		if (!*end)
			end = NULL;
		else
			*end = '\0';
		fd = hoy_open_beneath(layer, part, O_PATH | O_NOFOLLOW, 0, HOY_IN_ROOT);
		if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
			return hides ? -ENOENT : 0;
		if (fd < 0 || fstat(fd, ret) < 0)
			return fd < 0 ? fd : -errno;
		if (whiteout(ret))
			return -ENOENT;
		if (!end)
			return 1;
		hides = hides || (S_ISDIR(ret->st_mode) && opaque(fd));
	}
}

/* PATH beneath the upper directory: 1 and what it is, or 0. */
static int was_there(const struct walk *w, const char *path, struct stat *ret)
{
	for (size_t i = 0; i < w->n; i++) {
		int r = in_layer(w->below[i], path, ret);

		if (r)
			return r == -ENOENT ? 0 : r;
	}
	return 0;
}

/* The directories above what was added or removed count as changed. */
static void tell_parents(struct walk *w, const char *path)
{
	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		cleanup_free char *dir = strndup(path, slash - path);

		if (!dir || hoy_strv_has(&w->told, dir))
			continue;
		hoy_strv_push(&w->told, dir);
		tell(w, 'C', dir);
	}
}

static int upper_dir(struct walk *w, int fd, int depth);

static int upper_entry(struct walk *w, int dirfd, const char *name, int depth)
{
	const char *path = hoy_buf_str(&w->path);
	cleanup_fd int fd = -1;
	struct stat st, old;
	char kind = 'A';
	int r;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	r = was_there(w, path, &old);
	if (r < 0)
		return r;
	if (S_ISDIR(st.st_mode) && (fd = sub(dirfd, name)) < 0)
		return -errno;
	if (whiteout(&st) || (fd >= 0 && r && S_ISDIR(old.st_mode) && opaque(fd)))
		kind = 'D';
	else if (r)
		kind = 'C';
	/* Only copied up for what is in it? */
	if (kind != 'C' || fd < 0 || !S_ISDIR(old.st_mode) || st.st_mode != old.st_mode || st.st_size != old.st_size ||
	    st.st_mtim.tv_sec != old.st_mtim.tv_sec || st.st_mtim.tv_nsec != old.st_mtim.tv_nsec) {
		if (fd >= 0)
			hoy_strv_push(&w->told, path);
		if (kind != 'C')
			tell_parents(w, path);
		tell(w, kind, path);
	}
	return fd < 0 ? 0 : upper_dir(w, fd, depth + 1);
}

static int upper_dir(struct walk *w, int fd, int depth)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	size_t len = w->path.len;
	int r = depth > MAX_DEPTH ? -ELOOP : list(fd, &names);

	for (size_t i = 0; i < names.n && !r; i++) {
		hoy_buf_printf(&w->path, "/%s", names.v[i]);
		r = upper_entry(w, fd, names.v[i], depth);
		cut(w, len);
	}
	return r;
}

static int end(struct walk *w, int r)
{
	if (!r && (w->l->v.error || w->told.error || w->path.error))
		r = -ENOMEM;
	hoy_buf_release(&w->path);
	hoy_strv_release(&w->told);
	return r;
}

int diff_upper(struct diff_list *l, int dir, const int *below, size_t n)
{
	struct walk w = { .l = l, .path = HOY_BUF_INIT(1 << 20), .below = below, .n = n };

	return end(&w, upper_dir(&w, dir, 0));
}

/* ---- two trees ---- */

static bool same_capability(int a, int b, const char *name)
{
	char path[64 + 256], x[64], y[64];
	ssize_t n, m;

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", a, name);
	n = lgetxattr(path, "security.capability", x, sizeof(x));
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", b, name);
	m = lgetxattr(path, "security.capability", y, sizeof(y));
	return n == m && (n <= 0 || !memcmp(x, y, n));
}

static bool differ(int neu, int old, const char *name, const struct stat *a, const struct stat *b)
{
	if (a->st_mode != b->st_mode || a->st_uid != b->st_uid || a->st_gid != b->st_gid || a->st_rdev != b->st_rdev)
		return true;
	return (!S_ISDIR(a->st_mode) && !hoy_same_meta(a, b)) || !same_capability(neu, old, name);
}

static int tree_dir(struct walk *w, int neu, int old, int depth);

/* Where a directory was told of for its own sake, or because something in it has changed; before what is in it. */
static int tree_sub(struct walk *w, int neu, int old, const char *name, char kind, int depth)
{
	cleanup_fd int a = sub(neu, name), b = old < 0 ? -1 : sub(old, name);
	cleanup_free char *path = strdup(hoy_buf_str(&w->path));
	size_t at = w->l->v.n;
	int r;

	if (a < 0 || !path)
		return a < 0 ? -errno : -ENOMEM;
	if (kind)
		tell(w, kind, path);
	r = tree_dir(w, a, b, depth + 1);
	if (!r && !kind && w->l->v.n > at) {
		cleanup_free char *self = hoy_asprintf("C%s", path);

		hoy_strv_insert(&w->l->v, at, self ? self : "");
	}
	return r;
}

static int tree_entry(struct walk *w, int neu, int old, const char *name, int depth)
{
	struct stat a, b;
	bool now = !fstatat(neu, name, &a, AT_SYMLINK_NOFOLLOW), before = old >= 0 && !fstatat(old, name, &b, AT_SYMLINK_NOFOLLOW);
	char kind = !before ? 'A' : !now ? 'D' : differ(neu, old, name, &a, &b) ? 'C' : 0;

	if (now && S_ISDIR(a.st_mode))
		return tree_sub(w, neu, before && S_ISDIR(b.st_mode) ? old : -1, name, kind, depth);
	if (kind)
		tell(w, kind, hoy_buf_str(&w->path));
	return 0;
}

static int tree_dir(struct walk *w, int neu, int old, int depth)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	size_t len = w->path.len;
	int r = depth > MAX_DEPTH ? -ELOOP : list(neu, &names);

	if (!r && old >= 0)
		r = list(old, &names);
	for (size_t i = 0; i < names.n && !r; i++) {
		if (i && !strcmp(names.v[i], names.v[i - 1]))
			continue;
		hoy_buf_printf(&w->path, "/%s", names.v[i]);
		r = tree_entry(w, neu, old, names.v[i], depth);
		cut(w, len);
	}
	return r;
}

int diff_trees(struct diff_list *l, int neu, int old)
{
	struct walk w = { .l = l, .path = HOY_BUF_INIT(1 << 20) };

	return end(&w, tree_dir(&w, neu, old, 0));
}
