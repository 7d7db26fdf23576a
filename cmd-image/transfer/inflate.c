#include "cmd-image/transfer/inflate.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* More than deflate's best on real data: what exceeds it by then is made to fill the disk. */
#define BOMB_SIZE ((uint64_t)4 << 30)
#define BOMB_RATIO 700

struct inflate {
	struct stream *in;
	enum compression kind;
	unsigned char head[8]; /* looked at, not yet used */
	size_t head_at, head_len;
	uint64_t total_in, total_out;
	bool member; /* inside of a gzip member or zstd frame */
	struct inflate_state gz;
	ZSTD_DStream *zs;
};

static int open_kind(struct inflate *f, struct hoy_err *err)
{
	static const struct { const char *magic; size_t len; enum compression kind; } kinds[] = {
		{ "\x1f\x8b", 2, COMP_GZIP }, { "\x28\xb5\x2f\xfd", 4, COMP_ZSTD },
		{ "BZh", 3, COMP_BZIP2 },     { "\xfd" "7zXZ", 6, COMP_XZ },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (f->head_len >= kinds[i].len && !memcmp(f->head, kinds[i].magic, kinds[i].len))
			f->kind = kinds[i].kind;
	if (f->kind == COMP_GZIP) {
		isal_inflate_init(&f->gz);
		f->gz.crc_flag = ISAL_GZIP;
		f->member = true;
	} else if (f->kind == COMP_ZSTD) {
		f->zs = ZSTD_createDStream();
		if (!f->zs)
			return hoy_fail_oom(err);
		/* 8 MiB is what a reader must support; larger windows would break the limit on our memory. */
		ZSTD_DCtx_setParameter(f->zs, ZSTD_d_windowLogMax, 27);
	} else if (f->kind != COMP_NONE) {
		return hoy_fail(err, HOY_EUNSUPPORTED, "%s compression is not supported, gzip and zstd are",
				f->kind == COMP_XZ ? "xz" : "bzip2");
	}
	return 0;
}

int inflate_new(struct inflate **ret, struct stream *in, enum compression *ret_kind, struct hoy_err *err)
{
	struct inflate *f = calloc(1, sizeof(*f));
	ssize_t n;
	int r;

	if (!f)
		return hoy_fail_oom(err);
	f->in = in;
	n = stream_read(in, f->head, sizeof(f->head), err);
	f->head_len = n < 0 ? 0 : n;
	r = n < 0 ? (int)n : open_kind(f, err);
	if (r < 0) {
		inflate_free(f);
		return r;
	}
	*ret_kind = f->kind;
	*ret = f;
	return 0;
}

void inflate_free(struct inflate *f)
{
	if (f)
		ZSTD_freeDStream(f->zs);
	free(f);
}

static ssize_t more(struct inflate *f, const unsigned char **ret, struct hoy_err *err)
{
	if (f->head_at < f->head_len) {
		*ret = f->head + f->head_at;
		return f->head_len - f->head_at;
	}
	return stream_peek(f->in, ret, err);
}

static void used(struct inflate *f, size_t n)
{
	f->total_in += n;
	if (f->head_at < f->head_len)
		f->head_at += n;
	else if (n)
		stream_take(f->in, n);
}

static ssize_t read_gzip(struct inflate *f, void *buf, size_t cap, struct hoy_err *err)
{
	const unsigned char *p;
	int r;

	f->gz.next_out = buf;
	f->gz.avail_out = cap;
	while (f->gz.avail_out == cap) {
		ssize_t n = more(f, &p, err);

		if (n < 0)
			return n;
		if (!n && !f->member)
			return 0;
		if (!f->member) {
			if (*p != 0x1f)
				return hoy_fail(err, HOY_EFORMAT, "there is something else behind the gzip data");
			isal_inflate_reset(&f->gz);
			f->gz.crc_flag = ISAL_GZIP;
			f->member = true;
		}
		f->gz.next_in = (unsigned char *)p;
		f->gz.avail_in = n;
		r = isal_inflate(&f->gz);
		used(f, n - f->gz.avail_in);
		if (r != ISAL_DECOMP_OK && r != ISAL_END_INPUT && r != ISAL_OUT_OVERFLOW)
			return hoy_fail(err, HOY_EFORMAT, "the gzip data is damaged");
		if (f->gz.block_state == ISAL_BLOCK_FINISH)
			f->member = false;
		else if (!n && f->gz.avail_out == cap)
			return hoy_fail(err, HOY_EFORMAT, "the gzip data is cut short");
	}
	return cap - f->gz.avail_out;
}

static ssize_t read_zstd(struct inflate *f, void *buf, size_t cap, struct hoy_err *err)
{
	ZSTD_outBuffer out = { buf, cap, 0 };

	while (!out.pos) {
		const unsigned char *p;
		ssize_t n = more(f, &p, err);
		ZSTD_inBuffer in = { p, n, 0 };
		size_t r;

		if (n < 0)
			return n;
		if (!n && !f->member)
			return 0;
		r = ZSTD_decompressStream(f->zs, &out, &in);
		if (ZSTD_isError(r))
			return hoy_fail(err, HOY_EFORMAT, "the zstd data is damaged: %s", ZSTD_getErrorName(r));
		used(f, in.pos);
		if (!n && !out.pos && r)
			return hoy_fail(err, HOY_EFORMAT, "the zstd data is cut short");
		f->member = r != 0;
	}
	return out.pos;
}

static ssize_t read_plain(struct inflate *f, void *buf, size_t cap, struct hoy_err *err)
{
	const unsigned char *p;
	ssize_t n = more(f, &p, err);

	if (n <= 0)
		return n;
	if ((size_t)n > cap)
		n = cap;
	memcpy(buf, p, n);
	used(f, n);
	return n;
}

ssize_t inflate_read(struct inflate *f, void *buf, size_t cap, struct hoy_err *err)
{
	ssize_t n;

	if (cap > (size_t)1 << 30)
		cap = (size_t)1 << 30;
	n = f->kind == COMP_GZIP ? read_gzip(f, buf, cap, err) :
	    f->kind == COMP_ZSTD ? read_zstd(f, buf, cap, err) : read_plain(f, buf, cap, err);
	if (n > 0)
		f->total_out += n;
	if (f->kind != COMP_NONE && f->total_out > BOMB_SIZE && f->total_out / BOMB_RATIO > f->total_in)
		return hoy_fail(err, EFBIG, "%llu bytes inflate to more than %llu: this is made to fill the disk",
				(unsigned long long)f->total_in, (unsigned long long)f->total_out);
	return n;
}

/* ---- as a stream ---- */

struct inflate_stream {
	struct stream s;
	struct stream *in;
	struct inflate *f;
	size_t pos, len;
	unsigned char buf[64 << 10];
};

static ssize_t is_peek(struct stream *s, const unsigned char **ret, struct hoy_err *err)
{
	struct inflate_stream *i = (struct inflate_stream *)s;

	if (i->pos == i->len) {
		ssize_t n = inflate_read(i->f, i->buf, sizeof(i->buf), err);

		if (n <= 0)
			return n;
		i->pos = 0;
		i->len = n;
	}
	*ret = i->buf + i->pos;
	return i->len - i->pos;
}

static void is_take(struct stream *s, size_t n) { ((struct inflate_stream *)s)->pos += n; }

static void is_free(struct stream *s)
{
	struct inflate_stream *i = (struct inflate_stream *)s;

	inflate_free(i->f);
	stream_free(i->in);
	free(i);
}

struct stream *inflate_stream(struct stream *in, enum compression *ret_kind, struct hoy_err *err)
{
	struct inflate_stream *i = calloc(1, sizeof(*i));
	enum compression kind;

	if (!i) {
		stream_free(in);
		hoy_fail_oom(err);
		return NULL;
	}
	i->s = (struct stream){ is_peek, is_take, is_free, NULL };
	i->in = in;
	if (inflate_new(&i->f, in, &kind, err) < 0) {
		is_free(&i->s);
		return NULL;
	}
	if (ret_kind)
		*ret_kind = kind;
	return &i->s;
}
