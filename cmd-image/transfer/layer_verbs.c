/* cmd-image/transfer/layer_verbs.c: `layer unpack|diff|digest`: layers as tars on stdin and stdout, files in directories. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/layer.h"
#include "cmd-image/transfer/layer_diff.h"
#include "cmd-image/transfer/skopeo.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/conf/dirs.h"

/* ---- unpack ---- */

struct unpack_verb_opts {
	bool overlay, keep, own;
	const char *max_layer;
};
#define O(field) offsetof(struct unpack_verb_opts, field)
static const struct hoy_opt unpack_opts[] = {
	{ 0, "keep-whiteouts", HOY_OPT_FLAG, O(keep), NULL, "leave whiteouts as files called .wh.NAME" },
	MAX_LAYER_OPT(O(max_layer)),
	{ 0, "no-same-owner", HOY_OPT_FLAG, O(own), NULL, "all files are the caller's, and there are no devices" },
	{ 0, "overlay", HOY_OPT_FLAG, O(overlay), NULL, "whiteouts as overlayfs has them, for a directory of one layer" },
	HOY_OPTS_END,
};
#undef O

static int unpack_stdin(const char *dir, const struct unpack_verb_opts *o, struct layer_got *got, struct hoy_err *err)
{
	cleanup_stream struct stream *in = stream_fd(0, false, -1, -1, "stdin");
	cleanup_fd int fd = hoy_open_dir_p(AT_FDCWD, dir, 0755);
	struct layer_want want = { .size = -1 };
	struct unpack_opts uo = { .own = o->own, .userns = o->own || hoy_rootless(),
				  .whiteouts = o->overlay ? WHITEOUTS_OVERLAY : o->keep ? WHITEOUTS_KEEP : WHITEOUTS_APPLY };
	struct store_in limit = { 0 };
	int r = store_in_limit(&limit, o->max_layer, err);

	if (!in)
		return hoy_fail_oom(err);
	if (fd < 0)
		return hoy_fail_errno(err, -fd, "cannot open the directory '%s'", dir);
	want.max = uo.max_sparse = limit.max_layer;
	return r ? r : layer_unpack(in, &want, fd, -1, &uo, got, err);
}

static int run_unpack(const struct hoy_verb *v, int argc, char **argv)
{
	struct unpack_verb_opts o = { 0 };
	struct layer_got got = { .kind = COMP_NONE };
	struct hoy_err err = HOY_ERR_INIT;
	int status, r, n = skopeo_args(v, argc, argv, &o, 1, 1, &status);

	if (n < 0)
		return status;
	r = o.overlay && o.keep ? hoy_fail(&err, EINVAL, "--overlay and --keep-whiteouts exclude each other") : unpack_stdin(argv[1], &o, &got, &err);
	if (!r)
		puts(got.diff_id);
	unpack_result_release(&got.res);
	return r < 0 ? skopeo_failed(&err) : 0;
}
const struct hoy_verb verb_layer_unpack = { "layer unpack", "[options] DIR", "Unpack a layer from stdin and print its diffID", unpack_opts,
					    run_unpack, HOY_VERB_COPIES };

/* ---- diff ---- */

struct diff_opts {
	bool overlay;
};
static const struct hoy_opt diff_opts[] = {
	{ 0, "overlay", HOY_OPT_FLAG, offsetof(struct diff_opts, overlay), NULL, "DIR is a layer of overlayfs, on those that the BASEs are" },
	HOY_OPTS_END,
};

static int open_dir(const char *path, struct hoy_err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? hoy_fail_errno(err, errno, "cannot open the directory '%s'", path) : fd;
}

