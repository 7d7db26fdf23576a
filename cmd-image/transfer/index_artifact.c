/* cmd-image/transfer/index_artifact.c: `manifest add --artifact`. The files stay where they are: artifacts.json says where, and their digests. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/files.h"
#include "cmd-image/transfer/index.h"
#include "cmd-image/transfer/mime.h"
#include "common/base/fd.h"
#include "common/data/base64.h"
#include "common/oci/artifacts.h"

#define T_UNKNOWN "application/vnd.unknown.artifact.v1"
#define EMPTY_DIGEST "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
#define CONFIG_MAX ((size_t)1 << 20) /* it is in the manifest, as base64 */

void artifact_release(struct artifact *a)
{
	free(a->manifest);
	free(a->data);
	hoy_strv_release(&a->files);
	hoy_strv_release(&a->layers);
}

int artifact_check(const struct artifact_opts *o, struct hoy_err *err)
{
	const struct { const char *name; bool given; } opts[] = {
		{ "--artifact-type", o->type }, { "--artifact-config", o->config }, { "--artifact-config-type", o->config_type },
		{ "--artifact-layer-type", o->layer_type }, { "--artifact-subject", o->subject }, { "--artifact-exclude-titles", o->no_titles },
		{ "--artifact-annotation", o->annotations.n },
	};
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1024);
	int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(opts); i++)
		if (opts[i].given)
			hoy_buf_printf(&b, "%s%s", n++ ? "/" : "", opts[i].name);
	return o->artifact || !n ? 0 : hoy_fail(err, EINVAL, "%s require%s --artifact", hoy_buf_str(&b), n == 1 ? "s" : "");
}

/* ---- making one ---- */

/* The bytes of FD: their digest and size, and what they look like. */
static int digest_fd(int fd, const char *name, char digest[SHA_DIGEST_SIZE], int64_t *size, char type[MIME_MAX], struct hoy_err *err)
{
	cleanup_free char *buf = malloc(1 << 17);
	struct sha sha;
	ssize_t n;

	if (!buf || sha_init(&sha) < 0)
		return hoy_fail_oom(err);
	for (*size = 0; (n = hoy_read_full(fd, buf, 1 << 17)) > 0; *size += n) {
		if (!*size)
			snprintf(type, MIME_MAX, "%s", mime_of(buf, n));
		sha_add(&sha, buf, n);
	}
	if (!*size)
		snprintf(type, MIME_MAX, "%s", mime_of("", 0));
	type[strcspn(type, ";")] = '\0';
	sha_end(&sha, digest);
	return n < 0 ? hoy_fail_errno(err, -n, "reading \"%s\" to determine its digest", name) : 0;
}

static int put_file(struct artifact *a, struct hoy_jw *w, const struct artifact_opts *o, const char *file, struct hoy_err *err)
{
	cleanup_fd int fd = open(file, O_RDONLY | O_CLOEXEC);
	cleanup_free char *here = *file == '/' ? NULL : get_current_dir_name(), *path = here ? hoy_path_join(here, file) : strdup(file);
	char digest[SHA_DIGEST_SIZE], seen[MIME_MAX], type[MIME_MAX];
	const char *title = basename(file);
	int64_t size = 0;
	int r;

	if (fd < 0)
		return hoy_fail_errno(err, errno, "reading \"%s\" to determine its digest: cannot open it", file);
	if (!path)
		return hoy_fail_oom(err);
	r = digest_fd(fd, file, digest, &size, seen, err);
	if (r < 0)
		return r;
	if (!mime_by_name(title, type))
		strcpy(type, seen);
	hoy_jw_object(w, NULL);
	hoy_jw_string(w, "mediaType", o->layer_type ? o->layer_type : type);
	hoy_jw_string(w, "digest", digest);
	hoy_jw_int(w, "size", size);
	if (!o->no_titles) {
		hoy_jw_object(w, "annotations");
		hoy_jw_string(w, HOY_TITLE, title);
		hoy_jw_end_object(w);
	}
	hoy_jw_end_object(w);
	hoy_strv_push(&a->files, path);
	hoy_strv_push(&a->layers, digest);
	return a->files.error || a->layers.error ? hoy_fail_oom(err) : 0;
}

