/*
 * cmd-image/transfer/source_image.c: `source create`, `add`, `push`, `pull`: source images, layouts of OCI whose layers are the
 * sources that an image was built of. The heavy half of `hoy-build source`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "cmd-image/transfer/copy.h"
#include "cmd-image/transfer/flow.h"
#include "cmd-image/transfer/layer_diff.h"
#include "cmd-image/transfer/progress.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/ref.h"
#include "common/data/tar_write.h"
#include "common/data/time.h"

#define T_SOURCE_CONFIG "application/vnd.oci.source.image.config.v1+json"

struct source_opts {
	struct hoy_strv annotations;
	struct reg_opts reg;
	const char *author, *digestfile;
	int stamp;
	bool quiet;
};
#define O(field) offsetof(struct source_opts, field)
#define CREDS_OPT { 0, "creds", HOY_OPT_STRING, O(reg.creds), "USER[:PASSWORD]", "credentials for the registry" }
#define QUIET_OPT { 'q', "quiet", HOY_OPT_FLAG, O(quiet), NULL, "no progress" }
#define TLS_OPT { 0, "tls-verify", HOY_OPT_TRI, O(reg.tls_verify), NULL, "require HTTPS and check certificates (default true)" }
static const struct hoy_opt create_opts[] = {
	{ 0, "author", HOY_OPT_STRING, O(author), "TEXT", "who made it" },
	{ 0, "time-stamp", HOY_OPT_TRI, O(stamp), NULL, "note when it was made (default true)" },
	HOY_OPTS_END,
};
static const struct hoy_opt add_opts[] = {
	{ 0, "annotation", HOY_OPT_LIST, O(annotations), "KEY=VALUE", "annotation of the sources that are added" },
	HOY_OPTS_END,
};
static const struct hoy_opt push_opts[] = {
	CREDS_OPT,
	{ 0, "digestfile", HOY_OPT_STRING, O(digestfile), "FILE", "write the manifest's digest there" },
	QUIET_OPT, TLS_OPT,
	HOY_OPTS_END,
};
static const struct hoy_opt pull_opts[] = { CREDS_OPT, QUIET_OPT, TLS_OPT, HOY_OPTS_END };
#define INIT { .reg = REG_OPTS_INIT, .stamp = -1 }

/* ---- create ---- */

/* An image of nothing with the config TEXT, to DST. */
static int put_empty(struct dest *dst, const char *text, size_t len, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	cleanup_manifest struct manifest m = { 0 };
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	char digest[SHA_DIGEST_SIZE];
	struct flowed out;
	int r;

	sha_of(text, len, digest);
	r = flow(dst, &(struct origin){ .layer = -1, .data = text, .len = (int64_t)len, .want = digest, .want_size = (int64_t)len }, &(struct packing){ NULL }, &out, err);
	hoy_jw_object(&w, NULL);
	hoy_jw_int(&w, "schemaVersion", 2);
	hoy_jw_string(&w, "mediaType", T_OCI);
	hoy_jw_object(&w, "config");
	hoy_jw_string(&w, "mediaType", T_SOURCE_CONFIG);
	hoy_jw_string(&w, "digest", digest);
	hoy_jw_int(&w, "size", (int64_t)len);
	hoy_jw_end_object(&w);
	hoy_jw_null(&w, "layers");
	hoy_jw_end_object(&w);
	if (!r)
		r = manifest_parse(&m, hoy_buf_str(&b), b.len, T_OCI, err);
	if (!r)
		r = dst->ops->manifest(dst, &m, true, err);
	return r ? r : dst->ops->commit(dst, err);
}

static int run_create(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 20);
	cleanup_dest struct dest *dst = NULL;
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	struct source_opts o = INIT;
	struct hoy_err err = HOY_ERR_INIT;
	char now[HOY_TIME_SIZE];
	struct stat st;
	int status, r = 0;

	if (hoy_verb_args(v, argc, argv, &o, 1, 1, &status) < 0)
		return status;
	hoy_time_format(hoy_now(), now);
	hoy_jw_object(&w, NULL);
	hoy_jw_string_opt(&w, "created", o.stamp ? now : NULL);
	hoy_jw_string_opt(&w, "author", o.author);
	hoy_jw_end_object(&w);
	if (!stat(argv[1], &st))
		r = hoy_fail(&err, EEXIST, "creating source image: \"%s\" already exists", argv[1]);
	if (!r)
		r = dest_oci(&dst, argv[1], false, &o.reg, &err);
	if (!r)
		r = put_empty(dst, hoy_buf_str(&b), b.len, &err);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_source_create = { "source create", "[options] PATH", "Make a source image, an OCI layout without sources", create_opts, run_create, false };

