/* cmd-image/transfer/split.h: tar-split, the recipe that makes a layer's exact tar from its files (formats/storage.md 6). */
#pragma once
#include "cmd-image/transfer/stream.h"
#include "common/base/buf.h"

/* CRC-64/ISO; start with 0. */
uint64_t crc64(uint64_t crc, const void *data, size_t n);

struct split {
	struct split_gz *gz;
	struct hoy_buf seg; /* bytes of the frame that are not written yet */
	struct hoy_buf line;
	uint64_t pos;
	int error;
};
/* Write to FD (borrowed), from its beginning. */
int split_init(struct split *s, int fd);
/* Bytes that no file holds. */
void split_raw(struct split *s, const void *data, size_t n);
/* A file NAME of SIZE bytes with CRC follows (0: nothing follows). Returns the line's position. */
uint64_t split_file(struct split *s, const char *name, size_t len, int64_t size, uint64_t crc);
/* Write the rest; 0 or the first -errno. Releases. */
int split_end(struct split *s);
void split_release(struct split *s);

/* A line of a tar-split. NAME and DATA are valid until the next call. */
struct split_line {
	bool file;
	const char *name;
	size_t name_len;
	const char *data; /* of a segment */
	size_t data_len;
	int64_t size;
	uint64_t crc;
};
struct unsplit;
/* Read the gzip in FD (borrowed) from its beginning. */
int unsplit_new(struct unsplit **ret, int fd, struct hoy_err *err);
/* 1: a line, 0: the end, or an error. */
int unsplit_next(struct unsplit *u, struct split_line *ret, struct hoy_err *err);
void unsplit_free(struct unsplit *u);

/*
 * Replace what is in FD: the lines at the positions in DROP (sorted) are left out, and the content of SPOOL (an fd)
 * from drop[i].at, drop[i].len bytes, stands in their place. Temporary files are made in DIRFD's file system.
 */
struct split_drop {
	uint64_t pos;
	off_t at;
	int64_t len;
};
int split_rewrite(int fd, const struct split_drop *drop, size_t n, int spool, int dirfd, struct hoy_err *err);
