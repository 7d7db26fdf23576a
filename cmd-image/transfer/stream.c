#include "cmd-image/transfer/stream.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/data/digest.h"

#define FD_BUF ((size_t)256 << 10)

_Atomic bool transfer_cancelled;

void stream_free(struct stream *s)
{
	if (s)
		s->free(s);
}

ssize_t stream_read(struct stream *s, void *buf, size_t len, struct hoy_err *err)
{
	size_t got = 0;

	while (got < len) {
		const unsigned char *p;
		ssize_t n = stream_peek(s, &p, err);

		if (n < 0)
			return n;
		if (!n)
			break;
		if ((size_t)n > len - got)
			n = len - got;
		memcpy((char *)buf + got, p, n);
		stream_take(s, n);
		got += n;
	}
	return got;
}

/* ---- a file ---- */

struct fd_stream {
	struct stream s;
	int fd;
	bool owned, seek;
	off_t at, left; /* left < 0: until the end */
	size_t pos, len;
	const char *name;
	unsigned char buf[FD_BUF];
};

static ssize_t fd_peek(struct stream *s, const unsigned char **ret, struct hoy_err *err)
{
	struct fd_stream *f = (struct fd_stream *)s;
	size_t want = FD_BUF;
	ssize_t n;

	if (f->pos < f->len) {
		*ret = f->buf + f->pos;
		return f->len - f->pos;
	}
	if (f->left >= 0 && (off_t)want > f->left)
		want = f->left;
	if (!want)
		return 0;
	if (transfer_cancelled)
		return hoy_fail(err, ECANCELED, "stopped");
	do
		n = f->seek ? pread(f->fd, f->buf, want, f->at) : read(f->fd, f->buf, want);
	while (n < 0 && errno == EINTR && !transfer_cancelled);
	if (n < 0 && transfer_cancelled)
		return hoy_fail(err, ECANCELED, "stopped");
	if (n < 0)
		return hoy_fail_errno(err, errno, "cannot read '%s'", f->name);
	if (!n && f->left > 0)
		return hoy_fail(err, HOY_EFORMAT, "'%s' is cut short", f->name);
	f->at += n;
	if (f->left >= 0)
		f->left -= n;
	f->pos = 0;
	f->len = n;
	*ret = f->buf;
	return n;
}

static void fd_take(struct stream *s, size_t n) { ((struct fd_stream *)s)->pos += n; }

static int fd_skip(struct stream *s, int64_t n, struct hoy_err *err)
{
	struct fd_stream *f = (struct fd_stream *)s;
	int64_t have = f->len - f->pos;

	if (n <= have) {
		f->pos += n;
		return 0;
	}
	n -= have;
	f->pos = f->len = 0;
	if (f->left >= 0 && n > f->left)
		return hoy_fail(err, HOY_EFORMAT, "'%s' is cut short", f->name);
	f->at += n;
	if (f->left >= 0)
		f->left -= n;
	return 0;
}

static void fd_free(struct stream *s)
{
	struct fd_stream *f = (struct fd_stream *)s;

	if (f->owned)
		hoy_close(f->fd);
	free((char *)f->name);
	free(f);
}

struct stream *stream_fd(int fd, bool owned, off_t at, off_t len, const char *name)
{
	struct fd_stream *f = malloc(sizeof(*f));

	if (!f) {
		if (owned)
			hoy_close(fd);
		return NULL;
	}
	f->s = (struct stream){ fd_peek, fd_take, fd_free, at >= 0 && len >= 0 ? fd_skip : NULL };
	f->fd = fd;
	f->owned = owned;
	f->seek = at >= 0;
	f->at = at < 0 ? 0 : at;
	f->left = len;
	f->pos = f->len = 0;
	f->name = strdup(name);
	return &f->s;
}

/* ---- memory ---- */

struct mem_stream {
	struct stream s;
	const unsigned char *p;
	size_t left;
};

static ssize_t mem_peek(struct stream *s, const unsigned char **ret, struct hoy_err *err)
{
	struct mem_stream *m = (struct mem_stream *)s;

	*ret = m->p;
	return m->left;
}

static void mem_take(struct stream *s, size_t n)
{
	((struct mem_stream *)s)->p += n;
	((struct mem_stream *)s)->left -= n;
}

static void mem_free(struct stream *s) { free(s); }

struct stream *stream_mem(const void *data, size_t len)
{
	struct mem_stream *m = malloc(sizeof(*m));

	if (!m)
		return NULL;
	*m = (struct mem_stream){ { mem_peek, mem_take, mem_free, NULL }, data, len };
	return &m->s;
}

/* ---- the ring ---- */

