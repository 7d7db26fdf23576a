#include "cmd-image/transfer/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/copy_impl.h"
#include "cmd-image/transfer/flow.h"
#include "cmd-image/transfer/progress.h"
#include "cmd-image/transfer/schema1.h"
#include "common/base/fd.h"

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
	return r < 0 ? r : copy_set(ret, d.digest, c->kind == c->m->kind && d.type ? d.type : c->kind == MAN_V2S2 ? T_V2S2_CONFIG : T_OCI_CONFIG, d.size, err);
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
			return copy_set(&(struct desc){ 0 }, "", NULL, 0, err);
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
		r = copy_layers(&c, err);
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
	return r ? r : copy_set(d, w.digest, manifest_type(w.kind), w.len, err);
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
			r = copy_set(&v[i], list->v[i].digest, list->v[i].type ? list->v[i].type : "", list->v[i].size, err);
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
