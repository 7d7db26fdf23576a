/* cmd-image/transfer/copy.h: an image from any source to any destination, layers side by side, as few changes as possible. */
#pragma once
#include "cmd-image/transfer/allow.h"
#include "cmd-image/transfer/crypt.h"
#include "cmd-image/transfer/sign.h"

struct copy_opts {
	bool quiet, all, preserve;
	bool index_only; /* with ALL: of a list nothing but the list */
	bool precompute; /* pack a layer before it is sent, to ask for it first */
	const char *format;	 /* "oci", "v2s2" or NULL */
	const char *compression; /* "gzip", "zstd", "none" or NULL: what the destination wants */
	int64_t level, parallel;
	struct platform platform;
	const struct trust *trust; /* NULL: the image is one of our own, which nobody has to judge any more */
	struct sign_opts sign;
	struct crypt_opts crypt;
};
/* Are the compression and its level known? */
int copy_check(const struct copy_opts *o, struct hoy_err *err);
/* The kind of manifest that FORMAT ("oci", "v2s2", NULL: as KIND says) means for an image. */
int copy_format(const char *format, enum man_kind *kind, struct hoy_err *err);
/* RET_DIGEST is the manifest's as it was written. Does not commit DST. */
int copy_image(struct source *src, struct dest *dst, const struct copy_opts *o, char ret_digest[SHA_DIGEST_SIZE], struct hoy_err *err);
/* The manifest M of SRC (read already) and all that belongs to it, under its digest alone. */
int copy_parsed(struct source *src, struct dest *dst, const struct copy_opts *o, const struct manifest *m, struct hoy_err *err);
