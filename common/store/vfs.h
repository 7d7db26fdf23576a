/*
 * common/store/vfs.h: the driver for file systems that have neither overlay nor anything like it: a layer is a whole tree in
 * vfs/dir/ID, the parent's with the layer's changes; nothing is mounted. Private to the store and to those who stage layers.
 */
#pragma once
#include "common/store/layers.h"

/*
 * Before a staged layer can be committed: what ST holds, a layer as overlay keeps it, becomes the whole tree, on a copy of the
 * directory PARENT (-1: of nothing). No lock is needed. Not synced.
 */
int hoy_vfs_complete(struct hoy_stage *st, int parent, struct hoy_err *err);
/* The directory of a container's layer: a copy of PARENT's tree. */
int hoy_vfs_create(struct hoy_store *s, const char *id, const char *parent, struct hoy_err *err);
/* The bytes of the files in the layer ID that its parent PARENT has not, or not so (by size, times, owner and mode). */
int64_t hoy_vfs_changes(const struct hoy_store *s, const char *id, const char *parent);
