/* cmd-image/transfer/artifact.c: `artifact add` and `extract`: files into artifacts and out of them. */
#include "common/oci/artifacts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-image/transfer/mime.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/ref.h"
#include "common/data/time.h"

#define T_EMPTY "application/vnd.oci.empty.v1+json"
#define EMPTY_DIGEST "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

struct file_opts {
	bool append, replace;
	const char *type, *file_type, *digest, *title;
	struct hoy_strv annotations;
};
#define O(field) offsetof(struct file_opts, field)
static const struct hoy_opt add_opts[] = {
	{ 0, "annotation", HOY_OPT_LIST, O(annotations), "KEY=VALUE", "annotation of the artifact and its new files" },
	{ 'a', "append", HOY_OPT_FLAG, O(append), NULL, "add to an artifact that is there" },
	{ 0, "file-type", HOY_OPT_STRING, O(file_type), "TYPE", "media type of the files (default: by their content)" },
	{ 0, "replace", HOY_OPT_FLAG, O(replace), NULL, "in the place of an artifact of that name" },
	{ 0, "type", HOY_OPT_STRING, O(type), "TYPE", "what the artifact is: its artifactType" },
	HOY_OPTS_END,
};
static const struct hoy_opt extract_opts[] = {
	{ 0, "digest", HOY_OPT_STRING, O(digest), "DIGEST", "the file with this digest alone" },
	{ 0, "title", HOY_OPT_STRING, O(title), "TITLE", "the file with this title alone" },
	HOY_OPTS_END,
};

/* ---- add ---- */

/* A file on its way in: its bytes are there, under a temporary name until end(). */
struct incoming {
	const char *title, *type;
	struct sink *k;
	char digest[SHA_DIGEST_SIZE];
	int64_t size;
};

static int check_add(const struct file_opts *o, const char *name, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;

	if (o->append && o->replace)
		return hoy_fail(err, EINVAL, "--append and --replace options cannot be used together");
	if (o->append && o->type && *o->type)
		return hoy_fail(err, EINVAL, "append option is not compatible with type option");
	for (size_t i = 0; i < o->annotations.n; i++)
		if (!strchr(o->annotations.v[i], '='))
			return hoy_fail(err, EINVAL, "no value given for annotation \"%s\"", o->annotations.v[i]);
	if (!*name)
		return hoy_fail(err, EINVAL, "artifact name cannot be empty");
	return hoy_ref_parse(&ref, name, err);
}

/* FILE through a sink of DST. */
static int bring(struct incoming *in, struct dest *dst, const char *file, struct hoy_err *err)
{
	char *buf = malloc(1 << 17);
	cleanup_free char *owned = buf;
	cleanup_fd int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct sha sha = { 0 };
	ssize_t n;
	int r = !buf ? hoy_fail_oom(err) : fd < 0 ? hoy_fail_errno(err, errno, "cannot open '%s'", file) : sha_init(&sha) < 0 ? hoy_fail_oom(err) : 0;

	if (!r)
		r = dst->ops->put(dst, NULL, -1, &in->k, err);
	while (!r && (n = hoy_read_full(fd, buf, 1 << 17))) {
		if (n < 0) {
			r = hoy_fail_errno(err, -n, "cannot read '%s'", file);
			break;
		}
		if (!in->type)
			in->type = mime_of(buf, n);
		sha_add(&sha, buf, n);
		in->size += n;
		r = in->k->write(in->k, buf, n, err);
	}
	if (!in->type)
		in->type = mime_of("", 0);
	if (sha.ctx)
		sha_end(&sha, in->digest);
	return r;
}

static const char *given_title(const struct file_opts *o) { return hoy_env_get(&o->annotations, HOY_TITLE); }

static bool has_title(const struct hoy_json *manifest, const char *title)
{
	HOY_JSON_EACH(l, hoy_json_get(manifest, "layers")) {
		const char *have = hoy_json_str(hoy_json_get(l, "annotations"), HOY_TITLE);

		if (have && !strcmp(have, title))
			return true;
	}
	return false;
}

