/* cmd-image/transfer/manifest_push.c: `manifest push`: the images of a list, each from where it is, then the list. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/copy.h"
#include "cmd-image/transfer/index.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/digest.h"
#include "common/data/ref.h"

struct push_opts {
	struct copy_opts copy;
	struct trust trust;
	struct reg_opts reg;
	int all;
	bool rm, force; /* force: it is so in any case */
	struct hoy_strv variants;
	const char *digestfile, *progress;
};
#define O(field) offsetof(struct push_opts, field)
static const struct hoy_opt opts[] = {
	{ 0, "add-compression", HOY_OPT_COMMAS, O(variants), "FORMAT", "add to each platform an image with this compression (gzip, zstd, zstd:chunked), if it has none" },
	{ 0, "all", HOY_OPT_TRI, O(all), NULL, "push the images too (default true)" },
	{ 0, "authfile", HOY_OPT_STRING, O(reg.authfile), "FILE", "file with credentials" },
	{ 0, "cert-dir", HOY_OPT_STRING, O(reg.cert_dir), "DIR", "directory of certificates" },
	{ 0, "compression-format", HOY_OPT_STRING, O(copy.compression), "FORMAT", "gzip or zstd" },
	{ 0, "compression-level", HOY_OPT_INT, O(copy.level), "N", "level of zstd" },
	{ 0, "creds", HOY_OPT_STRING, O(reg.creds), "USER:PASSWORD", "credentials for the registry" },
	{ 0, "digestfile", HOY_OPT_STRING, O(digestfile), "FILE", "write the list's digest there" },
	{ 0, "force-compression", HOY_OPT_FLAG, O(force), NULL, "compress anew what the registry has with another compression" },
	{ 'f', "format", HOY_OPT_STRING, O(copy.format), "FORMAT", "oci or v2s2" },
	PROGRESS_OPT(O(progress)),
	{ 'q', "quiet", HOY_OPT_FLAG, O(copy.quiet), NULL, "no progress" },
	SIGN_OPTS(O(copy.sign)),
	{ 0, "retry", HOY_OPT_INT, O(reg.retry), "N", NULL }, /* hoy-build's, like the next */
	{ 0, "retry-delay", HOY_OPT_STRING, O(reg.retry_delay), "DURATION", NULL },
	{ 0, "rm", HOY_OPT_FLAG, O(rm), NULL, "remove the list when it has been pushed" },
	{ 0, "tls-verify", HOY_OPT_TRI, O(reg.tls_verify), NULL, "require HTTPS and check certificates (default true)" },
	HOY_OPTS_END,
};

/* ---- a source that means one image of another one, a destination that notes the manifest it gets ---- */

struct one_source {
	struct source s, *in;
	const char *digest;
};

static int one_manifest(struct source *s, const char *digest, char **ret, size_t *ret_len, char **ret_type, struct hoy_err *err)
{
	struct one_source *x = (struct one_source *)s;

	return x->in->ops->manifest(x->in, digest ? digest : x->digest, ret, ret_len, ret_type, err);
}
static int one_blob(struct source *s, const struct desc *d, int layer, struct stream **ret, struct hoy_err *err)
{
	struct one_source *x = (struct one_source *)s;

	return x->in->ops->blob(x->in, d, layer, ret, err);
}
static bool one_packed(struct source *s, int layer, struct desc *d, const char **ret_suffix)
{
	struct one_source *x = (struct one_source *)s;

	return x->in->ops->packed && x->in->ops->packed(x->in, layer, d, ret_suffix);
}
static int one_signatures(struct source *s, const struct manifest *m, bool instance, struct sigs *ret, struct hoy_err *err)
{
	struct one_source *x = (struct one_source *)s;

	return x->in->ops->signatures ? x->in->ops->signatures(x->in, m, instance, ret, err) : 0;
}
static const struct source_ops one_ops = { .manifest = one_manifest, .blob = one_blob, .packed = one_packed, .signatures = one_signatures };

struct noting_dest {
	struct dest d, *to;
	char *digest;
	int64_t size;
	enum man_kind kind;
};

