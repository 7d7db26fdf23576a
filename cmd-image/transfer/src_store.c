/* cmd-image/transfer/src_store.c: containers-storage: as a source: layers rebuilt from their files by tar-split. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-image/transfer/layer_files.h"
#include "cmd-image/transfer/split.h"
#include "cmd-image/transfer/store_in.h"
#include "cmd-image/transfer/store_name.h"
#include "cmd-image/transfer/store_sigs.h"
#include "common/cli/opts.h"
#include "common/conf/policy.h"
#include "common/data/ref.h"
#include "common/store/layers.h"

struct store_source {
	struct source s;
	struct hoy_store *st;
	char *id, *metadata;
	struct hoy_strv layers; /* ids, the lowest first */
};

struct layer_stream {
	struct stream s;
	struct ring *ring;
	struct layer_files files;
	int split;
	pthread_t t;
};

static int put_member(struct layer_stream *l, const struct split_line *line, struct hoy_err *err)
{
	cleanup_fd int fd = layer_files_open(&l->files, line->name);
	int64_t left = line->size;
	uint64_t crc = 0;

	if (fd < 0)
		return hoy_fail_errno(err, -fd, "layer %.12s lacks its file '%s'", l->files.id, line->name);
	while (left) {
		unsigned char *p;
		ssize_t room = ring_room(l->ring, &p), n;

		if (room < 0)
			return -EPIPE;
		n = read(fd, p, room < left ? room : left);
		if (n <= 0)
			return hoy_fail(err, HOY_EDIGEST, "the file '%s' of layer %.12s was changed", line->name, l->files.id);
		crc = crc64(crc, p, n);
		ring_add(l->ring, n);
		left -= n;
	}
	return crc == line->crc ? 0 : hoy_fail(err, HOY_EDIGEST, "the file '%s' of layer %.12s was changed", line->name, l->files.id);
}

static void *rebuild(void *arg)
{
	struct layer_stream *l = arg;
	struct hoy_err err = HOY_ERR_INIT;
	struct unsplit *u = NULL;
	struct split_line line;
	int r = unsplit_new(&u, l->split, &err);

	while (!r && (r = unsplit_next(u, &line, &err)) > 0) {
		if (transfer_cancelled)
			r = hoy_fail(&err, ECANCELED, "stopped");
		else
			r = !line.file ? ring_write(l->ring, line.data, line.data_len) : line.size > 0 ? put_member(l, &line, &err) : 0;
	}
	unsplit_free(u);
	ring_end(l->ring, &err);
	return NULL;
}

static ssize_t ls_peek(struct stream *s, const unsigned char **ret, struct hoy_err *err)
{
	return stream_peek(&((struct layer_stream *)s)->ring->stream, ret, err);
}
static void ls_take(struct stream *s, size_t n) { stream_take(&((struct layer_stream *)s)->ring->stream, n); }

static void ls_release(struct layer_stream *l)
{
	stream_free(l->ring ? &l->ring->stream : NULL);
	hoy_close(l->split);
	layer_files_release(&l->files);
	free(l);
}

static void ls_free(struct stream *s)
{
	struct layer_stream *l = (struct layer_stream *)s;

	ring_stop(l->ring);
	pthread_join(l->t, NULL);
	ls_release(l);
}

static int layer_stream(struct hoy_store *st, const char *id, struct stream **ret, struct hoy_err *err)
{
	struct layer_stream *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return hoy_fail_oom(err);
	*l = (struct layer_stream){ .s = { ls_peek, ls_take, ls_free, NULL }, .ring = ring_new(1 << 20) };
	l->split = layer_split_open(st, id);
	r = layer_files_init(&l->files, st, id, err);
	if (!r && l->split < 0)
		r = hoy_fail(err, HOY_EUNSUPPORTED, "layer %.12s has no tar-split, its exact tar cannot be made", id);
	if (!r && (!l->ring || pthread_create(&l->t, NULL, rebuild, l)))
		r = hoy_fail_oom(err);
	if (r < 0)
		ls_release(l);
	else
		*ret = &l->s;
	return r;
}