/* What the artifact NAME is before the files are in it: the manifest that is there, or a new one. *RET_OLD: that one's entry, or NULL. */
static int begin(const struct file_opts *o, const struct hoy_artifacts *a, const char *name, struct hoy_json_doc *ret,
		 const struct hoy_json **ret_old, struct hoy_err *err)
{
	struct hoy_json *config;

	*ret_old = hoy_artifact_named(a, name);
	if (o->append)
		return *ret_old ? hoy_artifact_manifest(a, *ret_old, ret, err) : hoy_fail(err, ENOENT, "%s: artifact does not exist", name);
	if (*ret_old && !o->replace)
		return hoy_fail(err, EEXIST, "%s: artifact already exists", name);
	ret->root = hoy_json_new(ret, HOY_JSON_OBJECT);
	config = ret->root ? hoy_json_need(ret, ret->root, "config", HOY_JSON_OBJECT) : NULL;
	if (!config || !hoy_json_set_string(ret, ret->root, "mediaType", T_OCI) ||
	    (o->type && !hoy_json_set_string(ret, ret->root, "artifactType", o->type)) || !hoy_json_set_string(ret, config, "mediaType", T_EMPTY) ||
	    !hoy_json_set_string(ret, config, "digest", EMPTY_DIGEST) || !hoy_json_set_int(ret, config, "size", 2) ||
	    !hoy_json_set_string(ret, config, "data", "e30="))
		return hoy_fail_oom(err);
	return 0;
}

/* Do the files' names fit to it and to each other? */
static int check_titles(const struct file_opts *o, const struct hoy_json *manifest, const struct incoming *in, int n, struct hoy_err *err)
{
	for (int i = 0; i < n; i++) {
		bool twice = has_title(manifest, in[i].title);

		for (int k = 0; k < i; k++)
			twice = twice || !strcmp(in[k].title, in[i].title);
		if (twice)
			return hoy_fail(err, EEXIST, "%s: file already exists in artifact", in[i].title);
	}
	if (given_title(o) && (n > 1 || has_title(manifest, given_title(o))))
		return hoy_fail(err, EINVAL, "duplicate layers " HOY_TITLE " labels within an artifact not allowed");
	return 0;
}

static int annotate(struct hoy_json_doc *doc, struct hoy_json *obj, const struct hoy_strv *given, const char *key, const char *value)
{
	struct hoy_json *a = hoy_json_need(doc, obj, "annotations", HOY_JSON_OBJECT);

	for (size_t i = 0; a && i < given->n; i++) {
		cleanup_free char *k = strndup(given->v[i], strcspn(given->v[i], "="));

		if (!k || !hoy_json_set_string(doc, a, k, strchr(given->v[i], '=') + 1))
			return -ENOMEM;
	}
	return a && hoy_json_set_string(doc, a, key, value) ? 0 : -ENOMEM;
}

static int add_layer(struct hoy_json_doc *doc, const struct file_opts *o, const struct incoming *in)
{
	struct hoy_json *layers = hoy_json_need(doc, doc->root, "layers", HOY_JSON_ARRAY);
	struct hoy_json *l = layers ? hoy_json_put(doc, layers, NULL, hoy_json_new(doc, HOY_JSON_OBJECT)) : NULL;
	const char *title = given_title(o);

	if (!l || !hoy_json_set_string(doc, l, "mediaType", in->type) || !hoy_json_set_string(doc, l, "digest", in->digest) ||
	    !hoy_json_set_int(doc, l, "size", in->size))
		return -ENOMEM;
	return annotate(doc, l, &o->annotations, HOY_TITLE, title ? title : in->title);
}

/* The manifest with the files in it, as bytes and parsed. */
static int make_manifest(struct hoy_json_doc *doc, const struct file_opts *o, const struct incoming *in, int n, struct manifest *ret,
			 struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	char now[HOY_TIME_SIZE];
	int r = 0;

	for (int i = 0; i < n && !r; i++)
		r = add_layer(doc, o, &in[i]);
	if (!r && !o->append)
		r = annotate(doc, doc->root, &o->annotations, HOY_CREATED, hoy_time_format(hoy_now(), now));
	hoy_artifact_put(&w, NULL, doc->root);
	if (r < 0 || b.error)
		return b.error == EFBIG ? hoy_fail(err, EFBIG, "the artifact's manifest would have more than %zu bytes", MANIFEST_MAX) : hoy_fail_oom(err);
	return manifest_parse(ret, b.data, b.len, T_OCI, err);
}

