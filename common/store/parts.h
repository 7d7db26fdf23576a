/*
 * common/store/parts.h: graphroot/hoy/blobs, where pulls keep what has arrived of a blob until its layer is in the store.
 * The lock on such a file is the lease of who fetches that blob.
 */
#pragma once
#include "common/store/store.h"

#define HOY_PARTS_DIR "hoy/blobs"

/*
 * Remove the files there that nobody has leased: those older than MAX_AGE (ns), and the oldest ones beyond MAX_BYTES in all.
 * The bytes that this freed are added to *FREED (may be NULL).
 */
void hoy_parts_prune(const struct hoy_store *s, int64_t max_age, int64_t max_bytes, int64_t *freed);
/* The part of the blob DIGEST, unless somebody has a lease on it. */
void hoy_parts_drop(const struct hoy_store *s, const char *digest);
