/*
 * common/oci/layout.h: an OCI image layout in a directory: its index.json, and which blobs an entry of it needs. Nothing here is
 * digested: a blob is what its name says, or it isn't there.
 */
#pragma once
#include "common/data/json.h"

#define HOY_LAYOUT_MAX ((size_t)4 << 20) /* an index or a manifest */
#define HOY_REF_NAME "org.opencontainers.image.ref.name"

/* What ENTRY of an index is called; NULL: it has no name. */
const char *hoy_layout_name(const struct hoy_json *entry);
/* Is DIGEST one that a layout's blobs/sha256 may have? */
bool hoy_layout_digest(const char *digest);
/*
 * Take ENTRY (of INDEX, which is index.json of the directory DIR) out of the layout, and with BLOBS what no other entry needs.
 * INDEX itself stays as it was read.
 */
int hoy_layout_drop(int dir, const struct hoy_json *index, const struct hoy_json *entry, bool blobs, struct hoy_err *err);
/* Remove those of the blobs behind DIGEST, itself included, that nothing in DIR's index needs (any more). */
int hoy_layout_sweep(int dir, const char *digest, struct hoy_err *err);
