#include "common/store/vfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/base/copytree.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/tree.h"

#define ADDITION "0-addition"
#define WHOLE	 "1-addition"
#define MAX_DEPTH 1000

static const char *const opaque[] = { "trusted.overlay.opaque", "user.overlay.opaque" };

static bool is_opaque(int dir)
{
	char v;

	return fgetxattr(dir, opaque[0], &v, 1) == 1 || fgetxattr(dir, opaque[1], &v, 1) == 1;
}

static int empty(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && !r && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			r = hoy_remove_tree(dir, e->d_name);
	return d ? r : -errno;
}

/* The attributes of a layer's directory; but not what says how overlay is to treat it. */
static int take_attributes(int from, int to, const struct stat *st)
{
	int r = hoy_copy_attrs(from, to, st);

	for (size_t i = 0; i < ARRAY_SIZE(opaque) && !r; i++)
		(void)fremovexattr(to, opaque[i]);
	return r;
}

static int apply(int layer, int tree, int depth);

static int apply_dir(int layer, int tree, const char *name, int depth)
{
	cleanup_fd int from = openat(layer, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), to = -1;
	struct stat st, there;
	int r = 0;

	/* Before what moves out of it changes its time. */
	if (from < 0 || fstat(from, &st) < 0)
		return -errno;
	if (!fstatat(tree, name, &there, AT_SYMLINK_NOFOLLOW) && !S_ISDIR(there.st_mode))
		r = unlinkat(tree, name, 0) < 0 ? -errno : 0;
	if (!r && mkdirat(tree, name, 0700) < 0 && errno != EEXIST)
		r = -errno;
	to = r ? -1 : openat(tree, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return r ? r : -errno;
	if (is_opaque(from))
		r = empty(to);
	if (!r)
		r = apply(from, to, depth + 1);
	return r ? r : take_attributes(from, to, &st);
}

/* Files move over: the stage is not needed for anything else, and hard links stay what they are. */
static int apply_entry(int layer, int tree, const char *name, int depth)
{
	struct stat st, there;
	int r = 0;

	if (fstatat(layer, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return apply_dir(layer, tree, name, depth);
	if (hoy_is_whiteout(&st))
		return hoy_remove_tree(tree, name);
	if (!fstatat(tree, name, &there, AT_SYMLINK_NOFOLLOW) && S_ISDIR(there.st_mode))
		r = hoy_remove_tree(tree, name);
	return r ? r : renameat(layer, name, tree, name) < 0 ? -errno : 0;
}

static int apply(int layer, int tree, int depth)
{
	int fd = openat(layer, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d)
		return -errno;
	if (depth > MAX_DEPTH)
		return -ELOOP;
	while (!r && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			r = apply_entry(layer, tree, e->d_name, depth);
	return r;
}

int hoy_vfs_complete(struct hoy_stage *st, int parent, struct hoy_err *err)
{
	cleanup_fd int whole = -1;
	struct timespec t[2];
	struct stat root;
	int r = 0;

	if (mkdirat(st->tree.dirfd, WHOLE, 0555) < 0 || (whole = openat(st->tree.dirfd, WHOLE, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
	    fchmod(whole, 0555) < 0)
		r = -errno;
	if (!r && parent >= 0)
		r = hoy_copy_tree(parent, whole, true);
	/* The root is the parent's, or as the driver makes it, whatever the layer says. */
	if (!r && fstat(whole, &root) < 0)
		r = -errno;
	if (!r)
		r = apply(st->difffd, whole, 0);
	if (!r && parent >= 0) {
		t[0] = root.st_atim;
		t[1] = root.st_mtim;
		r = futimens(whole, t) < 0 ? -errno : 0;
	}
	if (!r)
		r = hoy_remove_tree(st->tree.dirfd, ADDITION);
	if (!r && renameat(st->tree.dirfd, WHOLE, st->tree.dirfd, ADDITION) < 0)
		r = -errno;
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot put a layer and what it stands on together");
	hoy_close(st->difffd);
	st->difffd = steal_fd(&whole);
	return 0;
}

int hoy_vfs_create(struct hoy_store *s, const char *id, const char *parent, struct hoy_err *err)
{
	cleanup_fd int from = -1, to = -1;
	int r = hoy_remove_tree(s->own.homefd, id);

	if (!r && mkdirat(s->own.homefd, id, 0555) < 0)
		r = -errno;
	to = r ? r : openat(s->own.homefd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!r && (to < 0 || fchmod(to, 0555) < 0))
		r = -errno;
	if (!r && parent) {
		from = hoy_layer_open_diff(s, parent);
		r = from < 0 ? from : hoy_copy_tree(from, to, true);
	}
	return r < 0 ? hoy_fail_errno(err, -r, "cannot make the directory of layer '%s'", id) : 0;
}

static int64_t changes(int dir, int below, int depth)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int64_t sum = 0;

	while (d && depth < MAX_DEPTH && (e = readdir(d))) {
		struct stat a, b;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || fstatat(dir, e->d_name, &a, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(a.st_mode)) {
			cleanup_fd int x = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			cleanup_fd int y = below < 0 ? -1 : openat(below, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			sum += x < 0 ? 0 : changes(x, y, depth + 1);
		} else if (below < 0 || fstatat(below, e->d_name, &b, AT_SYMLINK_NOFOLLOW) < 0 || !hoy_same_meta(&a, &b)) {
			sum += a.st_size;
		}
	}
	return sum;
}

int64_t hoy_vfs_changes(const struct hoy_store *s, const char *id, const char *parent)
{
	cleanup_fd int dir = hoy_layer_open_diff(s, id), below = parent && *parent ? hoy_layer_open_diff(s, parent) : -1;

	return dir < 0 ? 0 : changes(dir, below, 0);
}
