#include "cmd-image/transfer/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/chunked.h"
#include "cmd-image/transfer/flow.h"
#include "cmd-image/transfer/schema1.h"
#include "cmd-image/transfer/store_in.h"
#include "common/base/fd.h"

struct copy {
	struct source *src;
	struct dest *dst;
	const struct copy_opts *o;
	const struct manifest *m;
	const struct config *config; /* of an image; blank for other artifacts, of which nothing is changed */
	bool artifact;
	enum man_kind kind;
	enum layers_as as;
	const char *pack; /* suffix for layers that are packed here */
	bool chunked;	  /* and that with a table of their files */
	struct hoy_json_doc *notes; /* of each layer that has one: its annotations */
	struct desc *out;
	struct sigs sigs; /* what the source has, which hold for this very manifest */
	size_t next;
	bool changed;
	pthread_mutex_t mu;
	struct hoy_err err;
};

/* ---- layers ---- */

static int set(struct desc *d, const char *digest, const char *type, int64_t size, struct hoy_err *err)
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
		r = set(&c->out[i], out.digest, suffix ? layer_type_like(c->kind, from.inflate ? "" : p.suffix ? p.suffix : suffix, type) : type, out.size, err);
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
		return set(&c->out[i], d->digest, own_type(c, d, suffix), d->size, err);
	}
	from.meter = meter_begin(c->o->quiet, "blob", d->digest, d->size);
	r = flow(c->dst, &from, &(struct packing){ .crypt = crypt }, &out, err);
	meter_end(from.meter, !r);
	if (!r)
		r = set(&c->out[i], out.digest, own_type(c, d, suffix), d->size, err);
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
		r = set(&c->out[i], d.digest, type, d.size, err) < 0 ? -err->code : 1;
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
		r = set(&c->out[i], out.digest, layer_type_like(c->kind, pack ? pack : "", c->m->v[i].type), out.size, err);
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
		return set(&c->out[i], c->m->v[i].digest, own_type(c, &c->m->v[i], suffix ? suffix : ""), c->m->v[i].size, err);
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

static int all_layers(struct copy *c, struct hoy_err *err)
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

/* ---- signatures ---- */

/* The signatures that go along, if the destination takes them. */
static int get_signatures(const struct copy_opts *o, struct source *src, struct dest *dst, const struct manifest *m, bool instance,
			  struct sigs *ret, struct hoy_err *err)
{
	const struct sigs *have = NULL;
	int r = o->sign.remove ? 0 : source_signatures(src, m, instance, &have, err);

	for (size_t i = 0; have && i < have->n && !r; i++)
		r = sigs_add_copy(ret, &have->v[i], err);
	if (!r && (ret->n || sign_wanted(&o->sign)) && !dst->ops->signatures)
		r = hoy_fail(err, HOY_EUNSUPPORTED, "Can not copy signatures to %s: this transport keeps none (--remove-signatures leaves them behind)", dst->name);
	return r;
}

/* Those of SIGS and new ones for M, which was written. */
static int put_signatures(const struct copy_opts *o, struct dest *dst, const struct manifest *m, bool top, struct sigs *sigs,
			  struct hoy_err *err)
{
	int r = sign_for(&o->sign, o->quiet, &dst->ref, dst->name, m->digest, sigs, err);

	if (r < 0 || !sigs->n)
		return r;
	progress(o->quiet, "Storing signatures");
	return dst->ops->signatures(dst, m, top, sigs, err);
}

/* ---- config and manifest ---- */

/* The config as it is, or as OCI has it where docker's becomes an OCI image: what docker says beyond that is left out, as skopeo does. */
static int prepare_config(struct copy *c, struct hoy_buf *ret, struct desc *d, char digest[SHA_DIGEST_SIZE], struct hoy_err *err)
{
	struct hoy_jw w = hoy_jw_on(ret, NULL);

	*d = c->m->config;
	if (c->kind != MAN_OCI || c->m->kind != MAN_V2S2) {
		hoy_buf_add(ret, c->config->data, c->config->len);
	} else {
		config_write(&w, c->config->doc.root);
		sha_of(hoy_buf_str(ret), ret->len, digest);
		d->digest = digest;
		d->size = ret->len;
	}
	return ret->error ? hoy_fail_oom(err) : 0;
}

