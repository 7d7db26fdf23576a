#include "cmd-build/sbom.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd-build/build.h"
#include "cmd-build/extra.h"
#include "cmd-build/words.h"
#include "common/base/fd.h"
#include "common/cli/call.h"

#define CYCLONEDX "merge-cyclonedx-by-component-name-and-version"
#define SPDX "merge-spdx-by-package-name-and-versioninfo"
#define SYFT "ghcr.io/anchore/syft"
#define TRIVY "ghcr.io/aquasecurity/trivy"
/* Where the container has what it scans, and what it writes. */
#define ROOTFS "/.rootfs"
#define SCANS "/.scans"
#define CONTEXT "/.context"

/* ---- the options ---- */

static const struct preset {
	const char *name, *image, *strategy, *commands[2];
} presets[] = {
	{ "syft", SYFT, CYCLONEDX, { "/syft scan -q dir:{ROOTFS} --output cyclonedx-json={OUTPUT}", "/syft scan -q dir:{CONTEXT} --output cyclonedx-json={OUTPUT}" } },
	{ "syft-cyclonedx", SYFT, CYCLONEDX, { "/syft scan -q dir:{ROOTFS} --output cyclonedx-json={OUTPUT}", "/syft scan -q dir:{CONTEXT} --output cyclonedx-json={OUTPUT}" } },
	{ "syft-spdx", SYFT, SPDX, { "/syft scan -q dir:{ROOTFS} --output spdx-json={OUTPUT}", "/syft scan -q dir:{CONTEXT} --output spdx-json={OUTPUT}" } },
	{ "trivy", TRIVY, CYCLONEDX, { "trivy filesystem -q {ROOTFS} --format cyclonedx --output {OUTPUT}", "trivy filesystem -q {CONTEXT} --format cyclonedx --output {OUTPUT}" } },
	{ "trivy-cyclonedx", TRIVY, CYCLONEDX, { "trivy filesystem -q {ROOTFS} --format cyclonedx --output {OUTPUT}", "trivy filesystem -q {CONTEXT} --format cyclonedx --output {OUTPUT}" } },
	{ "trivy-spdx", TRIVY, SPDX, { "trivy filesystem -q {ROOTFS} --format spdx-json --output {OUTPUT}", "trivy filesystem -q {CONTEXT} --format spdx-json --output {OUTPUT}" } },
};

bool sbom_wanted(const struct sbom_opts *o)
{
	return o->preset || o->image || o->strategy || o->output || o->image_output || o->purl_output || o->image_purl_output || o->commands.n;
}

/* What was given itself goes before what the preset says. */
static int take_preset(struct sbom_opts *o, const char *name, struct hoy_err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(presets); i++) {
		const struct preset *p = &presets[i];

		if (strcmp(p->name, name))
			continue;
		o->image = o->image ?: p->image;
		o->strategy = o->strategy ?: p->strategy;
		for (size_t k = 0; k < ARRAY_SIZE(p->commands) && o->commands.n <= k; k++)
			hoy_strv_push(&o->commands, p->commands[k]);
		return o->commands.error ? hoy_fail_oom(err) : 0;
	}
	return hoy_fail(err, EINVAL, "parsing --sbom flag: unrecognized preset name \"%s\"", name);
}

int sbom_check(struct sbom_opts *o, struct hoy_err *err)
{
	const char *preset = o->preset ?: o->image || o->commands.n || o->strategy ? o->preset : "syft";
	bool given = o->commands.n;
	int r = 0;

	if (!sbom_wanted(o))
		return 0;
	if (preset)
		r = take_preset(o, preset, err);
	if (r < 0)
		return r;
	if (!o->image || !o->commands.n)
		return hoy_fail(err, EINVAL, "sbom configuration missing one or more of (\"--sbom-scanner-image\" or \"--sbom-scanner-command\")");
	if (!o->output && !o->image_output && !o->purl_output && !o->image_purl_output)
		return hoy_fail(err, EINVAL, "sbom configuration missing one or more of (\"--sbom-output\", \"--sbom-image-output\", \"--sbom-purl-output\" or \"--sbom-image-purl-output\")");
	if ((o->image_output && !extra_inside(o->image_output)) || (o->image_purl_output && !extra_inside(o->image_purl_output)))
		return hoy_fail(err, EINVAL, "--sbom-image-output and --sbom-image-purl-output are paths of files in the image");
	if (o->commands.n > 1 && given && !o->strategy)
		return hoy_fail(err, EINVAL, "sbom configuration included multiple \"--sbom-scanner-command\" values but no \"--sbom-merge-strategy\" value");
	if (!o->strategy || (strcmp(o->strategy, "cat") && strcmp(o->strategy, CYCLONEDX) && strcmp(o->strategy, SPDX)))
		return hoy_fail(err, EINVAL, "sbom arguments included unrecognized merge strategy \"%s\"", o->strategy ?: "");
	return 0;
}