/* Under the lock: the files get their names, the manifest and the index are written, and what was replaced goes. */
static int settle(struct hoy_artifacts *a, struct dest *dst, const struct hoy_json *old, const struct manifest *m, struct incoming *in, int n,
		  struct hoy_err *err)
{
	static const struct desc empty = { .digest = (char *)EMPTY_DIGEST, .type = (char *)T_EMPTY, .size = 2 };
	struct sink *k = NULL;
	int r = 0;

	for (int i = 0; i < n && !r; i++)
		r = in[i].k->end(in[i].k, in[i].digest, in[i].size, err);
	if (!r && !strcmp(m->config.digest, empty.digest) && !(r = dst->ops->has(dst, &empty, NULL, err)))
		r = dst->ops->put(dst, empty.digest, 2, &k, err);
	if (!r && k)
		r = k->write(k, "{}", 2, err);
	if (!r && k)
		r = k->end(k, empty.digest, 2, err);
	if (k)
		k->free(k);
	if (r >= 0)
		r = dst->ops->manifest(dst, m, true, err);
	return r || !old ? r : hoy_layout_sweep(a->dirfd, hoy_json_str(old, "digest"), err);
}

static int add(const struct file_opts *o, const char *name, struct hoy_artifacts *a, struct incoming *in, char **files, int n, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc early = HOY_JSON_DOC_INIT, doc = HOY_JSON_DOC_INIT;
	cleanup_manifest struct manifest m = { 0 };
	cleanup_dest struct dest *dst = NULL;
	const struct hoy_json *old;
	int r = hoy_artifacts_lock(a, false, err);

	/* What cannot be is said before anything is read; what holds is found out under the lock, below. */
	if (!r)
		r = begin(o, a, name, &early, &old, err);
	if (!r)
		r = check_titles(o, early.root, in, n, err);
	hoy_artifacts_unlock(a);
	if (!r)
		r = dest_layout(&dst, a->path, name, err);
	for (int i = 0; i < n && !r; i++)
		r = bring(&in[i], dst, files[i], err);
	if (!r)
		r = hoy_artifacts_lock(a, true, err);
	if (!r)
		r = begin(o, a, name, &doc, &old, err);
	if (!r)
		r = check_titles(o, doc.root, in, n, err);
	if (!r)
		r = make_manifest(&doc, o, in, n, &m, err);
	if (!r)
		r = settle(a, dst, old, &m, in, n, err);
	hoy_artifacts_unlock(a);
	for (int i = 0; i < n; i++)
		if (in[i].k)
			in[i].k->free(in[i].k);
	if (!r)
		puts(m.digest + 7);
	return r;
}

static int run_add(const struct hoy_verb *v, int argc, char **argv)
{
	struct file_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_artifacts struct hoy_artifacts a = HOY_ARTIFACTS_INIT;
	struct incoming *in = NULL;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 2, -1, &status);

	if (n < 0)
		return status;
	in = calloc(n, sizeof(*in));
	r = in ? check_add(&o, argv[1], &err) : hoy_fail_oom(&err);
	for (int i = 2; i <= n && !r; i++)
		in[i - 2] = (struct incoming){ .title = basename(argv[i]), .type = o.file_type && *o.file_type ? o.file_type : NULL };
	if (!r)
		r = hoy_artifacts_open(&a, &hoy_globals.storage, true, &err);
	if (!r)
		r = add(&o, argv[1], &a, in, argv + 2, n - 1, &err);
	free(in);
	hoy_strv_release(&o.annotations);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_artifact_add = { "artifact add", "[options] ARTIFACT PATH [PATH...]", "Make an artifact of files", add_opts, run_add, 0 };

/* ---- extract ---- */

struct outgoing {
	const char *digest;
	char *name; /* in the directory */
	int64_t size;
	int fd;
};

