/* cmd-image/transfer/import.c: `import`: the tar of a root file system becomes an image of one layer. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/changes.h"
#include "cmd-image/transfer/layer.h"
#include "cmd-image/transfer/transfer.h"
#include "cmd-image/transfer/web.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/time.h"

struct import_opts {
	struct hoy_strv changes;
	const char *message, *arch, *os, *variant, *max_layer, *progress;
	bool quiet;
};
#define O(field) offsetof(struct import_opts, field)
static const struct hoy_opt import_opts[] = {
	{ 0, "arch", HOY_OPT_STRING, O(arch), "ARCH", "architecture of the image" },
	{ 'c', "change", HOY_OPT_LIST, O(changes), "INSTRUCTION", CHANGES_HELP },
	MAX_LAYER_OPT(O(max_layer)),
	{ 'm', "message", HOY_OPT_STRING, O(message), "TEXT", "comment in the image's history" },
	{ 0, "os", HOY_OPT_STRING, O(os), "OS", "operating system of the image" },
	PROGRESS_OPT(O(progress)),
	{ 'q', "quiet", HOY_OPT_FLAG, O(quiet), NULL, "no progress" },
	{ 0, "variant", HOY_OPT_STRING, O(variant), "VARIANT", "variant of the architecture" },
	HOY_OPTS_END,
};

struct describe {
	const struct import_opts *o;
	const struct hoy_json *config;
};

static int describe(void *arg, const struct layer_got *g, struct hoy_buf *config, struct hoy_buf *manifest, struct hoy_err *err)
{
	const struct describe *d = arg;
	struct platform p = platform_here(&(struct platform){ d->o->os, d->o->arch, d->o->variant });
	struct hoy_jw w = hoy_jw_on(config, NULL);
	char now[HOY_TIME_SIZE], sum[SHA_DIGEST_SIZE];
	const char *suffix = g->kind == COMP_GZIP ? "+gzip" : g->kind == COMP_ZSTD ? "+zstd" : "";
	struct desc cd, ld = { (char *)g->digest, (char *)layer_type(MAN_OCI, suffix), g->size, NULL };

	hoy_time_format(hoy_now(), now);
	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "created", now);
	hoy_jw_string(&w, "architecture", p.arch);
	hoy_jw_string_opt(&w, "variant", d->o->variant);
	hoy_jw_string(&w, "os", p.os);
	changes_put(&w, d->config);
	hoy_jw_object(&w, "rootfs");
	hoy_jw_string(&w, "type", "layers");
	hoy_jw_strings(&w, "diff_ids", (char *[]){ (char *)g->diff_id }, 1);
	hoy_jw_end_object(&w);
	hoy_jw_array(&w, "history");
	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "created", now);
	{
		cleanup_free char *by = hoy_asprintf("/bin/sh -c #(nop) ADD file:%s in /", g->diff_id + 7);

		hoy_jw_string(&w, "created_by", by);
	}
	hoy_jw_string_opt(&w, "comment", d->o->message);
	hoy_jw_end_object(&w);
	hoy_jw_end_array(&w);
	hoy_jw_end_object(&w);
	if (config->error)
		return hoy_fail_oom(err);
	sha_of(config->data, config->len, sum);
	cd = (struct desc){ sum, (char *)T_OCI_CONFIG, config->len, NULL };
	return manifest_write(manifest, MAN_OCI, &cd, &ld, 1, NULL) < 0 ? hoy_fail_oom(err) : 0;
}

static struct stream *open_input(const char *from, struct hoy_err *err)
{
	int fd;
	struct stream *s;

	if (!strncmp(from, "http://", 7) || !strncmp(from, "https://", 8))
		return web_stream(from, -1, err);
	if (!strcmp(from, "-"))
		s = stream_fd(0, false, -1, -1, "stdin");
	else if ((fd = open(from, O_RDONLY | O_CLOEXEC)) < 0) {
		hoy_fail_errno(err, errno, "cannot open '%s'", from);
		return NULL;
	} else
		s = stream_fd(fd, true, -1, -1, from);
	if (!s)
		hoy_fail_oom(err);
	return s;
}

static int run_import(const struct hoy_verb *v, int argc, char **argv)
{
	struct import_opts o = { 0 };
	struct changes ch = { .doc = HOY_JSON_DOC_INIT };
	struct describe d = { &o, NULL };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	struct stream *in = NULL;
	cleanup_free char *name = NULL;
	const char *names[2] = { NULL, NULL };
	struct store_in si = { .names = names };
	char id[HOY_ID_SIZE];
	int status, r = 0, n = hoy_verb_args(v, argc, argv, &o, 1, 2, &status);

	if (n < 0)
		return status;
	ch.c = hoy_json_new(&ch.doc, HOY_JSON_OBJECT);
	r = progress_choose(o.progress, &o.quiet, &err);
	si.quiet = o.quiet;
	if (!r)
		r = store_in_limit(&si, o.max_layer, &err);
	for (size_t i = 0; ch.c && !r && i < o.changes.n; i++)
		r = changes_apply(&ch, o.changes.v[i], &err);
	d.config = ch.c;
	if (!r && n == 2 && !(names[0] = name = local_name(argv[2])))
		r = hoy_fail(&err, EINVAL, "'%s' is no image name", argv[2]);
	if (!r && !(in = open_input(argv[1], &err)))
		r = -err.code;
	if (!r && !(s = open_store(&err)))
		r = -err.code;
	if (!r)
		r = store_import(s, in, NULL, describe, &d, &si, id, &err);
	if (!r)
		printf("sha256:%s\n", id);
	stream_free(in);
	hoy_json_release(&ch.doc);
	hoy_strv_release(&o.changes);
	return r < 0 ? hoy_report(&err, 125) : 0;
}

const struct hoy_verb verb_import = { "import", "[options] FILE|URL|- [NAME]", "Make an image from a tar archive of a root file system", import_opts,
				      run_import, false };
const struct hoy_verb verb_image_import = { "image import", "[options] FILE|URL|- [NAME]", NULL, import_opts, run_import, false };
