/* cmd-image/transfer/src_schema1.c: an image of schema 1 as one of schema 2. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/files.h"
#include "cmd-image/transfer/inflate.h"
#include "cmd-image/transfer/layer.h"
#include "cmd-image/transfer/progress.h"
#include "cmd-image/transfer/schema1.h"
#include "common/base/fd.h"

struct fetched {
	const char *digest; /* the manifest's */
	char diff_id[SHA_DIGEST_SIZE];
	int64_t size;
	const char *type;
	int fd;
};
struct converted {
	struct source s;
	struct manifest from; /* the digests are its */
	struct fetched *v;    /* the layers that count */
	size_t n;
	struct hoy_buf config, manifest;
};

static int cs_manifest(struct source *s, const char *digest, char **ret, size_t *ret_len, char **ret_type, struct hoy_err *err)
{
	struct converted *c = (struct converted *)s;

	(void)digest;
	*ret = strndup(c->manifest.data, c->manifest.len);
	*ret_len = c->manifest.len;
	*ret_type = NULL;
	return *ret ? 0 : hoy_fail_oom(err);
}

static int cs_blob(struct source *s, const struct desc *d, int layer, struct stream **ret, struct hoy_err *err)
{
	struct converted *c = (struct converted *)s;

	*ret = NULL;
	if (layer < 0)
		*ret = stream_mem(c->config.data, c->config.len);
	for (size_t i = 0; i < c->n && !*ret && layer >= 0; i++)
		if (!strcmp(c->v[i].digest, d->digest) && c->v[i].fd >= 0)
			*ret = stream_fd(c->v[i].fd, false, 0, c->v[i].size, d->digest);
	return *ret ? 0 : hoy_fail_oom(err);
}

static void cs_free(struct source *s)
{
	struct converted *c = (struct converted *)s;

	for (size_t i = 0; i < c->n; i++)
		hoy_close(c->v[i].fd);
	free(c->v);
	manifest_release(&c->from);
	hoy_buf_release(&c->config);
	hoy_buf_release(&c->manifest);
}

static const struct source_ops ops = { .manifest = cs_manifest, .blob = cs_blob, .free = cs_free };

/* What F's file has inside. */
static int look_inside(struct fetched *f, struct hoy_err *err)
{
	struct stream *raw = stream_fd(f->fd, false, 0, f->size, f->digest);
	cleanup_stream struct stream *in = NULL;
	enum compression kind;
	const unsigned char *p;
	struct sha sha;
	ssize_t n;

	in = raw ? inflate_stream(raw, &kind, err) : NULL;
	if (!raw)
		return hoy_fail_oom(err);
	if (!in)
		return -err->code;
	if (kind != COMP_GZIP && kind != COMP_NONE)
		return hoy_fail(err, HOY_EUNSUPPORTED, "the layer %s is compressed in a way that schema 2 doesn't have", f->digest);
	if (sha_init(&sha) < 0)
		return hoy_fail_oom(err);
	while ((n = stream_peek(in, &p, err)) > 0) {
		sha_add(&sha, p, n);
		stream_take(in, n);
	}
	sha_end(&sha, f->diff_id);
	f->type = kind == COMP_GZIP ? T_V2S2_LAYER ".gzip" : T_V2S2_LAYER;
	return n < 0 ? n : 0;
}

static int fetch(struct converted *c, struct source *src, const struct desc *d, int layer, bool quiet, struct hoy_err *err)
{
	struct fetched *f = &c->v[c->n];
	cleanup_stream struct stream *in = NULL;
	struct checked ck = { 0 };
	int r;

	*f = (struct fetched){ .digest = d->digest, .fd = -1 };
	/* The same blob once more: its file is there. */
	for (size_t i = 0; i < c->n; i++)
		if (!strcmp(c->v[i].digest, d->digest)) {
			*f = c->v[i];
			f->fd = -1;
			c->n++;
			return 0;
		}
	c->n++;
	progress(quiet, "Fetching blob %s", d->digest);
	r = src->ops->blob(src, d, layer, &in, err);
	if (!r)
		r = checked_init(&ck, in, d->digest, -1, err);
	if (!r)
		r = temp_copy(&ck.s, &f->fd, err);
	checked_release(&ck);
	if (!r) {
		f->size = lseek(f->fd, 0, SEEK_END);
		r = look_inside(f, err);
	}
	return r;
}

static int describe(struct converted *c, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	cleanup_free struct desc *layers = calloc(c->n + 1, sizeof(*layers));
	char digest[SHA_DIGEST_SIZE];
	struct desc config;
	int r;

	for (size_t i = 0; layers && i < c->n; i++) {
		hoy_strv_push(&ids, c->v[i].diff_id);
		layers[i] = (struct desc){ .digest = (char *)c->v[i].digest, .type = (char *)c->v[i].type, .size = c->v[i].size };
	}
	if (!layers || ids.error)
		return hoy_fail_oom(err);
	r = schema1_config(&c->from, &ids, &c->config, err);
	if (r < 0)
		return r;
	sha_of(c->config.data, c->config.len, digest);
	config = (struct desc){ .digest = digest, .type = (char *)T_V2S2_CONFIG, .size = (int64_t)c->config.len };
	return manifest_write(&c->manifest, MAN_V2S2, &config, layers, c->n, NULL) < 0 ? hoy_fail_oom(err) : 0;
}

int source_schema1(struct source **ret, struct source *src, const struct manifest *m, bool quiet, struct hoy_err *err)
{
	struct converted *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return hoy_fail_oom(err);
	c->s.ops = &ops;
	c->s.name = strdup(src->name);
	c->config.max = c->manifest.max = MANIFEST_MAX;
	r = manifest_parse(&c->from, m->data, m->len, manifest_type(MAN_V2S1), err);
	c->v = r ? NULL : calloc(c->from.n + 1, sizeof(*c->v));
	if (!r && (!c->v || !c->s.name))
		r = hoy_fail_oom(err);
	for (size_t i = 0; i < c->from.n && !r; i++)
		if (!schema1_throwaway(&c->from.v[i]))
			r = fetch(c, src, &c->from.v[i], i, quiet, err);
	if (!r)
		r = describe(c, err);
	for (size_t i = 0; i < src->names.n && !r; i++)
		hoy_strv_push(&c->s.names, src->names.v[i]);
	if (r < 0)
		source_free(&c->s);
	else
		*ret = &c->s;
	return r;
}