/* The layer that O asks for. */
static int pick(const struct file_opts *o, const struct hoy_json *layers, const struct hoy_json **ret, struct hoy_err *err)
{
	const char *what = o->title ? "title" : "digest", *want = o->title ? o->title : o->digest;

	*ret = NULL;
	HOY_JSON_EACH(l, layers) {
		const char *have = o->title ? hoy_json_str(hoy_json_get(l, "annotations"), HOY_TITLE) : hoy_json_str(l, "digest");

		if (!have || strcmp(have, want))
			continue;
		if (*ret)
			return hoy_fail(err, HOY_EAMBIGUOUS, "more than one match for the %s \"%s\"", what, want);
		*ret = l;
	}
	return *ret ? 0 : hoy_fail(err, ENOENT, "no blob with the %s \"%s\"", what, want);
}

/* A title becomes the name of a file, and nothing else. */
static int name_of(const struct file_opts *o, const struct hoy_json *layer, char **ret, struct hoy_err *err)
{
	const struct hoy_json *t = hoy_json_get(hoy_json_get(layer, "annotations"), HOY_TITLE);
	const char *title = hoy_json_text(t);

	if (t && t->type == HOY_JSON_STRING && (!title || strchr(title, '/')))
		return hoy_fail(err, EINVAL, "invalid name: \"%s\" cannot contain %s: title of the blob is not valid", title ? title : t->str, title ? "/" : "a NUL");
	if (title && (!strcmp(title, ".") || !strcmp(title, "..")))
		return hoy_fail(err, EINVAL, "invalid name: \"%s\" is no name of a file: title of the blob is not valid", title);
	*ret = title && *title && !o->digest ? strdup(title) : hoy_asprintf("sha256-%s", hoy_json_str(layer, "digest") + 7);
	return *ret ? 0 : hoy_fail_oom(err);
}

/* Open the blob of LAYER while nobody can take it away. */
static int open_blob(const struct hoy_artifacts *a, const struct hoy_json *layer, struct outgoing *ret, struct hoy_err *err)
{
	struct stat st;
	char path[96];

	ret->digest = hoy_json_str(layer, "digest");
	ret->size = hoy_json_int(layer, "size", 0);
	blob_path(ret->digest, path);
	ret->fd = hoy_open_beneath(a->dirfd, path, O_RDONLY | O_NONBLOCK, 0, HOY_BENEATH);
	if (ret->fd < 0)
		return hoy_fail_errno(err, -ret->fd, "failed to get artifact file: cannot open blob %s", ret->digest);
	if (fstat(ret->fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size != ret->size)
		return hoy_fail(err, HOY_EDIGEST, "blob %s has not the size that the artifact says", ret->digest);
	return 0;
}

static int copy_out(const struct outgoing *x, int fd, const char *to, struct hoy_err *err)
{
	cleanup_stream struct stream *in = stream_fd(x->fd, false, 0, x->size, x->digest);
	char digest[SHA_DIGEST_SIZE];
	const unsigned char *p;
	struct sha sha;
	ssize_t n = 0;
	int r = in && !sha_init(&sha) ? 0 : hoy_fail_oom(err);

	if (r < 0)
		return r;
	while (!r && (n = stream_peek(in, &p, err)) > 0) {
		sha_add(&sha, p, n);
		r = hoy_write_full(fd, p, n);
		if (r < 0)
			hoy_fail_errno(err, -r, "cannot write '%s'", to);
		stream_take(in, n);
	}
	sha_end(&sha, digest);
	if (r || n < 0)
		return r ? r : n;
	return strcmp(digest, x->digest) ? hoy_fail(err, HOY_EDIGEST, "blob %s is not what its digest says: it has %s", x->digest, digest) : 0;
}

/*
 * X as the file NAME in DIRFD, which is there as a whole or not at all. A file that is there already keeps its mode, and a symlink of
 * that name is replaced, not followed.
 */
static int write_out(const struct outgoing *x, int dirfd, const char *name, struct hoy_err *err)
{
	cleanup_free char *tmp = hoy_asprintf(".tmp-hoy-%d", getpid());
	struct stat st;
	bool regular = !fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode);
	cleanup_fd int fd = -1;
	int r;

	if (!tmp)
		return hoy_fail_oom(err);
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return hoy_fail_errno(err, errno, "failed to create target file: '%s'", name);
	r = copy_out(x, fd, name, err);
	if (!r && (fchmod(fd, regular ? st.st_mode & 07777 : 0644) < 0 || renameat(dirfd, tmp, dirfd, name) < 0))
		r = hoy_fail_errno(err, errno, "cannot write '%s'", name);
	if (r)
		unlinkat(dirfd, tmp, 0);
	return r;
}