/* ---- add ---- */

static int drain(struct stream *s, int out, struct hoy_err *err)
{
	const unsigned char *p;
	ssize_t n;

	while ((n = stream_peek(s, &p, err)) > 0) {
		int r = hoy_write_full(out, p, n);

		if (r < 0)
			return hoy_fail_errno(err, -r, "cannot write a temporary file");
		stream_take(s, n);
	}
	return (int)n;
}

/* The tar of one file or symlink; NAME is where it is. */
static int tar_one(const char *name, const struct stat *st, int out, struct hoy_err *err)
{
	static const char zeros[2 * TAR_BLOCK];
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	cleanup_fd int in = S_ISREG(st->st_mode) ? open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
	char link[TAR_NAME_MAX + 1] = "";
	off_t left = S_ISREG(st->st_mode) ? st->st_size : 0, size = left;
	ssize_t n = S_ISLNK(st->st_mode) ? readlink(name, link, TAR_NAME_MAX) : 0;
	int r;

	if (n < 0 || (S_ISREG(st->st_mode) && in < 0))
		return hoy_fail_errno(err, errno, "cannot read '%s'", name);
	tar_put_header(&b, &(struct tar_item){ .type = S_ISREG(st->st_mode) ? '0' : '2', .name = basename(name), .link = link, .size = size, .mtime = st->st_mtime,
					       .uid = st->st_uid, .gid = st->st_gid, .mode = st->st_mode & 07777 });
	r = b.error ? -ENOMEM : hoy_write_full(out, b.data, b.len);
	while (!r && left) {
		n = sendfile(out, in, NULL, left < 1 << 30 ? (size_t)left : 1 << 30);
		r = n < 0 ? -errno : !n ? -ESTALE : 0;
		left -= n;
	}
	if (!r)
		r = hoy_write_full(out, zeros, tar_padding(size));
	if (!r)
		r = hoy_write_full(out, zeros, sizeof(zeros));
	return r < 0 ? hoy_fail_errno(err, -r, "cannot copy '%s'", name) : 0;
}

/* The tar of NAME (of a directory: what is in it), in a file without a name: its descriptor. */
static int tar_of(const char *name, struct hoy_err *err)
{
	const char *dir = getenv("TMPDIR");
	cleanup_fd int out = open(dir && *dir ? dir : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), in = -1;
	cleanup_stream struct stream *s = NULL;
	struct stat st;
	int r;

	if (out < 0)
		return hoy_fail_errno(err, errno, "cannot make a temporary file");
	if (lstat(name, &st) < 0)
		return hoy_fail_errno(err, errno, "cannot read '%s'", name);
	if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)) {
		r = tar_one(name, &st, out, err);
		return r ? r : steal_fd(&out);
	}
	if (!S_ISDIR(st.st_mode))
		return hoy_fail(err, EINVAL, "'%s' is neither a file nor a directory", name);
	in = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (in < 0)
		return hoy_fail_errno(err, errno, "cannot read '%s'", name);
	s = layer_diff(DIFF_ALL, steal_fd(&in), NULL, NULL, NULL, 0);
	r = s ? drain(s, out, err) : hoy_fail_oom(err);
	return r ? r : steal_fd(&out);
}

static int annotate(struct hoy_json_doc *d, struct hoy_json *layer, const struct hoy_strv *given, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv sorted = HOY_STRV_INIT;
	struct hoy_json *notes = given->n ? hoy_json_need(d, layer, "annotations", HOY_JSON_OBJECT) : NULL;

	for (size_t i = 0; i < given->n; i++)
		hoy_strv_push(&sorted, given->v[i]);
	hoy_strv_sort(&sorted);
	for (size_t i = 0; i < sorted.n; i++) {
		char *eq = strchr(sorted.v[i], '=');

		if (!eq)
			return hoy_fail(err, EINVAL, "invalid annotation \"%s\" (expected format is \"key=value\")", sorted.v[i]);
		*eq = '\0';
		if (hoy_json_get(notes, sorted.v[i]))
			return hoy_fail(err, EINVAL, "annotation \"%s\" specified more than once", sorted.v[i]);
		if (!notes || !hoy_json_set_string(d, notes, sorted.v[i], eq + 1))
			return hoy_fail_oom(err);
	}
	return sorted.error ? hoy_fail_oom(err) : 0;
}

