/*
 * cmd-image/transfer/chunked.h: zstd:chunked, a layer as zstd whose files are frames of their own, with a table of them and the
 * tar-split behind it in frames that a plain reader skips.
 */
#pragma once
#include "cmd-image/transfer/stream.h"

#define CHUNKED_CHECKSUM "io.github.containers.zstd-chunked.manifest-checksum"
#define CHUNKED_POSITION "io.github.containers.zstd-chunked.manifest-position"
#define CHUNKED_TARSPLIT "io.github.containers.zstd-chunked.tarsplit-position"

/* What the layer's descriptor says of it, by the annotations above. */
struct chunked_notes {
	bool set; /* false: the tar has what the table cannot say (sparse files, a name twice, ...); it is plain zstd then */
	char checksum[SHA_DIGEST_SIZE], position[100], tarsplit[100];
};
/* Pack the tar IN at LEVEL (0: the default) and give what comes out to EMIT. */
int chunked_pack(struct stream *in, int level, int (*emit)(void *arg, const void *data, size_t n, struct hoy_err *err), void *arg,
		 struct chunked_notes *ret, struct hoy_err *err);
