/* cmd-image/transfer/copy_layers.c: the layers of an image on their way: as they are, packed, plain, encrypted or decrypted. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/chunked.h"
#include "cmd-image/transfer/copy_impl.h"
#include "cmd-image/transfer/flow.h"
#include "cmd-image/transfer/store_in.h"

int copy_set(struct desc *d, const char *digest, const char *type, int64_t size, struct hoy_err *err)
{
	if (!type)
		return hoy_fail(err, HOY_EUNSUPPORTED, "zstd layers cannot be in a manifest of docker's schema 2 (--format oci, or --dest-compress-format gzip)");
	free(d->digest);
	free(d->type);
	d->digest = strdup(digest);
	d->type = strdup(type);
	d->size = size;
	return d->digest && d->type ? 0 : hoy_fail_oom(err);
}

static const char *own_type(const struct copy *c, const struct desc *d, const char *suffix)
{
	return c->kind == c->m->kind && d->type ? d->type : layer_type_like(c->kind, suffix, d->type);
}

/* ---- encryption ---- */

/* An encryptor for layer I, if it is to have one. */
static int begin_crypt(struct copy *c, size_t i, struct encryptor **ret, struct hoy_err *err)
{
	int r = crypt_wanted(&c->o->crypt, i, c->m->n, err);

	return r > 0 ? encryptor_new(ret, err) : r;
}

/* The annotations of layer I, as a copy that may be changed. */
static struct hoy_json *own_annotations(struct copy *c, size_t i)
{
	struct hoy_json_doc *doc = &c->notes[i];
	struct hoy_json *ret;

	if (!doc->root)
		doc->root = c->out[i].json ? hoy_json_copy(doc, c->out[i].json) : hoy_json_new(doc, HOY_JSON_OBJECT);
	ret = doc->root ? hoy_json_need(doc, doc->root, "annotations", HOY_JSON_OBJECT) : NULL;
	c->out[i].json = doc->root;
	return ret;
}

/* R is what became of layer I, which E (freed here; may be NULL) went over: its type and annotations say so. */
static int end_crypt(struct copy *c, size_t i, struct encryptor *e, int r, struct hoy_err *err)
{
	struct hoy_json *notes = !r && e ? own_annotations(c, i) : NULL;
	char *type = !r && e ? hoy_asprintf("%s" CRYPT_ENDING, c->out[i].type) : NULL;

	if (!r && e)
		r = notes && type ? encryptor_end(e, &c->o->crypt, &c->notes[i], notes, err) : hoy_fail_oom(err);
	if (type) {
		free(c->out[i].type);
		c->out[i].type = type;
	}
	encryptor_free(e);
	return r;
}

/* A layer that comes encrypted and goes on decrypted, packed if it isn't and shall be. */
static int decrypt_layer(struct copy *c, size_t i, struct hoy_err *err)
{
	const struct desc *d = &c->m->v[i];
	cleanup_free char *type = crypt_inner_type(d->type);
	const char *suffix = type ? layer_suffix(type) : NULL;
	struct layer_key key;
	struct origin from = { .src = c->src, .d = d, .layer = i, .key = &key, .want_size = d->size };
	struct packing p = { .level = c->o->level };
	struct flowed out;
	int r = type ? layer_key_open(&key, &c->o->crypt, hoy_json_get(d->json, "annotations"), d->digest, err) : hoy_fail_oom(err);

	if (r < 0)
		return r;
	if (suffix && !*suffix && c->as == LAYERS_PACKED)
		p.suffix = c->pack;
	from.inflate = suffix && *suffix && c->as == LAYERS_PLAIN;
	from.want_size = from.inflate ? -1 : d->size;
	from.meter = meter_begin(c->o->quiet, "blob", d->digest, d->size);
	r = flow(c->dst, &from, &p, &out, err);
	meter_end(from.meter, !r);
	layer_key_forget(&key);
	c->out[i].json = crypt_opened(&c->notes[i], d->json);
	if (!r && !c->out[i].json)
		r = hoy_fail_oom(err);
	if (!r)
		r = copy_set(&c->out[i], out.digest, suffix ? layer_type_like(c->kind, from.inflate ? "" : p.suffix ? p.suffix : suffix, type) : type, out.size, err);
	return r;
}

