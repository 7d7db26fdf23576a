#include "common/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/conf/dirs.h"
#include "common/data/digest.h"
#include "common/store/layers.h"
#include "common/store/pending.h"

#define TABLE_MAX ((size_t)256 << 20)

static void table_init(struct hoy_table *t, const char *file, bool sync)
{
	*t = (struct hoy_table){ .file = file, .sync = sync };
}

static struct hoy_store *blank(void)
{
	struct hoy_store *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->graphfd = s->homefd = s->layersfd = s->imagesfd = s->ctrsfd = s->runfd = s->mountsfd = -1;
	s->graph.fd = s->layers_lock.fd = s->images_lock.fd = s->ctrs_lock.fd = s->mounts_lock.fd = -1;
	s->layers_stamp.len = s->images_stamp.len = s->ctrs_stamp.len = s->mounts_stamp.len = -1;
	s->trash[0] = s->trash[1] = (struct hoy_tempdir)HOY_TEMPDIR_INIT;
	table_init(&s->layers[0], "layers.json", true);
	table_init(&s->layers[1], "volatile-layers.json", false);
	table_init(&s->images, "images.json", true);
	table_init(&s->ctrs[0], "containers.json", true);
	table_init(&s->ctrs[1], "volatile-containers.json", false);
	table_init(&s->mounts, "mountpoints.json", false);
	return s;
}

void hoy_store_free(struct hoy_store *s)
{
	if (!s)
		return;
	hoy_store_unlock(s);
	for (int i = 0; i < 2; i++) {
		hoy_json_release(&s->layers[i].doc);
		hoy_json_release(&s->ctrs[i].doc);
	}
	hoy_json_release(&s->images.doc);
	hoy_json_release(&s->mounts.doc);
	hoy_lock_close(&s->graph);
	hoy_lock_close(&s->layers_lock);
	hoy_lock_close(&s->images_lock);
	hoy_lock_close(&s->ctrs_lock);
	hoy_lock_close(&s->mounts_lock);
	hoy_close(s->graphfd);
	hoy_close(s->homefd);
	hoy_close(s->layersfd);
	hoy_close(s->imagesfd);
	hoy_close(s->ctrsfd);
	hoy_close(s->runfd);
	hoy_close(s->mountsfd);
	hoy_storage_conf_release(&s->conf);
	free(s);
}

static int open_dir(struct hoy_store *s, int *ret, int dirfd, const char *path, mode_t mode, struct hoy_err *err)
{
	int fd;

	if (s->rdonly)
		fd = dirfd == -1 ? -ENOENT : openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	else
		fd = hoy_open_dir_p(dirfd, path, mode);
	if (s->rdonly && fd < 0)
		fd = fd == -1 ? -errno : fd;
	if (s->rdonly && fd == -ENOENT)
		return 0;
	if (fd < 0)
		return hoy_fail_errno(err, -fd, "cannot open '%s' of the store '%s'", path, s->conf.graphroot);
	*ret = fd;
	return 0;
}

static int open_dirs(struct hoy_store *s, struct hoy_err *err)
{
	int r = open_dir(s, &s->graphfd, AT_FDCWD, s->conf.graphroot, 0700, err);

	if (!r)
		r = open_dir(s, &s->homefd, s->graphfd, "overlay", 0755, err);
	if (!r)
		r = open_dir(s, &s->layersfd, s->graphfd, "overlay-layers", 0700, err);
	if (!r)
		r = open_dir(s, &s->imagesfd, s->graphfd, "overlay-images", 0700, err);
	if (!r)
		r = open_dir(s, &s->ctrsfd, s->graphfd, "overlay-containers", 0700, err);
	if (!r)
		r = open_dir(s, &s->runfd, AT_FDCWD, s->conf.runroot, 0700, err);
	if (!r)
		r = open_dir(s, &s->mountsfd, s->runfd, "overlay-layers", 0700, err);
	return r;
}

static int open_lock(struct hoy_store *s, struct hoy_lock *l, int dirfd, const char *name, struct hoy_err *err)
{
	int r;

	if (dirfd < 0)
		return 0;
	if (s->rdonly) {
		/* Only to read the stamp, and to lock for reading if need be. */
		l->fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
		return l->fd < 0 && errno != ENOENT ? hoy_fail_errno(err, errno, "cannot open '%s'", name) : 0;
	}
	r = hoy_lock_open(l, dirfd, name, false);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot open '%s' of the store '%s'", name, s->conf.graphroot) : 0;
}

