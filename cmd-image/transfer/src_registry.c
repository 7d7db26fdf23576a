/* cmd-image/transfer/src_registry.c: docker:// as a source. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/lookaside.h"
#include "cmd-image/transfer/referrers.h"
#include "cmd-image/transfer/registry.h"
#include "cmd-image/transfer/schema1.h"
#include "common/conf/policy.h"
#include "common/conf/registries.h"
#include "common/data/ref.h"

#define PAGES_MAX 100
#define ACCEPT T_OCI ", " T_V2S2 ", " T_OCI_INDEX ", " T_V2S2_LIST ", " T_V2S1 ", " T_V2S1_UNSIGNED

struct reg_source {
	struct source s;
	struct registry *r;
	char *tag, *digest;
	char *first; /* the manifest that was fetched to see which endpoint answers */
	size_t first_len;
	char *first_type;
	struct hoy_ref at; /* what it is called where it was found: a mirror has signatures of its own */
	const char *registries_d;
	bool mirror;
};

static int get_manifest(struct reg_source *x, const char *ref, char **ret, size_t *ret_len, char **ret_type, struct hoy_err *err)
{
	cleanup_free char *path = hoy_asprintf("/v2/%s/manifests/%s", registry_path(x->r), ref);
	cleanup_free char *what = hoy_asprintf("manifest %s", ref);
	cleanup_answer struct answer a = { 0 };
	char sum[SHA_DIGEST_SIZE];
	int r = path && what ? 0 : hoy_fail_oom(err);

	if (!r && !registry_base(x->r))
		r = registry_get_first(x->r, path, ACCEPT, MANIFEST_MAX, &a, err);
	else if (!r)
		r = registry_do(x->r, "GET", path, ACCEPT, NULL, NULL, 0, MANIFEST_MAX, &a, err);
	if (r < 0)
		return r;
	if (a.status != 200) {
		r = registry_refused(x->r, &a, what, err);
		return registry_says(&a, "MANIFEST_UNKNOWN") ? -(err->code = HOY_ENOIMAGE) : r;
	}
	/* Of schema 1 only a part is digested. */
	if (!a.type || !strstr(a.type, "manifest.v1+") || !schema1_digest(hoy_buf_str(&a.body), a.body.len, sum))
		sha_of(hoy_buf_str(&a.body), a.body.len, sum);
	if (a.digest && !strncmp(a.digest, "sha256:", 7) && strcmp(a.digest, sum))
		return hoy_fail(err, HOY_EDIGEST, "the manifest %s of '%s' is not what its digest says: it has %s instead of %.80s", ref, x->s.name,
				sum, a.digest);
	if (!strncmp(ref, "sha256:", 7) && strcmp(ref, sum))
		return hoy_fail(err, HOY_EDIGEST, "the manifest %s of '%s' is not what its digest says: it has %s", ref, x->s.name, sum);
	*ret_len = a.body.len;
	*ret_type = steal_ptr(&a.type);
	*ret = hoy_buf_steal(&a.body);
	return *ret ? 0 : hoy_fail_oom(err);
}

static int rs_manifest(struct source *s, const char *digest, char **ret, size_t *ret_len, char **ret_type, struct hoy_err *err)
{
	struct reg_source *x = (struct reg_source *)s;

	if (digest)
		return get_manifest(x, digest, ret, ret_len, ret_type, err);
	*ret = malloc(x->first_len + 1);
	if (!*ret)
		return hoy_fail_oom(err);
	memcpy(*ret, x->first, x->first_len + 1);
	*ret_len = x->first_len;
	*ret_type = x->first_type ? strdup(x->first_type) : NULL;
	return 0;
}

/* Most registries haven't such a layer; who asks for it gets it from where its descriptor says. */
static bool has_blob(struct reg_source *x, const char *path)
{
	cleanup_answer struct answer a = { 0 };

	return !registry_do(x->r, "HEAD", path, NULL, NULL, NULL, 0, 64 << 10, &a, NULL) && a.status == 200;
}

static int rs_resume(struct source *s, const struct desc *d, struct part *part, struct stream **ret, struct hoy_err *err)
{
	struct reg_source *x = (struct reg_source *)s;
	cleanup_free char *path = hoy_asprintf("/v2/%s/blobs/%s", registry_path(x->r), d->digest);

	if (!path)
		return hoy_fail_oom(err);
	if (desc_url(d) && !has_blob(x, path))
		return registry_stream(x->r, desc_url(d), d->size, part, ret, err);
	return registry_stream(x->r, path, d->size, part, ret, err);
}

