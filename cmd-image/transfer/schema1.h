/*
 * cmd-image/transfer/schema1.h: manifests of docker's schema 1, as Docker wrote them until 2016: layers without sizes, the config in the
 * history, and mostly signed: then what counts is the payload of the signature, of which the digest is, too. They are read, and become
 * schema 2 as containers/image has it.
 */
#pragma once
#include "cmd-image/transfer/transport.h"

/* Is DATA a manifest of schema 1? Then RET_DIGEST is its digest. */
bool schema1_digest(const char *data, size_t len, char ret_digest[SHA_DIGEST_SIZE]);
/* M of the bytes that it has: doc (of the payload), digest and layers, the lowest first; the json of each is its entry in the history. */
int schema1_parse(struct manifest *m, struct hoy_err *err);
/* Did layer D of such a manifest change no file? Its blob means nothing. */
bool schema1_throwaway(const struct desc *d);
/* The config that an image of schema 2 has instead. DIFF_IDS are those of the layers that count. */
int schema1_config(const struct manifest *m, const struct hoy_strv *diff_ids, struct hoy_buf *ret, struct hoy_err *err);

/*
 * A source of M (of SRC) as an image of schema 2. The layers are fetched into temporary files here, for their sizes and the digests of
 * their content are known only then.
 */
int source_schema1(struct source **ret, struct source *src, const struct manifest *m, bool quiet, struct hoy_err *err);