static int noting_has(struct dest *d, const struct desc *blob, const struct source *src, struct hoy_err *err)
{
	struct dest *to = ((struct noting_dest *)d)->to;

	return to->ops->has(to, blob, src, err);
}
static int noting_put(struct dest *d, const char *digest, int64_t size, struct sink **ret, struct hoy_err *err)
{
	struct dest *to = ((struct noting_dest *)d)->to;

	return to->ops->put(to, digest, size, ret, err);
}
static int noting_manifest(struct dest *d, const struct manifest *m, bool top, struct hoy_err *err)
{
	struct noting_dest *x = (struct noting_dest *)d;

	free(x->digest);
	x->digest = strdup(m->digest);
	x->size = (int64_t)m->len;
	x->kind = m->kind;
	return x->digest ? x->to->ops->manifest(x->to, m, false, err) : hoy_fail_oom(err);
}
static int noting_signatures(struct dest *d, const struct manifest *m, bool top, const struct sigs *sigs, struct hoy_err *err)
{
	struct dest *to = ((struct noting_dest *)d)->to;

	(void)top;
	return to->ops->signatures(to, m, false, sigs, err);
}
static const struct dest_ops noting_ops = { .has = noting_has, .put = noting_put, .manifest = noting_manifest, .signatures = noting_signatures };
static const struct dest_ops unsigned_ops = { .has = noting_has, .put = noting_put, .manifest = noting_manifest };

/* ---- the images ---- */

/* How to open what instances.json calls FROM: podman's "containers-storage:[...]NAME@ID" is an image of this store. */
static char *to_open(const char *from)
{
	const char *rest = strncmp(from, "containers-storage:", 19) ? NULL : from + 19, *at;

	if (!rest)
		return strdup(from);
	if (*rest == '[' && strchr(rest, ']'))
		rest = strchr(rest, ']') + 1;
	at = strrchr(rest, '@');
	return hoy_asprintf("containers-storage:%s", at && hoy_is_id(at + 1) ? at + 1 : rest);
}

/* Copy the image of entry E, and make E name what has arrived. */
static int push_one(struct index *x, struct hoy_json *e, struct dest *dst, const struct push_opts *o, struct hoy_err *err)
{
	const char *digest = hoy_json_str(e, "digest"), *from = digest ? index_from(x, digest) : NULL;
	struct one_source src = { .digest = digest };
	struct noting_dest to = { .d = *dst, .to = dst };
	cleanup_free char *open = from ? to_open(from) : NULL;
	struct copy_opts copy = o->copy;
	char written[SHA_DIGEST_SIZE];
	int r;

	r = digest ? source_listed(&src.in, x, digest, err) : 0;
	if (!r && !src.in && !from)
		return hoy_fail(err, ENOENT, "the list does not say where its image %s is (add it again)", digest ?: "");
	if (!r && !src.in && !open)
		return hoy_fail_oom(err);
	progress(o->copy.quiet, "Copying image %s", digest);
	if (!r && !src.in)
		r = source_open(&src.in, open, &o->reg, err);
	else if (!r)
		copy.trust = NULL;
	if (r < 0)
		return r;
	/* All that the others say of themselves, which stays theirs. */
	src.s = *src.in;
	src.s.ops = &one_ops;
	to.d.ops = dst->ops->signatures ? &noting_ops : &unsigned_ops;
	r = copy_image(&src.s, &to.d, &copy, written, err);
	sigs_release(&src.s.sigs);
	source_free(src.in);
	if (!r && (!to.digest || !hoy_json_set_string(&x->doc, e, "digest", to.digest) || !hoy_json_set_int(&x->doc, e, "size", to.size) ||
		   !hoy_json_set_string(&x->doc, e, "mediaType", manifest_type(to.kind))))
		r = hoy_fail_oom(err);
	free(to.digest);
	return r;
}

/* ---- images added for their compression ---- */

#define NOTE_ZSTD "io.github.containers.compression.zstd"