/* The stream of PATHS[0] on the N - 1 others. */
static int open_diff(char **paths, int n, bool overlay, struct stream **ret, struct hoy_err *err)
{
	int *fds = calloc(n, sizeof(*fds)), r = fds ? 0 : hoy_fail_oom(err), i = 0;

	for (; !r && i < n; i++)
		if ((fds[i] = open_dir(paths[i], err)) < 0)
			r = fds[i];
	if (!r && overlay && layer_needs_mount(fds[0]))
		r = hoy_fail(err, HOY_EUNSUPPORTED, "'%s' has renamed directories or files without data: mount it, and compare the mount", paths[0]);
	if (!r) {
		*ret = layer_diff(overlay ? DIFF_UPPER : n > 1 ? DIFF_COMPARE : DIFF_ALL, fds[0], NULL, NULL, fds + 1, n - 1);
		r = *ret ? 0 : hoy_fail_oom(err);
	} else {
		while (i)
			hoy_close(fds[--i]);
	}
	free(fds);
	return r;
}

static int print_stream(struct stream *in, struct hoy_err *err)
{
	const unsigned char *p;
	ssize_t n;
	int r = 0;

	while (!r && (n = stream_peek(in, &p, err)) != 0) {
		r = n < 0 ? n : hoy_write_full(1, p, n);
		if (r < 0 && n > 0)
			hoy_fail_errno(err, -r, "cannot write to standard output");
		if (!r)
			stream_take(in, n);
	}
	return r;
}

static int run_diff(const struct hoy_verb *v, int argc, char **argv)
{
	struct diff_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	struct stream *in = NULL;
	int status, r, n = skopeo_args(v, argc, argv, &o, 1, -1, &status);

	if (n < 0)
		return status;
	if (n > 2 && !o.overlay)
		r = hoy_fail(&err, EINVAL, "layer diff takes one BASE, '%s' is one too many (--overlay: any number)", argv[3]);
	else
		r = open_diff(argv + 1, n, o.overlay, &in, &err);
	if (!r)
		r = print_stream(in, &err);
	stream_free(in);
	return r < 0 ? skopeo_failed(&err) : 0;
}
const struct hoy_verb verb_layer_diff = { "layer diff", "[options] DIR [BASE...]", "Print the tar of what DIR has and BASE has not", diff_opts,
					  run_diff, HOY_VERB_COPIES };

/* ---- digest ---- */

static const struct hoy_opt no_opts[] = { HOY_OPTS_END };

/* Inflate all of Z, to know what it is. */
static int hash_plain(struct inflate *z, char ret[SHA_DIGEST_SIZE], struct hoy_err *err)
{
	static unsigned char buf[256 << 10];
	struct sha sha;
	ssize_t n;

	if (sha_init(&sha) < 0)
		return hoy_fail_oom(err);
	while ((n = inflate_read(z, buf, sizeof(buf), err)) > 0)
		sha_add(&sha, buf, n);
	sha_end(&sha, ret);
	return n;
}

static int run_digest(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_stream struct stream *in = stream_fd(0, false, -1, -1, "stdin");
	struct hoy_err err = HOY_ERR_INIT;
	struct checked ck = { 0 };
	struct inflate *z = NULL;
	enum compression kind;
	char diff[SHA_DIGEST_SIZE];
	int status, r, n = skopeo_args(v, argc, argv, NULL, 0, 0, &status);

	if (n < 0)
		return status;
	r = in ? checked_init(&ck, in, NULL, -1, &err) : hoy_fail_oom(&err);
	if (!r)
		r = inflate_new(&z, &ck.s, &kind, &err);
	if (!r)
		r = hash_plain(z, diff, &err);
	inflate_free(z);
	if (!r)
		r = checked_drain(&ck, &err);
	if (!r)
		printf("%s %lld %s\n", ck.digest, (long long)ck.size, diff);
	checked_release(&ck);
	return r < 0 ? skopeo_failed(&err) : 0;
}
const struct hoy_verb verb_layer_digest = { "layer digest", "", "Print digest, size and diffID of a layer from stdin", no_opts, run_digest, HOY_VERB_COPIES };
