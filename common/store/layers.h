/* common/store/layers.h: layers of the store: staged from blobs, made for containers, deleted, mounted. */
#pragma once
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "common/data/digest.h"
#include "common/proc/idmap.h"
#include "common/store/store.h"

/* A layer being filled outside of any lock, in overlay/tempdirs and overlay-layers/tmp. */
struct hoy_stage {
	struct hoy_tempdir tree, meta;
	int difffd;  /* directory that the content goes into */
	int splitfd; /* tar-split (gzip), empty, for writing; fsync it is the caller's */
};
int hoy_stage_new(struct hoy_stage *st, const struct hoy_store *s, struct hoy_err *err);
/*
 * What the read-write layer LAYER holds becomes what ST does, which is empty; LAYER is empty then. layers.lock is held for writing.
 * -HOY_EBUSY while it is mounted, -EXDEV if it lies elsewhere.
 */
int hoy_stage_take(struct hoy_stage *st, struct hoy_store *s, const char *layer, struct hoy_err *err);
/*
 * What the layer LAYER holds is copied (by reflink where the file system can), with its tar-split, to ST, which is empty. No lock is
 * needed: if the layer still has its record afterwards, all of it was there.
 */
int hoy_stage_copy(struct hoy_stage *st, struct hoy_store *s, const char *layer, struct hoy_err *err);
/* Remove what was not committed. */
void hoy_stage_free(struct hoy_stage *st);

struct hoy_layer_new {
	const char *id;			     /* 64 hex */
	const char *parent;		     /* id or NULL */
	const char *compressed_digest;	     /* NULL: not recorded */
	int64_t compressed_size;
	const char *diff_digest;	     /* NULL: none */
	int64_t diff_size;
	int compression;		     /* 0 none, 1 bzip2, 2 gzip, 3 xz, 4 zstd */
	const unsigned *uids, *gids;	     /* sorted, distinct */
	size_t n_uids, n_gids;
	bool no_split; /* there is no tar-split: drop the empty file */
};

/*
 * Make ST a layer of the store (formats/storage.md 7.1, steps 3 to 6); layers.lock is held for writing. The layer's
 * files must have been synced by the caller. -EEXIST if the id is taken: then use that one, ST is still to be freed.
 */
int hoy_layer_commit(struct hoy_store *s, struct hoy_stage *st, const struct hoy_layer_new *n, struct hoy_err *err);

/*
 * The same for a layer that is there, damaged: its content and tar-split become ST's, its directory is made again if need be.
 * -HOY_EBUSY while it is mounted, alone or below others; -EROFS if it is an additional store's.
 */
int hoy_layer_replace(struct hoy_store *s, struct hoy_stage *st, const struct hoy_layer_new *n, struct hoy_err *err);

struct hoy_layer_rw {
	const char *id;	    /* drawn by the caller */
	const char *parent; /* NULL: on nothing */
	const char *name, *label; /* NULL: none */
	bool vol; /* chooses the table */
	const struct hoy_idmaps *maps; /* of the container, NULL: none; see shift.h for the parent that goes with them */
};
/* An empty read-write layer. layers.lock is held for writing; the record is saved. */
int hoy_layer_create_rw(struct hoy_store *s, const struct hoy_layer_rw *n, struct hoy_err *err);
/*
 * A version of layer TEMPLATE (a record) whose files are chowned to MAPS; RET is its id, newly drawn. layers.lock is held for
 * writing; the record is saved. Private to the store.
 */
int hoy_layer_create_mapped(struct hoy_store *s, const struct hoy_json *template, const struct hoy_idmaps *maps, char ret[HOY_ID_SIZE],
			    struct hoy_err *err);

/*
 * Delete one layer: unmounted, files moved aside (gone after hoy_store_unlock()), record removed and saved.
 * layers.lock for writing, images and containers are loaded. -HOY_EBUSY if something is built on it or uses it.
 */
int hoy_layer_delete(struct hoy_store *s, const char *id, struct hoy_err *err);
/*
 * The files of a layer NAME that has no record go aside (gone after hoy_store_unlock()): its directory, with its short link,
 * its tar-split and its big data. layers.lock for writing. NAME is one file name; 0 or -errno.
 */
int hoy_layer_discard(struct hoy_store *s, const char *name);
/*
 * The disk is full, and what would note that layer ID goes cannot be written: save after its tar-split is gone, or else
 * after all its files are. Who dies in between leaves a layer that a check finds damaged.
 */
