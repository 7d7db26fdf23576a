/* cmd-image/transfer/push.c: `push`, `copy`, `save`: images out of the store, and past it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/copy.h"
#include "cmd-image/transfer/referrers.h"
#include "cmd-image/transfer/skopeo.h"
#include "cmd-image/transfer/store_name.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/ref.h"

struct out_opts {
	struct copy_opts copy;
	struct reg_opts src, dst, both;
	struct hoy_strv more_tags;
	const char *digestfile, *comp_format, *multi_arch, *output, *format, *progress;
	struct trust trust;
	bool compress, decompress, multi, save_compress, force, referrers;
};
#define O(field) offsetof(struct out_opts, field)
#define COMMON_OPTS \
	{ 0, "authfile", HOY_OPT_STRING, O(both.authfile), "FILE", "file with credentials" }, \
	{ 0, "digestfile", HOY_OPT_STRING, O(digestfile), "FILE", "write the manifest's digest there" }, \
	{ 0, "image-parallel-copies", HOY_OPT_INT, O(copy.parallel), "N", "layers at once (default 6)" }, \
	PROGRESS_OPT(O(progress)), \
	{ 'q', "quiet", HOY_OPT_FLAG, O(copy.quiet), NULL, "no progress" }, \
	SIGN_OPTS(O(copy.sign))

static const struct hoy_opt push_opts[] = {
	COMMON_OPTS,
	REG_CREDS_OPTS(O(dst), "", ""),
	{ 0, "compress", HOY_OPT_FLAG, O(save_compress), NULL, "compress layers on their way into a directory (dir:)" },
	{ 0, "compression-format", HOY_OPT_STRING, O(copy.compression), "FORMAT", "gzip, zstd or zstd:chunked" },
	{ 0, "compression-level", HOY_OPT_INT, O(copy.level), "N", "level of zstd" },
	ENCRYPTION_OPTS(HOY_OPT_LIST, O(copy.crypt)),
	{ 0, "force-compression", HOY_OPT_FLAG, O(force), NULL, NULL },
	{ 'f', "format", HOY_OPT_STRING, O(copy.format), "FORMAT", "oci or v2s2" },
	{ 0, "retry", HOY_OPT_INT, O(dst.retry), "N", "attempts after a failed one (default 3)" },
	{ 0, "retry-delay", HOY_OPT_STRING, O(dst.retry_delay), "DURATION", "time between attempts" },
	HOY_OPTS_END,
};
static const struct hoy_opt copy_opts[] = {
	COMMON_OPTS,
	{ 'a', "all", HOY_OPT_FLAG, O(copy.all), NULL, "all images of a list" },
	{ 0, "additional-tag", HOY_OPT_COMMAS, O(more_tags), "NAME", "one more name in a docker-archive" },
	REG_LOGIN_OPTS(O(dst), "dest-", " of the destination"),
	REG_PLACE_OPTS(O(dst), "dest-", " of the destination"),
	{ 0, "dest-compress", HOY_OPT_FLAG, O(compress), NULL, "compress layers" },
	{ 0, "dest-compress-format", HOY_OPT_STRING, O(comp_format), "FORMAT", "gzip, zstd or zstd:chunked" },
	{ 0, "dest-compress-level", HOY_OPT_INT, O(copy.level), "N", "level of the compression" },
	{ 0, "dest-decompress", HOY_OPT_FLAG, O(decompress), NULL, "write layers as plain tars" },
	{ 0, "dest-force-compress-format", HOY_OPT_FLAG, O(force), NULL, "have all layers in the format that --dest-compress-format names" },
	{ 0, "dest-oci-accept-uncompressed-layers", HOY_OPT_FLAG, O(dst.accept_plain), NULL, "oci: leave layers plain that come so" },
	{ 0, "dest-precompute-digests", HOY_OPT_FLAG, O(copy.precompute), NULL, "compress a layer before it is sent, and send it only if the registry has it not" },
	{ 'f', "format", HOY_OPT_STRING, O(copy.format), "FORMAT", "oci or v2s2" },
	DECRYPTION_OPT(HOY_OPT_COMMAS, O(copy.crypt)),
	ENCRYPTION_OPTS(HOY_OPT_COMMAS, O(copy.crypt)),
	{ 0, "multi-arch", HOY_OPT_STRING, O(multi_arch), "WHICH", "system, all or index-only" },
	{ 0, "sign-identity", HOY_OPT_STRING, O(copy.sign.identity), "REFERENCE", "the name that the signature bears (default: the destination's)" },
	{ 0, "preserve-digests", HOY_OPT_FLAG, O(copy.preserve), NULL, "fail if a digest would change" },
	{ 0, "referrers", HOY_OPT_FLAG, O(referrers), NULL, "copy what refers to the image, too; implies --preserve-digests" },
	REG_RETRY_OPTS(O(both)),
	REG_LOGIN_OPTS(O(src), "src-", " of the source"),
	REG_PLACE_OPTS(O(src), "src-", " of the source"),
	HOY_OPTS_END,
};
#define OUT_INIT { .src = REG_OPTS_INIT, .dst = REG_OPTS_INIT, .both = REG_OPTS_INIT }

static int prepare(struct out_opts *o, struct hoy_err *err)
{
	if (progress_choose(o->progress, &o->copy.quiet, err) < 0)
		return -err->code;
	reg_opts_share(&o->src, &o->both);
	reg_opts_share(&o->dst, &o->both);
	o->src.registries_d = o->dst.registries_d = hoy_globals.registries_d;
	o->copy.platform = skopeo_platform();
	if (o->compress || o->comp_format)
		o->copy.compression = o->comp_format ? o->comp_format : "gzip";
	if (o->decompress)
		o->copy.compression = "none";
	if (o->multi_arch && o->copy.all)
		return hoy_fail(err, EINVAL, "cannot use --all and --multi-arch flags together");
	if (o->multi_arch && !strcmp(o->multi_arch, "all"))
		o->copy.all = true;
	else if (o->multi_arch && !strcmp(o->multi_arch, "index-only"))
		o->copy.all = o->copy.index_only = true;
	else if (o->multi_arch && strcmp(o->multi_arch, "system"))
		return hoy_fail(err, EINVAL, "unknown multi-arch option \"%s\": choose one of the supported options: 'system', 'all', or 'index-only'",
				o->multi_arch);
	return copy_check(&o->copy, err) < 0 ? -err->code : crypt_load(&o->copy.crypt, err);
}

static int write_digest(const struct out_opts *o, const char *digest, struct hoy_err *err)
{
	int r = o->digestfile ? hoy_replace_file(AT_FDCWD, o->digestfile, digest, strlen(digest), 0644, false) : 0;

	return r < 0 ? hoy_fail_errno(err, -r, "cannot write '%s'", o->digestfile) : 0;
}

/* M in the format that is asked for: other types, and the same blobs. */
static int in_format(struct manifest *m, const struct copy_opts *o, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	struct manifest other;
	enum man_kind kind = m->kind;
	int r = copy_format(o->format, &kind, err);

	/* Schema 1 becomes schema 2 anyhow. */
	if (r < 0 || kind == m->kind || (m->kind == MAN_V2S1 && kind == MAN_V2S2))
		return r;
	if (m->kind == MAN_V2S1)
		return hoy_fail(err, HOY_EUNSUPPORTED, "an image of docker's schema 1 comes into a store as one of schema 2 (v2s2)");
	if (o->preserve)
		return hoy_fail(err, HOY_EUNSUPPORTED, "--format would change the manifest, and --preserve-digests forbids it");
	r = manifest_convert(m, kind, NULL, &b, err);
	if (!r)
		r = manifest_parse(&other, b.data, b.len, manifest_type(kind), err);
	if (!r) {
		manifest_release(m);
		*m = other;
	}
	return r;
}