static int put_config(struct copy *c, struct desc *ret, struct hoy_err *err)
{
	struct origin from = { .src = c->src, .d = &c->m->config, .layer = -1, .want = c->m->config.digest, .want_size = c->m->config.size };
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	char digest[SHA_DIGEST_SIZE];
	struct flowed out;
	struct desc d;
	int r = c->artifact ? 0 : prepare_config(c, &b, &d, digest, err);

	if (c->artifact)
		d = c->m->config;
	else
		from = (struct origin){ .data = hoy_buf_str(&b), .len = b.len, .want = d.digest, .want_size = d.size };
	ret->json = d.json;
	if (!r)
		r = c->dst->ops->has(c->dst, &d, c->src, err);
	if (r > 0)
		meter_skip(c->o->quiet, "config", d.digest, d.size);
	if (!r) {
		from.meter = meter_begin(c->o->quiet, "config", d.digest, d.size);
		r = flow(c->dst, &from, &(struct packing){ NULL }, &out, err);
		meter_end(from.meter, !r);
	}
	return r < 0 ? r : set(ret, d.digest, c->kind == c->m->kind && d.type ? d.type : c->kind == MAN_V2S2 ? T_V2S2_CONFIG : T_OCI_CONFIG, d.size, err);
}

static bool unchanged(const struct copy *c)
{
	if (c->kind != c->m->kind)
		return false;
	for (size_t i = 0; i < c->m->n; i++)
		if (strcmp(c->out[i].digest, c->m->v[i].digest) || strcmp(c->out[i].type, c->m->v[i].type ? c->m->v[i].type : c->out[i].type))
			return false;
	return true;
}

struct written {
	char digest[SHA_DIGEST_SIZE];
	size_t len;
	enum man_kind kind;
};

static int put_manifest(struct copy *c, const struct desc *config, bool top, struct written *ret, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	cleanup_manifest struct manifest m = { 0 };
	int r;

	progress(c->o->quiet, "Writing manifest to image destination");
	ret->kind = c->kind;
	if (unchanged(c)) {
		memcpy(ret->digest, c->m->digest, SHA_DIGEST_SIZE);
		ret->len = c->m->len;
		r = c->dst->ops->manifest(c->dst, c->m, top, err);
		return r ? r : put_signatures(c->o, c->dst, c->m, top, &c->sigs, err);
	}
	if (c->sigs.n)
		return hoy_fail(err, HOY_EUNSUPPORTED, "the manifest would change on the way to '%s', and its signatures would no longer be valid (--remove-signatures leaves them behind)", c->dst->name);
	if (c->o->preserve)
		return hoy_fail(err, HOY_EUNSUPPORTED, "the manifest would change on the way to '%s', and --preserve-digests forbids it", c->dst->name);
	r = manifest_write(&b, c->kind, config, c->out, c->m->n, c->m->doc.root);
	if (r < 0)
		return hoy_fail_oom(err);
	r = manifest_parse(&m, b.data, b.len, manifest_type(c->kind), err);
	if (!r) {
		memcpy(ret->digest, m.digest, SHA_DIGEST_SIZE);
		ret->len = m.len;
		r = c->dst->ops->manifest(c->dst, &m, top, err);
	}
	return r ? r : put_signatures(c->o, c->dst, &m, top, &c->sigs, err);
}

int copy_format(const char *format, enum man_kind *kind, struct hoy_err *err)
{
	if (format && !strcmp(format, "oci"))
		*kind = MAN_OCI;
	else if (format && (!strcmp(format, "v2s2") || !strcmp(format, "docker")))
		*kind = MAN_V2S2;
	else if (format && !strcmp(format, "v2s1"))
		return hoy_fail(err, HOY_EUNSUPPORTED, "manifests of docker's schema 1 (v2s1) are not written (oci, v2s2)");
	else if (format)
		return hoy_fail(err, EINVAL, "unknown format \"%s\". Choose one of the supported formats: 'oci', 'v2s2'", format);
	return 0;
}

int copy_check(const struct copy_opts *o, struct hoy_err *err)
{
	const char *f = o->compression;
	enum man_kind kind;
	int most = f && !strncmp(f, "zstd", 4) ? 20 : 9;

	if (f && strcmp(f, "none") && strcmp(f, "gzip") && strcmp(f, "zstd") && strcmp(f, "zstd:chunked"))
		return hoy_fail(err, HOY_EUNSUPPORTED, "the compression '%s' is not supported (gzip, zstd, zstd:chunked)", f);
	if (o->level < 0 || o->level > most)
		return hoy_fail(err, EINVAL, "the compression %s has levels from 1 to %d, not %lld", f ? f : "gzip", most, (long long)o->level);
	return copy_format(o->format, &kind, err) < 0 ? -err->code : sign_check(&o->sign, err);
}