static int open_locks(struct hoy_store *s, struct hoy_err *err)
{
	int r = open_lock(s, &s->graph, s->graphfd, "storage.lock", err);

	if (!r)
		r = open_lock(s, &s->layers_lock, s->layersfd, "layers.lock", err);
	if (!r)
		r = open_lock(s, &s->images_lock, s->imagesfd, "images.lock", err);
	if (!r)
		r = open_lock(s, &s->ctrs_lock, s->ctrsfd, "containers.lock", err);
	if (!r)
		r = open_lock(s, &s->mounts_lock, s->mountsfd, "mountpoints.lock", err);
	return r;
}

/* What we cannot handle is refused as a whole, before anything is touched. */
static int check_conf(const struct hoy_store *s, struct hoy_err *err)
{
	if (strcmp(s->conf.driver, "overlay"))
		return hoy_fail(err, HOY_EUNSUPPORTED, "storage driver '%s' is not supported, only overlay is", s->conf.driver);
	if (s->conf.imagestore)
		return hoy_fail(err, HOY_EUNSUPPORTED, "a separate imagestore ('%s') is not supported", s->conf.imagestore);
	if (s->conf.transient)
		return hoy_fail(err, HOY_EUNSUPPORTED, "a transient store is not supported");
	if (s->conf.stores.n)
		return hoy_fail(err, HOY_EUNSUPPORTED, "additional image stores ('%s') are not supported", s->conf.stores.v[0]);
	return 0;
}

static int init_home(struct hoy_store *s, struct hoy_err *err)
{
	cleanup_fd int l = -1;
	int r;

	if (s->rdonly || hoy_exists(s->homefd, ".has-mount-program"))
		return 0;
	l = hoy_open_dir_p(s->homefd, "l", 0755);
	if (l < 0)
		return hoy_fail_errno(err, -l, "cannot make 'overlay/l' in '%s'", s->conf.graphroot);
	r = hoy_replace_file(s->homefd, ".has-mount-program", "false", 5, 0600, false);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write to the store '%s'", s->conf.graphroot) : 0;
}

int hoy_store_open(struct hoy_store **ret, const struct hoy_storage_args *args, enum hoy_store_flags flags,
		   struct hoy_err *err)
{
	struct hoy_store *s = blank();
	int r;

	if (!s)
		return hoy_fail_oom(err);
	s->rdonly = flags & HOY_STORE_RDONLY;
	s->rootless = hoy_rootless();
	r = hoy_storage_conf_load(&s->conf, args, err);
	if (!r)
		r = check_conf(s, err);
	if (!r)
		r = open_dirs(s, err);
	if (!r)
		r = open_locks(s, err);
	if (!r)
		r = init_home(s, err);
	if (r < 0)
		hoy_store_free(s);
	else
		*ret = s;
	return r;
}

static int load(struct hoy_table *t, int dirfd, struct hoy_err *err)
{
	cleanup_free char *data = NULL;
	size_t len = 0;
	int r = dirfd < 0 ? -ENOENT : hoy_read_file(dirfd, t->file, TABLE_MAX, &data, &len, err);

	hoy_json_release(&t->doc);
	t->dirty = false;
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT || !len) {
		if (err)
			*err = (struct hoy_err)HOY_ERR_INIT;
		t->doc.root = hoy_json_new(&t->doc, HOY_JSON_ARRAY);
		return t->doc.root ? 0 : hoy_fail_oom(err);
	}
	r = hoy_json_adopt(&t->doc, steal_ptr(&data), len, t->file, err);
	if (r < 0)
		return r;
	if (t->doc.root->type == HOY_JSON_NULL) /* Go writes a nil slice so */
		t->doc.root->type = HOY_JSON_ARRAY;
	if (t->doc.root->type != HOY_JSON_ARRAY)
		return hoy_fail(err, HOY_EFORMAT, "'%s' of the store is no list", t->file);
	HOY_JSON_EACH(rec, t->doc.root)
		if (!hoy_json_is(rec, HOY_JSON_OBJECT))
			return hoy_fail(err, HOY_EFORMAT, "'%s' of the store has an entry that is no record", t->file);
	return 0;
}

static int load_pair(struct hoy_table pair[2], int dirfd, struct hoy_err *err)
{
	int r = load(&pair[0], dirfd, err);

	return r < 0 ? r : load(&pair[1], dirfd, err);
}

