/* cmd-image/transfer/src_files.c: images in files: oci:, oci-archive:, docker-archive:, dir:. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/files.h"
#include "cmd-image/transfer/inflate.h"
#include "cmd-image/transfer/referrers.h"
#include "cmd-image/transfer/transport.h"
#include "cmd-image/transfer/web.h"
#include "common/base/fd.h"
#include "common/data/digest.h"
#include "common/oci/layout.h"

struct file_source {
	struct source s;
	struct files *f;
	struct files *shared;  /* oci: where the blobs are instead; or NULL */
	char *manifest, *type; /* what the reference means */
	size_t len;
	bool archive;
	char *config_name; /* docker-archive */
	struct hoy_strv layer_names;
};

static void fs_free(struct source *s)
{
	struct file_source *f = (struct file_source *)s;

	files_free(f->f);
	files_free(f->shared);
	free(f->manifest);
	free(f->type);
	free(f->config_name);
	hoy_strv_release(&f->layer_names);
}

static struct file_source *fs_new(const struct source_ops *ops, const char *name)
{
	struct file_source *f = calloc(1, sizeof(*f));

	if (f) {
		f->s.ops = ops;
		f->s.name = strdup(name);
	}
	return f;
}

void blob_path(const char *digest, char ret[96]) { snprintf(ret, 96, "blobs/sha256/%s", digest + 7); }

static int copy_out(const char *data, size_t len, char **ret, size_t *ret_len, struct hoy_err *err)
{
	*ret = malloc(len + 1);
	if (!*ret)
		return hoy_fail_oom(err);
	memcpy(*ret, data, len);
	(*ret)[len] = '\0';
	*ret_len = len;
	return 0;
}

/* ---- OCI layouts ---- */

/* Where blob DIGEST is: a set of files, and its name there. */
static struct files *place_of(const struct file_source *f, const char *digest, char name[96])
{
	blob_path(digest, name);
	if (!f->shared)
		return f->f;
	memmove(name, name + 6, strlen(name + 6) + 1); /* "sha256/HEX" */
	return f->shared;
}

static int oci_manifest(struct source *s, const char *digest, char **ret, size_t *ret_len, char **ret_type, struct hoy_err *err)
{
	struct file_source *f = (struct file_source *)s;
	struct files *at;
	char path[96];

	*ret_type = !digest && f->type ? strdup(f->type) : NULL;
	if (!digest)
		return copy_out(f->manifest, f->len, ret, ret_len, err);
	at = place_of(f, digest, path);
	return files_read(at, path, MANIFEST_MAX, ret, ret_len, err);
}

static int oci_blob(struct source *s, const struct desc *d, int layer, struct stream **ret, struct hoy_err *err)
{
	struct files *at;
	char path[96];

	(void)layer;
	at = place_of((struct file_source *)s, d->digest, path);
	if (!desc_url(d) || files_has(at, path))
		return files_stream(at, path, ret, NULL, err);
	*ret = web_stream(desc_url(d), d->size, err);
	return *ret ? 0 : -err->code;
}

void layout_split(const char *rest, char **path, const char **tag)
{
	const char *colon = strchr(rest, ':');

	if (colon && hoy_exists(AT_FDCWD, rest))
		colon = NULL;
	*path = colon ? strndup(rest, colon - rest) : strdup(rest);
	*tag = colon && colon[1] ? colon + 1 : NULL;
}

static int read_json(struct files *f, const char *name, struct hoy_json_doc *doc, struct hoy_err *err)
{
	cleanup_free char *data = NULL;
	size_t len;
	int r = files_read(f, name, MANIFEST_MAX, &data, &len, err);

	return r < 0 ? r : hoy_json_parse(doc, data, len, name, err);
}