static const char *compression_of(const struct hoy_json *e)
{
	const char *zstd = hoy_json_str(hoy_json_get(e, "annotations"), NOTE_ZSTD);

	return zstd && !strcmp(zstd, "true") ? "zstd" : "gzip";
}

static bool same_platform(const struct hoy_json *a, const struct hoy_json *b)
{
	static const char *const keys[] = { "architecture", "os", "variant", "os.version" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(hoy_json_str(hoy_json_get(a, "platform"), keys[i]) ?: "", hoy_json_str(hoy_json_get(b, "platform"), keys[i]) ?: ""))
			return false;
	return true;
}

/* Does the list have an image for E's platform with this compression? (zstd:chunked is zstd.) */
static bool has_variant(const struct hoy_json *list, const struct hoy_json *e, const char *compression)
{
	HOY_JSON_EACH(it, list)
		if (same_platform(it, e) && !strncmp(compression_of(it), compression, 4))
			return true;
	return false;
}

/* The image of entry E once more, with this compression; the entry for it is added to NEW. */
static int push_variant(struct index *x, const struct hoy_json *e, const char *compression, struct hoy_json *new, struct dest *dst, const struct push_opts *o,
			struct hoy_err *err)
{
	struct push_opts mine = *o;
	struct hoy_json *copy = hoy_json_copy(&x->doc, e), *notes = NULL;
	int r;

	if (!copy || !hoy_json_put(&x->doc, new, NULL, copy) || !(notes = hoy_json_need(&x->doc, copy, "annotations", HOY_JSON_OBJECT)))
		return hoy_fail_oom(err);
	mine.copy.compression = compression;
	r = push_one(x, copy, dst, &mine, err);
	hoy_json_unset(notes, NOTE_ZSTD);
	if (!r && !strncmp(compression, "zstd", 4) && !hoy_json_set_string(&x->doc, notes, NOTE_ZSTD, "true"))
		r = hoy_fail_oom(err);
	if (!notes->child)
		hoy_json_unset(copy, "annotations");
	return r;
}

/* What readers of old don't know comes last: they take the first image of a platform. */
static int zstd_last(struct index *x, const struct hoy_json *list, const struct hoy_json *new)
{
	const struct hoy_json *const from[] = { list, new };
	struct hoy_json *all = hoy_json_new(&x->doc, HOY_JSON_ARRAY);

	for (int zstd = 0; zstd < 2; zstd++)
		for (size_t k = 0; all && k < ARRAY_SIZE(from); k++)
			HOY_JSON_EACH(e, from[k])
				if ((*compression_of(e) == 'z') == zstd && !hoy_json_put(&x->doc, all, NULL, hoy_json_copy(&x->doc, e)))
					return -ENOMEM;
	return all && hoy_json_put(&x->doc, x->doc.root, "manifests", all) ? 0 : -ENOMEM;
}

/* BEFORE: the entries as they were, with the digests that say where their images are; the list has those that were pushed. */
static int push_variants(struct index *x, const struct hoy_json *before, struct dest *dst, const struct push_opts *o, struct hoy_err *err)
{
	const struct hoy_json *list = hoy_json_get(x->doc.root, "manifests");
	struct hoy_json *new = hoy_json_new(&x->doc, HOY_JSON_ARRAY);
	int r = new ? 0 : hoy_fail_oom(err);

	for (struct hoy_json *e = before ? before->child : NULL; e && !r; e = e->next)
		for (size_t i = 0; i < o->variants.n && !r; i++)
			if (hoy_json_get(e, "platform") && !has_variant(before, e, o->variants.v[i]) && !has_variant(new, e, o->variants.v[i]))
				r = push_variant(x, e, o->variants.v[i], new, dst, o, err);
	return r < 0 ? r : zstd_last(x, list, new) < 0 ? hoy_fail_oom(err) : 0;
}

