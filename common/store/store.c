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

static struct hoy_store *blank(void)
{
	struct hoy_store *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->graphfd = s->ctrsfd = s->runfd = s->mountsfd = s->volctrsfd = -1;
	s->graph = s->ctrs_lock = s->mounts_lock = (struct hoy_lock)HOY_LOCK_INIT;
	s->ctrs_stamp.len = s->mounts_stamp.len = -1;
	s->trash = (struct hoy_tempdir)HOY_TEMPDIR_INIT;
	s->ctrs[0] = hoy_table_of(HOY_TABLE_CONTAINERS, false);
	s->ctrs[1] = hoy_table_of(HOY_TABLE_CONTAINERS, true);
	s->mounts = hoy_table_of(HOY_TABLE_MOUNTS, true);
	hoy_place_init(&s->own);
	s->dest = &s->own;
	return s;
}

void hoy_store_free(struct hoy_store *s)
{
	if (!s)
		return;
	hoy_store_unlock(s);
	HOY_PLACES_EACH(p, s)
		hoy_place_close(p);
	free(s->extra);
	hoy_table_release(&s->ctrs[0]);
	hoy_table_release(&s->ctrs[1]);
	hoy_table_release(&s->mounts);
	hoy_lock_close(&s->graph);
	hoy_lock_close(&s->ctrs_lock);
	hoy_lock_close(&s->mounts_lock);
	hoy_close(s->ctrsfd);
	hoy_close(s->volctrsfd);
	hoy_close(s->runfd);
	hoy_close(s->mountsfd);
	hoy_storage_conf_release(&s->conf);
	free(s);
}

static enum hoy_place_how how(const struct hoy_store *s) { return s->rdonly ? HOY_PLACE_LOOK : HOY_PLACE_MAKE; }

/* The places that the configuration names beside the graphroot. */
static int open_extra(struct hoy_store *s, struct hoy_err *err)
{
	size_t n = s->conf.stores.n + !!s->conf.imagestore;
	int r = 0;

	if (!n)
		return 0;
	s->extra = calloc(n, sizeof(*s->extra));
	if (!s->extra)
		return hoy_fail_oom(err);
	if (s->conf.imagestore) {
		s->dest = &s->extra[s->n_extra++];
		hoy_place_init(s->dest);
		r = hoy_place_open(s->dest, s->conf.imagestore, s->own.driver, how(s), err);
	}
	for (size_t i = 0; i < s->conf.stores.n && !r; i++) {
		struct hoy_place *p = &s->extra[s->n_extra++];

		hoy_place_init(p);
		r = hoy_place_open(p, s->conf.stores.v[i], s->own.driver, HOY_PLACE_FOREIGN, err);
	}
	return r;
}

static int open_dir(const struct hoy_store *s, int *ret, int dirfd, const char *name, struct hoy_err *err)
{
	return hoy_place_dir(s->conf.graphroot, dirfd, name, 0700, how(s), ret, err);
}

static int open_dirs(struct hoy_store *s, struct hoy_err *err)
{
	const char *driver = s->vfs ? "vfs" : "overlay", *layers = s->vfs ? "vfs-layers" : "overlay-layers";
	const char *ctrs = s->vfs ? "vfs-containers" : "overlay-containers";
	int r = hoy_place_open(&s->own, s->conf.graphroot, driver, how(s), err);

	s->graphfd = s->own.rootfd;
	if (!r)
		r = open_dir(s, &s->ctrsfd, s->graphfd, ctrs, err);
	if (!r)
		r = open_dir(s, &s->runfd, AT_FDCWD, s->conf.runroot, err);
	if (!r)
		r = open_dir(s, &s->mountsfd, s->runfd, layers, err);
	if (!r && s->conf.transient)
		r = open_dir(s, &s->volctrsfd, s->runfd, ctrs, err);
	s->ctrs[0].dirfd = s->ctrs[1].dirfd = s->ctrsfd;
	s->mounts.dirfd = s->mountsfd;
	if (s->conf.transient) {
		s->ctrs[1].dirfd = s->volctrsfd;
		s->own.layers[1].dirfd = s->mountsfd;
	}
	return r ? r : open_extra(s, err);
}