static int choose_kind(struct copy *c, struct hoy_err *err)
{
	const char *f = c->o->format;
	int r;

	c->kind = c->dst->takes[c->m->kind] ? c->m->kind : c->m->kind == MAN_OCI ? MAN_V2S2 : MAN_OCI;
	r = copy_format(f, &c->kind, err);
	if (r < 0)
		return r;
	if (!c->dst->takes[c->kind])
		return hoy_fail(err, HOY_EUNSUPPORTED, "'%s' takes no manifests of the format '%s'", c->dst->name, f ? f : "");
	if (c->o->crypt.encrypt.n && c->kind != MAN_OCI) {
		if (f || !c->dst->takes[MAN_OCI])
			return hoy_fail(err, HOY_EUNSUPPORTED, "only OCI images have encrypted layers (--encryption-key)");
		c->kind = MAN_OCI;
	}
	f = c->o->compression;
	c->as = c->dst->layers;
	c->pack = "+gzip";
	if (f && !strcmp(f, "none"))
		c->as = LAYERS_PLAIN;
	else if (f && !strncmp(f, "zstd", 4))
		c->pack = "+zstd";
	c->chunked = f && !strcmp(f, "zstd:chunked");
	if (f && strcmp(f, "none") && c->as == LAYERS_KEEP)
		c->as = LAYERS_PACKED;
	if (!strcmp(c->pack, "+zstd") && c->kind == MAN_V2S2) {
		if (c->o->format || !c->dst->takes[MAN_OCI])
			return set(&(struct desc){ 0 }, "", NULL, 0, err);
		c->kind = MAN_OCI;
	}
	return 0;
}

/* The layers of the store are plain: where the signed manifest has packed ones, those would be others. */
static int check_plain(const struct copy *c, struct hoy_err *err)
{
	for (size_t i = 0; c->src->plain && c->sigs.n && i < c->m->n; i++)
		if (strcmp(c->m->v[i].digest, c->config->diff_ids.v[i]))
			return hoy_fail(err, HOY_EUNSUPPORTED, "Copying this image would require changing layer representation, which we cannot do: \"Would invalidate signatures\" (--remove-signatures leaves them behind)");
	return 0;
}

static int copy_as_is(struct source *src, struct dest *dst, const struct copy_opts *o, const struct manifest *m, bool instance, bool top,
		      struct written *ret, struct hoy_err *err)
{
	cleanup_config struct config config = CONFIG_INIT;
	struct copy c = { .src = src, .dst = dst, .o = o, .m = m, .config = &config, .mu = PTHREAD_MUTEX_INITIALIZER };
	struct desc cd = { 0 };
	int r = o->trust ? image_allowed(src, m, instance, o->trust, err) : 0;

	if (!r)
		r = get_signatures(o, src, dst, m, instance, &c.sigs, err);
	if (!r)
		r = choose_kind(&c, err);
	c.artifact = !src->plain && !manifest_is_image(m);
	if (!r && c.artifact && o->crypt.encrypt.n)
		r = hoy_fail(err, HOY_EUNSUPPORTED, "'%s' is an artifact, of which nothing is encrypted", src->name);
	if (!r && c.artifact && c.kind != m->kind)
		r = hoy_fail(err, HOY_EUNSUPPORTED, "'%s' is an artifact with a config of the type '%.100s', which cannot be converted for '%s'", src->name,
			     m->config.type, dst->name);
	if (!r && !c.artifact)
		r = source_config(src, m, &config, err);
	/* Older artifacts have a config that an image's type is said of, and nothing of an image in it. */
	if (r == -HOY_EFORMAT && !src->plain && config.data && !config.diff_ids.n && c.kind == m->kind) {
		*err = (struct hoy_err)HOY_ERR_INIT;
		c.artifact = true;
		r = 0;
	}
	if (!r)
		r = check_plain(&c, err);
	c.out = calloc(m->n + 1, sizeof(*c.out));
	c.notes = calloc(m->n + 1, sizeof(*c.notes));
	if (!r && (!c.out || !c.notes))
		r = hoy_fail_oom(err);
	if (!r)
		r = all_layers(&c, err);
	if (!r && m->kind != MAN_V2S1)
		r = put_config(&c, &cd, err);
	if (!r)
		r = put_manifest(&c, &cd, top, ret, err);
	for (size_t i = 0; c.out && i < m->n; i++) {
		free(c.out[i].digest);
		free(c.out[i].type);
	}
	for (size_t i = 0; c.notes && i < m->n; i++)
		hoy_json_release(&c.notes[i]);
	free(c.notes);
	free(c.out);
	sigs_release(&c.sigs);
	free(cd.digest);
	free(cd.type);
	return r;
}