static int rs_blob(struct source *s, const struct desc *d, int layer, struct stream **ret, struct hoy_err *err)
{
	return rs_resume(s, d, NULL, ret, err);
}

static void rs_free(struct source *s)
{
	struct reg_source *x = (struct reg_source *)s;

	registry_free(x->r);
	free(x->tag);
	free(x->digest);
	free(x->first);
	free(x->first_type);
	hoy_ref_release(&x->at);
}

static int rs_signatures(struct source *s, const struct manifest *m, bool instance, struct sigs *ret, struct hoy_err *err)
{
	struct reg_source *x = (struct reg_source *)s;

	(void)instance;
	return registry_signatures(x->r, &x->at, m->digest, x->registries_d, ret, err);
}

static int rs_tags(struct source *s, struct hoy_strv *ret, struct hoy_err *err)
{
	struct reg_source *x = (struct reg_source *)s;

	return x->mirror ? 1 : registry_tags(x->r, ret, err);
}

/* ---- what refers to an image ---- */

/* The digests of the list in DATA. */
static int take_list(struct reg_source *x, const char *data, size_t len, struct hoy_strv *ret, struct hoy_err *err)
{
	cleanup_manifest struct manifest m = { 0 };
	int r = manifest_parse(&m, data, len, T_OCI_INDEX, err);

	if (!r && !manifest_is_list(&m))
		r = hoy_fail(err, HOY_EFORMAT, "'%s' has no list where it should be", x->s.name);
	for (size_t i = 0; i < m.n && !r; i++)
		hoy_strv_push(ret, m.v[i].digest);
	return r ? hoy_fail_prefix(err, "what refers to an image") : ret->error ? hoy_fail_oom(err) : 0;
}

static int rs_tagged(struct source *s, const char *tag, char **ret, size_t *ret_len, char **ret_type, struct hoy_err *err)
{
	return get_manifest((struct reg_source *)s, tag, ret, ret_len, ret_type, err);
}

/* Where there is no API, a tag stands in for it. */
static int by_tag(struct reg_source *x, const char *digest, struct hoy_strv *ret, struct hoy_err *err)
{
	cleanup_free char *data = NULL, *type = NULL;
	char tag[REFERRERS_TAG_SIZE];
	size_t len;
	int r;

	referrers_tag(digest, "", tag);
	r = get_manifest(x, tag, &data, &len, &type, err);
	if (r == -ENOENT || r == -HOY_ENOIMAGE) {
		*err = (struct hoy_err)HOY_ERR_INIT;
		return 0;
	}
	return r ? r : take_list(x, data, len, ret, err);
}

static int rs_referrers(struct source *s, const char *digest, struct hoy_strv *ret, struct hoy_err *err)
{
	struct reg_source *x = (struct reg_source *)s;
	cleanup_free char *path = hoy_asprintf("/v2/%s/referrers/%s", registry_path(x->r), digest);

	for (int page = 0; path; page++) {
		cleanup_answer struct answer a = { 0 };
		char *next;
		int r = registry_do(x->r, "GET", path, T_OCI_INDEX, NULL, NULL, 0, MANIFEST_MAX, &a, err);

		if (!r && !page && a.status == 404)
			return by_tag(x, digest, ret, err);
		if (!r && a.status != 200)
			r = registry_refused(x->r, &a, "the list of referrers", err);
		if (!r)
			r = take_list(x, hoy_buf_str(&a.body), a.body.len, ret, err);
		if (!r && page == PAGES_MAX)
			r = hoy_fail(err, EFBIG, "'%s' has more than %d pages of referrers", s->name, PAGES_MAX);
		if (r < 0)
			return r;
		next = registry_next_page(&a);
		if (next && *next == '?') {
			cleanup_free char *query = next;

			path[strcspn(path, "?")] = '\0';
			next = hoy_asprintf("%s%s", path, query);
		}
		if (!next)
			return 0;
		free(path);
		path = next;
	}
	return hoy_fail_oom(err);
}

static const struct source_ops ops = { .manifest = rs_manifest, .blob = rs_blob, .free = rs_free, .resume = rs_resume, .signatures = rs_signatures, .tags = rs_tags,
				       .referrers = rs_referrers, .tagged = rs_tagged };