static int check_variants(const struct push_opts *o, struct hoy_err *err)
{
	for (size_t i = 0; i < o->variants.n; i++)
		if (strcmp(o->variants.v[i], "gzip") && strcmp(o->variants.v[i], "zstd") && strcmp(o->variants.v[i], "zstd:chunked"))
			return hoy_fail(err, EINVAL, "requested compression algorithm '%s' is not supported for replication (gzip, zstd, zstd:chunked)", o->variants.v[i]);
	if (o->variants.n && o->copy.format && strcmp(o->copy.format, "oci"))
		return hoy_fail(err, HOY_EUNSUPPORTED, "only OCI's lists can say how images are compressed (--add-compression, --format)");
	if (o->variants.n && !o->all)
		return hoy_fail(err, EINVAL, "--add-compression pushes images, --all=false does not");
	return 0;
}

static int push_list(struct index *x, struct dest *dst, const struct push_opts *o, char ret[SHA_DIGEST_SIZE], struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	cleanup_manifest struct manifest m = { 0 };
	bool docker = o->copy.format ? strcmp(o->copy.format, "oci") : !dst->takes[MAN_OCI_INDEX];
	enum man_kind kind = docker ? MAN_V2S2_LIST : MAN_OCI_INDEX;
	int r;

	if (!dst->takes[kind])
		return hoy_fail(err, HOY_EUNSUPPORTED, "'%s' takes no list of this format", dst->name);
	r = index_write(&b, x, kind);
	if (r < 0)
		return hoy_fail_oom(err);
	progress(o->copy.quiet, "Writing manifest list to image destination");
	r = manifest_parse(&m, b.data, b.len, manifest_type(kind), err);
	if (!r)
		memcpy(ret, m.digest, SHA_DIGEST_SIZE);
	return r ? r : dst->ops->manifest(dst, &m, true, err);
}

static int push(struct index *x, const char *to, const struct push_opts *o, char ret[SHA_DIGEST_SIZE], struct hoy_err *err)
{
	const struct hoy_json *list = hoy_json_get(x->doc.root, "manifests");
	cleanup_json struct hoy_json_doc before = HOY_JSON_DOC_INIT;
	cleanup_dest struct dest *dst = NULL;
	int r = dest_open(&dst, to, &o->reg, err);

	if (!r && o->variants.n && list && !(before.root = hoy_json_copy(&before, list)))
		r = hoy_fail_oom(err);
	for (struct hoy_json *e = list ? list->child : NULL; e && !r && o->all; e = e->next)
		r = push_one(x, e, dst, o, err);
	if (!r && o->variants.n)
		r = push_variants(x, before.root, dst, o, err);
	if (!r)
		r = push_list(x, dst, o, ret, err);
	return r ? r : dst->ops->commit(dst, err);
}

static int run_push(const struct hoy_verb *v, int argc, char **argv)
{
	struct push_opts o = { .reg = REG_OPTS_INIT, .all = 1 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_index struct index x = INDEX_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_free char *to = NULL;
	char digest[SHA_DIGEST_SIZE] = "";
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 1, 2, &status);

	if (n < 0)
		return status;
	s = open_store(&err);
	r = s ? hoy_store_peek(s, HOY_LAYERS | HOY_IMAGES, &err) : -err.code;
	if (!r && index_load(&x, s, argv[1], &err) < 0)
		r = hoy_fail_prefix(&err, "retrieving local image from image name %s", argv[1]);
	o.copy.trust = &o.trust;
	to = hoy_asprintf("%s%s", hoy_names_transport(argv[n]) ? "" : "docker://", argv[n]);
	if (!r)
		r = progress_choose(o.progress, &o.copy.quiet, &err);
	if (!r)
		r = check_variants(&o, &err);
	if (!r)
		r = sign_check(&o.copy.sign, &err);
	if (!r)
		r = to ? push(&x, to, &o, digest, &err) : hoy_fail_oom(&err);
	if (!r && o.digestfile && (r = hoy_replace_file(AT_FDCWD, o.digestfile, digest, strlen(digest), 0644, false)) < 0)
		hoy_fail_errno(&err, -r, "cannot write '%s'", o.digestfile);
	if (!r && o.rm)
		r = index_delete(s, argv[1], &err);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_manifest_push = { "manifest push", "[options] LIST [DESTINATION]", "Push a list and its images", opts, run_push, false };