/* ---- the scans ---- */

struct scan {
	struct build *b;
	const struct sbom_opts *o;
	const char *root;
	const struct hoy_strv *contexts;
	char *dir;	/* what the scanner writes to */
	char name[128]; /* of its container */
	struct hoy_strv results; /* files there */
};

/* TEXT with all WHAT in it replaced; new memory. */
static char *replaced(const char *text, const char *what, const char *by)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 20);

	for (const char *at; (at = strstr(text, what)); text = at + strlen(what)) {
		hoy_buf_add(&b, text, at - text);
		hoy_buf_puts(&b, by);
	}
	hoy_buf_puts(&b, text);
	return b.error ? NULL : strdup(hoy_buf_str(&b));
}

/* The command's words; what are none (a quote without an end) is left to a shell. */
static int scan_words(const char *command, struct hoy_strv *ret)
{
	int r = shell_words(command, ret);

	if (r != -EINVAL)
		return r;
	hoy_strv_release(ret);
	hoy_strv_push(ret, "/bin/sh");
	hoy_strv_push(ret, "-c");
	hoy_strv_push(ret, command);
	return ret->error ? -ENOMEM : 0;
}

static int failed(struct scan *s, const struct hoy_strv *words, int status)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 20);

	for (size_t i = 0; i < words->n; i++)
		hoy_buf_printf(&b, "%s%s", i ? " " : "", words->v[i]);
	s->b->status = status;
	return hoy_fail(&s->b->err, ECHILD, "scanning rootfs to generate SBOM: running scanning command [%s]: exit status %d", hoy_buf_str(&b), status);
}

/* COMMAND, whose WHAT is the directory TARGET there. */
static int scan_one(struct scan *s, const char *command, const char *what, const char *target)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT, words = HOY_STRV_INIT;
	cleanup_free char *file = hoy_asprintf("scan%zu.json", s->results.n), *out = hoy_asprintf(SCANS "/%s", file ?: ""),
			   *half = replaced(command, what, target), *whole = half && out ? replaced(half, "{OUTPUT}", out) : NULL;
	int r = whole && file ? scan_words(whole, &words) : -ENOMEM;

	hoy_strv_push(&argv, "run");
	hoy_strv_pushf(&argv, "--volume=%s:" ROOTFS ":ro", s->root);
	hoy_strv_pushf(&argv, "--volume=%s:" SCANS, s->dir);
	for (size_t i = 0; s->contexts && i < s->contexts->n; i++)
		hoy_strv_pushf(&argv, "--volume=%s:" CONTEXT "%zu:ro", s->contexts->v[i], i);
	hoy_strv_push(&argv, s->name);
	hoy_strv_push(&argv, "--");
	for (size_t i = 0; i < words.n; i++)
		hoy_strv_push(&argv, words.v[i]);
	if (!r && !argv.error)
		r = hoy_call_tool("hoy-build", (const char *const *)argv.v, NULL);
	if (r < 0 || argv.error)
		return hoy_fail_errno(&s->b->err, r < 0 ? -r : ENOMEM, "cannot run the scanner");
	hoy_strv_push(&s->results, file);
	return r ? failed(s, &words, r) : s->results.error ? hoy_fail_oom(&s->b->err) : 0;
}

