#include "cmd-image/transfer/recipe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/split.h"
#include "common/base/buf.h"
#include "common/store/layers.h"

#define CHUNK ((size_t)128 << 10)
#define ZEROS_MAX ((int64_t)1 << 30) /* in place of what is missing: sizes in a tar-split may be absurd */

struct recipe {
	struct stream s;
	struct layer_files *files;
	struct unsplit *lines;
	int split, fd; /* fd: the file that the tar is at, -1 for zeros in its place */
	char *name;
	int64_t left; /* of the file */
	int64_t zeros;
	uint64_t crc, want;
	bool in_file, faulty;
	recipe_fault *fault;
	void *arg;
	const unsigned char *p;
	size_t n;
	unsigned char buf[CHUNK];
};

static void complain(struct recipe *r, const char *fmt, ...) HOY_PRINTF(2, 3);
static void complain(struct recipe *r, const char *fmt, ...)
{
	char text[8192];
	va_list ap;

	if (r->faulty)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->faulty = true;
	r->fault(r->arg, r->name, text);
}

static int begin_file(struct recipe *r, const struct split_line *line, struct hoy_err *err)
{
	free(r->name);
	r->name = strndup(line->name, line->name_len);
	if (!r->name)
		return hoy_fail_oom(err);
	r->in_file = true;
	r->faulty = false;
	r->left = line->size;
	r->want = line->crc;
	r->crc = 0;
	r->fd = layer_files_open(r->files, r->name);
	if (r->fd < 0) {
		cleanup_free char *diff = hoy_layer_path(r->files->st, r->files->id, "diff");

		complain(r, "open %s/%s: %s", diff ?: "",
			 r->name[0] == '.' && r->name[1] == '/' ? r->name + 2 : r->name,
			 r->fd == -ENOENT ? "no such file or directory" : hoy_strerror(-r->fd));
	}
	return 0;
}

static void end_file(struct recipe *r)
{
	if (r->crc != r->want)
		complain(r, "file integrity checksum failed for \"%s\"", r->name);
	hoy_close(r->fd);
	r->fd = -1;
	r->in_file = false;
}

/* The next piece of the file, or zeros where it has no more. */
static int file_piece(struct recipe *r, struct hoy_err *err)
{
	size_t most = r->left < (int64_t)CHUNK ? (size_t)r->left : CHUNK;
	ssize_t n = r->fd < 0 ? 0 : read(r->fd, r->buf, most);

	if (n <= 0) {
		if (r->fd >= 0 && n < 0)
			complain(r, "cannot read \"%s\": %s", r->name, strerror(errno));
		complain(r, "file integrity checksum failed for \"%s\"", r->name);
		if ((r->zeros += most) > ZEROS_MAX)
			return hoy_fail(err, HOY_EFORMAT, "too much of it is missing");
		memset(r->buf, 0, most);
		n = most;
	}
	r->crc = crc64(r->crc, r->buf, n);
	r->left -= n;
	r->p = r->buf;
	r->n = n;
	return 0;
}

static ssize_t recipe_peek(struct stream *s, const unsigned char **ret, struct hoy_err *err)
{
	struct recipe *r = (struct recipe *)s;
	struct split_line line;
	int e;

	while (!r->n) {
		if (r->in_file && r->left) {
			e = file_piece(r, err);
			if (e < 0)
				return e;
			break;
		}
		if (r->in_file)
			end_file(r);
		e = unsplit_next(r->lines, &line, err);
		if (e <= 0)
			return e;
		if (!line.file) {
			r->p = (const unsigned char *)line.data;
			r->n = line.data_len;
		} else if (line.size > 0 && (e = begin_file(r, &line, err)) < 0) {
			return e;
		}
	}
	*ret = r->p;
	return r->n;
}

static void recipe_take(struct stream *s, size_t n)
{
	struct recipe *r = (struct recipe *)s;

	r->p += n;
	r->n -= n;
}

static void recipe_free(struct stream *s)
{
	struct recipe *r = (struct recipe *)s;

	unsplit_free(r->lines);
	hoy_close(r->split);
	hoy_close(r->fd);
	free(r->name);
	free(r);
}

struct stream *recipe_stream(struct layer_files *files, int splitfd, recipe_fault *fault, void *arg, struct hoy_err *err)
{
	struct recipe *r = calloc(1, sizeof(*r));

	if (!r) {
		hoy_close(splitfd);
		hoy_fail_oom(err);
		return NULL;
	}
	r->s = (struct stream){ recipe_peek, recipe_take, recipe_free, NULL };
	r->files = files;
	r->split = splitfd;
	r->fd = -1;
	r->fault = fault;
	r->arg = arg;
	if (unsplit_new(&r->lines, splitfd, err) < 0) {
		recipe_free(&r->s);
		return NULL;
	}
	return &r->s;
}