static int open_lock(const struct hoy_store *s, struct hoy_lock *l, int dirfd, const char *name, struct hoy_err *err)
{
	return hoy_place_lock(s->conf.graphroot, dirfd, name, how(s), l, err);
}

static int open_locks(struct hoy_store *s, struct hoy_err *err)
{
	int r = open_lock(s, &s->graph, s->graphfd, "storage.lock", err);

	if (!r)
		r = open_lock(s, &s->ctrs_lock, s->conf.transient ? s->volctrsfd : s->ctrsfd, "containers.lock", err);
	if (!r)
		r = open_lock(s, &s->mounts_lock, s->mountsfd, "mountpoints.lock", err);
	return r;
}

/* What we cannot handle is refused as a whole, before anything is touched. */
static int check_conf(const struct hoy_store *s, struct hoy_err *err)
{
	if (strcmp(s->conf.driver, "overlay") && !s->vfs)
		return hoy_fail(err, HOY_EUNSUPPORTED, "storage driver '%s' is not supported, only overlay and vfs are", s->conf.driver);
	if (s->conf.imagestore && !strcmp(s->conf.imagestore, s->conf.graphroot))
		return hoy_fail(err, EINVAL, "imagestore path '%s' must be different from the graph root", s->conf.imagestore);
	return 0;
}

