/* common/store/containers.h: the storage records of containers (their definitions are cmd-run's). */
#pragma once
#include "common/proc/idmap.h"
#include "common/store/store.h"

struct hoy_container_new {
	const char *id, *name;
	const char *image;    /* id or "" */
	const char *layer;    /* read-write layer */
	const char *metadata; /* engine's text */
	const char *mount_label, *process_label; /* both or neither */
	const char *mountopts; /* comma list or NULL: replaces the configured one */
	bool vol;	      /* volatile table */
	const struct hoy_idmaps *maps; /* of its user namespace, NULL: none */
};
/* Add the record; HOY_CONTAINERS for writing, saved. -EEXIST with a sentence if the name or id is taken. */
int hoy_container_create(struct hoy_store *s, const struct hoy_container_new *n, struct hoy_err *err);
/*
 * Delete ID's read-write layer, its directories in graphroot and runroot, then its record. Layers, images and
 * containers for writing. A missing layer is fine.
 */
int hoy_container_delete(struct hoy_store *s, const char *id, struct hoy_err *err);
/* Rename: NAME for the record and NAME-layer for its layer. Layers and containers for writing; saved. */
int hoy_container_rename(struct hoy_store *s, const char *id, const char *name, struct hoy_err *err);
/* Is it a working container of a build (buildah's, ours), which leaves its state in userdata/buildah.json? */
bool hoy_container_builds(const struct hoy_store *s, const char *id);
/* How many containers use image ID; *RET_BUILDS, if wanted, is how many of them are a build's. */
unsigned hoy_image_users(const struct hoy_store *s, const char *id, unsigned *ret_builds);
