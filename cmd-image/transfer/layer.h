/* cmd-image/transfer/layer.h: a blob becomes a staged layer: digests, inflating, unpacking in threads of their own. */
#pragma once
#include "cmd-image/transfer/inflate.h"
#include "cmd-image/transfer/unpack.h"

struct layer_want {
	const char *digest;  /* of the blob; NULL: whatever it is */
	int64_t size;	     /* -1: unknown */
	const char *diff_id; /* NULL: whatever it is */
	int64_t max;	     /* bytes that it may unpack to; 0: any */
};
struct layer_got {
	char digest[SHA_DIGEST_SIZE], diff_id[SHA_DIGEST_SIZE];
	int64_t size, diff_size;
	enum compression kind;
	struct unpack_result res;
};
/* IN is borrowed and read to its end. RET is to be released (unpack_result_release) whatever is returned. */
int layer_unpack(struct stream *in, const struct layer_want *want, int difffd, int splitfd, const struct unpack_opts *o,
		 struct layer_got *ret, struct hoy_err *err);

/* A stream that counts and digests what passes; at the end of IN it compares with DIGEST and SIZE (NULL, -1: not). */
struct checked {
	struct stream s;
	struct stream *in;
	struct sha sha;
	const char *what, *want;
	int64_t want_size, size;
	char digest[SHA_DIGEST_SIZE];
	bool done;
};
int checked_init(struct checked *c, struct stream *in, const char *digest, int64_t size, struct hoy_err *err);
void checked_release(struct checked *c);
/* Read the rest, so that the digest is known; errors of IN and of the comparison. */
int checked_drain(struct checked *c, struct hoy_err *err);
