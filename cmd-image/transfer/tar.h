/*
 * cmd-image/transfer/tar.h: a reader of tar archives that shows every byte it reads.
 *
 * Written here and not taken from libarchive, because tar-split needs the header bytes as they stand in the archive,
 * and because what a layer contains must be what Go's archive/tar reads in it: the two disagree about global pax
 * headers, sparse files, declared sizes of links and damaged numbers.
 */
#pragma once
#include "cmd-image/transfer/sparse.h"
#include "cmd-image/transfer/stream.h"
#include "common/base/buf.h"
#include "common/data/tar_write.h"

#define TAR_HEADER_MAX ((size_t)1 << 20) /* of one pax header or GNU long name */

struct tar_xattr {
	size_t key, value, len; /* offsets in the entry's xattr buffer */
};

struct tar_entry {
	char type; /* '0' file (old kinds too, and sparse ones), '1' hard link, '2' symlink, '3' char, '4' block, '5' directory, '6' fifo, 'g', ... */
	struct hoy_buf name, link;
	int64_t size; /* of the data that follows; 0 for all kinds that have none */
	int64_t uid, gid, mtime, mtime_ns;
	unsigned mode, major, minor;
	struct hoy_buf xattr_data;
	struct tar_xattr xattrs[256];
	size_t n_xattrs;
	int64_t at;  /* where its data begins in the archive */
	bool sparse; /* the data is what lies between holes, and may begin with the map of them */
	struct sparse map;
};

struct tar {
	struct stream *in;
	/* Is given every byte that is not data of an entry, in order. May be NULL. */
	void (*raw)(void *arg, const void *data, size_t n);
	void *arg;
	struct tar_entry e;
	int64_t data_left, pad_left;
	int64_t at;
	size_t seen; /* bytes of the last tar_data() */
	unsigned char block[TAR_BLOCK];
};
void tar_init(struct tar *t, struct stream *in, void (*raw)(void *, const void *, size_t), void *arg);
void tar_release(struct tar *t);
/* 1: T->e is the next entry; 0: the end, all input was read and shown; -HOY_EFORMAT or -errno with a sentence. */
int tar_next(struct tar *t, struct hoy_err *err);
/* How large the entry's file is. */
static inline int64_t tar_file_size(const struct tar_entry *e) { return e->sparse ? e->map.size : e->size; }
/* The entry's data, piece by piece and in place; valid until the next call. 0 at its end. tar_next() skips what is left. */
ssize_t tar_data(struct tar *t, const unsigned char **ret, struct hoy_err *err);

/*
 * NAME of a tar as a clean path into RET: no "//", "." or "..", no slash at either end; "" is the root.
 * Returns its length, or -EXDEV if it leads above the root.
 */
int tar_clean(const char *name, size_t len, char *ret, size_t size);