/* Is what we have in memory still what is on disk? Remembers the stamp if not. */
static bool fresh(const struct hoy_lock *l, struct hoy_stamp *seen)
{
	struct hoy_stamp now = { .len = -1 };

	if (hoy_stamp_read(l, &now) < 0)
		return false;
	if (hoy_stamp_same(&now, seen))
		return true;
	*seen = now;
	return false;
}

static int load_parts(struct hoy_store *s, unsigned parts, struct hoy_err *err)
{
	int r = 0;

	/* A stamp that a failed load remembered must not count. */
	if (parts & HOY_CONTAINERS && !fresh(&s->ctrs_lock, &s->ctrs_stamp) && (r = load_pair(s->ctrs, s->ctrsfd, err)))
		s->ctrs_stamp.len = -1;
	if (!r && parts & HOY_IMAGES && !fresh(&s->images_lock, &s->images_stamp) &&
	    (r = load(&s->images, s->imagesfd, err)))
		s->images_stamp.len = -1;
	/* layers.json may have been edited by hand, without a stamp: always read. */
	if (!r && parts & HOY_LAYERS) {
		fresh(&s->layers_lock, &s->layers_stamp);
		r = load_pair(s->layers, s->layersfd, err);
	}
	return r;
}

int hoy_store_lock(struct hoy_store *s, unsigned read, unsigned write, struct hoy_err *err)
{
	struct { unsigned part; struct hoy_lock *lock; } order[] = {
		{ HOY_GRAPH, &s->graph }, { HOY_LAYERS, &s->layers_lock },
		{ HOY_IMAGES, &s->images_lock }, { HOY_CONTAINERS, &s->ctrs_lock },
	};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(order); i++) {
		if (!((read | write) & order[i].part) || order[i].lock->fd < 0)
			continue;
		r = hoy_lock_take(order[i].lock, order[i].part == HOY_GRAPH || write & order[i].part);
		if (r < 0)
			hoy_fail_errno(err, -r, "cannot lock the store '%s'", s->conf.graphroot);
	}
	if (!r)
		r = load_parts(s, read | write, err);
	if (!r && write & HOY_LAYERS) {
		/* What processes left that died while they made or deleted layers. */
		hoy_tempdir_recover(s->layersfd, "tmp");
		hoy_tempdir_recover(s->homefd, "tempdirs");
		r = hoy_layers_clean(s, err);
	}
	if (!r && write & HOY_LAYERS && write & HOY_IMAGES)
		hoy_pending_finish(s);
	if (r < 0)
		hoy_store_unlock(s);
	return r;
}

int hoy_store_also_containers(struct hoy_store *s)
{
	int r;

	if (s->ctrs_lock.held)
		return 0;
	r = hoy_lock_take(&s->ctrs_lock, false);
	return r < 0 ? r : load_parts(s, HOY_CONTAINERS, NULL);
}

/* A rename lasts when its directory is synced. The first of them does most of the work for the others. */
static void sync_renames(struct hoy_store *s)
{
	struct { unsigned part; int fd; } dirs[] = {
		{ HOY_LAYERS, s->layersfd }, { HOY_IMAGES, s->imagesfd }, { HOY_CONTAINERS, s->ctrsfd },
	};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (s->unsynced & dirs[i].part)
			(void)fsync(dirs[i].fd);
	s->unsynced = 0;
}

void hoy_store_unlock(struct hoy_store *s)
{
	hoy_lock_drop(&s->mounts_lock);
	hoy_lock_drop(&s->ctrs_lock);
	hoy_lock_drop(&s->images_lock);
	hoy_lock_drop(&s->layers_lock);
	hoy_lock_drop(&s->graph);
	sync_renames(s);
	while (s->n_late)
		hoy_close(s->late_fds[--s->n_late]);
	hoy_tempdir_free(&s->trash[0]);
	hoy_tempdir_free(&s->trash[1]);
}

/* Members in the order in which the library writes them; unknown ones follow. */
static const char *const layer_order[] = { "id", "names", "parent", "metadata", "mountlabel", "created",
	"compressed-diff-digest", "compressed-size", "diff-digest", "toc-digest", "diff-size", "compression", "uidset",
	"gidset", "flags", "uidmap", "gidmap", "readonly", "big-data-names", NULL };
