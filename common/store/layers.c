#include "common/store/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/copytree.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/tree.h"
#include "common/data/digest.h"
#include "common/data/time.h"
#include "common/store/shift.h"
#include "common/store/vfs.h"

#define ADDITION "0-addition"

int hoy_stage_new(struct hoy_stage *st, const struct hoy_store *s, struct hoy_err *err)
{
	int r;

	*st = (struct hoy_stage){ HOY_TEMPDIR_INIT, HOY_TEMPDIR_INIT, -1, -1 };
	r = hoy_tempdir_new(&st->tree, s->dest->driverfd, "tempdirs");
	if (!r)
		r = hoy_tempdir_new(&st->meta, s->own.layersfd, "tmp");
	if (!r && mkdirat(st->tree.dirfd, ADDITION, 0555) < 0)
		r = -errno;
	/* As the base layer's directory is; a parent's mode and owner are copied at the commit. */
	if (!r && fchmodat(st->tree.dirfd, ADDITION, 0555, 0) < 0)
		r = -errno;
	if (!r) {
		st->difffd = openat(st->tree.dirfd, ADDITION, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		st->splitfd = openat(st->meta.dirfd, ADDITION, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (st->difffd < 0 || st->splitfd < 0)
			r = -errno;
	}
	if (r < 0) {
		hoy_stage_free(st);
		return hoy_fail_errno(err, -r, "cannot make room for a layer in '%s'", s->conf.graphroot);
	}
	return 0;
}

static int take_diff(struct hoy_stage *st, const struct hoy_store *s, const char *diff, const struct stat *sb)
{
	if (unlinkat(st->tree.dirfd, ADDITION, AT_REMOVEDIR) < 0 || renameat(s->dest->homefd, diff, st->tree.dirfd, ADDITION) < 0 ||
	    mkdirat(s->dest->homefd, diff, sb->st_mode & 07777) < 0 || fchownat(s->dest->homefd, diff, sb->st_uid, sb->st_gid, 0) < 0 ||
	    fchmodat(s->dest->homefd, diff, sb->st_mode & 07777, 0) < 0)
		return -errno;
	hoy_close(st->difffd);
	st->difffd = openat(st->tree.dirfd, ADDITION, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return st->difffd < 0 ? -errno : 0;
}

int hoy_stage_take(struct hoy_stage *st, struct hoy_store *s, const char *layer, struct hoy_err *err)
{
	char diff[HOY_ID_SIZE + 8];
	struct stat sb;
	int r = hoy_layer_mounted(s, layer, err);

	if (r)
		return r < 0 ? r : hoy_fail(err, HOY_EBUSY, "layer '%s' is mounted", layer);
	snprintf(diff, sizeof(diff), "%s/diff", layer);
	if (hoy_layer_home(s, layer) != s->dest || fstatat(s->dest->homefd, diff, &sb, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(sb.st_mode))
		return hoy_fail(err, EXDEV, "layer '%s' lies elsewhere", layer);
	r = take_diff(st, s, diff, &sb);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot take what layer '%s' holds", layer) : 0;
}

int hoy_stage_copy(struct hoy_stage *st, struct hoy_store *s, const char *layer, struct hoy_err *err)
{
	char split[HOY_ID_SIZE + 20];
	cleanup_fd int diff = hoy_layer_open_diff(s, layer), in = -1;
	int r = diff < 0 ? diff : hoy_copy_tree(diff, st->difffd, true);
	int64_t n;

	snprintf(split, sizeof(split), "%s.tar-split.gz", layer);
	if (!r && (in = openat(s->own.layersfd, split, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		r = -errno;
	if (!r && (n = hoy_copy_fd(in, st->splitfd)) < 0)
		r = (int)n;
	return r < 0 ? hoy_fail_errno(err, -r, "cannot copy what layer '%s' holds", layer) : 0;
}

void hoy_stage_free(struct hoy_stage *st)
{
	hoy_close(st->difffd);
	hoy_close(st->splitfd);
	hoy_tempdir_free(&st->tree);
	hoy_tempdir_free(&st->meta);
	*st = (struct hoy_stage){ HOY_TEMPDIR_INIT, HOY_TEMPDIR_INIT, -1, -1 };
}

static struct hoy_json *add_record(struct hoy_table *t, const char *id)
{
	struct hoy_json *rec = hoy_json_put(&t->doc, t->doc.root, NULL, hoy_json_new(&t->doc, HOY_JSON_OBJECT));
	char buf[HOY_TIME_SIZE];

	t->dirty = true;
	if (!rec || !hoy_json_set_string(&t->doc, rec, "id", id) ||
	    !hoy_json_set_string(&t->doc, rec, "created", hoy_time_format(hoy_now(), buf)))
		return NULL;
	return rec;
}

static void set_incomplete(struct hoy_table *t, struct hoy_json *rec, bool on)
{
	struct hoy_json *flags = hoy_json_need(&t->doc, rec, "flags", HOY_JSON_OBJECT);

	t->dirty = true;
	if (on && flags)
		hoy_json_set_bool(&t->doc, flags, "incomplete", true);
	else if (flags)
		hoy_json_unset(flags, "incomplete");
	if (flags && !flags->child)
		hoy_json_unset(rec, "flags");
}

static void set_ids(struct hoy_table *t, struct hoy_json *rec, const char *key, const unsigned *v, size_t n)
{
	struct hoy_json *arr;

	if (!n)
		return;
	hoy_json_unset(rec, key); /* a replaced layer's record has one */
	arr = hoy_json_need(&t->doc, rec, key, HOY_JSON_ARRAY);
	for (size_t i = 0; arr && i < n; i++)
		hoy_json_set_int(&t->doc, arr, NULL, v[i]);
}

static void fill(struct hoy_table *t, struct hoy_json *rec, const struct hoy_layer_new *n)
{
	if (n->compressed_digest) {
		hoy_json_set_string(&t->doc, rec, "compressed-diff-digest", n->compressed_digest);
		if (n->compressed_size)
			hoy_json_set_int(&t->doc, rec, "compressed-size", n->compressed_size);
	}
	if (n->diff_digest) {
		hoy_json_set_string(&t->doc, rec, "diff-digest", n->diff_digest);
		if (n->diff_size)
			hoy_json_set_int(&t->doc, rec, "diff-size", n->diff_size);
	}
	if (n->compression)
		hoy_json_set_int(&t->doc, rec, "compression", n->compression);
	set_ids(t, rec, "uidset", n->uids, n->n_uids);
	set_ids(t, rec, "gidset", n->gids, n->n_gids);
}

/* The staged files take their final places; the driver directory is there, with an empty diff. */
static int move_in(struct hoy_store *s, struct hoy_stage *st, const struct hoy_layer_new *n)
{
	char diff[HOY_ID_SIZE + 8], split[HOY_ID_SIZE + 20];
	struct stat sb;

	snprintf(diff, sizeof(diff), "%s/diff", n->id);
	snprintf(split, sizeof(split), "%s.tar-split.gz", n->id);
	if (!n->no_split && renameat(st->meta.dirfd, ADDITION, s->own.layersfd, split) < 0)
		return -errno;
	if (s->vfs)
		return renameat(st->tree.dirfd, ADDITION, s->dest->homefd, n->id) < 0 ? -errno : 0;
	/* The mode and owner that the driver chose (the parent's) hold, whatever the tar said of its root. */
	if (fstatat(s->dest->homefd, diff, &sb, 0) < 0)
		return -errno;
	if (fchown(st->difffd, sb.st_uid, sb.st_gid) < 0 || fchmod(st->difffd, sb.st_mode & 07777) < 0)
		return -errno;
	if (unlinkat(s->dest->homefd, diff, AT_REMOVEDIR) < 0 || renameat(st->tree.dirfd, ADDITION, s->dest->homefd, diff) < 0)
		return -errno;
	return 0;
}

/* The record is complete, and saved; or after an error (R) it goes again. */
static int settle(struct hoy_store *s, struct hoy_table *t, struct hoy_json *rec, int r, struct hoy_err *err)
{
	if (!r) {
		set_incomplete(t, rec, false);
		r = hoy_store_save(s, err);
	}
	if (r < 0) {
		set_incomplete(t, rec, true);
		(void)hoy_layers_clean(s, NULL);
	}
	return r;
}

int hoy_layer_commit(struct hoy_store *s, struct hoy_stage *st, const struct hoy_layer_new *n, struct hoy_err *err)
{
	struct hoy_table *t = &s->dest->layers[0];
	struct hoy_json *rec;
	int r;

	if (hoy_layer_get(s, n->id))
		return hoy_fail(err, EEXIST, "layer '%s' exists already", n->id);
	if (n->parent && !hoy_layer_get(s, n->parent))
		return hoy_fail(err, ENOENT, "layer '%s' is gone, which '%s' stands on", n->parent, n->id);
	rec = add_record(t, n->id);
	if (!rec || (n->parent && !hoy_json_set_string(&t->doc, rec, "parent", n->parent)))
		return hoy_fail_oom(err);
	set_incomplete(t, rec, true);
	r = hoy_store_save(s, err);
	if (!r && !s->vfs)
		r = hoy_overlay_create(s, s->dest, n->id, n->parent, true, NULL, err);
	if (!r && (r = move_in(s, st, n)) < 0)
		hoy_fail_errno(err, -r, "cannot move layer '%s' into place", n->id);
	if (!r)
		fill(t, rec, n);
	return settle(s, t, rec, r, err);
}

/* The staged tree changes places with the one that is there, which then goes with the stage. */
static int exchange(struct hoy_store *s, struct hoy_place *p, struct hoy_stage *st, const char *id)
{
	char diff[HOY_ID_SIZE + 8], split[HOY_ID_SIZE + 20];
	struct stat sb;

	snprintf(diff, sizeof(diff), s->vfs ? "%s" : "%s/diff", id);
	snprintf(split, sizeof(split), "%s.tar-split.gz", id);
	if (fstatat(p->homefd, diff, &sb, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISDIR(sb.st_mode))
		return -ENOTDIR;
	if (fchown(st->difffd, sb.st_uid, sb.st_gid) < 0 || fchmod(st->difffd, sb.st_mode & 07777) < 0)
		return -errno;
	if (renameat2(st->tree.dirfd, ADDITION, p->homefd, diff, RENAME_EXCHANGE) < 0)
		return -errno;
	return renameat(st->meta.dirfd, ADDITION, s->own.layersfd, split) < 0 ? -errno : 0;
}

int hoy_layer_replace(struct hoy_store *s, struct hoy_stage *st, const struct hoy_layer_new *n, struct hoy_err *err)
{
	struct hoy_json *rec = hoy_layer_get(s, n->id);
	struct hoy_place *p = rec ? hoy_layer_place(s, rec) : NULL;
	char diff[HOY_ID_SIZE + 8];
	struct hoy_table *t;
	int r = 0;

	if (!rec)
		return hoy_fail(err, ENOENT, "layer '%s' is not in the store", n->id);
	if (p->rdonly)
		return hoy_fail(err, EROFS, "layer '%s' is in an additional image store, which is read-only", n->id);
	r = hoy_layer_mounted(s, n->id, err);
	if (r)
		return r < 0 ? r : hoy_fail(err, HOY_EBUSY, "layer '%.12s' cannot be mended while a container or a mount uses it", n->id);
	snprintf(diff, sizeof(diff), "%s/diff", n->id);
	if (s->vfs && mkdirat(p->homefd, n->id, 0555) < 0 && errno != EEXIST)
		return hoy_fail_errno(err, errno, "cannot make layer '%s' again", n->id);
	if (!s->vfs && !hoy_exists(p->homefd, diff))
		r = hoy_overlay_create(s, p, n->id, hoy_json_str(rec, "parent"), true, NULL, err);
	if (!r && (r = exchange(s, p, st, n->id)) < 0)
		hoy_fail_errno(err, -r, "cannot put layer '%s' in its place", n->id);
	if (!r && !hoy_layer_link_good(s, n->id))
		r = hoy_layer_link_mend(s, n->id, err);
	if (r < 0)
		return r;
	t = hoy_layer_table(s, rec);
	t->dirty = true;
	fill(t, rec, n);
	return hoy_store_save(s, err);
}

/*
 * The files of a container's layer. Where its mount does not shift ids they get their owners now; and what it stands on has
 * them already, unless that is an image of an additional store, to which no version can be added.
 */
static int make_rw(struct hoy_store *s, const struct hoy_layer_rw *n, bool sync, struct hoy_err *err)
{
	bool chowned = !hoy_idmaps_empty(n->maps) && !hoy_shift_mounts(s);
	struct hoy_idmaps below = { 0 };
	int r;

	if (s->vfs) {
		r = hoy_vfs_create(s, n->id, n->parent, err);
		return r || !chowned ? r : hoy_shift_chown_dir(s, n->id, n->maps, err);
	}
	r = hoy_overlay_create(s, &s->own, n->id, n->parent, sync, chowned ? n->maps : NULL, err);
	if (r || !chowned || !n->parent)
		return r;
	if (hoy_idmaps_read(hoy_layer_get(s, n->parent), &below) < 0)
		return hoy_fail(err, HOY_EFORMAT, "layer '%s' has an invalid id map", n->parent);
	if (hoy_idmap_same(&below.uid, &n->maps->uid) && hoy_idmap_same(&below.gid, &n->maps->gid))
		return 0;
	return hoy_shift_chown(s, n->id, &below, n->maps, err);
}

int hoy_layer_create_rw(struct hoy_store *s, const struct hoy_layer_rw *n, struct hoy_err *err)
{
	bool vol = n->vol || s->conf.transient;
	struct hoy_table *t = &s->own.layers[vol];
	struct hoy_json *rec, *names;
	int r;

	if (n->parent && !hoy_layer_get(s, n->parent))
		return hoy_fail(err, ENOENT, "layer '%s' is not in the store", n->parent);
	rec = add_record(t, n->id);
	if (!rec || (n->parent && !hoy_json_set_string(&t->doc, rec, "parent", n->parent)) ||
	    (n->label && *n->label && !hoy_json_set_string(&t->doc, rec, "mountlabel", n->label)) ||
	    (n->maps && hoy_idmaps_put(&t->doc, rec, n->maps) < 0))
		return hoy_fail_oom(err);
	if (n->name) {
		names = hoy_json_need(&t->doc, rec, "names", HOY_JSON_ARRAY);
		if (!names || !hoy_json_set_string(&t->doc, names, NULL, n->name))
			return hoy_fail_oom(err);
	}
	set_incomplete(t, rec, true);
	r = hoy_store_save(s, err);
	if (!r)
		r = make_rw(s, n, !vol, err);
	return settle(s, t, rec, r, err);
}

/* What a version of a layer has in its record as the layer itself has it. */
static int copy_facts(struct hoy_table *t, struct hoy_json *rec, const struct hoy_json *from)
{
	static const char *const keys[] = { "parent", "metadata", "mountlabel", "compressed-diff-digest", "compressed-size", "diff-digest",
					    "toc-digest", "diff-size", "compression", "uidset", "gidset" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct hoy_json *v = hoy_json_get(from, keys[i]);

		if (v && !hoy_json_put(&t->doc, rec, keys[i], hoy_json_copy(&t->doc, v)))
			return -ENOMEM;
	}
	return 0;
}

int hoy_layer_create_mapped(struct hoy_store *s, const struct hoy_json *template, const struct hoy_idmaps *maps, char ret[HOY_ID_SIZE],
			    struct hoy_err *err)
{
	struct hoy_table *t = hoy_layer_table(s, template);
	const char *of = hoy_json_str(template, "id");
	char from[HOY_ID_SIZE + 20], to[HOY_ID_SIZE + 20];
	struct hoy_idmaps have = { 0 };
	struct hoy_json *rec;
	int r = hoy_random_id(ret);

	if (r < 0 || hoy_idmaps_read(template, &have) < 0)
		return hoy_fail_errno(err, r < 0 ? -r : HOY_EFORMAT, "cannot make another version of layer '%s'", of);
	rec = add_record(t, ret);
	if (!rec || copy_facts(t, rec, template) < 0 || hoy_idmaps_put(&t->doc, rec, maps) < 0)
		return hoy_fail_oom(err);
	set_incomplete(t, rec, true);
	r = hoy_store_save(s, err);
	if (!r)
		r = hoy_overlay_create(s, hoy_layer_place(s, rec), ret, of, true, maps, err);
	snprintf(from, sizeof(from), "%s.tar-split.gz", of);
	snprintf(to, sizeof(to), "%s.tar-split.gz", ret);
	if (!r && linkat(s->own.layersfd, from, s->own.layersfd, to, 0) < 0 && errno != ENOENT)
		r = hoy_fail_errno(err, errno, "cannot copy '%s'", from);
	if (!r)
		r = hoy_shift_chown(s, ret, &have, maps, err);
	return settle(s, t, rec, r, err);
}

int64_t hoy_layer_size(const struct hoy_store *s, const char *id)
{
	cleanup_free char *diff = hoy_is_id(id) ? hoy_layer_path(s, id, "diff") : NULL;

	if (!diff)
		return 0;
	return s->vfs ? hoy_vfs_changes(s, id, hoy_json_str(hoy_layer_get(s, id), "parent")) : hoy_tree_size(AT_FDCWD, diff);
}

bool hoy_layer_whole(const struct hoy_store *s, const char *id)
{
	const struct hoy_json *rec = hoy_layer_get(s, id);

	return rec && !hoy_layer_incomplete(rec);
}

bool hoy_layer_used(const struct hoy_store *s, const char *id)
{
	for (struct hoy_json *r = hoy_layer_first(s); r; r = hoy_layer_next(s, r)) {
		const char *p = hoy_json_str(r, "parent");

		if (p && !strcmp(p, id))
			return true;
	}
	for (struct hoy_json *r = hoy_image_first(s); r; r = hoy_image_next(s, r)) {
		const char *l = hoy_json_str(r, "layer");

		if ((l && !strcmp(l, id)) || hoy_record_has(r, "mapped-layers", id))
			return true;
	}
	for (struct hoy_json *r = hoy_first(s->ctrs); r; r = hoy_next(s->ctrs, r)) {
		const char *l = hoy_json_str(r, "layer");

		if (l && !strcmp(l, id))
			return true;
	}
	return false;
}

static int trash_open(struct hoy_store *s, struct hoy_place *p)
{
	int r = 0;

	if (s->trash.dirfd < 0)
		r = hoy_tempdir_new(&s->trash, s->own.layersfd, "tmp");
	if (!r && p->trash.dirfd < 0)
		r = hoy_tempdir_new(&p->trash, p->driverfd, "tempdirs");
	return r;
}

static bool link_of(const struct hoy_place *p, const char *id, char ret[HOY_LINK_SIZE])
{
	return strcmp(p->driver, "vfs") && hoy_layer_link(p->homefd, id, ret);
}

/* Where there is no room for a place aside: at once, and under the lock. */
static int remove_files(struct hoy_store *s, struct hoy_place *p, const char *id)
{
	char split[HOY_ID_SIZE + 32], l[HOY_LINK_SIZE];
	int r;

	if (link_of(p, id, l))
		unlinkat(p->homefd, l, 0);
	snprintf(split, sizeof(split), "%s.tar-split.gz", id);
	unlinkat(s->own.layersfd, split, 0);
	r = hoy_remove_tree(p->homefd, id);
	return r ? r : hoy_remove_tree(s->own.layersfd, id);
}

int hoy_layer_make_room(struct hoy_store *s, const char *id, struct hoy_err *err)
{
	char split[HOY_ID_SIZE + 32];
	int r;

	snprintf(split, sizeof(split), "%s.tar-split.gz", id);
	unlinkat(s->own.layersfd, split, 0);
	r = hoy_store_save(s, err);
	if (!hoy_is_full(r))
		return r;
	(void)remove_files(s, hoy_layer_home(s, id), id);
	return hoy_store_save(s, err);
}

/* The files of layer ID go aside: link, directory, tar-split, big data, in this order. */
static int trash_files(struct hoy_store *s, struct hoy_place *p, const char *id)
{
	char split[HOY_ID_SIZE + 32], l[HOY_LINK_SIZE];
	int r = trash_open(s, p);

	if (hoy_is_full(r))
		return remove_files(s, p, id);
	if (!r && link_of(p, id, l))
		r = hoy_tempdir_take(&p->trash, p->homefd, l);
	if (!r)
		r = hoy_tempdir_take(&p->trash, p->homefd, id);
	snprintf(split, sizeof(split), "%s.tar-split.gz", id);
	if (!r)
		r = hoy_tempdir_take(&s->trash, s->own.layersfd, split);
	if (!r)
		r = hoy_tempdir_take(&s->trash, s->own.layersfd, id);
	return hoy_is_full(r) ? remove_files(s, p, id) : r;
}

int hoy_layer_discard(struct hoy_store *s, const char *name)
{
	struct hoy_place *p = hoy_layer_home(s, name);
	int r;

	if (p->rdonly)
		p = &s->own;
	if (hoy_is_id(name))
		return trash_files(s, p, name);
	if (strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	r = trash_open(s, p);
	return r ? r : hoy_tempdir_take(&p->trash, p->homefd, name);
}

/* Unmount, mark, move the files, drop the record (saved). */
static int remove_layer(struct hoy_store *s, struct hoy_json *rec, struct hoy_err *err)
{
	const char *id = hoy_json_str(rec, "id");
	struct hoy_table *t = hoy_layer_table(s, rec);
	int r;

	if (!hoy_is_id(id)) {
		hoy_json_remove(t->doc.root, rec);
		t->dirty = true;
		return hoy_store_save(s, err);
	}
	/* It is unmounted before that is noted, and what could not be saved is tried again with the next save. */
	r = hoy_layer_unmount(s, id, true, err);
	if (r < 0 && !hoy_is_full(r))
		return r;
	if (!hoy_layer_incomplete(rec)) {
		set_incomplete(t, rec, true);
		r = hoy_store_save(s, err);
	}
	if (hoy_is_full(r))
		r = hoy_layer_make_room(s, id, err);
	if (r < 0)
		return r;
	r = trash_files(s, hoy_layer_place(s, rec), id);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot remove the files of layer '%s'", id);
	hoy_json_remove(t->doc.root, rec);
	t->dirty = true;
	return hoy_store_save(s, err);
}

int hoy_layer_delete(struct hoy_store *s, const char *id, struct hoy_err *err)
{
	struct hoy_json *rec = hoy_layer_get(s, id);

	if (!rec)
		return hoy_fail(err, ENOENT, "layer '%s' is not in the store", id);
	if (hoy_layer_place(s, rec)->rdonly)
		return hoy_fail(err, EROFS, "layer '%s' is in an additional image store, which is read-only", id);
	if (hoy_layer_used(s, id))
		return hoy_fail(err, HOY_EBUSY, "layer '%s' is in use", id);
	return remove_layer(s, rec, err);
}

int hoy_layers_clean(struct hoy_store *s, struct hoy_err *err)
{
	struct hoy_json *next;
	int r = 0;

	for (struct hoy_json *rec = hoy_layer_first(s); rec && !r; rec = next) {
		next = hoy_layer_next(s, rec);
		if (hoy_layer_incomplete(rec))
			r = remove_layer(s, rec, err);
	}
	return r;
}
