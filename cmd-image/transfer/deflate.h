/* cmd-image/transfer/deflate.h: packing a layer: gzip by isa-l or zstd, into a sink. */
#pragma once
#include "cmd-image/transfer/transport.h"

struct packer;
/* SUFFIX: "+gzip" or "+zstd". LEVEL 0: the default; else 1 to 9, or 20 with zstd. */
int packer_new(struct packer **ret, const char *suffix, int level, struct hoy_err *err);
/* Pack N bytes (END: the last) and give what comes out to EMIT. */
int packer_add(struct packer *p, const void *data, size_t n, bool end, int (*emit)(void *arg, const void *data, size_t n, struct hoy_err *err),
	       void *arg, struct hoy_err *err);
void packer_free(struct packer *p);