static ssize_t ring_peek(struct stream *s, const unsigned char **ret, struct hoy_err *err)
{
	struct ring *r = (struct ring *)s;
	size_t n;

	pthread_mutex_lock(&r->mu);
	while (!r->fill && !r->ended) {
		r->reader_waits = true;
		pthread_cond_wait(&r->readable, &r->mu);
		r->reader_waits = false;
	}
	n = r->size - r->rd < r->fill ? r->size - r->rd : r->fill;
	pthread_mutex_unlock(&r->mu);
	if (!n && r->err.code) {
		if (err)
			*err = r->err;
		return -r->err.code;
	}
	*ret = r->buf + r->rd;
	return n;
}

static void ring_take(struct stream *s, size_t n)
{
	struct ring *r = (struct ring *)s;

	pthread_mutex_lock(&r->mu);
	r->rd = (r->rd + n) % r->size;
	r->fill -= n;
	if (r->writer_waits && r->size - r->fill >= r->size / 4)
		pthread_cond_signal(&r->writable);
	pthread_mutex_unlock(&r->mu);
}

static void ring_free(struct stream *s)
{
	struct ring *r = (struct ring *)s;

	pthread_mutex_destroy(&r->mu);
	pthread_cond_destroy(&r->readable);
	pthread_cond_destroy(&r->writable);
	free(r->buf);
	free(r);
}

struct ring *ring_new(size_t size)
{
	struct ring *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->stream = (struct stream){ ring_peek, ring_take, ring_free, NULL };
	r->size = size;
	r->buf = malloc(size);
	pthread_mutex_init(&r->mu, NULL);
	pthread_cond_init(&r->readable, NULL);
	pthread_cond_init(&r->writable, NULL);
	if (!r->buf) {
		ring_free(&r->stream);
		return NULL;
	}
	return r;
}

ssize_t ring_room(struct ring *r, unsigned char **ret)
{
	size_t wr, n;

	pthread_mutex_lock(&r->mu);
	while (r->fill == r->size && !r->stopped) {
		r->writer_waits = true;
		pthread_cond_wait(&r->writable, &r->mu);
		r->writer_waits = false;
	}
	wr = (r->rd + r->fill) % r->size;
	n = wr < r->rd || r->fill == r->size ? r->size - r->fill : r->size - wr;
	if (r->stopped)
		n = 0;
	pthread_mutex_unlock(&r->mu);
	*ret = r->buf + wr;
	return n ? (ssize_t)n : -EPIPE;
}

void ring_add(struct ring *r, size_t n)
{
	pthread_mutex_lock(&r->mu);
	r->fill += n;
	if (r->reader_waits)
		pthread_cond_signal(&r->readable);
	pthread_mutex_unlock(&r->mu);
}

int ring_write(struct ring *r, const void *data, size_t n)
{
	while (n) {
		unsigned char *p;
		ssize_t room = ring_room(r, &p);

		if (room < 0)
			return room;
		if ((size_t)room > n)
			room = n;
		memcpy(p, data, room);
		ring_add(r, room);
		data = (const char *)data + room;
		n -= room;
	}
	return 0;
}

void ring_end(struct ring *r, const struct hoy_err *err)
{
	pthread_mutex_lock(&r->mu);
	if (err && err->code && !r->err.code)
		r->err = *err;
	r->ended = true;
	pthread_cond_signal(&r->readable);
	pthread_mutex_unlock(&r->mu);
}

void ring_stop(struct ring *r)
{
	pthread_mutex_lock(&r->mu);
	r->stopped = true;
	pthread_cond_signal(&r->writable);
	pthread_mutex_unlock(&r->mu);
}

/* ---- digests ---- */

int sha_init(struct sha *s)
{
	s->ctx = EVP_MD_CTX_new();
	if (s->ctx && EVP_DigestInit_ex(s->ctx, EVP_sha256(), NULL))
		return 0;
	sha_release(s);
	return -ENOMEM;
}

void sha_add(struct sha *s, const void *data, size_t n) { EVP_DigestUpdate(s->ctx, data, n); }

void sha_end(struct sha *s, char ret[SHA_DIGEST_SIZE])
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	EVP_DigestFinal_ex(s->ctx, raw, &n);
	memcpy(ret, "sha256:", 7);
	hoy_hex(ret + 7, raw, 32);
	sha_release(s);
}

void sha_release(struct sha *s)
{
	EVP_MD_CTX_free(s->ctx);
	s->ctx = NULL;
}

void sha_of(const void *data, size_t n, char ret[SHA_DIGEST_SIZE])
{
	struct sha s = { NULL };

	*ret = '\0';
	if (sha_init(&s))
		return;
	sha_add(&s, data, n);
	sha_end(&s, ret);
}
