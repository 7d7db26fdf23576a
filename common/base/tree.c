#include "common/base/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/buf.h"
#include "common/base/strv.h"

/* Inodes with more than one name that were counted: open addressing, 0 is free. */
struct seen {
	ino_t *v;
	size_t n, cap;
};

static size_t slot(const struct seen *s, ino_t ino)
{
	size_t i = (ino * 0x9e3779b97f4a7c15) & (s->cap - 1);

	while (s->v[i] && s->v[i] != ino)
		i = (i + 1) & (s->cap - 1);
	return i;
}

static int grow(struct seen *s)
{
	struct seen to = { .cap = s->cap ? s->cap * 2 : 256, .n = s->n };

	to.v = calloc(to.cap, sizeof(*to.v));
	if (!to.v)
		return -ENOMEM;
	for (size_t i = 0; i < s->cap; i++)
		if (s->v[i])
			to.v[slot(&to, s->v[i])] = s->v[i];
	free(s->v);
	*s = to;
	return 0;
}

/* 1: for the first time, 0: again. */
static int first_time(struct seen *s, ino_t ino)
{
	size_t i;

	if (2 * s->n >= s->cap && grow(s) < 0)
		return -ENOMEM;
	i = slot(s, ino);
	if (s->v[i])
		return 0;
	s->v[i] = ino;
	s->n++;
	return 1;
}

struct walk {
	struct seen seen;
	struct hoy_strv todo; /* directories, relative to the first one */
	dev_t dev;
	int64_t sum;
};

static int count(struct walk *w, const struct stat *st)
{
	int r = st->st_nlink > 1 ? first_time(&w->seen, st->st_ino) : 1;

	if (r > 0)
		w->sum += st->st_size;
	return r < 0 ? r : 0;
}

static int look_into(struct walk *w, int root, const char *dir)
{
	int fd = openat(root, *dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0;
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;

	while (d && !r && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != w->dev)
			continue;
		if (!S_ISDIR(st.st_mode))
			r = count(w, &st);
		else
			hoy_strv_pushf(&w->todo, "%s%s%s", dir, *dir ? "/" : "", e->d_name);
	}
	return w->todo.error ? -ENOMEM : r;
}

int64_t hoy_tree_size(int dirfd, const char *path)
{
	struct walk w = { .sum = 0 };
	cleanup_fd int root = -1;
	struct stat st;
	int r = 0;

	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (!S_ISDIR(st.st_mode))
		return st.st_size;
	root = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	w.dev = st.st_dev;
	hoy_strv_push(&w.todo, "");
	while (root >= 0 && !r && w.todo.n) {
		cleanup_free char *dir = strdup(w.todo.v[w.todo.n - 1]);

		hoy_strv_remove(&w.todo, w.todo.n - 1);
		r = dir ? look_into(&w, root, dir) : -ENOMEM;
	}
	free(w.seen.v);
	hoy_strv_release(&w.todo);
	return r < 0 ? r : w.sum;
}

bool hoy_same_meta(const struct stat *a, const struct stat *b)
{
	return a->st_mode == b->st_mode && a->st_uid == b->st_uid && a->st_gid == b->st_gid && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && (S_ISDIR(a->st_mode) || (a->st_size == b->st_size && a->st_rdev == b->st_rdev));
}
