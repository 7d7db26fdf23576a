#include "common/oci/artifacts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/beneath.h"
#include "common/base/err.h"
#include "common/base/fd.h"

int hoy_artifacts_open(struct hoy_artifacts *a, const struct hoy_storage_args *args, bool make, struct hoy_err *err)
{
	struct hoy_storage_conf conf;
	int r = hoy_storage_conf_load(&conf, args, err);

	if (!r && !(a->path = hoy_path_join(conf.graphroot, "artifacts")))
		r = hoy_fail_oom(err);
	hoy_storage_conf_release(&conf);
	if (r < 0)
		return r;
	a->dirfd = make ? hoy_open_dir_p(AT_FDCWD, a->path, 0700) : open(a->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->dirfd < 0 && !make && errno == ENOENT)
		return 0;
	if (a->dirfd < 0)
		return hoy_fail_errno(err, make ? -a->dirfd : errno, "cannot open '%s'", a->path);
	r = hoy_lock_open(&a->lock, a->dirfd, "index.lock", !make);
	/* A place that nobody can write to needs no lock. */
	if (!make && (r == -EROFS || r == -EACCES))
		return 0;
	return r < 0 ? hoy_fail_errno(err, -r, "cannot open 'index.lock' in '%s'", a->path) : 0;
}

int hoy_artifacts_lock(struct hoy_artifacts *a, bool write, struct hoy_err *err)
{
	int r = a->lock.fd < 0 ? 0 : hoy_lock_take(&a->lock, write);

	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot lock 'index.lock' in '%s'", a->path);
	hoy_json_release(&a->index);
	r = a->dirfd < 0 ? 0 : hoy_json_load(&a->index, a->dirfd, "index.json", HOY_LAYOUT_MAX, err);
	if (r == -ENOENT) {
		*err = (struct hoy_err)HOY_ERR_INIT;
		r = 0;
	}
	return r < 0 ? hoy_fail_prefix(err, "'%s'", a->path) : 0;
}

void hoy_artifacts_unlock(struct hoy_artifacts *a)
{
	if (a->lock.held)
		hoy_lock_drop(&a->lock);
}

void hoy_artifacts_release(struct hoy_artifacts *a)
{
	hoy_lock_close(&a->lock);
	hoy_close(a->dirfd);
	hoy_json_release(&a->index);
	free(a->path);
	*a = (struct hoy_artifacts)HOY_ARTIFACTS_INIT;
}

const struct hoy_json *hoy_artifact_named(const struct hoy_artifacts *a, const char *name)
{
	HOY_JSON_EACH(it, hoy_json_get(a->index.root, "manifests")) {
		const char *have = hoy_layout_name(it);

		if (have && !strcmp(have, name) && hoy_layout_digest(hoy_json_str(it, "digest")))
			return it;
	}
	return NULL;
}

int hoy_artifact_find(const struct hoy_artifacts *a, const char *name, const struct hoy_json **ret, struct hoy_err *err)
{
	const struct hoy_json *found = *name ? hoy_artifact_named(a, name) : NULL;

	if (!*name)
		return hoy_fail(err, EINVAL, "artifact name cannot be empty");
	if (found) {
		*ret = found;
		return 0;
	}
	HOY_JSON_EACH(it, hoy_json_get(a->index.root, "manifests")) {
		const char *digest = hoy_json_str(it, "digest");

		if (!hoy_layout_digest(digest) || strncmp(digest + 7, name, strlen(name)))
			continue;
		if (found && strcmp(hoy_json_str(found, "digest"), digest))
			return hoy_fail(err, HOY_EAMBIGUOUS, "%s: more than one artifact has a digest that begins so", name);
		found = found ? found : it;
	}
	if (!found)
		return hoy_fail(err, ENOENT, "%s: artifact does not exist", name);
	*ret = found;
	return 0;
}