/* Into the store: an image is made of whatever SRC has. */
static int into_store(struct source *src, const char *to, const struct out_opts *o, char digest[SHA_DIGEST_SIZE], struct hoy_err *err)
{
	cleanup_manifest struct manifest m = { 0 }, list = { 0 };
	cleanup_store struct hoy_store *s = NULL;
	cleanup_store_name struct store_name n = { 0 };
	cleanup_free char *name = NULL;
	const char *names[2] = { NULL, NULL };
	struct store_in in = { .quiet = o->copy.quiet, .names = names, .parallel = o->copy.parallel, .trust = o->copy.trust, .crypt = &o->copy.crypt,
			       .no_signatures = o->copy.sign.remove, .sign = &o->copy.sign };
	char id[HOY_ID_SIZE];
	int r = store_name_parse(&n, to, err);

	in.title = to;
	if (!r && n.name && !(names[0] = name = full_name(n.name)))
		r = hoy_fail(err, EINVAL, "'%s' is no image name", n.name);
	if (!r)
		r = source_image(src, &o->copy.platform, &m, &list, err);
	if (!r && o->copy.all && list.len)
		r = hoy_fail(err, HOY_EUNSUPPORTED, "a store has single images: '%s' is a list, and --all asks for all of it", src->name);
	if (!r && n.id && m.kind == MAN_V2S1)
		r = hoy_fail(err, HOY_EUNSUPPORTED, "'%s' is of docker's schema 1: which id it will have is not known", src->name);
	if (!r && n.id && strcmp(n.id, m.config.digest + 7))
		r = hoy_fail(err, EINVAL, "the image would have the id %s, not %s", m.config.digest + 7, n.id);
	if (!r)
		r = in_format(&m, &o->copy, err);
	if (!r && !(s = open_store_at(&n.at, err)))
		r = -err->code;
	if (!r)
		r = store_in(s, src, &m, &list, &in, id, err);
	memcpy(digest, m.digest, SHA_DIGEST_SIZE);
	return r;
}