/* The manifest OLD with LAYER behind its others. */
static int with_layer(const struct manifest *old, const struct hoy_json *layer, struct manifest *ret, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	struct hoy_json *layers = d.root = hoy_json_copy(&d, old->doc.root);

	layers = layers ? hoy_json_need(&d, d.root, "layers", HOY_JSON_ARRAY) : NULL;
	if (!layers || !hoy_json_put(&d, layers, NULL, hoy_json_copy(&d, layer)))
		return hoy_fail_oom(err);
	hoy_jw_value(&w, NULL, d.root);
	return b.error ? hoy_fail_oom(err) : manifest_parse(ret, hoy_buf_str(&b), b.len, T_OCI, err);
}

/* The layout PATH has M alone, in the place of OLD. */
static int replace_manifest(const char *path, const struct manifest *m, const struct manifest *old, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	cleanup_fd int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	char name[96];
	int r;

	hoy_jw_object(&w, NULL);
	hoy_jw_int(&w, "schemaVersion", 2);
	hoy_jw_string(&w, "mediaType", T_OCI_INDEX);
	hoy_jw_array(&w, "manifests");
	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "mediaType", T_OCI);
	hoy_jw_string(&w, "digest", m->digest);
	hoy_jw_int(&w, "size", (int64_t)m->len);
	hoy_jw_end_object(&w);
	hoy_jw_end_array(&w);
	hoy_jw_end_object(&w);
	r = dir < 0 ? -errno : b.error ? -ENOMEM : hoy_replace_file(dir, "index.json", b.data, b.len, 0644, false);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot write 'index.json' in '%s'", path);
	blob_path(old->digest, name);
	return strcmp(old->digest, m->digest) && unlinkat(dir, name, 0) < 0 ? hoy_fail_errno(err, errno, "cannot remove the old manifest") : 0;
}

static bool is_source(const struct manifest *m) { return m->kind == MAN_OCI && m->config.type && !strcmp(m->config.type, T_SOURCE_CONFIG); }

static int add_layer(const char *path, const struct manifest *old, int tar, const struct hoy_strv *annotations, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	cleanup_dest struct dest *dst = NULL;
	cleanup_manifest struct manifest m = { 0 };
	struct origin from = { .fd = tar, .len = lseek(tar, 0, SEEK_END), .want_size = -1 };
	struct hoy_json *layer = d.root = hoy_json_new(&d, HOY_JSON_OBJECT);
	struct flowed out;
	int r = dest_oci(&dst, path, false, &(struct reg_opts)REG_OPTS_INIT, err);

	if (!r)
		r = flow(dst, &from, &(struct packing){ .suffix = "+gzip" }, &out, err);
	if (!r && (!layer || !hoy_json_set_string(&d, layer, "mediaType", T_OCI_LAYER "+gzip") || !hoy_json_set_string(&d, layer, "digest", out.digest) ||
		   !hoy_json_set_int(&d, layer, "size", out.size)))
		r = hoy_fail_oom(err);
	if (!r)
		r = annotate(&d, layer, annotations, err);
	if (!r)
		r = with_layer(old, layer, &m, err);
	if (!r)
		r = dst->ops->manifest(dst, &m, true, err);
	if (!r)
		r = dst->ops->commit(dst, err);
	return r ? r : replace_manifest(path, &m, old, err);
}