/* ---- the source ---- */

static int ss_item(struct store_source *x, const char *key, char **ret, size_t *ret_len, struct hoy_err *err)
{
	return hoy_image_item(x->st, x->id, key, ret, ret_len, err);
}

static int ss_manifest(struct source *s, const char *digest, char **ret, size_t *ret_len, char **ret_type, struct hoy_err *err)
{
	cleanup_free char *key = digest ? hoy_asprintf("manifest-%s", digest) : strdup("manifest");

	*ret_type = NULL;
	return key ? ss_item((struct store_source *)s, key, ret, ret_len, err) : hoy_fail_oom(err);
}

struct owned {
	struct stream s, *in;
	char *data;
};
static ssize_t ow_peek(struct stream *s, const unsigned char **ret, struct hoy_err *err) { return stream_peek(((struct owned *)s)->in, ret, err); }
static void ow_take(struct stream *s, size_t n) { stream_take(((struct owned *)s)->in, n); }
static void ow_free(struct stream *s)
{
	stream_free(((struct owned *)s)->in);
	free(((struct owned *)s)->data);
	free(s);
}

static int ss_blob(struct source *s, const struct desc *d, int layer, struct stream **ret, struct hoy_err *err)
{
	struct store_source *x = (struct store_source *)s;
	struct owned *o;
	size_t len;
	int r;

	if (layer >= 0)
		return (size_t)layer < x->layers.n ? layer_stream(x->st, x->layers.v[layer], ret, err) :
						     hoy_fail(err, HOY_EFORMAT, "the image has fewer layers than its manifest");
	o = calloc(1, sizeof(*o));
	if (!o)
		return hoy_fail_oom(err);
	r = ss_item(x, d->digest, &o->data, &len, err);
	o->in = r ? NULL : stream_mem(o->data, len);
	o->s = (struct stream){ ow_peek, ow_take, ow_free, NULL };
	if (!r && !o->in)
		r = hoy_fail_oom(err);
	if (r < 0)
		ow_free(&o->s);
	else
		*ret = &o->s;
	return r;
}

static bool ss_packed(struct source *s, int layer, struct desc *ret, const char **ret_suffix)
{
	struct store_source *x = (struct store_source *)s;
	const struct hoy_json *rec = (size_t)layer < x->layers.n ? hoy_layer_get(x->st, x->layers.v[layer]) : NULL;
	const char *digest = hoy_json_str(rec, "compressed-diff-digest");
	int64_t kind = hoy_json_int(rec, "compression", 0);

	if (!digest || !hoy_is_digest(digest) || (kind != 2 && kind != 4))
		return false;
	*ret = (struct desc){ strdup(digest), NULL, hoy_json_int(rec, "compressed-size", 0), NULL };
	*ret_suffix = kind == 2 ? "+gzip" : "+zstd";
	return ret->digest && ret->size > 0;
}

static void ss_free(struct source *s)
{
	struct store_source *x = (struct store_source *)s;

	hoy_store_free(x->st);
	hoy_strv_release(&x->layers);
	free(x->id);
	free(x->metadata);
}

static int ss_signatures(struct source *s, const struct manifest *m, bool instance, struct sigs *ret, struct hoy_err *err)
{
	struct store_source *x = (struct store_source *)s;
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_free char *data = NULL;
	const struct hoy_json *sizes;
	char key[HOY_ID_SIZE + 16];
	size_t len;
	int r = hoy_json_parse(&doc, x->metadata, strlen(x->metadata), "metadata", err);

	snprintf(key, sizeof(key), "signature-%s", m->digest + 7);
	sizes = hoy_json_get(hoy_json_get(doc.root, "signatures-sizes"), m->digest);
	if (!sizes && !instance) {
		snprintf(key, sizeof(key), "signatures");
		sizes = hoy_json_get(doc.root, "signature-sizes");
	}
	if (r < 0 || !sizes || !sizes->child)
		return r;
	r = ss_item(x, key, &data, &len, err);
	return r < 0 ? r : stored_sigs_split(data, len, sizes, ret, err);
}