/* Does the repository have the blob DIGEST? */
static int see_blob(struct reg_source *x, const char *digest, struct hoy_err *err)
{
	cleanup_free char *path = hoy_asprintf("/v2/%s/blobs/%s", registry_path(x->r), digest);
	cleanup_free char *what = hoy_asprintf("blob %s", digest);
	cleanup_answer struct answer a = { 0 };
	int r = path && what ? registry_do(x->r, "HEAD", path, NULL, NULL, NULL, 0, 64 << 10, &a, err) : hoy_fail_oom(err);

	/* Some registries don't answer HEAD: GET will tell. */
	if (r < 0 || a.status == 200 || a.status == 405)
		return r;
	r = registry_refused(x->r, &a, what, err);
	return a.status == 404 ? -(err->code = HOY_ENOIMAGE) : r;
}

static int try_endpoint(struct reg_source *x, const struct hoy_endpoint *e, const char *name, const struct reg_opts *o, struct hoy_err *err)
{
	int r = registry_new(&x->r, e->repo, name, e->insecure, o, err);

	hoy_ref_release(&x->at);
	x->at = (struct hoy_ref)HOY_REF_INIT;
	if (!r)
		r = hoy_ref_parse(&x->at, e->repo, err);
	if (!r) {
		x->at.tag = x->tag ? strdup(x->tag) : NULL;
		x->at.digest = x->digest ? strdup(x->digest) : NULL;
		if (hoy_ref_normalize(&x->at) < 0)
			r = hoy_fail_oom(err);
	}
	if (!r && o->blob) {
		r = registry_ping(x->r, false, err);
		if (!r)
			r = see_blob(x, o->blob, err);
	} else if (!r) {
		r = get_manifest(x, x->digest ? x->digest : x->tag, &x->first, &x->first_len, &x->first_type, err);
	}
	if (r < 0) {
		registry_free(x->r);
		x->r = NULL;
	}
	return r;
}

/* What policy.json knows it by is what was asked for, wherever registries.conf leads. */
static int name_source(struct reg_source *x, struct hoy_ref *ref)
{
	cleanup_free char *full = NULL;

	/* A tag beside a digest says nothing. */
	if (ref->digest)
		ref->tag = (free(ref->tag), NULL);
	full = hoy_ref_string(ref);
	x->s.transport = "docker";
	x->s.title = full ? hoy_asprintf("docker://%s", full) : NULL;
	if (!x->s.title || hoy_policy_scopes(ref, &x->s.scopes) < 0)
		return -ENOMEM;
	x->s.ref = *ref;
	*ref = (struct hoy_ref)HOY_REF_INIT;
	return 0;
}

int source_registry(struct source **ret, const char *rest, const struct reg_opts *o, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	struct reg_source *x = calloc(1, sizeof(*x));
	struct hoy_endpoints eps = { NULL, 0 };
	int r = x ? hoy_ref_parse(&ref, rest, err) : hoy_fail_oom(err);

	if (!r && hoy_ref_normalize(&ref) < 0)
		r = hoy_fail_oom(err);
	if (!r && o->manifest) {
		free(ref.digest);
		ref.digest = strdup(o->manifest);
	}
	if (!r) {
		x->s.ops = &ops;
		x->registries_d = o->registries_d;
		x->s.name = hoy_ref_repo(&ref);
		x->tag = ref.tag ? strdup(ref.tag) : NULL;
		x->digest = ref.digest ? strdup(ref.digest) : NULL;
		r = hoy_registry_endpoints(&ref, o->no_mirrors, &eps, err);
	}
	for (size_t i = 0; !r && i < eps.n; i++) {
		x->mirror = i + 1 < eps.n;
		r = try_endpoint(x, &eps.v[i], x->s.name, o, err);
		/* A mirror that fails is passed over. */
		if (r < 0 && i + 1 < eps.n && !transfer_cancelled)
			r = 0;
		else
			break;
	}
	hoy_endpoints_release(&eps);
	if (!r && name_source(x, &ref) < 0)
		r = hoy_fail_oom(err);
	if (!r) {
		x->s.repo_host = strdup(registry_host(x->r));
		x->s.repo = strdup(registry_path(x->r));
		x->s.repository = strdup(x->s.name);
		*ret = &x->s;
	} else if (x && x->s.ops) {
		source_free(&x->s);
	} else {
		free(x);
	}
	return r;
}
