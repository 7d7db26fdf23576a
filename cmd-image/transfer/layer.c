#include "cmd-image/transfer/layer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN_RING ((size_t)1 << 20)

/* ---- checking on the way ---- */

static ssize_t checked_peek(struct stream *s, const unsigned char **ret, struct hoy_err *err)
{
	struct checked *c = (struct checked *)s;
	ssize_t n;

	if (c->done)
		return 0;
	n = stream_peek(c->in, ret, err);
	if (n < 0)
		return n;
	if (!n) {
		c->done = true;
		sha_end(&c->sha, c->digest);
		if (c->want_size >= 0 && c->size != c->want_size)
			return hoy_fail(err, HOY_EDIGEST, "blob %s has %lld bytes, %lld were announced", c->want ? c->want : "",
					(long long)c->size, (long long)c->want_size);
		if (c->want && strcmp(c->want, c->digest))
			return hoy_fail(err, HOY_EDIGEST, "blob %s is not what its digest says: it has %s", c->want, c->digest);
		return 0;
	}
	if (c->want_size >= 0 && c->size + n > c->want_size)
		return hoy_fail(err, HOY_EDIGEST, "blob %s has more than the %lld bytes that were announced", c->want ? c->want : "",
				(long long)c->want_size);
	return n;
}

static void checked_take(struct stream *s, size_t n)
{
	struct checked *c = (struct checked *)s;
	const unsigned char *p;

	/* What is taken was shown: it is still there. */
	if (!n || stream_peek(c->in, &p, NULL) < (ssize_t)n)
		return;
	sha_add(&c->sha, p, n);
	c->size += n;
	stream_take(c->in, n);
}

static void checked_nofree(struct stream *s) { (void)s; }

int checked_init(struct checked *c, struct stream *in, const char *digest, int64_t size, struct hoy_err *err)
{
	*c = (struct checked){ .s = { checked_peek, checked_take, checked_nofree, NULL }, .in = in, .want = digest, .want_size = size };
	return sha_init(&c->sha) < 0 ? hoy_fail_oom(err) : 0;
}

void checked_release(struct checked *c) { sha_release(&c->sha); }

int checked_drain(struct checked *c, struct hoy_err *err)
{
	const unsigned char *p;
	ssize_t n;

	while ((n = stream_peek(&c->s, &p, err)) > 0)
		stream_take(&c->s, n);
	return n;
}

/* ---- blob -> plain tar ---- */

struct inflater {
	struct checked in;
	struct ring *out;
	struct layer_got *got;
	int64_t max;
	struct hoy_err err;
};

/* 0 at the end of the input, -EPIPE if the reader wants no more, or an error of the input. */
static int inflate_all(struct inflater *f, struct inflate *z, struct sha *plain)
{
	for (;;) {
		unsigned char *p;
		ssize_t room = ring_room(f->out, &p), n;

		if (room < 0)
			return room;
		/* In steps, so that the reader starts while we go on. */
		n = inflate_read(z, p, room > (64 << 10) ? 64 << 10 : room, &f->err);
		if (n <= 0)
			return n;
		sha_add(plain, p, n);
		f->got->diff_size += n;
		if (f->max && f->got->diff_size > f->max)
			return hoy_fail(&f->err, EFBIG, "a layer unpacks to more than the %lld bytes that --max-layer-size allows", (long long)f->max);
		ring_add(f->out, n);
	}
}

static void *inflate_thread(void *arg)
{
	struct inflater *f = arg;
	struct inflate *z = NULL;
	struct sha plain = { NULL };
	int r = inflate_new(&z, &f->in.s, &f->got->kind, &f->err);

	if (!r)
		r = sha_init(&plain) < 0 ? hoy_fail_oom(&f->err) : inflate_all(f, z, &plain);
	inflate_free(z);
	if (!r)
		r = checked_drain(&f->in, &f->err);
	if (plain.ctx)
		sha_end(&plain, f->got->diff_id);
	if (r < 0 && r != -EPIPE && !f->err.code)
		hoy_fail_errno(&f->err, -r, "cannot unpack a layer");
	ring_end(f->out, r < 0 && r != -EPIPE ? &f->err : NULL);
	return NULL;
}

static int check(struct inflater *f, const struct layer_want *want, struct layer_got *got, struct hoy_err *err)
{
	memcpy(got->digest, f->in.digest, sizeof(got->digest));
	got->size = f->in.size;
	if (want->diff_id && strcmp(want->diff_id, got->diff_id))
		return hoy_fail(err, HOY_EDIGEST, "layer %s is not what the image's config says: its content has %s instead of %s",
				got->digest, got->diff_id, want->diff_id);
	return 0;
}

int layer_unpack(struct stream *in, const struct layer_want *want, int difffd, int splitfd, const struct unpack_opts *o,
		 struct layer_got *ret, struct hoy_err *err)
{
	struct inflater f = { .got = ret, .max = want->max };
	struct hoy_err deeper = HOY_ERR_INIT;
	pthread_t t;
	int r;

	*ret = (struct layer_got){ .kind = COMP_NONE };
	r = checked_init(&f.in, in, want->digest, want->size, err);
	if (r < 0)
		return r;
	f.out = ring_new(PLAIN_RING);
	if (!f.out || pthread_create(&t, NULL, inflate_thread, &f)) {
		stream_free(f.out ? &f.out->stream : NULL);
		checked_release(&f.in);
		return hoy_fail_oom(err);
	}
	r = unpack_tar(&f.out->stream, difffd, splitfd, o, &ret->res, err);
	ring_stop(f.out);
	pthread_join(t, NULL);
	/* A tar that is damaged because the blob is: then that is the cause to name. */
	if ((r == -HOY_EFORMAT || r == -EFBIG) && want->digest && !f.in.done && checked_drain(&f.in, &deeper) == -HOY_EDIGEST) {
		*err = deeper;
		r = -HOY_EDIGEST;
	}
	if (!r)
		r = check(&f, want, ret, err);
	checked_release(&f.in);
	stream_free(&f.out->stream);
	return r;
}
