#include "cmd-build/extra.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-build/build.h"
#include "cmd-build/makeimage.h"
#include "common/base/fd.h"
#include "common/store/images.h"

bool extra_inside(const char *path)
{
	size_t len = strlen(path);

	for (const char *s = path; s; s = strchr(s, '/')) {
		s += *s == '/';
		if (!strncmp(s, "..", 2) && (!s[2] || s[2] == '/'))
			return false;
	}
	return len && path[len - 1] != '/';
}

int extra_parse(struct hoy_strv *files, const char *text, struct hoy_err *err)
{
	const char *colon = strchr(text, ':'), *path = colon ? colon + 1 : text;
	cleanup_free char *source = strndup(text, colon ? (size_t)(colon - text) : strlen(text));
	struct stat st;

	if (!source)
		return hoy_fail_oom(err);
	if (stat(source, &st) < 0)
		return hoy_fail(err, errno, "parsing add-file argument \"%s\": source \"%s\": %s", text, source, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return hoy_fail(err, EINVAL, "parsing add-file argument \"%s\": source \"%s\" is not a regular file", text, source);
	if (!extra_inside(path))
		return hoy_fail(err, EINVAL, "parsing add-file argument \"%s\": \"%s\" is not the path of a file in the image", text, path);
	hoy_strv_push(files, source);
	hoy_strv_push(files, path);
	return files->error ? hoy_fail_oom(err) : 0;
}

int extra_write(struct hoy_json_doc *d, struct hoy_json *build, const struct hoy_strv *files)
{
	struct hoy_json *list = hoy_json_need(d, build, "files", HOY_JSON_ARRAY);

	for (size_t i = 0; list && i + 1 < files->n; i += 2) {
		struct hoy_json *f = hoy_json_put(d, list, NULL, hoy_json_new(d, HOY_JSON_OBJECT));

		if (!f || !hoy_json_set_string(d, f, "source", files->v[i]) || !hoy_json_set_string(d, f, "path", files->v[i + 1]))
			return -ENOMEM;
	}
	return list ? 0 : -ENOMEM;
}

/* ---- a layer more ---- */

struct before {
	struct hoy_json_doc manifest, config;
	bool docker;
};

static int load_before(struct build *b, const char *id, struct before *v)
{
	const struct hoy_json *rec;
	const char *type;
	int r = hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err);

	rec = r ? NULL : hoy_image_get(b->s, id);
	if (!r && !rec)
		r = hoy_fail(&b->err, ENOENT, "image %.12s was removed meanwhile", id);
	if (!r)
		r = hoy_image_manifest(b->s, rec, &v->manifest, &b->err);
	if (!r)
		r = hoy_image_config(b->s, rec, &v->config, &b->err);
	type = r ? NULL : hoy_json_str(v->manifest.root, "mediaType");
	v->docker = type && strstr(type, "docker");
	return r;
}

/* All is as in the image that is there, but for the files. */
static bool describe(const struct before *v, const char *id, const struct hoy_strv *files, int64_t mtime, struct hoy_json_doc *d)
{
	struct hoy_json *root = d->root = hoy_json_new(d, HOY_JSON_OBJECT), *build = root ? hoy_json_need(d, root, "build", HOY_JSON_OBJECT) : NULL;
	const struct hoy_json *config = hoy_json_get(v->config.root, "config"), *notes = hoy_json_get(v->manifest.root, "annotations");
	bool dated = hoy_json_str(notes, "org.opencontainers.image.created"), bare = !hoy_json_get(v->config.root, "history");

	return build && extra_write(d, build, files) == 0 &&
	       hoy_json_set_string(d, root, "container", hoy_json_str(v->config.root, "container") ?: "") && hoy_json_set_string(d, root, "image", id) &&
	       hoy_json_put(d, root, "config", config ? hoy_json_copy(d, config) : hoy_json_new(d, HOY_JSON_OBJECT)) &&
	       hoy_json_put(d, root, "annotations", notes ? hoy_json_copy(d, notes) : hoy_json_new(d, HOY_JSON_OBJECT)) &&
	       hoy_json_set_string(d, build, "created", hoy_json_str(v->config.root, "created") ?: "") && hoy_json_set_bool(d, build, "empty", true) &&
	       hoy_json_need(d, build, "history", HOY_JSON_ARRAY) && hoy_json_set_bool(d, build, "undated", !dated) &&
	       hoy_json_set_bool(d, build, "bare", bare) && (mtime < 0 || hoy_json_set_int(d, build, "mtime", mtime));
}

static int commit_layer(struct build *b, const struct before *v, char *id, const struct hoy_strv *files, int64_t mtime)
{
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	const char *comment = hoy_json_str(v->config.root, "comment");

	if (!describe(v, id, files, mtime, &d))
		return hoy_fail_oom(&b->err);
	hoy_strv_push(&words, v->docker ? "--format=docker" : "--format=oci");
	hoy_strv_push(&words, "--quiet");
	if (v->docker && comment)
		hoy_strv_pushf(&words, "--message=%s", comment);
	return make_image_of(d.root, &words, id, &b->err);
}

int extra_layer(struct build *b, char *id, const struct hoy_strv *files, int64_t mtime)
{
	struct before v = { HOY_JSON_DOC_INIT, HOY_JSON_DOC_INIT, false };
	int r = load_before(b, id, &v);

	if (!r)
		r = commit_layer(b, &v, id, files, mtime);
	hoy_json_release(&v.manifest);
	hoy_json_release(&v.config);
	return r;
}
