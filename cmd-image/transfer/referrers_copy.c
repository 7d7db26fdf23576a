/* cmd-image/transfer/referrers_copy.c: an image with what refers to it, what refers to that, and cosign's tags. */
#include <errno.h>
#include <string.h>

#include "cmd-image/transfer/referrers.h"
#include "cmd-image/transfer/store_in.h"
#include "common/base/msg.h"
#include "common/data/digest.h"

#define DEPTH_MAX 8    /* referrers of referrers */
#define COUNT_MAX 1000 /* of all of them */

struct walk {
	struct source *src;
	struct dest *dst;
	const struct copy_opts *o;
	struct hoy_strv seen;
};

/* Was what is to be copied not there, or not what was announced? Then the rest goes on without it. */
static bool passable(int r) { return r == -ENOENT || r == -HOY_ENOIMAGE; }

static int copy_referrers(struct walk *w, const char *subject, int depth, struct hoy_err *err);

static int copy_one_referrer(struct walk *w, const char *digest, const char *subject, int depth, struct hoy_err *err)
{
	cleanup_manifest struct manifest m = { 0 };
	int r;

	if (hoy_strv_has(&w->seen, digest))
		return 0;
	if (w->seen.n >= COUNT_MAX)
		return hoy_fail(err, EFBIG, "more than %d manifests refer to the image", COUNT_MAX);
	hoy_strv_push(&w->seen, digest);
	if (w->seen.error)
		return hoy_fail_oom(err);
	r = source_manifest(w->src, digest, &m, err);
	if (!r && !refers_to(&m, subject))
		r = hoy_fail(err, ENOENT, "%s does not refer to %s", digest, subject);
	if (passable(r)) {
		hoy_warning("%s, ignoring", err->msg);
		*err = (struct hoy_err)HOY_ERR_INIT;
		return 0;
	}
	/* First what refers to it, for the same reason. */
	if (!r)
		r = copy_referrers(w, digest, depth + 1, err);
	if (!r)
		r = copy_parsed(w->src, w->dst, w->o, &m, err);
	return r ? r : w->dst->ops->refer(w->dst, &m, subject, err);
}

static int copy_referrers(struct walk *w, const char *subject, int depth, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv list = HOY_STRV_INIT;
	int r = w->src->ops->referrers(w->src, subject, &list, err);

	if (!r && list.n && depth >= DEPTH_MAX)
		r = hoy_fail(err, ELOOP, "what refers to %s is nested more than %d levels deep", subject, DEPTH_MAX);
	for (size_t i = 0; i < list.n && !r; i++)
		r = copy_one_referrer(w, list.v[i], subject, depth, err);
	return r;
}

/* cosign's older way: signatures, attestations and bills of material under tags that name the image. */
static int copy_tags(struct walk *w, const char *subject, struct hoy_err *err)
{
	static const char *const endings[] = { ".sig", ".att", ".sbom" };

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		cleanup_manifest struct manifest m = { 0 };
		cleanup_free char *data = NULL, *type = NULL;
		char tag[REFERRERS_TAG_SIZE];
		size_t len;
		int r;

		referrers_tag(subject, endings[i], tag);
		r = w->src->ops->tagged(w->src, tag, &data, &len, &type, err);
		if (passable(r)) {
			*err = (struct hoy_err)HOY_ERR_INIT;
			continue;
		}
		if (!r)
			r = manifest_parse(&m, data, len, type, err);
		if (!r)
			r = copy_parsed(w->src, w->dst, w->o, &m, err);
		if (!r)
			r = w->dst->ops->tag(w->dst, &m, tag, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The digests of the image that SRC means, and with --all those of a list's images. */
static int subjects(struct source *src, const struct copy_opts *o, struct hoy_strv *ret, struct hoy_err *err)
{
	cleanup_manifest struct manifest m = { 0 }, list = { 0 };
	int r = o->all ? source_manifest(src, NULL, &m, err) : source_image(src, &o->platform, &m, &list, err);

	/* Nothing comes along with what may not come in. */
	if (!r && o->trust)
		r = image_allowed(src, &m, list.len, o->trust, err);
	if (r < 0)
		return r;
	hoy_strv_push(ret, m.digest);
	for (size_t i = 0; manifest_is_list(&m) && i < m.n; i++)
		hoy_strv_push(ret, m.v[i].digest);
	return ret->error ? hoy_fail_oom(err) : 0;
}

int copy_with_referrers(struct source *src, struct dest *dst, const struct copy_opts *o, char ret_digest[SHA_DIGEST_SIZE], struct hoy_err *err)
{
	struct copy_opts each = *o;
	struct walk w = { src, dst, &each, HOY_STRV_INIT };
	cleanup_strv struct hoy_strv list = HOY_STRV_INIT;
	int r = 0;

	if (!src->ops->referrers || !src->ops->tagged)
		r = hoy_fail(err, HOY_EUNSUPPORTED, "'%s' cannot say what refers to an image: --referrers is for docker:, oci: and oci-archive:", src->name);
	else if (!dst->ops->refer || !dst->ops->tag)
		r = hoy_fail(err, HOY_EUNSUPPORTED, "'%s' takes nothing that refers to an image: --referrers is for docker:, oci: and oci-archive:", dst->name);
	if (!r)
		r = subjects(src, o, &list, err);
	/* The digests are what ties it all together. */
	each.preserve = true;
	each.sign = (struct sign_opts){ .remove = true };
	for (size_t i = 0; i < list.n && !r; i++) {
		r = copy_referrers(&w, list.v[i], 0, err);
		if (!r)
			r = copy_tags(&w, list.v[i], err);
	}
	hoy_strv_release(&w.seen);
	each.sign = o->sign;
	return r ? r : copy_image(src, dst, &each, ret_digest, err);
}
