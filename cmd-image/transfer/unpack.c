#include "cmd-image/transfer/unpack_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fd.h"

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

/* ---- one entry ---- */

static int place(struct unpack *u, struct hoy_err *err)
{
	struct tar_entry *e = &u->tar.e;
	bool whiteout;
	int r;

	if (e->uid < 0 || e->gid < 0 || e->uid >= UINT32_MAX || e->gid >= UINT32_MAX)
		return hoy_fail(err, ERANGE, "'%s' in the tar has an owner that is out of range", u->path);
	r = enter(u, err);
	whiteout = u->base && !strncmp(u->base, ".wh.", 4) && u->o->whiteouts != WHITEOUTS_KEEP;
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

/* What place() does of an entry whose file is there: its ids, the checksum of its data. */
static int look_at(struct unpack *u, struct hoy_err *err)
{
	const struct tar_entry *e = &u->tar.e;
	const char *slash = strrchr(u->path, '/');
	const unsigned char *p;
	ssize_t n;

	if (strncmp(slash ? slash + 1 : u->path, ".wh.", 4) && (id_add(&u->res->uids, e->uid) < 0 || id_add(&u->res->gids, e->gid) < 0))
		return hoy_fail_oom(err);
	u->crc = 0;
	u->on_disk = e->type == '0' && e->size;
	while (u->on_disk && (n = tar_data(&u->tar, &p, err)) != 0) {
		if (n < 0)
			return n;
		u->crc = crc64(u->crc, p, n);
	}
	return 0;
}

uint64_t name_hash(const char *s)
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

	h = name_hash(clean);
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
	if (u->o->whiteouts == WHITEOUTS_APPLY && n && (r = remember_names(u)) < 0)
		return hoy_fail_oom(err);
	/* The root's own attributes are the parent layer's. */
	if (e->type != 'g' && n)
		r = u->o->there ? look_at(u, err) : place(u, err);
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
	if (!r && !o->there)
		r = set_dir_times(u, err);
	if (!r && u->record)
		r = end_split(u, err);
	release(u);
	return r;
}