static int64_t ss_plain_size(struct source *s, int layer)
{
	struct store_source *x = (struct store_source *)s;

	return (size_t)layer < x->layers.n ? hoy_json_int(hoy_layer_get(x->st, x->layers.v[layer]), "diff-size", -1) : -1;
}

static const struct source_ops ops = { .manifest = ss_manifest, .blob = ss_blob, .free = ss_free, .packed = ss_packed, .signatures = ss_signatures,
				     .plain_size = ss_plain_size };

/* What policy.json knows the image by: the store, and in it the name. */
static int name_image(struct store_source *x, const char *name)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_strv struct hoy_strv scopes = HOY_STRV_INIT;
	cleanup_free char *full = NULL;

	if (!hoy_ref_parse(&ref, name, NULL) && !hoy_ref_normalize(&ref) && (full = hoy_ref_string(&ref)) && hoy_strv_has(&x->s.names, full)) {
		if (hoy_policy_scopes(&ref, &scopes) < 0)
			return -ENOMEM;
		x->s.ref = ref;
		ref = (struct hoy_ref)HOY_REF_INIT;
	}
	for (size_t i = 0; i < scopes.n && *scopes.v[i] != '*'; i++)
		hoy_strv_pushf(&x->s.scopes, "[%s@%s]%s", x->st->vfs ? "vfs" : "overlay", x->st->conf.graphroot, scopes.v[i]);
	hoy_strv_pushf(&x->s.scopes, "[%s@%s]", x->st->vfs ? "vfs" : "overlay", x->st->conf.graphroot);
	hoy_strv_pushf(&x->s.scopes, "[%s]", x->st->conf.graphroot);
	return x->s.scopes.error ? -ENOMEM : 0;
}

int source_store(struct source **ret, const char *rest, struct hoy_err *err)
{
	struct store_source *x = calloc(1, sizeof(*x));
	cleanup_store_name struct store_name n = { 0 };
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	struct hoy_json *rec;
	const char *id, *meta;
	int r;

	if (!x)
		return hoy_fail_oom(err);
	x->s.ops = &ops;
	x->s.plain = true;
	r = store_name_parse(&n, rest, err);
	if (!r && !(x->s.name = strdup(n.name ? n.name : n.id)))
		r = hoy_fail_oom(err);
	if (!r && n.name && !hoy_ref_parse(&ref, n.name, NULL) && !hoy_ref_normalize(&ref))
		x->s.repository = hoy_ref_repo(&ref);
	if (!r)
		r = hoy_store_open(&x->st, &n.at, HOY_STORE_RDONLY, err);
	if (!r)
		r = hoy_store_peek(x->st, HOY_LAYERS | HOY_IMAGES, err);
	if (!r)
		r = store_name_find(&n, x->st, &rec, err);
	if (!r) {
		x->id = strdup(hoy_json_str(rec, "id"));
		meta = hoy_json_str(rec, "metadata");
		x->metadata = strdup(meta && *meta ? meta : "{}");
		HOY_JSON_EACH(it, hoy_json_get(rec, "names"))
			hoy_strv_push(&x->s.names, hoy_json_text(it) ?: "");
		for (id = hoy_json_str(rec, "layer"); id && x->layers.n < 1000; id = hoy_json_str(hoy_layer_get(x->st, id), "parent"))
			hoy_strv_insert(&x->layers, 0, id);
		if (!x->id || !x->metadata || x->layers.error || name_image(x, n.name ? n.name : "") < 0)
			r = hoy_fail_oom(err);
	}
	if (r < 0)
		source_free(&x->s);
	else
		*ret = &x->s;
	return r;
}
