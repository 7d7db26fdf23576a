/* cmd-image/transfer/load.c: `load` and `import`: archives into the store. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-image/transfer/files.h"
#include "cmd-image/transfer/layer.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/time.h"

struct load_opts {
	const char *input, *max_layer, *progress;
	struct trust trust;
	bool quiet;
};
static const struct hoy_opt load_opts[] = {
	{ 'i', "input", HOY_OPT_STRING, offsetof(struct load_opts, input), "FILE", "archive or directory (default: stdin)" },
	MAX_LAYER_OPT(offsetof(struct load_opts, max_layer)),
	PROGRESS_OPT(offsetof(struct load_opts, progress)),
	{ 'q', "quiet", HOY_OPT_FLAG, offsetof(struct load_opts, quiet), NULL, "print the names only" },
	{ 0, "signature-policy", HOY_OPT_STRING, offsetof(struct load_opts, trust.policy), "FILE", "the policy.json(5) that the image must please" },
	HOY_OPTS_END,
};

static int load_one(struct hoy_store *s, const char *from, const struct load_opts *o, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	struct store_in in = { .quiet = o->quiet, .trust = &o->trust };
	char id[HOY_ID_SIZE];
	int r = store_in_limit(&in, o->max_layer, err);

	if (!r)
		r = pull_files(s, from, NULL, &in, &names, id, err);

	for (size_t i = 0; !r && i < names.n; i++)
		printf("Loaded image: %s\n", names.v[i]);
	if (!r && !names.n)
		printf("Loaded image: sha256:%s\n", id);
	fflush(stdout);
	return r;
}

/* A directory is an OCI layout or of dir:, a file an archive of either kind. */
static int find_images(const char *input, int *ret_fd, struct hoy_strv *ret, struct hoy_err *err)
{
	struct files *f = NULL;
	struct stat st;
	char path[64];
	bool docker;
	int r;

	if (strcmp(input, "-") && !stat(input, &st) && S_ISDIR(st.st_mode)) {
		cleanup_free char *index = hoy_path_join(input, "index.json");

		if (!index)
			return hoy_fail_oom(err);
		hoy_strv_pushf(ret, hoy_exists(AT_FDCWD, index) ? "oci:%s" : "dir:%s", input);
		return ret->error ? hoy_fail_oom(err) : 0;
	}
	r = files_plain(input, ret_fd, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", *ret_fd);
	r = files_open_tar(&f, path, err);
	if (r < 0)
		return r;
	docker = files_has(f, "manifest.json");
	r = docker || files_has(f, "index.json") ? 0 :
	    hoy_fail(err, HOY_EFORMAT, "'%s' is neither a docker nor an OCI archive", input);
	files_free(f);
	if (!r) {
		cleanup_strv struct hoy_strv found = HOY_STRV_INIT;

		r = archive_images(path, docker, &found, err);
		for (size_t i = 0; !r && i < found.n; i++)
			hoy_strv_pushf(ret, "%s:%s", docker ? "docker-archive" : "oci-archive", found.v[i]);
	}
	return r;
}

static int run_load(const struct hoy_verb *v, int argc, char **argv)
{
	struct load_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_strv struct hoy_strv from = HOY_STRV_INIT;
	cleanup_fd int fd = -1;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, 0, &status);

	if (n < 0)
		return status;
	if (!o.input && isatty(0)) {
		hoy_error("cannot read from terminal, use command-line redirection or the --input flag");
		return 125;
	}
	r = progress_choose(o.progress, &o.quiet, &err);
	if (!r)
		r = find_images(o.input ? o.input : "-", &fd, &from, &err);
	if (!r && !from.n)
		r = hoy_fail(&err, HOY_EFORMAT, "'%s' has no images", o.input ? o.input : "-");
	if (!r && !(s = open_store(&err)))
		r = -err.code;
	for (size_t i = 0; !r && i < from.n; i++)
		r = load_one(s, from.v[i], &o, &err);
	return r < 0 ? hoy_report(&err, 125) : 0;
}

const struct hoy_verb verb_load = { "load", "[options]", "Load images from an archive or directory", load_opts, run_load, false };
const struct hoy_verb verb_image_load = { "image load", "[options]", NULL, load_opts, run_load, false };