int layout_pick(const struct hoy_json *index, const char *path, const char *tag, const struct hoy_json **ret, struct hoy_err *err)
{
	const struct hoy_json *all = hoy_json_get(index, "manifests");
	long n = tag && *tag == '@' ? strtol(tag + 1, NULL, 10) : -1, i = 0;

	*ret = NULL;
	if (!hoy_json_is(all, HOY_JSON_ARRAY) || !all->count)
		return hoy_fail(err, HOY_EFORMAT, "'%s' has no image in its index.json", path);
	if (!tag && all->count > 1)
		return hoy_fail(err, HOY_EAMBIGUOUS, "'%s' has %u images: name one by its tag", path, all->count);
	HOY_JSON_EACH(it, all) {
		const char *name = hoy_layout_name(it);

		if (!tag || i++ == n || (n < 0 && name && !strcmp(name, tag)))
			*ret = it;
	}
	return *ret ? 0 : hoy_fail(err, HOY_ENOIMAGE, "'%s' has no image '%s'", path, tag);
}

/* ---- beside the image: tags, and what refers to something ---- */

static int oci_tagged(struct source *s, const char *tag, char **ret, size_t *ret_len, char **ret_type, struct hoy_err *err)
{
	struct file_source *f = (struct file_source *)s;
	cleanup_json struct hoy_json_doc index = HOY_JSON_DOC_INIT;
	int r = read_json(f->f, "index.json", &index, err);

	HOY_JSON_EACH(it, hoy_json_get(index.root, "manifests")) {
		const char *name = hoy_layout_name(it), *digest = hoy_json_str(it, "digest");

		if (!r && name && !strcmp(name, tag) && hoy_layout_digest(digest))
			return oci_manifest(s, digest, ret, ret_len, ret_type, err);
	}
	return r ? r : hoy_fail(err, HOY_ENOIMAGE, "'%s' has no image '%s'", s->name, tag);
}

/* An index that somebody else made may hold a list in place of the registries' API. */
static int oci_by_tag(struct source *s, const char *digest, struct hoy_strv *ret, struct hoy_err *err)
{
	cleanup_manifest struct manifest m = { 0 };
	cleanup_free char *data = NULL, *type = NULL;
	char tag[REFERRERS_TAG_SIZE];
	size_t len;
	int r;

	referrers_tag(digest, "", tag);
	r = oci_tagged(s, tag, &data, &len, &type, err);
	if (r == -HOY_ENOIMAGE) {
		*err = (struct hoy_err)HOY_ERR_INIT;
		return 0;
	}
	if (!r)
		r = manifest_parse(&m, data, len, T_OCI_INDEX, err);
	for (size_t i = 0; !r && manifest_is_list(&m) && i < m.n; i++)
		hoy_strv_push(ret, m.v[i].digest);
	return r;
}

static int oci_referrers(struct source *s, const char *digest, struct hoy_strv *ret, struct hoy_err *err)
{
	struct file_source *f = (struct file_source *)s;
	cleanup_json struct hoy_json_doc index = HOY_JSON_DOC_INIT;
	int r = read_json(f->f, "index.json", &index, err);

	HOY_JSON_EACH(it, hoy_json_get(index.root, "manifests")) {
		cleanup_manifest struct manifest m = { 0 };
		const char *d = hoy_json_str(it, "digest");

		if (r < 0 || !hoy_layout_digest(d))
			continue;
		r = source_manifest(s, d, &m, err);
		if (!r && refers_to(&m, digest) && !hoy_strv_has(ret, d))
			hoy_strv_push(ret, d);
	}
	if (!r)
		r = oci_by_tag(s, digest, ret, err);
	return r ? r : ret->error ? hoy_fail_oom(err) : 0;
}

static const struct source_ops oci_ops = { .manifest = oci_manifest, .blob = oci_blob, .free = fs_free, .referrers = oci_referrers, .tagged = oci_tagged };

