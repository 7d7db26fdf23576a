/*
 * cmd-image/transfer/sparse.h: files with holes in a tar, in GNU's three pax formats.
 *
 * The tar holds a map of pieces, in the headers or (1.0) at the beginning of the data, and then only the pieces. What is
 * accepted is what Go's archive/tar accepts.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

#define SPARSE_MAP_MAX ((size_t)1 << 20) /* bytes of one map, whatever its format */

struct sparse_piece {
	int64_t at, len;
};
struct sparse {
	bool in_data; /* the map is still to be read from the data */
	int64_t size; /* of the file */
	int64_t full; /* sum of the pieces */
	struct sparse_piece *v;
	size_t n, cap;
};
void sparse_reset(struct sparse *s);
void sparse_release(struct sparse *s);
/* These return 0, -EINVAL for a map that lies, or -ENOMEM. s->size is set before. */
int sparse_add(struct sparse *s, int64_t at, int64_t len);
/* COUNT pieces of a text "at,len,at,len". */
int sparse_add_text(struct sparse *s, const char *text, const char *count);
/* What an error of those is to say. */
int sparse_fail(int r, const char *name, struct hoy_err *err);

/* Writing to a new file what lies in the tar: the data piece by piece, as it comes. */
struct sparse_out {
	struct sparse *s;
	int fd;
	size_t piece;
	int64_t done; /* of the piece */
	/* reading the map of 1.0 */
	int64_t number, first, left; /* left: numbers to come; -1: not even their count is known */
	bool digits, padding;
	size_t map_bytes;
};
void sparse_out_init(struct sparse_out *o, struct sparse *s, int fd);
int sparse_out_write(struct sparse_out *o, const unsigned char *p, size_t n);
/* All data was there: is the map fulfilled? Gives the file its size. */
int sparse_out_end(struct sparse_out *o);