/* To where the user said, through symlinks. What is no file (a terminal, a pipe) is written to. */
static int write_target(const struct outgoing *x, const char *target, struct hoy_err *err)
{
	struct stat st;
	bool there = !stat(target, &st);
	cleanup_free char *real = there && S_ISREG(st.st_mode) ? realpath(target, NULL) : strdup(target);
	char *slash = real ? strrchr(real, '/') : NULL;
	cleanup_fd int fd = -1;

	if (!real)
		return hoy_fail_errno(err, errno, "failed to create target file: '%s'", target);
	if (there && !S_ISREG(st.st_mode)) {
		fd = open(target, O_WRONLY | O_CLOEXEC);
		return fd < 0 ? hoy_fail_errno(err, errno, "failed to create target file: '%s'", target) : copy_out(x, fd, target, err);
	}
	if (slash)
		*slash = '\0';
	fd = open(!slash ? "." : *real ? real : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? hoy_fail_errno(err, errno, "failed to create target file: '%s'", target) : write_out(x, fd, slash ? slash + 1 : real, err);
}

static int extract(const struct file_opts *o, struct hoy_artifacts *a, const struct hoy_json *manifest, const char *target, struct hoy_err *err)
{
	const struct hoy_json *layers = hoy_json_get(manifest, "layers"), *only = NULL;
	unsigned count = layers ? layers->count : 0, n = 0;
	struct outgoing *v = calloc(count + 1, sizeof(*v));
	cleanup_fd int dir = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = v ? 0 : hoy_fail_oom(err);

	if (!r && !count)
		r = hoy_fail(err, ENOENT, "the artifact has no blobs, nothing to extract");
	if (!r && (o->title || o->digest))
		r = pick(o, layers, &only, err);
	if (!r && dir < 0 && !only && count > 1)
		r = hoy_fail(err, EINVAL, "the artifact consists of several blobs and the target \"%s\" is not a directory and neither digest or title was specified to only copy a single blob", target);
	/* All of it is looked at before any of it is written. */
	HOY_JSON_EACH(l, layers) {
		if (r || (only && l != only))
			continue;
		v[n].fd = -1;
		r = dir < 0 ? 0 : name_of(o, l, &v[n].name, err);
		if (!r)
			r = open_blob(a, l, &v[n], err);
		n++;
	}
	hoy_artifacts_unlock(a);
	for (unsigned i = 0; i < n && !r; i++)
		r = dir < 0 ? write_target(&v[i], target, err) : write_out(&v[i], dir, v[i].name, err);
	for (unsigned i = 0; i < n; i++) {
		hoy_close(v[i].fd);
		free(v[i].name);
	}
	free(v);
	return r;
}

static int run_extract(const struct hoy_verb *v, int argc, char **argv)
{
	struct file_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_artifacts struct hoy_artifacts a = HOY_ARTIFACTS_INIT;
	cleanup_json struct hoy_json_doc m = HOY_JSON_DOC_INIT;
	const struct hoy_json *entry;
	int status, r;

	if (hoy_verb_args(v, argc, argv, &o, 2, 2, &status) < 0)
		return status;
	o.digest = o.digest && *o.digest ? o.digest : NULL;
	o.title = o.title && *o.title ? o.title : NULL;
	r = o.digest && o.title ? hoy_fail(&err, EINVAL, "cannot specify both digest and title") :
				  hoy_artifacts_open(&a, &hoy_globals.storage, false, &err);
	if (!r)
		r = hoy_artifacts_lock(&a, false, &err);
	if (!r)
		r = hoy_artifact_find(&a, argv[1], &entry, &err);
	if (!r)
		r = hoy_artifact_manifest(&a, entry, &m, &err);
	if (!r)
		r = extract(&o, &a, m.root, argv[2], &err);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_artifact_extract = { "artifact extract", "[options] ARTIFACT PATH", "Write the files of an artifact", extract_opts, run_extract, 0 };