static int run_add(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	cleanup_source struct source *src = NULL;
	cleanup_manifest struct manifest m = { 0 };
	struct source_opts o = INIT;
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_fd int tar = -1;
	struct stat st;
	int status, r = 0;

	if (hoy_verb_args(v, argc, argv, &o, 2, 2, &status) < 0)
		return status;
	if (stat(argv[1], &st) < 0)
		r = hoy_fail_errno(&err, errno, "cannot read '%s'", argv[1]);
	d.root = hoy_json_new(&d, HOY_JSON_OBJECT);
	if (!r)
		r = d.root ? annotate(&d, d.root, &o.annotations, &err) : hoy_fail_oom(&err);
	if (!r)
		r = source_layout(&src, argv[1], NULL, &err);
	if (!r)
		r = source_manifest(src, NULL, &m, &err);
	if (!r && !is_source(&m))
		r = hoy_fail(&err, HOY_EFORMAT, "'%s' is no source image", argv[1]);
	if (!r)
		r = tar = tar_of(argv[2], &err);
	if (r >= 0)
		r = add_layer(argv[1], &m, tar, &o.annotations, &err);
	hoy_strv_release(&o.annotations);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_source_add = { "source add", "[options] PATH FILE", "Add a file, or what is in a directory, to a source image", add_opts, run_add, false };

/* ---- push and pull ---- */

static int full_names_only(const char *name, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	int r = hoy_ref_parse(&ref, name, err);

	if (r < 0)
		return r;
	return ref.domain ? 0 : hoy_fail(err, EINVAL, "pulling source images by short name (\"%s\") is not supported, please use a fully-qualified name", name);
}

static int copy_source(struct source *src, struct dest *dst, const struct source_opts *o, char digest[SHA_DIGEST_SIZE], struct hoy_err *err)
{
	static const struct trust by_policy;
	struct copy_opts c = { .quiet = o->quiet, .trust = &by_policy };
	int r = copy_image(src, dst, &c, digest, err);

	return r ? r : dst->ops->commit(dst, err);
}

static int run_push(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_source struct source *src = NULL;
	cleanup_dest struct dest *dst = NULL;
	struct source_opts o = INIT;
	struct hoy_err err = HOY_ERR_INIT;
	char digest[SHA_DIGEST_SIZE] = "";
	int status, r;

	if (hoy_verb_args(v, argc, argv, &o, 2, 2, &status) < 0)
		return status;
	r = full_names_only(argv[2], &err);
	if (!r)
		r = progress_choose(NULL, &o.quiet, &err);
	if (!r)
		r = source_oci(&src, argv[1], false, &o.reg, &err);
	if (!r)
		r = dest_registry(&dst, argv[2], &o.reg, &err);
	if (!r)
		r = copy_source(src, dst, &o, digest, &err);
	if (!r && o.digestfile && (r = hoy_replace_file(AT_FDCWD, o.digestfile, digest, strlen(digest), 0644, false)) < 0)
		hoy_fail_errno(&err, -r, "cannot write '%s'", o.digestfile);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_source_push = { "source push", "[options] PATH IMAGE", "Push a source image to a registry", push_opts, run_push, false };

/* Is what SRC (called NAME) has a source image? */
static int check_source(struct source *src, const char *name, struct hoy_err *err)
{
	cleanup_manifest struct manifest m = { 0 };
	int r = source_manifest(src, NULL, &m, err);

	if (!r && m.kind != MAN_OCI)
		r = hoy_fail(err, HOY_EFORMAT, "image \"%s\" is of type \"%s\" (expected: \"" T_OCI "\")", name, manifest_type(m.kind));
	if (!r && !is_source(&m))
		r = hoy_fail(err, HOY_EFORMAT, "invalid media type of image config \"%s\" (expected: \"" T_SOURCE_CONFIG "\")", m.config.type ?: "");
	return r;
}

static int run_pull(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_source struct source *src = NULL;
	cleanup_dest struct dest *dst = NULL;
	struct source_opts o = INIT;
	struct hoy_err err = HOY_ERR_INIT;
	char digest[SHA_DIGEST_SIZE];
	struct stat st;
	int status, r = 0;

	if (hoy_verb_args(v, argc, argv, &o, 2, 2, &status) < 0)
		return status;
	if (!stat(argv[2], &st))
		r = hoy_fail(&err, EEXIST, "\"%s\" already exists", argv[2]);
	if (!r)
		r = full_names_only(argv[1], &err);
	if (!r)
		r = progress_choose(NULL, &o.quiet, &err);
	if (!r)
		r = source_registry(&src, argv[1], &o.reg, &err);
	if (!r)
		r = check_source(src, argv[1], &err);
	if (!r)
		r = dest_oci(&dst, argv[2], false, &o.reg, &err);
	if (!r)
		r = copy_source(src, dst, &o, digest, &err);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_source_pull = { "source pull", "[options] IMAGE PATH", "Pull a source image from a registry into a directory", pull_opts, run_pull, false };
