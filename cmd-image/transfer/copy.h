/* cmd-image/transfer/copy.h: an image from any source to any destination, layers side by side, as few changes as possible. */
#pragma once
#include "cmd-image/transfer/allow.h"
#include "cmd-image/transfer/sign.h"

struct copy_opts {
	bool quiet, all, preserve;
	const char *format;	 /* "oci", "v2s2" or NULL */
	const char *compression; /* "gzip", "zstd", "none" or NULL: what the destination wants */
	int64_t level, parallel;
	struct platform platform;
	const struct trust *trust; /* NULL: the image is one of our own, which nobody has to judge any more */
	struct sign_opts sign;
};
/* RET_DIGEST is the manifest's as it was written. Does not commit DST. */
int copy_image(struct source *src, struct dest *dst, const struct copy_opts *o, char ret_digest[SHA_DIGEST_SIZE], struct hoy_err *err);
