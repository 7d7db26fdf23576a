/* cmd-build/sbom_build.c: the scan of what a build has made, before it has its names. */
#include <stdlib.h>
#include <string.h>

#include "cmd-build/build.h"
#include "cmd-build/extra.h"

/* How the scanner's image is pulled, and its container made. */
static void from_options(const struct build_opts *o, struct hoy_strv *argv)
{
	const struct {
		const char *option, *value;
	} texts[] = { { "pull", o->pull }, { "authfile", o->authfile }, { "cert-dir", o->cert_dir }, { "creds", o->creds },
		      { "retry-delay", o->retry_delay }, { "isolation", o->isolation } };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].value)
			hoy_strv_pushf(argv, "--%s=%s", texts[i].option, texts[i].value);
	if (o->tls_verify >= 0)
		hoy_strv_pushf(argv, "--tls-verify=%s", o->tls_verify ? "true" : "false");
	if (o->retry >= 0)
		hoy_strv_pushf(argv, "--retry=%lld", (long long)o->retry);
}

static int scan(struct build *b, const char *root, void *files)
{
	cleanup_strv struct hoy_strv from = HOY_STRV_INIT, contexts = HOY_STRV_INIT;
	cleanup_free char *context = b->context ? realpath(b->context, NULL) : NULL;

	from_options(b->o, &from);
	if (context)
		hoy_strv_push(&contexts, context);
	for (size_t i = 0; i + 2 < b->contexts.n; i += 3) {
		cleanup_free char *dir = strcmp(b->contexts.v[i + 1], "dir") ? NULL : realpath(b->contexts.v[i + 2], NULL);

		if (dir)
			hoy_strv_push(&contexts, dir);
	}
	if (contexts.error)
		return hoy_fail_oom(&b->err);
	return sbom_scan(b, &b->o->sbom, &from, root, &contexts, files);
}

int sbom_of_build(struct build *b)
{
	cleanup_strv struct hoy_strv files = HOY_STRV_INIT;
	int r = sbom_wanted(&b->o->sbom) ? image_files(b, build_image(b), scan, &files) : 0;

	return r || !files.n ? r : extra_layer(b, b->stages[b->target].image, &files, b->o->timestamp ? b->time : -1);
}
