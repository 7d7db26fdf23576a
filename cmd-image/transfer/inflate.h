/* cmd-image/transfer/inflate.h: gzip (all its members), zstd or plain bytes, told apart by their first bytes. */
#pragma once
#include "cmd-image/transfer/stream.h"

/* Numbers of containers/storage's "compression" member. */
enum compression { COMP_NONE = 0, COMP_BZIP2 = 1, COMP_GZIP = 2, COMP_XZ = 3, COMP_ZSTD = 4 };

struct inflate;
/* IN is borrowed; its first bytes are looked at here. *RET_KIND says what it is. */
int inflate_new(struct inflate **ret, struct stream *in, enum compression *ret_kind, struct hoy_err *err);
/* Up to CAP bytes to BUF; 0 at the end. Input that ends early, or goes on behind its end, is an error. */
ssize_t inflate_read(struct inflate *f, void *buf, size_t cap, struct hoy_err *err);
void inflate_free(struct inflate *f);
/* A stream of the content of IN, which it owns; *RET_KIND may be NULL. NULL with ERR set. */
struct stream *inflate_stream(struct stream *in, enum compression *ret_kind, struct hoy_err *err);