static int open_oci(struct file_source *f, const char *path, const char *tag, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc index = HOY_JSON_DOC_INIT;
	const struct hoy_json *d;
	const char *digest, *type, *name;
	char sum[SHA_DIGEST_SIZE], file[96];
	struct files *at;
	int64_t size;
	int r = read_json(f->f, "index.json", &index, err);

	if (!r)
		r = layout_pick(index.root, path, tag, &d, err);
	if (r < 0)
		return r;
	digest = hoy_json_str(d, "digest");
	type = hoy_json_str(d, "mediaType");
	if (!digest || strncmp(digest, "sha256:", 7) || !hoy_is_digest(digest))
		return hoy_fail(err, HOY_EFORMAT, "'%s' has an index.json with an invalid digest", path);
	at = place_of(f, digest, file);
	r = files_read(at, file, MANIFEST_MAX, &f->manifest, &f->len, err);
	if (r < 0)
		return r;
	sha_of(f->manifest, f->len, sum);
	if (strcmp(sum, digest))
		return hoy_fail(err, HOY_EDIGEST, "manifest %s in '%s' is not what its digest says", digest, path);
	if (hoy_json_int64(hoy_json_get(d, "size"), &size) && size != (int64_t)f->len)
		return hoy_fail(err, HOY_EFORMAT, "manifest %s in '%s' has not the size that index.json says", digest, path);
	f->type = type ? strdup(type) : NULL;
	/* A layout that is pulled without a tag gives its image no name. */
	name = tag || f->archive ? hoy_layout_name(d) : NULL;
	if (name)
		hoy_strv_push(&f->s.names, name);
	return 0;
}

int source_oci(struct source **ret, const char *rest, bool archive, const struct reg_opts *o, struct hoy_err *err)
{
	struct file_source *f = fs_new(&oci_ops, rest);
	cleanup_free char *path = NULL;
	const char *tag;
	int r;

	if (!f)
		return hoy_fail_oom(err);
	layout_split(rest, &path, &tag);
	f->archive = archive;
	r = archive ? files_open_tar(&f->f, path, err) : files_open_dir(&f->f, path, err);
	if (!r && !archive && o->shared_blobs)
		r = files_open_dir(&f->shared, o->shared_blobs, err);
	/* Pieces by their digests are found without the index. */
	if (!r && !o->blob && !o->manifest)
		r = open_oci(f, path, tag, err);
	if (r < 0)
		source_free(&f->s);
	else
		*ret = &f->s;
	return r;
}

int source_layout(struct source **ret, const char *path, const char *tag, struct hoy_err *err)
{
	struct file_source *f = fs_new(&oci_ops, path);
	int r = f ? files_open_dir(&f->f, path, err) : hoy_fail_oom(err);

	if (!r)
		r = open_oci(f, path, tag, err);
	if (r < 0)
		source_free(f ? &f->s : NULL);
	else
		*ret = &f->s;
	return r;
}

/* ---- docker-archive ---- */

static int da_manifest(struct source *s, const char *digest, char **ret, size_t *ret_len, char **ret_type, struct hoy_err *err)
{
	struct file_source *f = (struct file_source *)s;

	if (digest)
		return hoy_fail(err, ENOENT, "a docker archive has no manifest %s", digest);
	*ret_type = strdup(T_V2S2);
	return copy_out(f->manifest, f->len, ret, ret_len, err);
}

static int da_blob(struct source *s, const struct desc *d, int layer, struct stream **ret, struct hoy_err *err)
{
	struct file_source *f = (struct file_source *)s;
	struct stream *in;
	int r = files_stream(f->f, layer < 0 ? f->config_name : f->layer_names.v[layer], &in, NULL, err);

	if (r < 0 || layer < 0) {
		if (!r)
			*ret = in;
		return r;
	}
	/* Some tools put compressed layers in; the digest is that of the content. */
	*ret = inflate_stream(in, NULL, err);
	return *ret ? 0 : -err->code;
}

static const struct source_ops da_ops = { .manifest = da_manifest, .blob = da_blob, .free = fs_free };