/* ---- layers as they are, and packed ---- */

/* A layer that goes on as it is. */
static int pass_layer(struct copy *c, size_t i, const char *suffix, struct hoy_err *err)
{
	const struct desc *d = &c->m->v[i];
	struct origin from = { .src = c->src, .d = d, .layer = i, .want = d->digest, .want_size = d->size };
	struct encryptor *crypt = NULL;
	struct flowed out;
	int r = begin_crypt(c, i, &crypt, err);

	if (!r && !crypt)
		r = c->dst->ops->has(c->dst, d, c->src, err);
	c->out[i].json = d->json;
	if (r < 0)
		return r;
	if (r) {
		meter_skip(c->o->quiet, "blob", d->digest, d->size);
		return copy_set(&c->out[i], d->digest, own_type(c, d, suffix), d->size, err);
	}
	from.meter = meter_begin(c->o->quiet, "blob", d->digest, d->size);
	r = flow(c->dst, &from, &(struct packing){ .crypt = crypt }, &out, err);
	meter_end(from.meter, !r);
	if (!r)
		r = copy_set(&c->out[i], out.digest, own_type(c, d, suffix), d->size, err);
	return end_crypt(c, i, crypt, r, err);
}

/* Nothing of the manifest may change. */
static bool keeps(const struct copy *c) { return c->o->preserve || c->sigs.n || c->artifact; }

/* Is layer I plain in a manifest of the store, which may not change? */
static bool stays_plain(const struct copy *c, size_t i)
{
	return keeps(c) && c->src->plain && !strcmp(c->m->v[i].digest, c->config->diff_ids.v[i]);
}

/* Packed already, somewhere else: if the destination has that blob, nothing needs to be sent. */
static int known_layer(struct copy *c, size_t i, struct hoy_err *err)
{
	struct desc d = { 0 };
	const char *suffix = NULL, *type;
	int r = 0;

	if (c->as != LAYERS_PACKED || c->chunked || stays_plain(c, i) || !c->src->ops->packed || !c->src->ops->packed(c->src, i, &d, &suffix)) {
		free(d.digest);
		return 0;
	}
	type = layer_type(c->kind, suffix);
	if (type && (!c->o->compression || !strcmp(c->pack, suffix)))
		r = c->dst->ops->has(c->dst, &d, NULL, err);
	if (r > 0)
		r = copy_set(&c->out[i], d.digest, type, d.size, err) < 0 ? -err->code : 1;
	free(d.digest);
	return r;
}

/* What layer I's descriptor says beside its digest: where its table of files is. */
static int annotate(struct copy *c, size_t i, const struct chunked_notes *n, struct hoy_err *err)
{
	struct hoy_json_doc *doc = &c->notes[i];
	struct hoy_json *a;

	doc->root = hoy_json_new(doc, HOY_JSON_OBJECT);
	a = doc->root ? hoy_json_need(doc, doc->root, "annotations", HOY_JSON_OBJECT) : NULL;
	if (!a || !hoy_json_set_string(doc, a, CHUNKED_CHECKSUM, n->checksum) || !hoy_json_set_string(doc, a, CHUNKED_POSITION, n->position) ||
	    !hoy_json_set_string(doc, a, CHUNKED_TARSPLIT, n->tarsplit))
		return hoy_fail_oom(err);
	c->out[i].json = doc->root;
	return 0;
}

/* Is layer I packed as it is to be? */
static bool packed_so(const struct copy *c, size_t i, const char *suffix)
{
	if (!*suffix || (c->o->compression && strcmp(suffix, c->pack)))
		return false;
	return !c->chunked || hoy_json_str(hoy_json_get(c->m->v[i].json, "annotations"), CHUNKED_POSITION);
}