/* Of the graphroot; an imagestore gets its "l" with the first link. */
static int init_home(struct hoy_store *s, struct hoy_err *err)
{
	cleanup_fd int l = -1;
	int r;

	if (s->rdonly || s->vfs || hoy_exists(s->own.homefd, ".has-mount-program"))
		return 0;
	l = hoy_open_dir_p(s->own.homefd, "l", 0755);
	if (l < 0)
		return hoy_fail_errno(err, -l, "cannot make 'overlay/l' in '%s'", s->own.root);
	/* Under the lock of who starts a driver up: what one who is killed leaves of it is the next one's. */
	r = hoy_lock_take(&s->graph, true);
	if (!r && !hoy_exists(s->own.homefd, ".has-mount-program"))
		r = hoy_replace_locked(s->own.homefd, ".has-mount-program", "false", 5, 0600, false);
	hoy_lock_drop(&s->graph);
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
	s->vfs = !r && !strcmp(s->conf.driver, "vfs");
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

static int load_containers(struct hoy_store *s, struct hoy_err *err)
{
	int r;

	if (hoy_stamp_fresh(&s->ctrs_lock, &s->ctrs_stamp))
		return 0;
	r = hoy_table_load(&s->ctrs[0], err);
	if (!r)
		r = hoy_table_load(&s->ctrs[1], err);
	/* A stamp that a failed load remembered must not count. */
	if (r < 0)
		s->ctrs_stamp.len = -1;
	return r;
}

static int load_parts(struct hoy_store *s, unsigned parts, struct hoy_err *err)
{
	int r = parts & HOY_CONTAINERS ? load_containers(s, err) : 0;

	HOY_PLACES_EACH(p, s)
		if (!r && parts & HOY_IMAGES)
			r = hoy_place_load_images(p, err);
	HOY_PLACES_EACH(p, s)
		if (!r && parts & HOY_LAYERS)
			r = hoy_place_load_layers(p, err);
	return r;
}

static int take(struct hoy_store *s, struct hoy_lock *l, bool write, struct hoy_err *err)
{
	int r = l->fd < 0 ? 0 : hoy_lock_take(l, write);

	return r < 0 ? hoy_fail_errno(err, -r, "cannot lock the store '%s'", s->conf.graphroot) : 0;
}

/* In the order of formats/storage.md 2.2; additional stores are locked for reading whatever is asked. */
static int take_locks(struct hoy_store *s, unsigned parts, unsigned write, struct hoy_err *err)
{
	int r = parts & HOY_GRAPH ? take(s, &s->graph, true, err) : 0;

	HOY_PLACES_EACH(p, s)
		if (!r && parts & HOY_LAYERS)
			r = take(s, &p->layers_lock, write & HOY_LAYERS && !p->rdonly, err);
	HOY_PLACES_EACH(p, s)
		if (!r && parts & HOY_IMAGES)
			r = take(s, &p->images_lock, write & HOY_IMAGES && !p->rdonly, err);
	if (!r && parts & HOY_CONTAINERS)
		r = take(s, &s->ctrs_lock, write & HOY_CONTAINERS, err);
	return r;
}

/*
 * What processes left that died while they unpacked or deleted layers: it may be an image's worth of files, and has locks of
 * its own, so that nobody need wait for it at ours.
 */
static void recover(struct hoy_store *s)
{
	s->recover = false;
	hoy_tempdir_recover(s->own.layersfd, "tmp");
	HOY_PLACES_EACH(p, s)
		if (!p->rdonly)
			hoy_tempdir_recover(p->driverfd, "tempdirs");
}

/* What a power cut spoilt is written anew by who may. */
static int mend(struct hoy_store *s, unsigned write, struct hoy_err *err)
{
	bool any = false;

	HOY_PLACES_EACH(p, s)
		if (write & HOY_LAYERS && !p->rdonly && p->layers[1].zeros)
			any = p->layers[1].dirty = true;
	if (write & HOY_CONTAINERS && s->ctrs[1].zeros)
		any = s->ctrs[1].dirty = true;
	return any ? hoy_store_save(s, err) : 0;
}

int hoy_store_lock(struct hoy_store *s, unsigned read, unsigned write, struct hoy_err *err)
{
	int r = take_locks(s, read | write, write, err);

	if (!r)
		r = load_parts(s, read | write, err);
	if (!r)
		r = mend(s, write, err);
	if (!r && write & HOY_LAYERS)
		r = hoy_layers_clean(s, err);
	s->recover = s->recover || (!r && write & HOY_LAYERS);
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
	HOY_PLACES_EACH(p, s)
		hoy_place_sync(p);
	if (s->unsynced_ctrs)
		(void)fsync(s->ctrsfd);
	s->unsynced_ctrs = false;
}

void hoy_store_unlock(struct hoy_store *s)
{
	hoy_lock_drop(&s->mounts_lock);
	hoy_lock_drop(&s->ctrs_lock);
	HOY_PLACES_EACH(p, s)
		hoy_place_drop_locks(p);
	hoy_lock_drop(&s->graph);
	sync_renames(s);
	while (s->n_late)
		hoy_close(s->late_fds[--s->n_late]);
	hoy_tempdir_free(&s->trash);
	HOY_PLACES_EACH(p, s)
		hoy_tempdir_free(&p->trash);
	if (s->recover)
		recover(s);
}

static int stamp(struct hoy_store *s, struct hoy_lock *l, struct hoy_stamp *seen, struct hoy_err *err)
{
	int r = hoy_stamp_write(l, seen);

	return r < 0 ? hoy_fail_errno(err, -r, "cannot stamp a lock of the store '%s'", s->conf.graphroot) : 0;
}

static int save(struct hoy_table *t, const char *root, bool *unsynced, struct hoy_err *err)
{
	int r = hoy_table_save(t, root, err);

	*unsynced = *unsynced || r > 0;
	return r < 0 ? r : 0;
}

/* One stamp for all layers, in each of the locks: only the graphroot's is ever compared by the library. */
static int save_layers(struct hoy_store *s, struct hoy_err *err)
{
	bool dirty = false;
	int r = 0;

	HOY_PLACES_EACH(p, s)
		dirty = dirty || p->layers[0].dirty || p->layers[1].dirty;
	if (!dirty)
		return 0;
	HOY_PLACES_EACH(p, s)
		if (!r && !p->rdonly)
			r = stamp(s, &p->layers_lock, &p->layers_stamp, err);
	HOY_PLACES_EACH(p, s)
		for (int i = 0; i < 2 && !r && !p->rdonly; i++)
			r = save(&p->layers[i], p->root, &p->unsynced_layers, err);
	return r;
}

static int save_images(struct hoy_store *s, struct hoy_err *err)
{
	int r = 0;

	HOY_PLACES_EACH(p, s) {
		if (r || p->rdonly || !p->images.dirty)
			continue;
		r = stamp(s, &p->images_lock, &p->images_stamp, err);
		if (!r)
			r = save(&p->images, p->root, &p->unsynced_images, err);
	}
	return r;
}

static int save_containers(struct hoy_store *s, struct hoy_err *err)
{
	int r = s->ctrs[0].dirty || s->ctrs[1].dirty ? stamp(s, &s->ctrs_lock, &s->ctrs_stamp, err) : 0;

	if (!r)
		r = save(&s->ctrs[0], s->conf.graphroot, &s->unsynced_ctrs, err);
	return r ? r : save(&s->ctrs[1], s->conf.graphroot, &s->unsynced_ctrs, err);
}

static int save_mounts(struct hoy_store *s, struct hoy_err *err)
{
	bool unsynced = false;
	int r = s->mounts.dirty ? stamp(s, &s->mounts_lock, &s->mounts_stamp, err) : 0;

	return r ? r : save(&s->mounts, s->conf.runroot, &unsynced, err);
}

static void forget(struct hoy_store *s)
{
	HOY_PLACES_EACH(p, s)
		hoy_place_forget(p);
	s->ctrs_stamp.len = -1;
}

int hoy_store_save(struct hoy_store *s, struct hoy_err *err)
{
	int r = save_layers(s, err);

	if (!r)
		r = save_images(s, err);
	if (!r)
		r = save_containers(s, err);
	if (!r)
		r = save_mounts(s, err);
	/* What we have in memory is not what is on disk: read it again before anything else. */
	if (r < 0) {
		forget(s);
		s->mounts_stamp.len = -1;
	}
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
	if (hoy_stamp_fresh(&s->mounts_lock, &s->mounts_stamp))
		return 0;
	r = hoy_table_load(&s->mounts, err);
	if (r < 0)
		s->mounts_stamp.len = -1;
	return r;
}

/* Remember all stamps; or (AGAIN): are they what was remembered? */
static bool mark(struct hoy_store *s, bool again)
{
	struct hoy_stamp now;

	HOY_PLACES_EACH(p, s)
		if (!hoy_place_mark(p, again))
			return false;
	if (hoy_stamp_read(&s->ctrs_lock, &now) < 0)
		return false;
	if (again)
		return hoy_stamp_same(&now, &s->ctrs_mark);
	s->ctrs_mark = now;
	return true;
}

static bool any_lock(const struct hoy_store *s)
{
	HOY_PLACES_EACH(p, s)
		if (p->layers_lock.fd >= 0 || p->images_lock.fd >= 0)
			return true;
	return s->ctrs_lock.fd >= 0;
}

int hoy_store_peek(struct hoy_store *s, unsigned parts, struct hoy_err *err)
{
	int r;

	if (!any_lock(s))
		return load_parts(s, parts, err);
	for (int i = 0; i < 3; i++) {
		if (!mark(s, false))
			break;
		forget(s);
		r = load_parts(s, parts, err);
		if (r < 0)
			return r;
		/*
		 * Nothing may be decided on this view: a writer stamps before it saves, so the new stamp may have come with
		 * the old records. Forgotten, it makes the next lock read them again.
		 */
		forget(s);
		if (mark(s, true))
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

struct hoy_json *hoy_layer_get(const struct hoy_store *s, const char *id)
{
	struct hoy_json *r = NULL;

	HOY_PLACES_EACH(p, s)
		for (int i = 0; i < 2 && !r; i++)
			r = hoy_table_get(&p->layers[i], id);
	return r;
}

struct hoy_json *hoy_image_get(const struct hoy_store *s, const char *id)
{
	struct hoy_json *r = NULL;

	HOY_PLACES_EACH(p, s)
		if (!r)
			r = hoy_table_get(&p->images, id);
	return r;
}

struct hoy_json *hoy_container_get(const struct hoy_store *s, const char *id)
{
	struct hoy_json *r = hoy_table_get(&s->ctrs[0], id);

	return r ? r : hoy_table_get(&s->ctrs[1], id);
}

struct hoy_table *hoy_layer_table(struct hoy_store *s, const struct hoy_json *rec)
{
	HOY_PLACES_EACH(p, s)
		for (int i = 0; i < 2; i++)
			if (hoy_table_has(&p->layers[i], rec))
				return &p->layers[i];
	return &s->own.layers[1];
}

struct hoy_place *hoy_layer_place(const struct hoy_store *s, const struct hoy_json *rec)
{
	for (size_t i = 0; i < s->n_extra; i++)
		if (hoy_table_has(&s->extra[i].layers[0], rec) || hoy_table_has(&s->extra[i].layers[1], rec))
			return &s->extra[i];
	return hoy_place_next(s, NULL);
}

struct hoy_place *hoy_image_place(const struct hoy_store *s, const struct hoy_json *rec)
{
	for (size_t i = 0; i < s->n_extra; i++)
		if (hoy_table_has(&s->extra[i].images, rec))
			return &s->extra[i];
	return hoy_place_next(s, NULL);
}

/* The first layer of place P or those behind it. */
static struct hoy_json *layer_from(const struct hoy_store *s, const struct hoy_place *p)
{
	struct hoy_json *r = NULL;

	for (; p && !r; p = hoy_place_next(s, p))
		r = p->rdonly ? NULL : hoy_first(p->layers);
	return r;
}

struct hoy_json *hoy_layer_first(const struct hoy_store *s) { return layer_from(s, &s->own); }

struct hoy_json *hoy_layer_next(const struct hoy_store *s, const struct hoy_json *rec)
{
	if (rec->next)
		return rec->next;
	HOY_PLACES_EACH(p, s)
		for (int i = 0; i < 2; i++)
			if (p->layers[i].doc.root && p->layers[i].doc.root->last == rec)
				return hoy_next(p->layers, rec) ?: layer_from(s, hoy_place_next(s, p));
	return NULL;
}

static bool hidden(const struct hoy_store *s, const struct hoy_place *at, const struct hoy_json *rec)
{
	for (const struct hoy_place *p = &s->own; p != at; p = hoy_place_next(s, p))
		if (hoy_table_get(&p->images, hoy_json_str(rec, "id") ?: ""))
			return true;
	return false;
}

/* REC of place P, or the next image that no earlier place has. */
static struct hoy_json *visible(const struct hoy_store *s, const struct hoy_place *p, struct hoy_json *rec)
{
	while (rec && hidden(s, p, rec))
		rec = rec->next;
	while (!rec && (p = hoy_place_next(s, p)))
		for (rec = p->images.doc.root ? p->images.doc.root->child : NULL; rec && hidden(s, p, rec); rec = rec->next)
			;
	return rec;
}

struct hoy_json *hoy_image_first(const struct hoy_store *s)
{
	return visible(s, &s->own, s->own.images.doc.root ? s->own.images.doc.root->child : NULL);
}

struct hoy_json *hoy_image_next(const struct hoy_store *s, const struct hoy_json *rec)
{
	return rec->next && !s->n_extra ? rec->next : visible(s, hoy_image_place(s, rec), rec->next);
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
	struct hoy_json *found = hoy_container_get(s, name);
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