/* REF is a stored name, its end behind a slash, or either without ":latest". */
static bool names_it(const char *have, const char *ref)
{
	size_t h = strlen(have), r = strlen(ref);

	if (h >= 7 && !strcmp(have + h - 7, ":latest") && (r < 7 || strcmp(ref + r - 7, ":latest")))
		h -= 7;
	return h >= r && !strncmp(have + h - r, ref, r) && (h == r || have[h - r - 1] == '/');
}

static bool has_tag(const struct hoy_json *img, const char *ref)
{
	HOY_JSON_EACH(t, hoy_json_get(img, "RepoTags"))
		if (hoy_json_text(t) && names_it(t->str, ref))
			return true;
	return false;
}

static int pick_da(const struct hoy_json *all, const char *path, const char *ref, const struct hoy_json **ret, struct hoy_err *err)
{
	long n = ref && *ref == '@' ? strtol(ref + 1, NULL, 10) : -1, i = 0;

	*ret = NULL;
	if (!hoy_json_is(all, HOY_JSON_ARRAY) || !all->count)
		return hoy_fail(err, HOY_EFORMAT, "'%s' has no image in its manifest.json", path);
	if (!ref && all->count > 1)
		return hoy_fail(err, HOY_EAMBIGUOUS, "'%s' has %u images: name one by its tag or by @N", path, all->count);
	HOY_JSON_EACH(it, all)
		if (!ref || i++ == n || (n < 0 && has_tag(it, ref)))
			*ret = *ret ? *ret : it;
	return *ret ? 0 : hoy_fail(err, ENOENT, "'%s' has no image '%s'", path, ref);
}

/* The size of the plain tar of layer file NAME: what the manifest will say of it. */
static int plain_size(struct files *f, const char *name, int64_t *ret, struct hoy_err *err)
{
	cleanup_stream struct stream *s = NULL;
	struct stream *in;
	enum compression kind;
	const unsigned char *p;
	ssize_t n = files_stream(f, name, &in, ret, err);

	if (n < 0)
		return n;
	s = inflate_stream(in, &kind, err);
	if (!s)
		return -err->code;
	if (kind == COMP_NONE)
		return 0;
	for (*ret = 0; (n = stream_peek(s, &p, err)) > 0; *ret += n)
		stream_take(s, n);
	return n;
}

static int make_manifest(struct file_source *f, const struct config *c, const char *config_digest, struct hoy_err *err)
{
	struct desc config = { (char *)config_digest, (char *)T_V2S2_CONFIG, c->len, NULL };
	struct desc *layers = calloc(c->diff_ids.n + 1, sizeof(*layers));
	struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	int r = layers ? 0 : hoy_fail_oom(err);

	for (size_t i = 0; !r && i < c->diff_ids.n; i++) {
		layers[i] = (struct desc){ c->diff_ids.v[i], (char *)T_V2S2_LAYER ".gzip", 0, NULL };
		r = plain_size(f->f, f->layer_names.v[i], &layers[i].size, err);
	}
	if (!r && manifest_write(&b, MAN_V2S2, &config, layers, c->diff_ids.n, NULL) < 0)
		r = hoy_fail_oom(err);
	free(layers);
	if (!r) {
		f->len = b.len;
		f->manifest = hoy_buf_steal(&b);
	}
	hoy_buf_release(&b);
	return r;
}

static int open_da(struct file_source *f, const char *path, const char *ref, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_config struct config c = CONFIG_INIT;
	cleanup_free char *data = NULL;
	const struct hoy_json *img;
	char digest[SHA_DIGEST_SIZE];
	size_t len;
	int r = read_json(f->f, "manifest.json", &doc, err);

	if (!r)
		r = pick_da(doc.root, path, ref, &img, err);
	if (r < 0)
		return r;
	if (!hoy_json_str(img, "Config"))
		return hoy_fail(err, HOY_EFORMAT, "'%s' has an image without a config", path);
	f->config_name = strdup(hoy_json_str(img, "Config"));
	HOY_JSON_EACH(l, hoy_json_get(img, "Layers"))
		if (hoy_json_text(l))
			hoy_strv_push(&f->layer_names, l->str);
	HOY_JSON_EACH(t, hoy_json_get(img, "RepoTags"))
		if (hoy_json_text(t) && (!ref || *ref == '@' || has_tag(img, ref)))
			hoy_strv_push(&f->s.names, t->str);
	if (!f->config_name || f->layer_names.error || f->s.names.error)
		return hoy_fail_oom(err);
	r = files_read(f->f, f->config_name, MANIFEST_MAX, &data, &len, err);
	if (!r)
		r = config_parse(&c, data, len, f->layer_names.n, err);
	if (r < 0)
		return r;
	sha_of(data, len, digest);
	return make_manifest(f, &c, digest, err);
}

