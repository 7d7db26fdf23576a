/*
 * cmd-image/transfer/mend.c: `mend`: damaged layers and items of an image come again from where the image came from. By the
 * digest of its manifest, so that nothing else can come.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/transfer.h"
#include "common/base/msg.h"
#include "common/data/ref.h"
#include "common/store/images.h"

static const struct hoy_opt no_opts[] = { HOY_OPTS_END };

/* "REPOSITORY@DIGEST" for a name of the image, if a registry can have it; else NULL. */
static char *origin_of(const char *name, const char *digest)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_free char *repo = NULL;

	if (!name || hoy_ref_parse(&ref, name, NULL) < 0 || !ref.domain || !strcmp(ref.domain, "localhost"))
		return NULL;
	repo = hoy_ref_repo(&ref);
	return repo ? hoy_asprintf("%s@%s", repo, digest) : NULL;
}

static void origins(const struct hoy_json *rec, struct hoy_strv *ret)
{
	static const char *const keys[] = { "names", "names-history" };
	const char *digest = hoy_json_str(rec, "digest");

	for (size_t i = 0; i < ARRAY_SIZE(keys) && digest && hoy_is_digest(digest); i++)
		HOY_JSON_EACH(n, hoy_json_get(rec, keys[i])) {
			cleanup_free char *from = origin_of(hoy_json_text(n), digest);

			if (from && !hoy_strv_has(ret, from))
				hoy_strv_push(ret, from);
		}
}

static int mend_from(struct hoy_store *s, const char *from, const char *id, const struct hoy_strv *layers, struct hoy_err *err)
{
	static const struct reg_opts reg = { .tls_verify = -1, .retry = 1 };
	cleanup_source struct source *src = NULL;
	cleanup_manifest struct manifest m = { 0 }, list = { 0 };
	const struct store_in in = { .quiet = true, .damaged = layers };
	struct platform any = { 0 };
	char got[HOY_ID_SIZE];
	int r = source_registry(&src, from, &reg, err);

	if (!r)
		r = source_image(src, &any, &m, &list, err);
	if (!r && strcmp(m.config.digest + 7, id))
		return hoy_fail(err, HOY_EFORMAT, "%s is no longer the image %.12s", from, id);
	return r ? r : store_in(s, src, &m, &list, &in, got, err);
}

/* 1: there is nowhere to fetch it from. */
static int mend(struct hoy_store *s, const char *id, const struct hoy_strv *layers, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv from = HOY_STRV_INIT;
	const struct hoy_json *rec;
	int r = hoy_store_peek(s, HOY_IMAGES, err);

	if (r < 0)
		return r;
	rec = hoy_image_get(s, id);
	if (!rec)
		return hoy_fail(err, ENOENT, "%s: image not known", id);
	origins(rec, &from);
	if (!from.n) /* comes from no registry: nothing to complain about */
		return 1;
	for (size_t i = 0; i < from.n; i++) {
		*err = (struct hoy_err)HOY_ERR_INIT;
		r = mend_from(s, from.v[i], id, layers, err);
		if (!r || transfer_cancelled)
			break;
	}
	return r;
}

static int run_mend(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_store struct hoy_store *s = NULL;
	cleanup_strv struct hoy_strv layers = HOY_STRV_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	int status, r, n = hoy_verb_args(v, argc, argv, NULL, 1, -1, &status);

	if (n < 0)
		return status;
	for (int i = 2; i <= n; i++)
		hoy_strv_push(&layers, argv[i]);
	s = open_store(&err);
	r = s ? mend(s, argv[1], &layers, &err) : -err.code;
	return r < 0 ? hoy_report(&err, 125) : r;
}
const struct hoy_verb verb_mend = { "mend", "IMAGE-ID [LAYER-ID...]", "Fetch damaged layers and items of an image again", no_opts, run_mend,
				    false };