static const char *const image_order[] = { "id", "digest", "names", "names-history", "layer", "mapped-layers", "metadata",
	"big-data-names", "big-data-sizes", "big-data-digests", "created", "flags", NULL };
static const char *const ctr_order[] = { "id", "names", "image", "layer", "metadata", "big-data-names", "big-data-sizes",
	"big-data-digests", "created", "uidmap", "gidmap", "flags", NULL };
static const char *const mount_order[] = { "id", "path", "count", NULL };

static bool in_order(const char *const *order, const char *key)
{
	for (; *order; order++)
		if (!strcmp(*order, key))
			return true;
	return false;
}

static void write_record(struct hoy_jw *w, const struct hoy_json *rec, const char *const *order)
{
	hoy_jw_object(w, NULL);
	for (const char *const *k = order; *k; k++) {
		const struct hoy_json *m = hoy_json_get(rec, *k);

		if (m)
			hoy_jw_value(w, *k, m);
	}
	HOY_JSON_EACH(it, rec)
		if (!in_order(order, it->key))
			hoy_jw_value(w, it->key, it);
	hoy_jw_end_object(w);
}

static int save(struct hoy_store *s, unsigned part, struct hoy_table *t, int dirfd, const char *const *order, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(TABLE_MAX);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	int r;

	if (!t->dirty)
		return 0;
	hoy_jw_array(&w, NULL);
	HOY_JSON_EACH(rec, t->doc.root)
		write_record(&w, rec, order);
	hoy_jw_end_array(&w);
	r = b.error ? -b.error : hoy_replace_locked(dirfd, t->file, b.data, b.len, 0600, t->sync);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot write '%s' of the store '%s'", t->file, s->conf.graphroot);
	t->dirty = false;
	if (t->sync)
		s->unsynced |= part;
	return 0;
}

static int stamp(struct hoy_store *s, struct hoy_lock *l, struct hoy_stamp *seen, bool dirty, struct hoy_err *err)
{
	int r = dirty ? hoy_stamp_write(l, seen) : 0;

	return r < 0 ? hoy_fail_errno(err, -r, "cannot stamp a lock of the store '%s'", s->conf.graphroot) : 0;
}

int hoy_store_save(struct hoy_store *s, struct hoy_err *err)
{
	int r = stamp(s, &s->layers_lock, &s->layers_stamp, s->layers[0].dirty || s->layers[1].dirty, err);

	if (!r)
		r = save(s, HOY_LAYERS, &s->layers[0], s->layersfd, layer_order, err);
	if (!r)
		r = save(s, HOY_LAYERS, &s->layers[1], s->layersfd, layer_order, err);
	if (!r)
		r = stamp(s, &s->images_lock, &s->images_stamp, s->images.dirty, err);
	if (!r)
		r = save(s, HOY_IMAGES, &s->images, s->imagesfd, image_order, err);
	if (!r)
		r = stamp(s, &s->ctrs_lock, &s->ctrs_stamp, s->ctrs[0].dirty || s->ctrs[1].dirty, err);
	if (!r)
		r = save(s, HOY_CONTAINERS, &s->ctrs[0], s->ctrsfd, ctr_order, err);
	if (!r)
		r = save(s, HOY_CONTAINERS, &s->ctrs[1], s->ctrsfd, ctr_order, err);
	if (!r)
		r = stamp(s, &s->mounts_lock, &s->mounts_stamp, s->mounts.dirty, err);
	if (!r)
		r = save(s, 0, &s->mounts, s->mountsfd, mount_order, err);
	/* What we have in memory is not what is on disk: read it again before anything else. */
	if (r < 0)
		s->layers_stamp.len = s->images_stamp.len = s->ctrs_stamp.len = s->mounts_stamp.len = -1;
	return r;
}

int hoy_store_load_mounts(struct hoy_store *s, struct hoy_err *err)
{
	int r;

	if (!s->mounts_lock.held) {
		r = hoy_lock_take(&s->mounts_lock, true);
		if (r < 0)
			return hoy_fail_errno(err, -r, "cannot lock the mounts of the store '%s'", s->conf.graphroot);
	}
	if (fresh(&s->mounts_lock, &s->mounts_stamp))
		return 0;
	r = load(&s->mounts, s->mountsfd, err);
	if (r < 0)
		s->mounts_stamp.len = -1;
	return r;
}