static int run_out(const char *from, const char *to, struct out_opts *o, struct hoy_err *err)
{
	cleanup_source struct source *src = NULL;
	cleanup_dest struct dest *dst = NULL;
	char digest[SHA_DIGEST_SIZE] = "";
	int r = prepare(o, err);

	o->dst.more_names = &o->more_tags;
	if (!r)
		r = source_open(&src, from, &o->src, err);
	if (!r && o->copy.crypt.encrypt.n && !strncmp(to, "containers-storage:", 19))
		r = hoy_fail(err, HOY_EUNSUPPORTED, "'%s': a store has no encrypted layers (--encryption-key)", to);
	if (!r && o->referrers && !strncmp(to, "containers-storage:", 19))
		r = hoy_fail(err, HOY_EUNSUPPORTED, "'%s': a store takes nothing that refers to an image (--referrers)", to);
	if (!r && !strncmp(to, "containers-storage:", 19)) {
		r = into_store(src, to + 19, o, digest, err);
		return r ? r : write_digest(o, digest, err);
	}
	if (!r)
		r = dest_open(&dst, to, &o->dst, err);
	if (!r)
		r = (o->referrers ? copy_with_referrers : copy_image)(src, dst, &o->copy, digest, err);
	if (!r)
		r = dst->ops->commit(dst, err);
	return r ? r : write_digest(o, digest, err);
}

static int run_push(const struct hoy_verb *v, int argc, char **argv)
{
	struct out_opts o = OUT_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_free char *from = NULL, *to = NULL;
	cleanup_source struct source *src = NULL;
	int status, n = hoy_verb_args(v, argc, argv, &o, 1, 2, &status);
	const char *name = n == 2 ? argv[2] : n == 1 ? argv[1] : NULL;

	if (n < 0)
		return status;
	/* A name alone means the registry that it leads to: the image's full name. */
	if (n == 1) {
		if (source_store(&src, argv[1], &err) < 0)
			return hoy_report(&err, 125);
		if (src->names.n && !strchr(argv[1], '/'))
			name = src->names.v[0];
	}
	from = hoy_asprintf("containers-storage:%s", argv[1]);
	to = hoy_asprintf("%s%s", hoy_names_transport(name) ? "" : "docker://", name);
	if (!from || !to)
		return hoy_report((hoy_fail_oom(&err), &err), 125);
	if (o.save_compress && !strncmp(to, "dir:", 4) && !o.copy.compression)
		o.copy.compression = "gzip";
	status = run_out(from, to, &o, &err) < 0 ? hoy_report(&err, 125) : 0;
	crypt_opts_release(&o.copy.crypt);
	return status;
}
const struct hoy_verb verb_push = { "push", "[options] IMAGE [DESTINATION]", "Push an image to a registry", push_opts, run_push, false };
const struct hoy_verb verb_image_push = { "image push", "[options] IMAGE [DESTINATION]", NULL, push_opts, run_push, false };

static int run_copy(const struct hoy_verb *v, int argc, char **argv)
{
	struct out_opts o = OUT_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	int status, n = skopeo_args(v, argc, argv, &o, 2, 2, &status);

	if (n < 0)
		return status;
	o.trust = skopeo_trust();
	o.copy.trust = &o.trust;
	status = run_out(argv[1], argv[2], &o, &err) < 0 ? skopeo_failed(&err) : 0;
	crypt_opts_release(&o.copy.crypt);
	return status;
}
const struct hoy_verb verb_copy = { "copy", "[options] SOURCE DESTINATION", "Copy an image between registries, archives and the store", copy_opts,
				    run_copy, HOY_VERB_COPIES };

/* ---- save ---- */

