/* cmd-image/transfer/delete.c: `delete TRANSPORT:IMAGE`: from a registry, an OCI layout, a store. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/registry.h"
#include "cmd-image/transfer/skopeo.h"
#include "cmd-image/transfer/store_name.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/digest.h"
#include "common/data/ref.h"

/* ---- registries ---- */

#define LOOKED_AT 256

/* The digest of what REF means there: registries remove manifests by it alone. */
static int find_digest(struct registry *r, const char *ref, char ret[SHA_DIGEST_SIZE], struct hoy_err *err)
{
	static const char accept[] = T_OCI ", " T_V2S2 ", " T_OCI_INDEX ", " T_V2S2_LIST;
	cleanup_free char *path = hoy_asprintf("/v2/%s/manifests/%s", registry_path(r), ref);
	cleanup_answer struct answer a = { 0 };
	int res = path ? registry_do(r, "GET", path, accept, NULL, NULL, 0, MANIFEST_MAX, &a, err) : hoy_fail_oom(err);

	if (res < 0)
		return res;
	if (a.status == 404)
		return hoy_fail(err, ENOENT, "unable to delete '%s' of '%s': the image may not exist there", ref, registry_path(r));
	if (a.status != 200)
		return registry_refused(r, &a, "the manifest", err);
	sha_of(hoy_buf_str(&a.body), a.body.len, ret);
	if (a.digest && !strncmp(a.digest, "sha256:", 7) && strcmp(a.digest, ret))
		return hoy_fail(err, HOY_EDIGEST, "the manifest '%s' is not what its digest says: it has %s", ref, ret);
	return 0;
}

/*
 * The tags beside SKIP (NULL: all) that mean the manifest DIGEST: they go with it. What the registry doesn't tell, or what would be asked for
 * too long, is not known, which is no reason to delete nothing.
 */
static void find_others(struct registry *r, const char *digest, const char *skip, struct hoy_strv *ret)
{
	static const char accept[] = T_OCI ", " T_V2S2 ", " T_OCI_INDEX ", " T_V2S2_LIST;
	cleanup_strv struct hoy_strv tags = HOY_STRV_INIT;
	size_t n = registry_tags(r, &tags, NULL) < 0 ? 0 : tags.n;

	if (n > LOOKED_AT)
		hoy_warning("only %d of %zu tags were looked at for others that go with this image", LOOKED_AT, n);
	for (size_t i = 0; i < n && i < LOOKED_AT; i++) {
		cleanup_free char *path = skip && !strcmp(tags.v[i], skip) ? NULL : hoy_asprintf("/v2/%s/manifests/%s", registry_path(r), tags.v[i]);
		cleanup_answer struct answer a = { 0 };

		if (path && !registry_do(r, "HEAD", path, accept, NULL, NULL, 0, 0, &a, NULL) && a.status == 200 && a.digest && !strcmp(a.digest, digest))
			hoy_strv_push(ret, tags.v[i]);
	}
}

static int delete_manifest(struct registry *r, const char *digest, struct hoy_err *err)
{
	cleanup_free char *path = hoy_asprintf("/v2/%s/manifests/%s", registry_path(r), digest);
	cleanup_answer struct answer a = { 0 };
	int res = path ? registry_do(r, "DELETE", path, NULL, NULL, NULL, 0, 64 << 10, &a, err) : hoy_fail_oom(err);

	return res < 0 ? res : a.status == 202 || a.status == 200 || a.status == 204 ? 0 : registry_refused(r, &a, "the removal of the manifest", err);
}

static int delete_remote(const char *rest, const struct reg_opts *o, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_strv struct hoy_strv others = HOY_STRV_INIT;
	cleanup_free char *repo = NULL;
	struct registry *r = NULL;
	char digest[SHA_DIGEST_SIZE];
	int res = hoy_ref_parse(&ref, rest, err);

	if (!res && hoy_ref_normalize(&ref) < 0)
		res = hoy_fail_oom(err);
	if (!res)
		res = registry_at(&r, &ref, o, err);
	if (!res)
		res = registry_ping(r, false, err);
	if (!res)
		registry_ask_all(r);
	if (!res)
		res = find_digest(r, ref.digest ? ref.digest : ref.tag, digest, err);
	if (!res)
		find_others(r, digest, ref.digest ? NULL : ref.tag, &others);
	if (!res)
		res = delete_manifest(r, digest, err);
	repo = hoy_ref_repo(&ref);
	for (size_t i = 0; !res && i < others.n; i++)
		progress(false, "%s:%s was the same image, and is gone too", repo ? repo : "", others.v[i]);
	registry_free(r);
	return res;
}

/* ---- stores ---- */

/* The image goes with all its names, as long as no container uses it. */
static int delete_stored(const char *rest, struct hoy_err *err)
{
	cleanup_store_name struct store_name n = { 0 };
	cleanup_store struct hoy_store *s = NULL;
	struct hoy_json *rec;
	int r = store_name_parse(&n, rest, err);

	if (!r && !(s = open_store_at(&n.at, err)))
		r = -err->code;
	if (!r)
		r = hoy_store_lock(s, 0, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, err);
	if (r < 0)
		return r;
	r = store_name_find(&n, s, &rec, err);
	if (!r)
		r = hoy_image_delete(s, hoy_json_str(rec, "id"), NULL, err);
	hoy_store_unlock(s);
	return r;
}

/* ---- the verb ---- */

static const struct hoy_opt opts[] = { REG_LOGIN_OPTS(0, "", ""), REG_PLACE_OPTS(0, "", ""), REG_RETRY_OPTS(0), HOY_OPTS_END };

static int delete_image(const char *name, const struct reg_opts *o, struct hoy_err *err)
{
	if (!strncmp(name, "docker://", 9))
		return delete_remote(name + 9, o, err);
	if (!strncmp(name, "oci:", 4))
		return layout_delete(name + 4, o, err);
	if (!strncmp(name, "containers-storage:", 19))
		return delete_stored(name + 19, err);
	if (!hoy_names_transport(name))
		return hoy_fail(err, EINVAL, "'%s' names no transport (docker://, oci:, containers-storage:)", name);
	return hoy_fail(err, HOY_EUNSUPPORTED, "Deleting images not implemented for %.*s: images", (int)strcspn(name, ":"), name);
}

static int run_delete(const struct hoy_verb *v, int argc, char **argv)
{
	struct reg_opts o = REG_OPTS_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	int status, n = skopeo_args(v, argc, argv, &o, 1, 1, &status);

	if (n < 0)
		return status;
	return delete_image(argv[1], &o, &err) < 0 ? skopeo_failed(&err) : 0;
}
const struct hoy_verb verb_delete = { "delete", "[options] TRANSPORT:IMAGE", "Delete an image from a registry, a layout or a store", opts, run_delete,
				      HOY_VERB_COPIES };
