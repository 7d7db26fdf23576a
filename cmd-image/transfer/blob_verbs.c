/* cmd-image/transfer/blob_verbs.c: `blob` and `manifest get|put`: the pieces of images, one at a time, through pipes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd-image/transfer/layer.h"
#include "cmd-image/transfer/skopeo.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/base/msg.h"

struct pipe_opts {
	struct reg_opts reg;
	const char *type;
};
#define O(field) offsetof(struct pipe_opts, field)
static const struct hoy_opt reg_opts[] = {
	REG_LOGIN_OPTS(O(reg), "", ""),
	REG_PLACE_OPTS(O(reg), "", ""),
	REG_RETRY_OPTS(O(reg)),
	HOY_OPTS_END,
};
static const struct hoy_opt put_opts[] = {
	REG_LOGIN_OPTS(O(reg), "", ""),
	REG_PLACE_OPTS(O(reg), "", ""),
	REG_RETRY_OPTS(O(reg)),
	{ 0, "type", HOY_OPT_STRING, O(type), "TYPE", "media type of the manifest, where it doesn't say so itself" },
	HOY_OPTS_END,
};

static int check_digest(const char *digest, struct hoy_err *err)
{
	if (digest && (!hoy_is_digest(digest) || strncmp(digest, "sha256:", 7)))
		return hoy_fail(err, EINVAL, "'%s' is no digest (sha256: and 64 hexadecimal digits)", digest);
	return 0;
}

/* ---- out ---- */

/* The blobs of a source whose layers are plain go by the names in its config. */
static int find_plain(struct source *src, const char *digest, struct stream **ret, struct hoy_err *err)
{
	cleanup_manifest struct manifest m = { 0 };
	cleanup_config struct config c = CONFIG_INIT;
	int r = source_manifest(src, NULL, &m, err);

	if (!r && manifest_is_list(&m))
		return hoy_fail(err, HOY_EUNSUPPORTED, "'%s' is a list, which has no blobs of its own", src->name);
	if (!r && !strcmp(m.config.digest, digest))
		return src->ops->blob(src, &m.config, -1, ret, err);
	if (!r)
		r = source_config(src, &m, &c, err);
	for (size_t i = 0; !r && i < c.diff_ids.n; i++)
		if (!strcmp(c.diff_ids.v[i], digest))
			return src->ops->blob(src, &m.v[i], i, ret, err);
	for (size_t i = 0; !r && i < m.n; i++)
		if (!strcmp(m.v[i].digest, digest))
			return hoy_fail(err, HOY_ENOIMAGE, "'%s' keeps this layer unpacked: its tar is blob %s", src->name, c.diff_ids.v[i]);
	return r ? r : hoy_fail(err, HOY_ENOIMAGE, "'%s' has no blob %s", src->name, digest);
}

static int find_blob(struct source *src, const char *digest, struct stream **ret, struct hoy_err *err)
{
	struct desc d = { (char *)digest, NULL, -1, NULL };
	int r = src->plain ? find_plain(src, digest, ret, err) : src->ops->blob(src, &d, -1, ret, err);

	return r == -ENOENT ? -(err->code = HOY_ENOIMAGE) : r;
}

/*
 * The end of a blob is held back until all of it has proved true: who reads a wrong one through a pipe sees that it is cut,
 * and of a short one sees nothing.
 */
struct holding {
	unsigned char end[4096];
	size_t n;
};

static int pass(struct holding *h, const unsigned char *data, size_t n)
{
	size_t keep = n < sizeof(h->end) ? n : sizeof(h->end), out = h->n + keep > sizeof(h->end) ? h->n + keep - sizeof(h->end) : 0;
	int r = hoy_write_full(1, h->end, out);

	if (!r)
		r = hoy_write_full(1, data, n - keep);
	memmove(h->end, h->end + out, h->n - out);
	memcpy(h->end + h->n - out, data + n - keep, keep);
	h->n += keep - out;
	return r;
}

static int print_blob(struct stream *in, const char *digest, struct hoy_err *err)
{
	struct checked ck = { 0 };
	struct holding h = { .n = 0 };
	const unsigned char *p;
	ssize_t n;
	int r = checked_init(&ck, in, digest, -1, err);

	while (!r && (n = stream_peek(&ck.s, &p, err)) != 0) {
		if (n < 0)
			r = n;
		else if (transfer_cancelled)
			r = hoy_fail(err, ECANCELED, "stopped");
		else if ((r = pass(&h, p, n)) < 0)
			hoy_fail_errno(err, -r, "cannot write to standard output");
		else
			stream_take(&ck.s, n);
	}
	if (!r && (r = hoy_write_full(1, h.end, h.n)) < 0)
		hoy_fail_errno(err, -r, "cannot write to standard output");
	checked_release(&ck);
	return r;
}

