/*
 * common/data/tar_write.h: a writer of tar headers: byte for byte what Go's archive/tar writes where no format is asked for, so
 * that a tree that podman and we look at gives one digest: PAX records only where something doesn't fit without.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

#define TAR_BLOCK 512
#define TAR_NAME_MAX 4095 /* a path that the kernel takes */

struct tar_xattr_out {
	const char *key; /* without SCHILY.xattr. */
	const void *value;
	size_t len;
};

struct tar_item {
	char type; /* '0' file, '1' hard link, '2' symlink, '3' char, '4' block, '5' directory, '6' fifo */
	const char *name, *link; /* bytes of any kind; link may be NULL */
	const char *user, *group; /* names of the owner, in ASCII; NULL: not told */
	int64_t size, mtime; /* whole seconds: podman drops the rest */
	uint64_t uid, gid;
	unsigned mode, major, minor;
	const struct tar_xattr_out *xattrs; /* sorted by key */
	size_t n_xattrs;
};

/* Append the header of I, with what has to stand before it, to OUT. */
void tar_put_header(struct hoy_buf *out, const struct tar_item *i);
/* How many bytes bring data of SIZE to whole blocks. */
static inline size_t tar_padding(int64_t size) { return (size_t)(-size & (TAR_BLOCK - 1)); }