/* A plain tar, packed here if that is wanted. */
static int plain_layer(struct copy *c, size_t i, struct hoy_err *err)
{
	const char *diff = c->config->diff_ids.v[i], *pack = c->as == LAYERS_PACKED && !stays_plain(c, i) ? c->pack : NULL;
	struct chunked_notes notes = { .set = false };
	struct packing p = { .suffix = pack, .level = c->o->level, .first = c->o->precompute, .notes = pack && c->chunked ? &notes : NULL };
	struct origin from = { .src = c->src, .d = &c->m->v[i], .layer = i, .inflate = !c->src->plain, .want = diff, .want_size = -1 };
	struct flowed out;
	int r = begin_crypt(c, i, &p.crypt, err);

	if (!r && c->src->plain && !p.crypt)
		r = known_layer(c, i, err);
	if (r > 0)
		meter_skip(c->o->quiet, "blob", c->out[i].digest, c->out[i].size);
	if (r)
		return r < 0 ? r : 0;
	from.meter = meter_begin(c->o->quiet, "blob", diff, c->src->plain ? -1 : c->m->v[i].size);
	r = flow(c->dst, &from, &p, &out, err);
	if (!r && notes.set)
		r = annotate(c, i, &notes, err);
	meter_end(from.meter, !r);
	if (!r)
		r = copy_set(&c->out[i], out.digest, layer_type_like(c->kind, pack ? pack : "", c->m->v[i].type), out.size, err);
	return end_crypt(c, i, p.crypt, r, err);
}

/* Does layer D say where else it is, as those do that are not to be distributed? */
static bool elsewhere(const struct desc *d)
{
	const struct hoy_json *urls = hoy_json_get(d->json, "urls");

	return hoy_json_is(urls, HOY_JSON_ARRAY) && urls->count;
}

static int one_layer(struct copy *c, size_t i, struct hoy_err *err)
{
	const char *suffix = layer_suffix(c->m->v[i].type);

	if (c->src->plain)
		return plain_layer(c, i, err);
	if (c->o->crypt.decrypt.n && crypt_type(c->m->v[i].type))
		return decrypt_layer(c, i, err);
	if (c->dst->takes_urls && elsewhere(&c->m->v[i]) && (suffix || c->kind == c->m->kind)) {
		c->out[i].json = c->m->v[i].json;
		return copy_set(&c->out[i], c->m->v[i].digest, own_type(c, &c->m->v[i], suffix ? suffix : ""), c->m->v[i].size, err);
	}
	if (!suffix)
		/* An artifact's blob: ours is not to ask what it is. */
		return c->kind == c->m->kind ? pass_layer(c, i, "", err) :
		       hoy_fail(err, HOY_EUNSUPPORTED, "layers of the type '%.100s' cannot be converted", c->m->v[i].type);
	if (c->as == LAYERS_KEEP || keeps(c) || (c->as == LAYERS_PLAIN ? !*suffix : packed_so(c, i, suffix)))
		return pass_layer(c, i, suffix, err);
	return plain_layer(c, i, err);
}

static void *worker(void *arg)
{
	struct copy *c = arg;

	for (;;) {
		struct hoy_err err = HOY_ERR_INIT;
		size_t i = 0;
		bool more;

		pthread_mutex_lock(&c->mu);
		more = !c->err.code && c->next < c->m->n;
		if (more)
			i = c->next++;
		pthread_mutex_unlock(&c->mu);
		if (!more)
			return NULL;
		if (one_layer(c, i, &err) < 0) {
			pthread_mutex_lock(&c->mu);
			if (!c->err.code)
				c->err = err;
			pthread_mutex_unlock(&c->mu);
			transfer_cancelled = true;
		}
	}
}

int copy_layers(struct copy *c, struct hoy_err *err)
{
	pthread_t t[64];
	int k = jobs_for(c->m->n, c->o->parallel), n = 0;

	for (; n < k && n < 64; n++)
		if (pthread_create(&t[n], NULL, worker, c))
			break;
	if (k && !n)
		return hoy_fail_oom(err);
	while (n)
		pthread_join(t[--n], NULL);
	if (c->err.code)
		*err = c->err;
	return c->err.code ? -c->err.code : 0;
}