static int put_config(struct artifact *a, struct hoy_jw *w, const struct artifact_opts *o, struct hoy_err *err)
{
	cleanup_free char *data = NULL;
	struct hoy_buf b = HOY_BUF_INIT(2 * CONFIG_MAX);
	size_t len = 0;
	int r = o->config && *o->config ? hoy_read_file(AT_FDCWD, o->config, CONFIG_MAX, &data, &len, err) : 0;

	if (r < 0)
		return r;
	sha_of(len ? data : "{}", len ? len : 2, a->config);
	hoy_base64(&b, len ? data : "{}", len ? len : 2);
	a->data = hoy_buf_steal(&b);
	if (!a->data)
		return hoy_fail_oom(err);
	hoy_jw_object(w, "config");
	hoy_jw_string(w, "mediaType", o->config_type && *o->config_type ? o->config_type : len ? T_OCI_CONFIG : "application/vnd.oci.empty.v1+json");
	hoy_jw_string(w, "digest", a->config);
	hoy_jw_int(w, "size", len ? len : 2);
	hoy_jw_string(w, "data", a->data);
	hoy_jw_end_object(w);
	return 0;
}

/* Sorted, the last of a name; nothing without any. */
static int put_annotations(struct hoy_jw *w, const struct artifact_opts *o, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	struct hoy_json *all = hoy_json_new(&d, HOY_JSON_OBJECT);

	for (size_t i = 0; i < o->annotations.n; i++) {
		const char *text = o->annotations.v[i], *eq = strchr(text, '=');
		cleanup_free char *key = eq ? strndup(text, eq - text) : NULL;

		if (!eq)
			return hoy_fail(err, EINVAL, "no value given for annotation \"%s\"", text);
		if (!all || !key || !hoy_json_set_string(&d, all, key, eq + 1))
			return hoy_fail_oom(err);
	}
	if (o->annotations.n)
		hoy_jw_sorted(w, "annotations", all);
	return 0;
}

int artifact_make(struct artifact *a, const struct artifact_opts *o, char **files, int n, struct hoy_err *err)
{
	struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	int r;

	a->type = o->type ? o->type : T_UNKNOWN;
	hoy_jw_object(&w, NULL);
	hoy_jw_int(&w, "schemaVersion", 2);
	hoy_jw_string(&w, "mediaType", T_OCI);
	if (*a->type)
		hoy_jw_string(&w, "artifactType", a->type);
	r = put_config(a, &w, o, err);
	hoy_jw_array(&w, "layers");
	for (int i = 0; i < n && !r; i++)
		r = put_file(a, &w, o, files[i], err);
	hoy_jw_end_array(&w);
	if (!r)
		r = put_annotations(&w, o, err);
	hoy_jw_end_object(&w);
	sha_of(hoy_buf_str(&b), b.len, a->digest);
	a->manifest = hoy_buf_steal(&b);
	return r || a->manifest ? r : hoy_fail(err, EFBIG, "the artifact's manifest would have more than %zu bytes", MANIFEST_MAX);
}

/* ---- in a list ---- */

static struct hoy_json *map(struct index *x, const char *name) { return hoy_json_need(&x->artifacts, x->artifacts.root, name, HOY_JSON_OBJECT); }

static int set_list(struct index *x, struct hoy_json *obj, const char *key, const struct hoy_strv *v)
{
	struct hoy_json *arr = obj ? hoy_json_put(&x->artifacts, obj, key, hoy_json_new(&x->artifacts, HOY_JSON_ARRAY)) : NULL;

	for (size_t i = 0; arr && i < v->n; i++)
		if (!hoy_json_set_string(&x->artifacts, arr, NULL, v->v[i]))
			return -ENOMEM;
	return arr ? 0 : -ENOMEM;
}

