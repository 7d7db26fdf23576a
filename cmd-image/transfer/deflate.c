#include "cmd-image/transfer/deflate.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/*
 * isa-l's level 3 with blocks of 5 Ki tokens instead of the default 64 Ki: Huffman codes that fit better. On the layers of
 * a Debian image 2 % smaller than with the default, 2.4 % larger than what podman pushes, at three times its speed.
 */
#define LEVEL_BUF ((ISAL_DEF_LVL3_REQ) + (ISAL_DEF_LVL3_TOKEN_SIZE) * 5 * 1024)

struct packer {
	bool zstd;
	struct isal_zstream gz;
	ZSTD_CCtx *zc;
	unsigned char level[LEVEL_BUF];
	/* What both make of data depends on the pieces that they get it in: those are always as long as this, so equal data becomes equal bytes. */
	unsigned char in[128 << 10];
	size_t held;
	unsigned char out[128 << 10];
};

int packer_new(struct packer **ret, const char *suffix, int level, struct hoy_err *err)
{
	struct packer *p = calloc(1, sizeof(*p));

	if (!p)
		return hoy_fail_oom(err);
	p->zstd = !strcmp(suffix, "+zstd");
	if (p->zstd) {
		p->zc = ZSTD_createCCtx();
		if (!p->zc) {
			free(p);
			return hoy_fail_oom(err);
		}
		ZSTD_CCtx_setParameter(p->zc, ZSTD_c_compressionLevel, level ? level : 3);
	} else {
		isal_deflate_init(&p->gz);
		/* isa-l has three levels, the highest of which is the default. */
		p->gz.level = !level || level > 6 ? 3 : level > 3 ? 2 : 1;
		p->gz.level_buf = p->level;
		p->gz.level_buf_size = sizeof(p->level);
		p->gz.gzip_flag = IGZIP_GZIP;
		p->gz.flush = NO_FLUSH;
	}
	*ret = p;
	return 0;
}

void packer_free(struct packer *p)
{
	if (p)
		ZSTD_freeCCtx(p->zc);
	free(p);
}

static int add_gzip(struct packer *p, const void *data, size_t n, bool end,
		    int (*emit)(void *, const void *, size_t, struct hoy_err *), void *arg, struct hoy_err *err)
{
	p->gz.next_in = (unsigned char *)data;
	p->gz.avail_in = n;
	p->gz.end_of_stream = end;
	do {
		size_t len;
		int r;

		p->gz.next_out = p->out;
		p->gz.avail_out = sizeof(p->out);
		if (isal_deflate(&p->gz) != COMP_OK)
			return hoy_fail(err, EIO, "cannot compress a layer");
		len = sizeof(p->out) - p->gz.avail_out;
		r = len ? emit(arg, p->out, len, err) : 0;
		if (r < 0)
			return r;
	} while (!p->gz.avail_out || p->gz.avail_in);
	return 0;
}

static int add_zstd(struct packer *p, const void *data, size_t n, bool end,
		    int (*emit)(void *, const void *, size_t, struct hoy_err *), void *arg, struct hoy_err *err)
{
	ZSTD_inBuffer in = { data, n, 0 };
	size_t left;

	do {
		ZSTD_outBuffer out = { p->out, sizeof(p->out), 0 };
		int r;

		left = ZSTD_compressStream2(p->zc, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return hoy_fail(err, EIO, "cannot compress a layer: %s", ZSTD_getErrorName(left));
		r = out.pos ? emit(arg, p->out, out.pos, err) : 0;
		if (r < 0)
			return r;
	} while (end ? left : in.pos < in.size);
	return 0;
}

int packer_add(struct packer *p, const void *data, size_t n, bool end, int (*emit)(void *arg, const void *data, size_t n, struct hoy_err *err),
	       void *arg, struct hoy_err *err)
{
	const unsigned char *at = data;
	int r = 0;

	while (!r && n) {
		size_t some = sizeof(p->in) - p->held < n ? sizeof(p->in) - p->held : n;

		memcpy(p->in + p->held, at, some);
		p->held += some;
		at += some;
		n -= some;
		/* A full piece waits for more, since the last one says that it's the last. */
		if (n) {
			r = (p->zstd ? add_zstd : add_gzip)(p, p->in, p->held, false, emit, arg, err);
			p->held = 0;
		}
	}
	return r || !end ? r : (p->zstd ? add_zstd : add_gzip)(p, p->in, p->held, true, emit, arg, err);
}