static const struct hoy_opt save_opts[] = {
	{ 0, "compress", HOY_OPT_FLAG, O(save_compress), NULL, "compress the layers (docker-dir)" },
	{ 0, "format", HOY_OPT_STRING, O(format), "FORMAT", "docker-archive, oci-archive, oci-dir or docker-dir" },
	{ 'm', "multi-image-archive", HOY_OPT_FLAG, O(multi), NULL, "all arguments are images" },
	{ 'o', "output", HOY_OPT_STRING, O(output), "FILE", "where to (default: stdout)" },
	PROGRESS_OPT(O(progress)),
	{ 'q', "quiet", HOY_OPT_FLAG, O(copy.quiet), NULL, "no progress" },
	{ 0, "uncompressed", HOY_OPT_FLAG, O(dst.accept_plain), NULL, "leave layers plain that are so (oci-archive, oci-dir)" },
	HOY_OPTS_END,
};

static int save_one(struct dest *dst, const char *image, const struct hoy_strv *more, struct out_opts *o, struct hoy_err *err)
{
	cleanup_source struct source *src = NULL;
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	char digest[SHA_DIGEST_SIZE];
	int r = source_store(&src, image, err);

	if (r < 0)
		return r;
	/* The name that it was asked by, as the store has it, and those that were given beside. An id brings none. */
	for (size_t i = 0; i < src->names.n; i++) {
		cleanup_free char *a = local_name(image), *b = full_name(image);

		if ((a && !strcmp(a, src->names.v[i])) || (b && !strcmp(b, src->names.v[i])))
			hoy_strv_push(&names, src->names.v[i]);
	}
	for (size_t i = 0; more && i < more->n; i++)
		hoy_strv_push(&names, more->v[i]);
	dst->ops->name(dst, &names);
	o->copy.sign.remove = true;
	return copy_image(src, dst, &o->copy, digest, err);
}

static int run_save(const struct hoy_verb *v, int argc, char **argv)
{
	static const char *const formats[][2] = { { "docker-archive", "docker-archive:" }, { "oci-archive", "oci-archive:" },
						  { "oci-dir", "oci:" }, { "docker-dir", "dir:" } };
	struct out_opts o = OUT_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_dest struct dest *dst = NULL;
	cleanup_strv struct hoy_strv more = HOY_STRV_INIT;
	cleanup_free char *to = NULL;
	const char *prefix = NULL;
	int status, r = 0, n = hoy_verb_args(v, argc, argv, &o, 1, -1, &status);

	if (n < 0)
		return status;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (!strcmp(o.format ? o.format : "docker-archive", formats[i][0]))
			prefix = formats[i][1];
	if (!prefix)
		r = hoy_fail(&err, EINVAL, "unknown format \"%s\": specify either docker-archive, oci-archive, oci-dir or docker-dir", o.format);
	else if (!o.output && isatty(1))
		r = hoy_fail(&err, EINVAL, "refusing to save to terminal. Use -o flag or redirect");
	else if (!o.output && (!strcmp(prefix, "oci:") || !strcmp(prefix, "dir:")))
		r = hoy_fail(&err, EINVAL, "a directory needs --output");
	else if (o.multi && strcmp(prefix, "docker-archive:"))
		r = hoy_fail(&err, HOY_EUNSUPPORTED, "multi-image archives are of the format docker-archive only");
	else if (o.output && strchr(o.output, ':'))
		r = hoy_fail(&err, EINVAL, "invalid filename (should not contain ':') \"%s\"", o.output);
	if (!r && o.save_compress)
		o.copy.compression = "gzip";
	to = hoy_asprintf("%s%s", prefix ? prefix : "", o.output ? o.output : "-");
	o.copy.format = prefix && !strcmp(prefix, "dir:") ? "v2s2" : NULL;
	if (!o.output)
		o.copy.quiet = true;
	if (!r)
		r = progress_choose(o.progress, &o.copy.quiet, &err);
	for (int i = 2; !r && !o.multi && i <= n; i++)
		hoy_strv_take(&more, full_name(argv[i]));
	if (!r)
		r = dest_open(&dst, to, &o.dst, &err);
	for (int i = 1; !r && i <= (o.multi ? n : 1); i++)
		r = save_one(dst, argv[i], &more, &o, &err);
	if (!r)
		r = dst->ops->commit(dst, &err);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_save = { "save", "[options] IMAGE [IMAGE...]", "Save images to an archive or directory", save_opts, run_save, false };
const struct hoy_verb verb_image_save = { "image save", "[options] IMAGE [IMAGE...]", NULL, save_opts, run_save, false };