/* An image of schema 1, as one of schema 2. */
static int copy_schema1(struct source *src, struct dest *dst, const struct copy_opts *o, const struct manifest *m, bool instance, bool top,
			struct written *ret, struct hoy_err *err)
{
	cleanup_source struct source *as2 = NULL;
	cleanup_manifest struct manifest m2 = { 0 };
	cleanup_sigs struct sigs sigs = { 0 };
	struct copy_opts each = *o;
	int r = o->trust ? image_allowed(src, m, instance, o->trust, err) : 0;

	if (!r)
		r = get_signatures(o, src, dst, m, instance, &sigs, err);
	if (!r && (sigs.n || o->preserve))
		r = hoy_fail(err, HOY_EUNSUPPORTED, "the manifest, of docker's schema 1, would change on the way to '%s', %s", dst->name,
			     sigs.n ? "and its signatures would no longer be valid (--remove-signatures leaves them behind)" :
				      "and --preserve-digests forbids it");
	if (!r)
		r = source_schema1(&as2, src, m, o->quiet, err);
	if (!r)
		r = source_manifest(as2, NULL, &m2, err);
	each.trust = NULL;
	return r ? r : copy_as_is(as2, dst, &each, &m2, instance, top, ret, err);
}

static int copy_one(struct source *src, struct dest *dst, const struct copy_opts *o, const struct manifest *m, bool instance, bool top,
		    struct written *ret, struct hoy_err *err)
{
	if (m->kind == MAN_V2S1 && (o->format || o->compression || !dst->takes[MAN_V2S1]))
		return copy_schema1(src, dst, o, m, instance, top, ret, err);
	return copy_as_is(src, dst, o, m, instance, top, ret, err);
}

/* What a list becomes on the way to DST: its kind there. */
static int choose_list_kind(struct dest *dst, const struct copy_opts *o, enum man_kind *kind, struct hoy_err *err)
{
	enum man_kind image = *kind == MAN_OCI_INDEX ? MAN_OCI : MAN_V2S2, wanted = image;
	int r = copy_format(o->format, &wanted, err);

	if (r < 0)
		return r;
	if (!o->format && !dst->takes[*kind])
		wanted = image == MAN_OCI ? MAN_V2S2 : MAN_OCI;
	*kind = wanted == MAN_OCI ? MAN_OCI_INDEX : MAN_V2S2_LIST;
	if (!dst->takes[*kind])
		return hoy_fail(err, HOY_EUNSUPPORTED, "'%s' takes no lists%s", dst->name, o->format ? " of this format" : "");
	return 0;
}

/* Image number I of LIST; D is its new entry. */
static int copy_member(struct source *src, struct dest *dst, const struct copy_opts *o, const struct manifest *list, size_t i, struct desc *d,
		       struct hoy_err *err)
{
	cleanup_manifest struct manifest m = { 0 };
	struct written w;
	int r = source_manifest(src, list->v[i].digest, &m, err);

	if (!r && manifest_is_list(&m))
		r = hoy_fail(err, HOY_EUNSUPPORTED, "'%s' is a list of lists", src->name);
	if (!r)
		r = copy_one(src, dst, o, &m, true, false, &w, err);
	d->json = list->v[i].json;
	return r ? r : set(d, w.digest, manifest_type(w.kind), w.len, err);
}

