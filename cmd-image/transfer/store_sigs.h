/* cmd-image/transfer/store_sigs.h: signatures as the store keeps them: all in a row in one item, their sizes in the image's metadata. */
#pragma once
#include "cmd-image/transfer/signature.h"
#include "cmd-image/transfer/stream.h"
#include "common/base/buf.h"
#include "common/data/digest.h"

struct hoy_json;

struct stored_sigs {
	struct hoy_buf data, metadata;
	char key[HOY_ID_SIZE + 16], sum[SHA_DIGEST_SIZE]; /* the item's second name (the first is "signatures"), and its digest */
};
#define STORED_SIGS_INIT { HOY_BUF_INIT(HOY_BUF_OURS), HOY_BUF_INIT(64 << 10), "", "" }
void stored_sigs_release(struct stored_sigs *s);
static inline void hoy_cleanup_stored_sigs_(struct stored_sigs *s) { stored_sigs_release(s); }
#define cleanup_stored_sigs __attribute__((cleanup(hoy_cleanup_stored_sigs_)))

/* SIGS of the manifest DIGEST into S, which is blank. */
int stored_sigs_make(struct stored_sigs *s, const struct sigs *sigs, const char *digest, struct hoy_err *err);
/* And back: what SIZES (an array of the metadata's) say of the item DATA, added to RET. */
int stored_sigs_split(const char *data, size_t len, const struct hoy_json *sizes, struct sigs *ret, struct hoy_err *err);