int hoy_layer_make_room(struct hoy_store *s, const char *id, struct hoy_err *err);
/* Is layer ID in the store, and not one that somebody is at, or has died at, making or deleting? */
bool hoy_layer_whole(const struct hoy_store *s, const char *id);
/* Does a layer stand on layer ID, or an image or container record name it? */
bool hoy_layer_used(const struct hoy_store *s, const char *id);
/* Delete the layers that a dead process left incomplete; called by hoy_store_lock(). */
int hoy_layers_clean(struct hoy_store *s, struct hoy_err *err);

struct hoy_mount_opts {
	bool rdonly;
	bool vol;	     /* volatile, if the kernel and the configuration allow it */
	const char *options; /* instead of the configured mountopt; NULL: that one */
	const char *label;   /* SELinux mount label or NULL */
};
/* Mount layer ID, or count one more mount. HOY_GRAPH and HOY_LAYERS are held for writing. *RET_PATH is "home/ID/merged". */
int hoy_layer_mount(struct hoy_store *s, const char *id, const struct hoy_mount_opts *o, char **ret_path,
		    struct hoy_err *err);
/*
 * Count one mount less, unmount at zero; FORCE: whatever the count. HOY_LAYERS held for writing, and HOY_GRAPH so that
 * home's bind goes with the last mount. Not mounted is fine.
 */
int hoy_layer_unmount(struct hoy_store *s, const char *id, bool force, struct hoy_err *err);
/* Is layer ID mounted, itself or below another one? 1, 0 or an error. HOY_LAYERS is held. */
int hoy_layer_mounted(struct hoy_store *s, const char *id, struct hoy_err *err);
/*
 * Before taking the lock for an unmount: write back what the overlay holds (not if it is volatile), so that the unmount
 * itself needs no disk. The descriptor of the mount is kept until after the unlock.
 */
void hoy_layer_presync(struct hoy_store *s, const char *id, bool vol);
/* The place whose overlay/ has the directory ID: the first of those, or the graphroot if none has. */
struct hoy_place *hoy_layer_home(const struct hoy_store *s, const char *id);
/* Path of BELOW in a layer's directory, in new memory. */
char *hoy_layer_path(const struct hoy_store *s, const char *id, const char *below);
/* Open "overlay/ID/diff" (or follows its absolute link); fd or -errno. */
int hoy_layer_open_diff(const struct hoy_store *s, const char *id);
/* The bytes of the files that layer ID brings, counted on the disk; with vfs, of those that its parent has not or not so. */
int64_t hoy_layer_size(const struct hoy_store *s, const char *id);
/* The layers below ID, uppermost first, by lower-layers or lower: ids appended to RET. */
int hoy_layer_lowers(const struct hoy_store *s, const char *id, struct hoy_strv *ret, struct hoy_err *err);
/* Their directories as text, "DIR/diff:DIR/diff...", in new memory; "" if there are none. 0, -ENOMEM or an error of the lists. */
int hoy_layer_lowerdir(const struct hoy_store *s, const char *id, char **ret);
/* The short link of layer ID as "l/NAME", by its "link" file; false if that holds none. */
#define HOY_LINK_SIZE 40
bool hoy_layer_link(int homefd, const char *id, char ret[HOY_LINK_SIZE]);
/* Is this overlay's mark for a name that is no more? */
static inline bool hoy_is_whiteout(const struct stat *st) { return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0); }
/* Does the short link of layer ID lead to it, as readers before 1.63 of the library need? */
bool hoy_layer_link_good(const struct hoy_store *s, const char *id);
/* Make the short link of layer ID again, by the text in its "link" if that is one. layers.lock for writing. */
int hoy_layer_link_mend(struct hoy_store *s, const char *id, struct hoy_err *err);

/* ---- private to the store ---- */
/* The driver directory of a new layer in place P, of MAPS' root if they are not NULL; SYNC: its files on the disk. */
int hoy_overlay_create(struct hoy_store *s, const struct hoy_place *p, const char *id, const char *parent, bool sync,
		       const struct hoy_idmaps *maps, struct hoy_err *err);
/* The mount itself, of layer ID at TARGET, uncounted; MAPS shift the lower layers if they are not empty. */
int hoy_overlay_mount(struct hoy_store *s, const char *id, const char *target, const struct hoy_mount_opts *o,
		      const struct hoy_idmaps *maps, struct hoy_err *err);