int source_docker_archive(struct source **ret, const char *rest, struct hoy_err *err)
{
	struct file_source *f = fs_new(&da_ops, rest);
	cleanup_free char *path = NULL;
	const char *ref;
	int r;

	if (!f)
		return hoy_fail_oom(err);
	f->s.plain = true;
	layout_split(rest, &path, &ref);
	r = files_open_tar(&f->f, path, err);
	if (!r)
		r = open_da(f, path, ref, err);
	if (r < 0)
		source_free(&f->s);
	else
		*ret = &f->s;
	return r;
}

/* ---- dir: ---- */

static int dir_manifest(struct source *s, const char *digest, char **ret, size_t *ret_len, char **ret_type, struct hoy_err *err)
{
	struct file_source *f = (struct file_source *)s;
	char name[HOY_ID_SIZE + 32];

	*ret_type = NULL;
	snprintf(name, sizeof(name), "%s%smanifest.json", digest ? digest + 7 : "", digest ? "." : "");
	return files_read(f->f, name, MANIFEST_MAX, ret, ret_len, err);
}

static int dir_blob(struct source *s, const struct desc *d, int layer, struct stream **ret, struct hoy_err *err)
{
	(void)layer;
	return files_stream(((struct file_source *)s)->f, d->digest + 7, ret, NULL, err);
}

static int dir_signatures(struct source *s, const struct manifest *m, bool instance, struct sigs *ret, struct hoy_err *err)
{
	struct file_source *f = (struct file_source *)s;
	char name[HOY_ID_SIZE + 32];

	for (int i = 1;; i++) {
		cleanup_free char *data = NULL;
		size_t len;
		int r;

		snprintf(name, sizeof(name), "%s%ssignature-%d", instance ? m->digest + 7 : "", instance ? "." : "", i);
		if (!files_has(f->f, name))
			return 0;
		r = files_read(f->f, name, SIG_MAX, &data, &len, err);
		if (!r)
			r = sigs_add_blob(ret, data, len, err);
		if (r < 0)
			return hoy_fail_prefix(err, "parsing signature \"%s\"", name);
	}
}

static const struct source_ops dir_ops = { .manifest = dir_manifest, .blob = dir_blob, .free = fs_free, .signatures = dir_signatures };

int source_dir(struct source **ret, const char *rest, struct hoy_err *err)
{
	struct file_source *f = fs_new(&dir_ops, rest);
	int r;

	if (!f)
		return hoy_fail_oom(err);
	r = files_open_dir(&f->f, rest, err);
	if (r < 0)
		source_free(&f->s);
	else
		*ret = &f->s;
	return r;
}

/* ---- what is in an archive ---- */

int archive_images(const char *path, bool docker, struct hoy_strv *ret, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	struct files *f = NULL;
	struct hoy_json *all;
	unsigned n;
	int r = files_open_tar(&f, path, err);

	if (!r)
		r = read_json(f, docker ? "manifest.json" : "index.json", &doc, err);
	files_free(f);
	if (r < 0)
		return r;
	all = docker ? doc.root : hoy_json_get(doc.root, "manifests");
	n = all ? all->count : 0;
	for (unsigned i = 0; i < n; i++)
		hoy_strv_pushf(ret, "%s:@%u", path, i);
	return ret->error ? hoy_fail_oom(err) : 0;
}
