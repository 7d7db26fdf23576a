/*
 * common/store/inuse.h: which images builds stand on right now, and when one last did. Images without a name, which only serve as a
 * cache, belong to nobody: who prunes them asks here.
 *
 * All of it is locks on graphroot/hoy/build.lock, which go when their holder dies: at the bytes below HOY_INUSE_IMAGES, builds that are
 * at the same step wait for each other; above, a byte stands for an image, and the last one for all: the gate.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct hoy_store;

#define HOY_INUSE_IMAGES ((int64_t)1 << 62)

/* Open the file; the descriptor or -errno. */
int hoy_inuse_open(const struct hoy_store *s);
/*
 * Wait until nobody who is ALONE is between finding images and holding (or deleting) them, and keep such out until the descriptor
 * that this returns is closed. Take it before any lock of the store. Or -errno.
 */
int hoy_inuse_gate(const struct hoy_store *s, bool alone);
/* From now on image ID is in use, until FD (of hoy_inuse_open()) and all its copies in children are closed; behind the gate. 0 or -errno. */
int hoy_inuse_hold(int fd, const char *id);
/* Is it, by another opening of the file? Behind the gate, alone. */
bool hoy_inuse_held(int fd, const char *id);

/* A build has used image ID now: a time of its directory of items, which nobody else reads. What isn't ours to write stays as it is. */
void hoy_image_touch(const struct hoy_store *s, const char *id);
/* When that was, in ns; of one that no build has used, when it was made. */
int64_t hoy_image_touched(const struct hoy_store *s, const char *id);