static int scan_all(struct scan *s)
{
	int r = 0;

	for (size_t i = 0; i < s->o->commands.n && !r; i++) {
		const char *command = s->o->commands.v[i];

		if (strstr(command, "{ROOTFS}"))
			r = scan_one(s, command, "{ROOTFS}", ROOTFS);
		for (size_t k = 0; s->contexts && k < s->contexts->n && !r && strstr(command, "{CONTEXT}"); k++) {
			char target[40];

			snprintf(target, sizeof(target), CONTEXT "%zu", k);
			r = scan_one(s, command, "{CONTEXT}", target);
		}
	}
	if (!r && !s->results.n)
		r = hoy_fail(&s->b->err, EINVAL, "scanning rootfs to generate SBOM: no command had anything to scan: {ROOTFS} and {CONTEXT} say what");
	return r;
}

/* The scanner's container; its name. */
static int scan_begin(struct scan *s, const struct hoy_strv *from)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);
	int r = need_tmp(s->b);

	s->dir = r ? NULL : hoy_path_join(s->b->tmp, "scans");
	/* Whoever the scanner is, he may write there. */
	if (!r && (!s->dir || mkdir(s->dir, 0700) < 0 || chmod(s->dir, 0777) < 0))
		r = hoy_fail_errno(&s->b->err, s->dir ? errno : ENOMEM, "cannot make a temporary directory");
	hoy_strv_push(&argv, "from");
	hoy_strv_push(&argv, "--quiet");
	for (size_t i = 0; i < from->n; i++)
		hoy_strv_push(&argv, from->v[i]);
	hoy_strv_push(&argv, s->o->image);
	if (!r)
		r = argv.error || from->error ? hoy_fail_oom(&s->b->err) : hoy_call_tool("hoy-build", (const char *const *)argv.v, &out);
	if (r > 0)
		return -HOY_EREMOTE; /* it has told the user why */
	if (r < 0)
		return s->b->err.code ? r : hoy_fail_errno(&s->b->err, -r, "cannot run hoy-build");
	snprintf(s->name, sizeof(s->name), "%.*s", (int)strcspn(hoy_buf_str(&out), "\n"), hoy_buf_str(&out));
	return 0;
}

static void scan_end(struct scan *s)
{
	const char *const rm[] = { "rm", s->name, NULL };
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);

	if (*s->name)
		(void)hoy_call_tool("hoy-build", rm, &out);
	free(s->dir);
	hoy_strv_release(&s->results);
}

/* ---- what becomes of it ---- */

/* TEXT into the file OUTPUT, and into one for the image's PATH. */
static int deliver(struct build *b, const struct hoy_buf *text, const char *output, const char *temporary, const char *path, struct hoy_strv *files)
{
	cleanup_free char *file = path ? hoy_path_join(b->tmp, temporary) : NULL;
	int r = output ? hoy_replace_file(AT_FDCWD, output, text->data, text->len, 0644, false) : 0;

	if (r < 0)
		return hoy_fail_errno(&b->err, -r, "cannot write '%s'", output);
	if (!path)
		return 0;
	r = file ? hoy_replace_file(AT_FDCWD, file, text->data, text->len, 0644, false) : -ENOMEM;
	if (r < 0)
		return hoy_fail_errno(&b->err, -r, "cannot write a temporary file");
	hoy_strv_push(files, file);
	hoy_strv_push(files, path);
	return files->error ? hoy_fail_oom(&b->err) : 0;
}

int sbom_scan(struct build *b, const struct sbom_opts *o, const struct hoy_strv *from, const char *root, const struct hoy_strv *contexts,
	      struct hoy_strv *files)
{
	cleanup_buf struct hoy_buf doc = HOY_BUF_INIT(1 << 30), purls = HOY_BUF_INIT(1 << 28);
	struct scan s = { .b = b, .o = o, .root = root, .contexts = contexts };
	cleanup_fd int dir = -1;
	int r = scan_begin(&s, from);

	if (!r)
		r = scan_all(&s);
	if (!r)
		dir = open(s.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (!r && dir < 0)
		r = hoy_fail_errno(&b->err, errno, "cannot open '%s'", s.dir);
	if (!r && sbom_merge(o->strategy, dir, &s.results, &doc, &purls, &b->err) < 0)
		r = hoy_fail_prefix(&b->err, "scanning rootfs to generate SBOM");
	scan_end(&s);
	if (!r)
		r = deliver(b, &doc, o->output, "sbom-result", o->image_output, files);
	return r ? r : deliver(b, &purls, o->purl_output, "purl-result", o->image_purl_output, files);
}