static int add_entry(struct index *x, const struct artifact *a)
{
	struct hoy_json *list = hoy_json_need(&x->doc, x->doc.root, "manifests", HOY_JSON_ARRAY), *e = index_find(x, a->digest);

	if (e)
		return 0;
	e = list ? hoy_json_put(&x->doc, list, NULL, hoy_json_new(&x->doc, HOY_JSON_OBJECT)) : NULL;
	if (!e || !hoy_json_set_string(&x->doc, e, "mediaType", T_OCI) || !hoy_json_set_string(&x->doc, e, "digest", a->digest) ||
	    !hoy_json_set_int(&x->doc, e, "size", (int64_t)strlen(a->manifest)) ||
	    (*a->type && !hoy_json_set_string(&x->doc, e, "artifactType", a->type)))
		return -ENOMEM;
	return 0;
}

int index_add_artifact(struct index *x, const struct artifact *a)
{
	struct hoy_json *manifests = map(x, "manifests"), *config = map(x, "config"), *detached = map(x, "detached"), *blobs = map(x, "blobs");

	if (!manifests || !config || !detached || !blobs || !hoy_json_set_string(&x->artifacts, manifests, a->digest, a->manifest) ||
	    !hoy_json_set_string(&x->artifacts, config, a->digest, a->config) || !hoy_json_set_string(&x->artifacts, blobs, a->config, a->data) ||
	    set_list(x, map(x, "files"), a->digest, &a->files) < 0 || set_list(x, map(x, "layers"), a->digest, &a->layers) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < a->files.n; i++)
		if (!hoy_json_set_string(&x->artifacts, detached, a->layers.v[i], a->files.v[i]))
			return -ENOMEM;
	return add_entry(x, a);
}

/* ---- on its way out ---- */

struct listed {
	struct source s;
	const struct index *x;
	const char *manifest;
};

static int listed_manifest(struct source *s, const char *digest, char **ret, size_t *ret_len, char **ret_type, struct hoy_err *err)
{
	struct listed *l = (struct listed *)s;

	(void)digest;
	*ret = strdup(l->manifest);
	*ret_len = strlen(l->manifest);
	*ret_type = NULL;
	return *ret ? 0 : hoy_fail_oom(err);
}

/* What is kept in artifacts.json itself. */
static int inline_blob(const char *text, struct stream **ret, struct hoy_err *err)
{
	cleanup_free char *data = NULL;
	cleanup_fd int fd = -1;
	size_t len;
	int r = hoy_unbase64_new(text, &data, &len);

	if (r < 0)
		return r == -ENOMEM ? hoy_fail_oom(err) : hoy_fail(err, HOY_EFORMAT, "the list has a blob that is no base64");
	fd = temp_file();
	r = fd < 0 ? fd : hoy_write_full(fd, data, len);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot make a temporary file");
	*ret = stream_fd(steal_fd(&fd), true, 0, len, "temporary file");
	return *ret ? 0 : hoy_fail_oom(err);
}

static int listed_blob(struct source *s, const struct desc *d, int layer, struct stream **ret, struct hoy_err *err)
{
	const struct hoy_json *root = ((struct listed *)s)->x->artifacts.root;
	const char *path = hoy_json_str(hoy_json_get(root, "detached"), d->digest), *data = hoy_json_str(hoy_json_get(root, "blobs"), d->digest);
	int fd;

	(void)layer;
	if (!path)
		return data ? inline_blob(data, ret, err) : hoy_fail(err, ENOENT, "the list does not say where the blob %s is", d->digest);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return hoy_fail_errno(err, errno, "cannot open '%s'", path);
	*ret = stream_fd(fd, true, 0, -1, path);
	return *ret ? 0 : hoy_fail_oom(err);
}

static void listed_free(struct source *s) { (void)s; }
static const struct source_ops listed_ops = { .manifest = listed_manifest, .blob = listed_blob, .free = listed_free };

int source_listed(struct source **ret, const struct index *x, const char *digest, struct hoy_err *err)
{
	const char *manifest = hoy_json_str(hoy_json_get(x->artifacts.root, "manifests"), digest);
	struct listed *l;

	*ret = NULL;
	if (!manifest)
		return 0;
	l = calloc(1, sizeof(*l));
	if (!l)
		return hoy_fail_oom(err);
	l->s.ops = &listed_ops;
	l->s.name = strdup(digest);
	l->x = x;
	l->manifest = manifest;
	*ret = &l->s;
	return l->s.name ? 0 : hoy_fail_oom(err);
}