static int put_list(struct dest *dst, const struct copy_opts *o, const struct manifest *list, enum man_kind kind, const struct desc *v,
		    bool top, struct sigs *sigs, char ret[SHA_DIGEST_SIZE], struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	cleanup_manifest struct manifest m = { 0 };
	bool same = kind == list->kind;
	int r;

	for (size_t i = 0; same && i < list->n; i++)
		same = !strcmp(v[i].digest, list->v[i].digest);
	progress(o->quiet, "Writing manifest list to image destination");
	if (same) {
		memcpy(ret, list->digest, SHA_DIGEST_SIZE);
		r = dst->ops->manifest(dst, list, top, err);
		return r ? r : put_signatures(o, dst, list, top, sigs, err);
	}
	if (sigs->n)
		return hoy_fail(err, HOY_EUNSUPPORTED, "the list would change on the way to '%s', and its signatures would no longer be valid (--remove-signatures leaves them behind)", dst->name);
	if (o->preserve)
		return hoy_fail(err, HOY_EUNSUPPORTED, "the list would change on the way to '%s', and --preserve-digests forbids it", dst->name);
	if (manifest_write_list(&b, kind, v, list->n, list->doc.root) < 0)
		return hoy_fail_oom(err);
	r = manifest_parse(&m, b.data, b.len, manifest_type(kind), err);
	if (!r) {
		memcpy(ret, m.digest, SHA_DIGEST_SIZE);
		r = dst->ops->manifest(dst, &m, top, err);
	}
	return r ? r : put_signatures(o, dst, &m, top, sigs, err);
}

/* A whole list. Where it keeps its kind, its images stay as they are too. */
static int copy_list(struct source *src, struct dest *dst, const struct copy_opts *o, const struct manifest *list, bool top,
		     char ret[SHA_DIGEST_SIZE], struct hoy_err *err)
{
	struct copy_opts each = *o;
	cleanup_sigs struct sigs sigs = { 0 };
	enum man_kind kind = list->kind;
	struct desc *v = calloc(list->n + 1, sizeof(*v));
	int r = v ? 0 : hoy_fail_oom(err);

	if (!r && o->trust)
		r = image_allowed(src, list, false, o->trust, err);
	if (!r)
		r = get_signatures(o, src, dst, list, false, &sigs, err);
	if (!r)
		r = choose_list_kind(dst, o, &kind, err);
	if (sigs.n || (kind == list->kind && !o->format && !o->compression && !o->crypt.encrypt.n && !o->crypt.decrypt.n))
		each.preserve = true;
	if (kind != list->kind)
		each.format = kind == MAN_OCI_INDEX ? "oci" : "v2s2";
	for (size_t i = 0; !r && i < list->n; i++) {
		if (!o->index_only)
			r = copy_member(src, dst, &each, list, i, &v[i], err);
		else
			r = set(&v[i], list->v[i].digest, list->v[i].type ? list->v[i].type : "", list->v[i].size, err);
	}
	if (!r && o->index_only && kind != list->kind)
		r = hoy_fail(err, HOY_EUNSUPPORTED, "a list alone cannot be converted for '%s'", dst->name);
	if (!r)
		r = put_list(dst, o, list, kind, v, top, &sigs, ret, err);
	for (size_t i = 0; v && i < list->n; i++) {
		free(v[i].digest);
		free(v[i].type);
	}
	free(v);
	return r;
}

int copy_parsed(struct source *src, struct dest *dst, const struct copy_opts *o, const struct manifest *m, struct hoy_err *err)
{
	char digest[SHA_DIGEST_SIZE];
	struct written w;

	return manifest_is_list(m) ? copy_list(src, dst, o, m, false, digest, err) : copy_one(src, dst, o, m, true, false, &w, err);
}

int copy_image(struct source *src, struct dest *dst, const struct copy_opts *o, char ret_digest[SHA_DIGEST_SIZE], struct hoy_err *err)
{
	cleanup_manifest struct manifest m = { 0 }, list = { 0 };
	struct written w;
	int r = o->all ? source_manifest(src, NULL, &m, err) : source_image(src, &o->platform, &m, &list, err);

	if (r < 0)
		return r;
	if (manifest_is_list(&m))
		return copy_list(src, dst, o, &m, true, ret_digest, err);
	if (o->index_only)
		return hoy_fail(err, EINVAL, "'%s' is no list, and --multi-arch index-only asks for the list alone", src->name);
	r = copy_one(src, dst, o, &m, list.len, true, &w, err);
	if (!r)
		memcpy(ret_digest, w.digest, SHA_DIGEST_SIZE);
	return r;
}