static int run_get(const struct hoy_verb *v, int argc, char **argv)
{
	struct pipe_opts o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_source struct source *src = NULL;
	cleanup_stream struct stream *in = NULL;
	int status, r, n = skopeo_args(v, argc, argv, &o, 2, 2, &status);

	if (n < 0)
		return status;
	o.reg.blob = argv[2];
	r = check_digest(argv[2], &err);
	if (!r)
		r = source_open(&src, argv[1], &o.reg, &err);
	if (!r)
		r = find_blob(src, argv[2], &in, &err);
	if (!r)
		r = print_blob(in, argv[2], &err);
	stream_free(steal_ptr(&in));
	return r < 0 ? skopeo_failed(&err) : 0;
}
const struct hoy_verb verb_blob_get = { "blob get", "[options] TRANSPORT:IMAGE DIGEST", "Print a blob", reg_opts, run_get, HOY_VERB_COPIES };

static int run_exists(const struct hoy_verb *v, int argc, char **argv)
{
	struct pipe_opts o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_source struct source *src = NULL;
	cleanup_stream struct stream *in = NULL;
	int status, r, n = skopeo_args(v, argc, argv, &o, 2, 2, &status);

	if (n < 0)
		return status;
	o.reg.blob = argv[2];
	/* What a mirror has is not there for who pushes. */
	o.reg.no_mirrors = true;
	r = check_digest(argv[2], &err);
	if (!r)
		r = source_open(&src, argv[1], &o.reg, &err);
	/* A registry has been asked by that. */
	if (!r && !src->repo_host)
		r = find_blob(src, argv[2], &in, &err);
	stream_free(steal_ptr(&in));
	return r == -HOY_ENOIMAGE || r == -ENOENT ? 1 : r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_blob_exists = { "blob exists", "[options] TRANSPORT:IMAGE DIGEST", "Is there such a blob? Exit status 0 or 1",
					   reg_opts, run_exists, HOY_VERB_COPIES };

static int run_manifest_get(const struct hoy_verb *v, int argc, char **argv)
{
	struct pipe_opts o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_source struct source *src = NULL;
	cleanup_free char *data = NULL, *type = NULL;
	char digest[SHA_DIGEST_SIZE];
	const char *wanted;
	size_t len;
	int status, r, n = skopeo_args(v, argc, argv, &o, 1, 2, &status);

	if (n < 0)
		return status;
	o.reg.manifest = wanted = n == 2 ? argv[2] : NULL;
	r = check_digest(wanted, &err);
	if (!r)
		r = source_open(&src, argv[1], &o.reg, &err);
	if (!r)
		r = src->ops->manifest(src, wanted, &data, &len, &type, &err);
	if (r == -ENOENT)
		err.code = HOY_ENOIMAGE;
	if (!r && wanted) {
		sha_of(data, len, digest);
		if (strcmp(digest, wanted))
			r = hoy_fail(&err, HOY_EDIGEST, "manifest %s of '%s' is not what its digest says: it has %s", wanted, src->name, digest);
	}
	if (!r && (r = hoy_write_full(1, data, len)) < 0)
		hoy_fail_errno(&err, -r, "cannot write to standard output");
	return r < 0 ? skopeo_failed(&err) : 0;
}
const struct hoy_verb verb_manifest_get = { "manifest get", "[options] TRANSPORT:IMAGE [DIGEST]", "Print a manifest or list as it is", reg_opts,
					    run_manifest_get, HOY_VERB_COPIES };

/* ---- in ---- */

/* A destination that pieces of an image can be put into. */
static int open_dest(struct dest **ret, const char *name, const struct reg_opts *o, struct hoy_err *err)
{
	if (!strncmp(name, "docker://", 9) || !strncmp(name, "oci:", 4) || !strncmp(name, "dir:", 4))
		return dest_open(ret, name, o, err);
	return hoy_fail(err, HOY_EUNSUPPORTED, "'%s' takes no pieces of images (docker://, oci: and dir: do; then: hoy-image copy)", name);
}

/* How many bytes stdin has, or -1. */
static int64_t stdin_size(void)
{
	off_t at = lseek(0, 0, SEEK_CUR);
	struct stat st;

	return at >= 0 && !fstat(0, &st) && S_ISREG(st.st_mode) && st.st_size >= at ? st.st_size - at : -1;
}

/* All of CK to a new blob of DST, which is called as its content wants it. What stdin gave is gone: nothing is tried again. */
static int send_blob(struct dest *dst, struct checked *ck, const char *digest, int64_t size, struct hoy_err *err)
{
	const unsigned char *p;
	bool broken = false;
	struct sink *k;
	ssize_t n;
	int r = dst->ops->put(dst, digest, size, &k, err);

	if (r < 0)
		return r;
	while (!r && (n = stream_peek(&ck->s, &p, err)) != 0) {
		r = n < 0 ? n : transfer_cancelled ? hoy_fail(err, ECANCELED, "stopped") : k->write(k, p, n, err);
		broken = r < 0 && n > 0 && !transfer_cancelled;
		if (!r)
			stream_take(&ck->s, n);
	}
	if (!r)
		broken = (r = k->end(k, ck->digest, ck->size, err)) < 0;
	/* A sink that broke off knows better why. */
	if (broken && k->again)
		r = k->again(k, NULL, err);
	k->free(k);
	return r;
}

static int put_blob(struct dest *dst, const char *digest, struct hoy_err *err)
{
	cleanup_stream struct stream *in = stream_fd(0, false, -1, -1, "stdin");
	struct desc d = { (char *)digest, NULL, stdin_size(), NULL };
	struct checked ck = { 0 };
	int r = in ? checked_init(&ck, in, digest, -1, err) : hoy_fail_oom(err);

	if (!r && digest)
		r = dst->ops->has(dst, &d, NULL, err);
	/* It is there: what comes is read none the less, for whoever writes it. */
	if (r > 0)
		r = checked_drain(&ck, err);
	else if (!r)
		r = send_blob(dst, &ck, digest, d.size, err);
	if (!r)
		printf("%s %lld\n", ck.digest, (long long)ck.size);
	checked_release(&ck);
	return r;
}

static int run_put(const struct hoy_verb *v, int argc, char **argv)
{
	struct pipe_opts o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_dest struct dest *dst = NULL;
	int status, r, n = skopeo_args(v, argc, argv, &o, 1, 2, &status);

	if (n < 0)
		return status;
	r = check_digest(n == 2 ? argv[2] : NULL, &err);
	if (!r)
		r = open_dest(&dst, argv[1], &o.reg, &err);
	if (!r)
		r = put_blob(dst, n == 2 ? argv[2] : NULL, &err);
	return r < 0 ? skopeo_failed(&err) : 0;
}
const struct hoy_verb verb_blob_put = { "blob put", "[options] TRANSPORT:IMAGE [DIGEST]", "Store a blob from stdin", reg_opts, run_put, HOY_VERB_COPIES };

static int read_manifest(struct manifest *m, const char *type, const char *digest, struct hoy_err *err)
{
	cleanup_stream struct stream *in = stream_fd(0, false, -1, -1, "stdin");
	cleanup_free char *data = malloc(MANIFEST_MAX + 1);
	ssize_t n = in && data ? stream_read(in, data, MANIFEST_MAX + 1, err) : hoy_fail_oom(err);
	int r = n < 0 ? n : manifest_parse(m, data, n, type, err);

	if (!r && digest && strcmp(m->digest, digest))
		r = hoy_fail(err, HOY_EDIGEST, "the manifest is not what its digest %s says: it has %s", digest, m->digest);
	if (!r && type && strcmp(type, manifest_type(m->kind)))
		r = hoy_fail(err, EINVAL, "the manifest says that it is of the type '%s', not '%s'", manifest_type(m->kind), type);
	return r;
}

static int run_manifest_put(const struct hoy_verb *v, int argc, char **argv)
{
	struct pipe_opts o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_manifest struct manifest m = { 0 };
	cleanup_dest struct dest *dst = NULL;
	const char *digest;
	int status, r, n = skopeo_args(v, argc, argv, &o, 1, 2, &status);

	if (n < 0)
		return status;
	digest = n == 2 ? argv[2] : NULL;
	r = check_digest(digest, &err);
	if (!r)
		r = read_manifest(&m, o.type, digest, &err);
	if (!r)
		r = open_dest(&dst, argv[1], &o.reg, &err);
	if (!r && !dst->takes[m.kind])
		r = hoy_fail(&err, HOY_EUNSUPPORTED, "'%s' takes no manifests of the type '%s'", argv[1], manifest_type(m.kind));
	if (!r)
		r = dst->ops->manifest(dst, &m, !digest, &err);
	if (!r)
		r = dst->ops->commit(dst, &err);
	if (!r)
		puts(m.digest);
	return r < 0 ? skopeo_failed(&err) : 0;
}
const struct hoy_verb verb_manifest_put = { "manifest put", "[options] TRANSPORT:IMAGE [DIGEST]", "Store a manifest or list from stdin", put_opts,
					    run_manifest_put, HOY_VERB_COPIES };