static int check_layers(const struct hoy_json *manifest, const char *digest, struct hoy_err *err)
{
	const struct hoy_json *layers = hoy_json_get(manifest, "layers");
	int64_t sum = 0, size;

	if (layers && layers->type != HOY_JSON_ARRAY && layers->type != HOY_JSON_NULL)
		return hoy_fail(err, HOY_EFORMAT, "the artifact %s has no list of layers", digest);
	HOY_JSON_EACH(l, layers) {
		if (!hoy_layout_digest(hoy_json_str(l, "digest")))
			return hoy_fail(err, HOY_EFORMAT, "the artifact %s has a layer whose digest is not valid", digest);
		if (!hoy_json_int64(hoy_json_get(l, "size"), &size) || size < 0 || __builtin_add_overflow(sum, size, &sum))
			return hoy_fail(err, HOY_EFORMAT, "the artifact %s has a layer whose size is not valid", digest);
	}
	return 0;
}

int hoy_artifact_manifest(const struct hoy_artifacts *a, const struct hoy_json *entry, struct hoy_json_doc *ret, struct hoy_err *err)
{
	const char *digest = hoy_json_str(entry, "digest");
	cleanup_free char *path = NULL, *data = NULL;
	size_t len = 0;
	int r;

	if (!hoy_layout_digest(digest))
		return hoy_fail(err, HOY_EFORMAT, "'%s' has an artifact whose digest is not valid", a->path);
	path = hoy_asprintf("blobs/sha256/%s", digest + 7);
	r = path ? hoy_read_beneath(a->dirfd, path, HOY_LAYOUT_MAX, &data, &len, err) : hoy_fail_oom(err);
	if (r < 0)
		return r;
	if (hoy_json_int(entry, "size", len) != (int64_t)len)
		return hoy_fail(err, HOY_EFORMAT, "the manifest %s in '%s' has not the size that index.json says", digest, a->path);
	r = hoy_json_parse(ret, data, len, "manifest", err);
	if (!r && (!hoy_json_is(ret->root, HOY_JSON_OBJECT) || hoy_json_int(ret->root, "schemaVersion", 0) != 2))
		r = hoy_fail(err, HOY_EFORMAT, "'%s' in '%s' is no manifest", digest, a->path);
	if (!r && hoy_json_get(ret->root, "manifests"))
		r = hoy_fail(err, HOY_EUNSUPPORTED, "'%s' in '%s' is a list of manifests, and no artifact", digest, a->path);
	return r ? r : check_layers(ret->root, digest, err);
}

static void put_some(struct hoy_jw *w, const struct hoy_json *obj, const char *const *keys)
{
	for (; *keys; keys++) {
		const struct hoy_json *v = hoy_json_get(obj, *keys);

		if (!v || v->type == HOY_JSON_NULL || (v->type == HOY_JSON_STRING && !v->len))
			continue;
		if ((v->type == HOY_JSON_ARRAY || v->type == HOY_JSON_OBJECT) && !v->child)
			continue;
		if (v->type == HOY_JSON_OBJECT && !strcmp(*keys, "annotations"))
			hoy_jw_sorted(w, *keys, v);
		else
			hoy_jw_value(w, *keys, v);
	}
}

static void put_desc(struct hoy_jw *w, const char *key, const struct hoy_json *d)
{
	static const char *const rest[] = { "urls", "annotations", "data", "platform", "artifactType", NULL };

	hoy_jw_object(w, key);
	hoy_jw_string(w, "mediaType", hoy_json_str(d, "mediaType"));
	hoy_jw_string(w, "digest", hoy_json_str(d, "digest"));
	hoy_jw_int(w, "size", hoy_json_int(d, "size", 0));
	put_some(w, d, rest);
	hoy_jw_end_object(w);
}

void hoy_artifact_put(struct hoy_jw *w, const char *key, const struct hoy_json *manifest)
{
	static const char *const head[] = { "mediaType", "artifactType", NULL }, *const tail[] = { "annotations", NULL };

	hoy_jw_object(w, key);
	hoy_jw_int(w, "schemaVersion", 2);
	put_some(w, manifest, head);
	put_desc(w, "config", hoy_json_get(manifest, "config"));
	hoy_jw_array(w, "layers");
	HOY_JSON_EACH(l, hoy_json_get(manifest, "layers"))
		put_desc(w, NULL, l);
	hoy_jw_end_array(w);
	if (hoy_json_is(hoy_json_get(manifest, "subject"), HOY_JSON_OBJECT))
		put_desc(w, "subject", hoy_json_get(manifest, "subject"));
	put_some(w, manifest, tail);
	hoy_jw_end_object(w);
}
