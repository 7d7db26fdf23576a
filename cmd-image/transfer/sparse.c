#include "cmd-image/transfer/sparse.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/fd.h"

void sparse_reset(struct sparse *s) { *s = (struct sparse){ .v = s->v, .cap = s->cap }; }

void sparse_release(struct sparse *s)
{
	free(s->v);
	*s = (struct sparse){ 0 };
}

int sparse_fail(int r, const char *name, struct hoy_err *err)
{
	if (r == -EINVAL)
		return hoy_fail(err, HOY_EFORMAT, "the tar is damaged: the map of a sparse file is wrong ('%s')", name);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot unpack the sparse file '%s'", name) : r;
}

int sparse_add(struct sparse *s, int64_t at, int64_t len)
{
	const struct sparse_piece *last = s->n ? &s->v[s->n - 1] : NULL;

	if (at < 0 || len < 0 || len > s->size || at > s->size - len || (last && at < last->at + last->len))
		return -EINVAL;
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 16;
		struct sparse_piece *v = realloc(s->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		s->v = v;
		s->cap = cap;
	}
	s->v[s->n++] = (struct sparse_piece){ at, len };
	s->full += len;
	return 0;
}

/* A number at *P, which ends before END or at the text's end; *P is then behind that. */
static int next_number(const char **p, char end, int64_t *ret)
{
	uint64_t v = 0;
	const char *at = *p;

	for (; *at >= '0' && *at <= '9'; at++)
		if (v > INT64_MAX / 10 || (v = v * 10 + (*at - '0')) > INT64_MAX)
			return -EINVAL;
	if (at == *p || (*at && *at != end))
		return -EINVAL;
	*p = *at ? at + 1 : at;
	*ret = v;
	return 0;
}

int sparse_add_text(struct sparse *s, const char *text, const char *count)
{
	int64_t n, at, len;
	int r = count ? next_number(&count, '\0', &n) : -EINVAL;

	for (int64_t i = 0; !r && i < n; i++) {
		r = next_number(&text, ',', &at);
		if (!r)
			r = next_number(&text, ',', &len);
		if (!r)
			r = sparse_add(s, at, len);
	}
	return r ? r : *text ? -EINVAL : 0;
}

/* ---- writing ---- */

void sparse_out_init(struct sparse_out *o, struct sparse *s, int fd)
{
	*o = (struct sparse_out){ .s = s, .fd = fd, .left = -1 };
}

/* A number of the map has ended: the count, an offset or a length. */
static int take_number(struct sparse_out *o)
{
	int r = 0;

	if (o->left < 0) {
		if (o->number > (int64_t)SPARSE_MAP_MAX / 4) /* "0\n0\n": a piece takes four bytes at least */
			return -EINVAL;
		o->left = 2 * o->number;
	} else if (o->left-- % 2) {
		r = sparse_add(o->s, o->first, o->number);
	} else {
		o->first = o->number;
	}
	o->number = 0;
	o->digits = false;
	o->padding = !o->left;
	return r;
}

/* The map: lines of digits, then whatever fills the block. Returns how many bytes of P belong to it. */
static ssize_t read_map(struct sparse_out *o, const unsigned char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n && !(o->padding && o->map_bytes % 512 == 0); i++) {
		int r = 0;

		if (++o->map_bytes > SPARSE_MAP_MAX)
			return -EINVAL;
		if (o->padding)
			continue;
		if (p[i] == '\n' && o->digits)
			r = take_number(o);
		else if (p[i] < '0' || p[i] > '9' || o->number > (INT64_MAX - 9) / 10)
			return -EINVAL;
		else
			o->digits = true, o->number = o->number * 10 + (p[i] - '0');
		if (r < 0)
			return r;
	}
	o->s->in_data = !(o->padding && o->map_bytes % 512 == 0);
	return i;
}

static int write_pieces(struct sparse_out *o, const unsigned char *p, size_t n)
{
	while (n) {
		const struct sparse_piece *at;
		int64_t k;
		ssize_t w;

		if (o->piece == o->s->n)
			return -EINVAL;
		at = &o->s->v[o->piece];
		k = at->len - o->done < (int64_t)n ? at->len - o->done : (int64_t)n;
		w = k ? pwrite(o->fd, p, k, at->at + o->done) : 0;
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		p += w;
		n -= w;
		o->done += w;
		if (o->done == at->len)
			o->done = 0, o->piece++;
	}
	return 0;
}

int sparse_out_write(struct sparse_out *o, const unsigned char *p, size_t n)
{
	ssize_t map = o->s->in_data ? read_map(o, p, n) : 0;

	return map < 0 ? map : write_pieces(o, p + map, n - map);
}

int sparse_out_end(struct sparse_out *o)
{
	while (o->piece < o->s->n && !o->s->v[o->piece].len)
		o->piece++;
	if (o->s->in_data || o->piece != o->s->n)
		return -EINVAL;
	return ftruncate(o->fd, o->s->size) < 0 ? -errno : 0;
}
