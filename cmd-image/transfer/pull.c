/* cmd-image/transfer/pull.c: `pull`: images into the store. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/transfer.h"
#include "common/base/msg.h"
#include "common/data/ref.h"

char *local_name(const char *name)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;

	if (hoy_ref_parse(&ref, name, NULL) < 0)
		return NULL;
	if (!ref.domain && !(ref.domain = strdup("localhost")))
		return NULL;
	return hoy_ref_normalize(&ref) < 0 ? NULL : hoy_ref_string(&ref);
}

/* Names in docker's archives and tags of layouts are completed docker's way, those in OCI archives with localhost/. */
static char *brought_name(const char *from, const char *name)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;

	if (!strncmp(from, "oci-archive:", 12))
		return local_name(name);
	if (hoy_ref_parse(&ref, name, NULL) < 0 || hoy_ref_normalize(&ref) < 0)
		return NULL;
	return hoy_ref_string(&ref);
}

int pull_files(struct hoy_store *s, const char *from, const struct platform *p, const struct store_in *o,
	       struct hoy_strv *ret_names, char ret_id[HOY_ID_SIZE], struct hoy_err *err)
{
	static const struct reg_opts none = REG_OPTS_INIT;
	cleanup_source struct source *src = NULL;
	cleanup_manifest struct manifest m = { 0 }, list = { 0 };
	struct store_in mine = *o;
	int r = source_open(&src, from, &none, err);

	if (!r)
		r = source_image(src, p, &m, &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < src->names.n; i++) {
		char *full = brought_name(from, src->names.v[i]);

		if (full)
			hoy_strv_take(ret_names, full);
	}
	mine.names = (const char *const *)ret_names->v;
	return store_in(s, src, &m, &list, &mine, ret_id, err);
}

struct pull_opts {
	bool quiet, all;
	const char *platform, *arch, *os, *variant, *policy;
	int64_t parallel;
};
#define O(field) offsetof(struct pull_opts, field)
static const struct hoy_opt pull_opts[] = {
	{ 0, "arch", HOY_OPT_STRING, O(arch), "ARCH", "architecture of the image" },
	{ 0, "os", HOY_OPT_STRING, O(os), "OS", "operating system of the image" },
	{ 0, "platform", HOY_OPT_STRING, O(platform), "OS/ARCH[/VARIANT]", "platform of the image" },
	{ 'q', "quiet", HOY_OPT_FLAG, O(quiet), NULL, "print the id only" },
	{ 0, "variant", HOY_OPT_STRING, O(variant), "VARIANT", "variant of the architecture" },
	HOY_OPTS_END,
};

static int run_pull(const struct hoy_verb *v, int argc, char **argv)
{
	struct pull_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_free char *text = NULL;
	struct platform p = { 0 };
	int status, r = 0, n = hoy_verb_args(v, argc, argv, &o, 1, -1, &status);

	if (n < 0)
		return status;
	if (o.platform)
		r = (text = strdup(o.platform)) ? platform_parse(&p, text, &err) : -ENOMEM;
	p.os = o.os ? o.os : p.os;
	p.arch = o.arch ? o.arch : p.arch;
	p.variant = o.variant ? o.variant : p.variant;
	if (!r && !(s = open_store(&err)))
		r = -err.code;
	for (int i = 1; i <= n && !r; i++) {
		cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
		struct store_in in = { .quiet = o.quiet, .parallel = o.parallel };
		char id[HOY_ID_SIZE];

		progress(o.quiet, "Trying to pull %s...", argv[i]);
		r = pull_files(s, argv[i], &p, &in, &names, id, &err);
		if (!r)
			puts(id);
	}
	return r < 0 ? hoy_report(&err, 125) : 0;
}

const struct hoy_verb verb_pull = { "pull", "[options] IMAGE [IMAGE...]", "Pull an image from a registry", pull_opts, run_pull, false };
const struct hoy_verb verb_image_pull = { "image pull", "[options] IMAGE [IMAGE...]", NULL, pull_opts, run_pull, false };
