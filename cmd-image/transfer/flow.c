#include "cmd-image/transfer/flow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd-image/transfer/deflate.h"
#include "cmd-image/transfer/files.h"
#include "cmd-image/transfer/progress.h"
#include "common/base/fd.h"

/* ---- what is read ---- */

struct opened {
	struct stream *raw, *plain;
	struct checked ck;
	struct stream *in; /* the top of them */
};

static void opened_release(struct opened *x)
{
	checked_release(&x->ck);
	stream_free(x->plain);
	stream_free(x->raw);
}
#define cleanup_opened __attribute__((cleanup(opened_release)))

static int open_origin(struct opened *x, const struct origin *o, struct hoy_err *err)
{
	int r;

	if (!o->src) {
		x->in = x->raw = meter_stream(o->meter, o->data ? stream_mem(o->data, o->len) : stream_fd(o->fd, false, 0, o->len, "temporary file"));
		return x->in ? 0 : hoy_fail_oom(err);
	}
	r = o->src->ops->blob(o->src, o->d, o->layer, &x->raw, err);
	if (!r)
		x->raw = meter_stream(o->meter, x->raw);
	if (!r && o->key && !(x->raw = decrypt_stream(x->raw, o->key, o->d->digest, err)))
		return -err->code;
	if (!r && o->inflate) {
		struct stream *below = x->raw;

		x->raw = NULL;
		x->plain = inflate_stream(below, NULL, err);
		if (!x->plain)
			return -err->code;
	}
	x->in = x->plain ? x->plain : x->raw;
	if (r < 0 || o->key)
		return r;
	r = checked_init(&x->ck, x->in, o->want, o->want_size, err);
	x->in = &x->ck.s;
	return r;
}

/* ---- what is written ---- */

struct outflow {
	struct sink *k;
	struct sha sha;	 /* blank where the digest is known */
	int64_t size;
	int64_t skip;	 /* so many bytes are there already */
	bool broken;	 /* it was the sink that failed */
	struct encryptor *crypt; /* or NULL */
};

static int emit_as_is(void *arg, const void *data, size_t n, struct hoy_err *err)
{
	struct outflow *f = arg;
	size_t old = f->size >= f->skip ? 0 : (int64_t)n < f->skip - f->size ? n : (size_t)(f->skip - f->size);
	int r;

	if (f->sha.ctx)
		sha_add(&f->sha, data, n);
	f->size += n;
	if (old == n)
		return 0;
	r = f->k->write(f->k, (const char *)data + old, n - old, err);
	f->broken = r < 0;
	return r;
}

static int emit(void *arg, const void *data, size_t n, struct hoy_err *err)
{
	struct outflow *f = arg;
	unsigned char buf[1 << 14];
	int r = 0;

	if (!f->crypt)
		return emit_as_is(f, data, n, err);
	for (size_t at = 0, some; at < n && !r; at += some) {
		some = n - at < sizeof(buf) ? n - at : sizeof(buf);
		r = encryptor_add(f->crypt, (const char *)data + at, some, buf, err);
		if (!r)
			r = emit_as_is(f, buf, some, err);
	}
	return r;
}

static int pump(struct outflow *f, struct stream *in, const struct packing *p, struct hoy_err *err)
{
	struct packer *pk = NULL;
	const unsigned char *d;
	ssize_t n = 0;
	int r = 0;

	if (p->notes)
		return chunked_pack(in, p->level, emit, f, p->notes, err);
	if (p->suffix)
		r = packer_new(&pk, p->suffix, p->level, err);
	while (!r && (n = stream_peek(in, &d, err)) > 0) {
		if (transfer_cancelled)
			r = hoy_fail(err, ECANCELED, "stopped");
		else
			r = pk ? packer_add(pk, d, n, false, emit, f, err) : emit(f, d, n, err);
		stream_take(in, n);
	}
	if (!r && n < 0)
		r = n;
	if (!r && pk)
		r = packer_add(pk, "", 0, true, emit, f, err);
	packer_free(pk);
	return r;
}

/* All of FROM to F's sink, once. KNOWN: the digest that comes out; or NULL. */
static int pass(struct outflow *f, const struct origin *from, const struct packing *p, const char *known, struct flowed *ret,
		struct hoy_err *err)
{
	cleanup_opened struct opened x = { NULL };
	int r;

	f->size = 0;
	f->broken = false;
	f->crypt = p->crypt;
	if (!known && sha_init(&f->sha) < 0)
		return hoy_fail_oom(err);
	if (f->crypt && encryptor_restart(f->crypt, err) < 0)
		return -err->code;
	r = open_origin(&x, from, err);
	if (!r)
		r = pump(f, x.in, p, err);
	if (f->sha.ctx)
		sha_end(&f->sha, ret->digest);
	else
		snprintf(ret->digest, sizeof(ret->digest), "%s", known);
	ret->size = f->size;
	if (r < 0)
		return r;
	r = f->k->end(f->k, ret->digest, f->size, err);
	f->broken = r < 0;
	return r;
}

static int send_to(struct dest *dst, const struct origin *from, const struct packing *p, const char *known, struct flowed *ret,
		   struct hoy_err *err)
{
	struct outflow f = { NULL };
	int r = dst->ops->put(dst, known, p->suffix ? -1 : from->want_size, &f.k, err);

	if (r < 0)
		return r;
	while ((r = pass(&f, from, p, known, ret, err)) < 0 && f.broken && f.k->again) {
		r = f.k->again(f.k, &f.skip, err);
		if (r < 0)
			break;
		*err = (struct hoy_err)HOY_ERR_INIT;
	}
	f.k->free(f.k);
	return r;
}

/* ---- packed before it is sent ---- */

struct temp_sink {
	struct sink k;
	int fd;
};

static int ts_write(struct sink *k, const void *data, size_t n, struct hoy_err *err)
{
	int r = hoy_write_full(((struct temp_sink *)k)->fd, data, n);

	return r < 0 ? hoy_fail_errno(err, -r, "cannot write a temporary file") : 0;
}

static int ts_end(struct sink *k, const char *digest, int64_t size, struct hoy_err *err) { return 0; }

/* The destination may have the blob, once its digest is known. */
static int pack_first(struct dest *dst, const struct origin *from, const struct packing *p, struct flowed *ret, struct hoy_err *err)
{
	cleanup_fd int fd = temp_file();
	struct temp_sink t = { { .write = ts_write, .end = ts_end }, fd };
	struct outflow f = { .k = &t.k };
	char digest[SHA_DIGEST_SIZE];
	int r = fd < 0 ? hoy_fail_errno(err, -fd, "cannot make a temporary file") : pass(&f, from, p, NULL, ret, err);

	if (!r)
		r = dst->ops->has(dst, &(struct desc){ ret->digest, NULL, ret->size, NULL }, NULL, err);
	if (r)
		return r < 0 ? r : 0;
	memcpy(digest, ret->digest, sizeof(digest));
	return send_to(dst, &(struct origin){ .fd = fd, .len = ret->size, .want_size = ret->size }, &(struct packing){ NULL }, digest, ret, err);
}

int flow(struct dest *dst, const struct origin *from, const struct packing *p, struct flowed *ret, struct hoy_err *err)
{
	/* What is encrypted is another one each time: the destination cannot have it. */
	if (p->suffix && p->first && !p->crypt)
		return pack_first(dst, from, p, ret, err);
	return send_to(dst, from, p, p->suffix || p->crypt || from->key ? NULL : from->want, ret, err);
}