static int reread(struct hoy_store *s, struct hoy_stamp ret[3])
{
	int r = hoy_stamp_read(&s->layers_lock, &ret[0]);

	if (!r)
		r = hoy_stamp_read(&s->images_lock, &ret[1]);
	return r ? r : hoy_stamp_read(&s->ctrs_lock, &ret[2]);
}

int hoy_store_peek(struct hoy_store *s, unsigned parts, struct hoy_err *err)
{
	struct hoy_stamp before[3], after[3];
	int r;

	if (s->layers_lock.fd < 0 && s->images_lock.fd < 0 && s->ctrs_lock.fd < 0)
		return load_parts(s, parts, err);
	for (int i = 0; i < 3; i++) {
		if (reread(s, before) < 0)
			break;
		s->layers_stamp.len = s->images_stamp.len = s->ctrs_stamp.len = -1;
		r = load_parts(s, parts, err);
		if (r < 0)
			return r;
		/*
		 * Nothing may be decided on this view: a writer stamps before it saves, so the new stamp may have come with
		 * the old records. Forgotten, it makes the next lock read them again.
		 */
		s->layers_stamp.len = s->images_stamp.len = s->ctrs_stamp.len = -1;
		if (!reread(s, after) && hoy_stamp_same(&before[0], &after[0]) && hoy_stamp_same(&before[1], &after[1]) &&
		    hoy_stamp_same(&before[2], &after[2]))
			return 0;
	}
	r = hoy_store_lock(s, parts, 0, err);
	hoy_store_unlock(s);
	return r;
}

struct hoy_json *hoy_first(const struct hoy_table pair[2])
{
	struct hoy_json *r = pair[0].doc.root ? pair[0].doc.root->child : NULL;

	return r ? r : pair[1].doc.root ? pair[1].doc.root->child : NULL;
}

struct hoy_json *hoy_next(const struct hoy_table pair[2], const struct hoy_json *rec)
{
	if (rec->next)
		return rec->next;
	if (pair[0].doc.root && rec == pair[0].doc.root->last)
		return pair[1].doc.root ? pair[1].doc.root->child : NULL;
	return NULL;
}

static struct hoy_json *by_id(const struct hoy_table pair[2], const char *id)
{
	for (struct hoy_json *r = hoy_first(pair); r; r = hoy_next(pair, r)) {
		const char *have = hoy_json_str(r, "id");

		if (have && !strcmp(have, id))
			return r;
	}
	return NULL;
}

struct hoy_json *hoy_layer_get(const struct hoy_store *s, const char *id) { return by_id(s->layers, id); }
struct hoy_json *hoy_container_get(const struct hoy_store *s, const char *id) { return by_id(s->ctrs, id); }

struct hoy_json *hoy_image_get(const struct hoy_store *s, const char *id)
{
	for (struct hoy_json *r = s->images.doc.root ? s->images.doc.root->child : NULL; r; r = r->next) {
		const char *have = hoy_json_str(r, "id");

		if (have && !strcmp(have, id))
			return r;
	}
	return NULL;
}

bool hoy_record_has(const struct hoy_json *rec, const char *key, const char *str)
{
	HOY_JSON_EACH(it, hoy_json_get(rec, key))
		if (hoy_json_text(it) && !strcmp(it->str, str))
			return true;
	return false;
}

int hoy_container_find(const struct hoy_store *s, const char *name, struct hoy_json **ret, struct hoy_err *err)
{
	struct hoy_json *found = by_id(s->ctrs, name);
	size_t len = strlen(name);

	for (struct hoy_json *r = hoy_first(s->ctrs); !found && r; r = hoy_next(s->ctrs, r))
		if (hoy_record_has(r, "names", name))
			found = r;
	for (struct hoy_json *r = hoy_first(s->ctrs); !found && r && len; r = hoy_next(s->ctrs, r)) {
		const char *id = hoy_json_str(r, "id");

		if (!id || strncmp(id, name, len))
			continue;
		for (struct hoy_json *o = hoy_next(s->ctrs, r); o; o = hoy_next(s->ctrs, o)) {
			const char *other = hoy_json_str(o, "id");

			if (other && !strncmp(other, name, len))
				return hoy_fail(err, HOY_EAMBIGUOUS, "more than one container's id begins with '%s'", name);
		}
		found = r;
	}
	if (!found)
		return hoy_fail(err, ENOENT, "no container with name or ID \"%s\" found: no such container", name);
	*ret = found;
	return 0;
}
