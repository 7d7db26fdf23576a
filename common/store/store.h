/*
 * common/store/store.h: the containers/storage store on disk, overlay driver, as ../shared/formats/storage.md has it.
 *
 * A store is opened, locked in the order that the format demands, read, changed, saved and unlocked:
 *
 *	hoy_store_open(&s, args, 0, err);
 *	hoy_store_lock(s, HOY_IMAGES, HOY_LAYERS, err);     read images, write layers; tables are (re)loaded
 *	... change records ...
 *	hoy_store_save(s, err);                             stamps first, then the files
 *	hoy_store_unlock(s);                                from here on it outlasts a power cut
 *
 * or, by readers, hoy_store_peek(): a consistent view without any lock. A record is the parsed JSON object itself,
 * so members that we do not know are carried on. Records stay valid until the next lock, peek or close.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/conf/storage.h"
#include "common/store/place.h"

struct hoy_err;

enum hoy_part {
	HOY_GRAPH = 1 << 0, /* storage.lock: every mount; always taken for writing */
	HOY_LAYERS = 1 << 1,
	HOY_IMAGES = 1 << 2,
	HOY_CONTAINERS = 1 << 3,
};

enum hoy_store_flags {
	HOY_STORE_RDONLY = 1 << 0, /* create nothing; what is missing is empty */
};

#define HOY_PENDING_SIZE (2 * 64 + 16)

struct hoy_store {
	struct hoy_storage_conf conf;
	bool rdonly, rootless;
	bool vfs; /* the driver: each layer is a whole tree, nothing is mounted (vfs.h) */
	int graphfd, ctrsfd, runfd, mountsfd; /* -1: not there (RDONLY); graphfd is own.rootfd */
	int volctrsfd;			      /* transient: runroot's overlay-containers, else -1 */
	struct hoy_lock graph, ctrs_lock, mounts_lock;
	struct hoy_stamp ctrs_stamp, mounts_stamp, ctrs_mark;
	struct hoy_table ctrs[2], mounts; /* [0] stable, [1] volatile */
	struct hoy_place own;		  /* the graphroot */
	struct hoy_place *extra;	  /* the imagestore, if there is one, then the additional image stores */
	size_t n_extra;
	struct hoy_place *dest;		  /* where new images and their layers go: own, or the imagestore */
	struct hoy_tempdir trash;	  /* deferred deletion in overlay-layers/tmp */
	int late_fds[16], n_late;	  /* closed after the locks are released */
	bool unsynced_ctrs;		  /* a file's rename may not be on the disk yet */
	bool recover;			  /* after the locks: what others left in the places for deferred deletion */
	char pending[HOY_PENDING_SIZE];	  /* the image being made or removed, see pending.h */
};

/* The place behind P, own first (NULL); NULL behind the last one. */
static inline struct hoy_place *hoy_place_next(const struct hoy_store *s, const struct hoy_place *p)
{
	size_t i = !p ? 0 : p == &s->own ? 1 : (size_t)(p - s->extra) + 2;

	return !i ? (struct hoy_place *)&s->own : i <= s->n_extra ? &s->extra[i - 1] : NULL;
}
#define HOY_PLACES_EACH(p, s) for (struct hoy_place *p = hoy_place_next(s, NULL); p; p = hoy_place_next(s, p))

int hoy_store_open(struct hoy_store **ret, const struct hoy_storage_args *args, enum hoy_store_flags flags,
		   struct hoy_err *err);
/* Free S; NULL is fine. Held locks are dropped, unsaved changes are lost. */
void hoy_store_free(struct hoy_store *s);
static inline void hoy_cleanup_store_(struct hoy_store **s) { hoy_store_free(*s); }
#define cleanup_store __attribute__((cleanup(hoy_cleanup_store_)))

/* Take the locks of the parts in READ and WRITE (in the mandated order) and load their tables. None may be held. */
int hoy_store_lock(struct hoy_store *s, unsigned read, unsigned write, struct hoy_err *err);
/* Under locks that did not include the containers: lock and load these too, for reading. Theirs comes last. */
int hoy_store_also_containers(struct hoy_store *s);
int hoy_store_save(struct hoy_store *s, struct hoy_err *err);
/*
 * Drop the locks. After them, and so that nobody waits for the disk: what was saved is made to last, what was deleted is
 * really removed.
 */
void hoy_store_unlock(struct hoy_store *s);
/* Take mountpoints.lock (innermost; a layers.lock is held) and load the mount counts. */
int hoy_store_load_mounts(struct hoy_store *s, struct hoy_err *err);
/* Load PARTS without a lock: stamps, containers, images, layers, stamps again; thrice, then under read locks. */
int hoy_store_peek(struct hoy_store *s, unsigned parts, struct hoy_err *err);

/* Records by exact id; NULL if there is none. Of two places that have it the first one counts. */
struct hoy_json *hoy_layer_get(const struct hoy_store *s, const char *id);
struct hoy_json *hoy_image_get(const struct hoy_store *s, const char *id);
struct hoy_json *hoy_container_get(const struct hoy_store *s, const char *id);
/* Exact id, exact name, or unique id prefix; -ENOENT, -HOY_EAMBIGUOUS. */
int hoy_container_find(const struct hoy_store *s, const char *name, struct hoy_json **ret, struct hoy_err *err);
/* Is the string STR an element of the array REC.KEY? */
bool hoy_record_has(const struct hoy_json *rec, const char *key, const char *str);
/* The places that the layer and the image REC are in. */
struct hoy_place *hoy_layer_place(const struct hoy_store *s, const struct hoy_json *rec);
struct hoy_place *hoy_image_place(const struct hoy_store *s, const struct hoy_json *rec);
/* The table that the layer REC is in. */
struct hoy_table *hoy_layer_table(struct hoy_store *s, const struct hoy_json *rec);
/* Iterate over both tables of a pair: for (r = hoy_first(s->ctrs); r; r = hoy_next(s->ctrs, r)). */
struct hoy_json *hoy_first(const struct hoy_table pair[2]);
struct hoy_json *hoy_next(const struct hoy_table pair[2], const struct hoy_json *rec);
/* Over the layers that are ours to change; those of additional stores are left out. */
struct hoy_json *hoy_layer_first(const struct hoy_store *s);
struct hoy_json *hoy_layer_next(const struct hoy_store *s, const struct hoy_json *rec);
/* Over all images; one that an earlier place has too is left out. */
struct hoy_json *hoy_image_first(const struct hoy_store *s);
struct hoy_json *hoy_image_next(const struct hoy_store *s, const struct hoy_json *rec);
