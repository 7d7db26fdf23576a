/*
 * common/store/shift.h: layers for containers whose ids are others outside (formats/storage.md 4.4, 4.6, 7.6). Where the kernel
 * can, the layers of an image are mounted with shifted ids; else a copy of the top layer has them chowned.
 */
#pragma once
#include "common/data/digest.h"
#include "common/proc/idmap.h"
#include "common/store/store.h"

/*
 * Can mounts of this store shift ids? By the library's note idmapped-lower-dir-true or -false in the runroot, which is made
 * by trying it out. Never for an ordinary user. _CONTAINERS_OVERLAY_DISABLE_IDMAP=yes says no, as it does to the library.
 */
bool hoy_shift_mounts(const struct hoy_store *s);
/*
 * The layer that a container with MAPS of the image IMAGE (a record) stands on: its top layer, or a version of it that has
 * been chowned to these maps, which is made and noted in the image if there is none. Layers and images for writing; saved.
 */
int hoy_shift_parent(struct hoy_store *s, struct hoy_json *image, const struct hoy_idmaps *maps, char ret[HOY_ID_SIZE], struct hoy_err *err);
struct hoy_auto_ids {
	uint32_t size;		 /* 0: as many as the image needs, but */
	uint32_t least;		 /* at least these */
	struct hoy_idmaps extra; /* asked for by the user, beside the others */
};
/*
 * Maps for --userns=auto: ids of the user who is configured for that, none of which another container has. IMAGE is its record,
 * or NULL. userns.lock is held; layers and containers are loaded.
 */
int hoy_auto_ids(const struct hoy_store *s, const struct hoy_json *image, const struct hoy_auto_ids *want, struct hoy_idmaps *ret,
		 struct hoy_err *err);
/* Held while a container with maps is made, before all other locks of the store; LOCK is closed by the caller. */
int hoy_shift_lock(const struct hoy_store *s, struct hoy_lock *lock, struct hoy_err *err);

/* ---- private to the store ---- */
/* Chown what layer ID, an overlay's that is not mounted, shows from the ids of FROM to those of TO; its diff becomes its diff1. */
int hoy_shift_chown(struct hoy_store *s, const char *id, const struct hoy_idmaps *from, const struct hoy_idmaps *to, struct hoy_err *err);
/* The same for the whole tree, and its root, that layer ID is with vfs; from the ids of an image. */
int hoy_shift_chown_dir(struct hoy_store *s, const char *id, const struct hoy_idmaps *to, struct hoy_err *err);
/* The maps that the mount of layer ID shifts its lower layers by; RET is empty if there are none. */
int hoy_shift_of(const struct hoy_store *s, const char *id, struct hoy_idmaps *ret, struct hoy_err *err);
/* Clones with shifted ids of the directories that the LOWERS of layer ID lie in, at ID/mapped/N, where LOWERS then are. */
int hoy_shift_attach(const struct hoy_store *s, const char *id, const struct hoy_idmaps *maps, struct hoy_strv *lowers, struct hoy_err *err);
/* The overlay is mounted and has its own hold of them (or it is gone): take the clones away. */
void hoy_shift_detach(const struct hoy_store *s, const char *id);
