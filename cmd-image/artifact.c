/* cmd-image/artifact.c: `artifact ls`, `inspect` and `rm`, which need an artifact's manifest and nothing else of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/image.h"
#include "common/base/err.h"
#include "common/base/msg.h"
#include "common/cli/format.h"
#include "common/cli/table.h"
#include "common/data/ref.h"
#include "common/data/time.h"
#include "common/data/units.h"
#include "common/oci/artifacts.h"

struct artifact_opts {
	const char *format;
	bool noheading, no_trunc, all, ignore;
};
#define O(field) offsetof(struct artifact_opts, field)
static const struct hoy_opt ls_opts[] = {
	{ 0, "format", HOY_OPT_STRING, O(format), "FORMAT", "json, or a Go template" },
	{ 0, "no-trunc", HOY_OPT_FLAG, O(no_trunc), NULL, "do not cut digests" },
	{ 'n', "noheading", HOY_OPT_FLAG, O(noheading), NULL, "leave out the heading" },
	HOY_OPTS_END,
};
static const struct hoy_opt inspect_opts[] = {
	{ 'f', "format", HOY_OPT_STRING, O(format), "FORMAT", "json, or a Go template" },
	HOY_OPTS_END,
};
static const struct hoy_opt rm_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, O(all), NULL, "remove all artifacts" },
	{ 'i', "ignore", HOY_OPT_FLAG, O(ignore), NULL, "artifacts that are not there are no error" },
	HOY_OPTS_END,
};

/* ---- ls ---- */

static int64_t total_size(const struct hoy_json *manifest)
{
	int64_t sum = 0;

	HOY_JSON_EACH(l, hoy_json_get(manifest, "layers"))
		sum += hoy_json_int(l, "size", 0);
	return sum;
}

/* Repository and tag of NAME; a name of somebody else's making that is none stands there as it is. */
static int put_name(struct hoy_json_doc *doc, struct hoy_json *row, const char *name)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_free char *repo = NULL;

	if (name && !hoy_ref_parse(&ref, name, NULL))
		repo = hoy_ref_repo(&ref);
	else
		repo = strdup(name ? name : "<none>");
	return repo && hoy_json_set_string(doc, row, "Repository", repo) && hoy_json_set_string(doc, row, "Tag", ref.tag ? ref.tag : "") ? 0 : -ENOMEM;
}

static int add_row(struct hoy_json_doc *doc, struct hoy_json *rows, const struct hoy_artifacts *a, const struct hoy_json *entry, bool whole,
		   struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc m = HOY_JSON_DOC_INIT;
	int r = hoy_artifact_manifest(a, entry, &m, err);
	struct hoy_json *row = r ? NULL : hoy_json_put(doc, rows, NULL, hoy_json_new(doc, HOY_JSON_OBJECT));
	int64_t size = r ? 0 : total_size(m.root), created = r ? 0 : hoy_json_time(hoy_json_get(m.root, "annotations"), HOY_CREATED);
	char digest[80], text[HOY_TIME_SIZE], at[HOY_TIME_SIZE] = "", ago[HOY_TIME_SIZE + 8] = "", human[32];

	if (r < 0)
		return r;
	snprintf(digest, sizeof(digest), whole ? "%s" : "%.12s", hoy_json_str(entry, "digest") + 7);
	snprintf(text, sizeof(text), "%lld", (long long)size);
	if (created != HOY_TIME_ZERO) {
		snprintf(ago, sizeof(ago), "%s ago", hoy_time_human(hoy_now() - created, at));
		hoy_time_string(created, at);
	}
	if (!row || !hoy_json_set_string(doc, row, "Digest", digest) || put_name(doc, row, hoy_layout_name(entry)) < 0 ||
	    !hoy_json_set_string(doc, row, "Size", hoy_size_tight(size, human)) || !hoy_json_set_string(doc, row, "VirtualSize", text) ||
	    !hoy_json_set_string(doc, row, "Created", ago) || !hoy_json_set_string(doc, row, "CreatedAt", at))
		return hoy_fail_oom(err);
	return 0;
}

static void print_table(const struct hoy_json *rows, bool heading)
{
	static const char *const keys[] = { "Repository", "Tag", "Digest", "Created", "Size" };
	static const char *const heads[] = { "REPOSITORY", "TAG", "DIGEST", "CREATED", "SIZE" };
	struct hoy_grid g = { ARRAY_SIZE(keys), HOY_STRV_INIT };

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		hoy_grid_add(&g, heads[i]);
	HOY_JSON_EACH(row, rows)
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			hoy_grid_add(&g, hoy_json_str(row, keys[i]));
	hoy_grid_print(&g, heading);
	hoy_grid_release(&g);
}

static int print_rows(const struct artifact_opts *o, const struct hoy_json *rows, struct hoy_err *err)
{
	static const char *const headers[] = { "CreatedAt", "CREATED AT", NULL };
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "    ");

	if (!o->format) {
		print_table(rows, !o->noheading);
		return 0;
	}
	if (strcmp(o->format, "json"))
		return hoy_format_rows(o->format, rows, headers, o->noheading, err);
	hoy_jw_value(&w, NULL, rows);
	if (b.error)
		return hoy_fail_oom(err);
	puts(hoy_buf_str(&b));
	return 0;
}

static int run_ls(const struct hoy_verb *v, int argc, char **argv)
{
	struct artifact_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_artifacts struct hoy_artifacts a = HOY_ARTIFACTS_INIT;
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	int status, r;

	if (hoy_verb_args(v, argc, argv, &o, 0, 0, &status) < 0)
		return status;
	doc.root = hoy_json_new(&doc, HOY_JSON_ARRAY);
	r = doc.root ? hoy_artifacts_open(&a, &hoy_globals.storage, false, &err) : hoy_fail_oom(&err);
	if (!r)
		r = hoy_artifacts_lock(&a, false, &err);
	if (!r)
		HOY_JSON_EACH(it, hoy_json_get(a.index.root, "manifests"))
			r = r ? r : add_row(&doc, doc.root, &a, it, o.no_trunc, &err);
	hoy_artifacts_unlock(&a);
	if (!r)
		r = print_rows(&o, doc.root, &err);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_artifact_ls = { "artifact ls", "[options]", "List artifacts", ls_opts, run_ls, 0 };
const struct hoy_verb verb_artifact_list = { "artifact list", "[options]", NULL, ls_opts, run_ls, 0 };

/* ---- inspect ---- */

static int show(const struct hoy_artifacts *a, const struct hoy_json *entry, const char *format, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc m = HOY_JSON_DOC_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	bool json = !format || !*format || !strcmp(format, "json");
	struct hoy_jw w = hoy_jw_on(&b, json ? "     " : NULL);
	int r = hoy_artifact_manifest(a, entry, &m, err);

	if (r < 0)
		return r;
	w.html = false;
	if (!json)
		hoy_jw_array(&w, NULL);
	hoy_jw_object(&w, NULL);
	hoy_artifact_put(&w, "Manifest", m.root);
	hoy_jw_string(&w, "Name", hoy_layout_name(entry));
	hoy_jw_string(&w, "Digest", hoy_json_str(entry, "digest"));
	hoy_jw_end_object(&w);
	if (!json)
		hoy_jw_end_array(&w);
	return hoy_format_inspect(json ? NULL : format, &b, err);
}

static int run_inspect(const struct hoy_verb *v, int argc, char **argv)
{
	struct artifact_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_artifacts struct hoy_artifacts a = HOY_ARTIFACTS_INIT;
	const struct hoy_json *entry;
	int status, r;

	if (hoy_verb_args(v, argc, argv, &o, 1, 1, &status) < 0)
		return status;
	r = hoy_artifacts_open(&a, &hoy_globals.storage, false, &err);
	if (!r)
		r = hoy_artifacts_lock(&a, false, &err);
	if (!r)
		r = hoy_artifact_find(&a, argv[1], &entry, &err);
	if (!r)
		r = show(&a, entry, o.format, &err);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_artifact_inspect = { "artifact inspect", "[options] ARTIFACT", "Print what there is to say of an artifact", inspect_opts,
						run_inspect, 0 };

/* ---- rm ---- */

/* Remove ENTRY, under the lock; the index is read anew behind it. */
static int drop(struct hoy_artifacts *a, const struct hoy_json *entry, struct hoy_err *err)
{
	int r = hoy_layout_drop(a->dirfd, a->index.root, entry, true, err);

	if (!r)
		puts(hoy_json_str(entry, "digest") + 7);
	return r ? r : hoy_artifacts_lock(a, true, err);
}

static int drop_all(struct hoy_artifacts *a, struct hoy_err *err)
{
	const struct hoy_json *all;
	int r = 0;

	while (!r && (all = hoy_json_get(a->index.root, "manifests")) && all->child) {
		if (!hoy_layout_digest(hoy_json_str(all->child, "digest")))
			return hoy_fail(err, HOY_EFORMAT, "'%s' has an artifact whose digest is not valid", a->path);
		r = drop(a, all->child, err);
	}
	return r;
}

static int check_rm(const struct artifact_opts *o, int n, struct hoy_err *err)
{
	if (o->all && n)
		return hoy_fail(err, EINVAL, "when using the --all switch, you may not pass any artifact names or digests");
	return o->all || n ? 0 : hoy_fail(err, EINVAL, "at least one artifact name or digest must be specified");
}

static int run_rm(const struct hoy_verb *v, int argc, char **argv)
{
	struct artifact_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_artifacts struct hoy_artifacts a = HOY_ARTIFACTS_INIT;
	const struct hoy_json *entry;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	r = check_rm(&o, n, &err);
	if (!r)
		r = hoy_artifacts_open(&a, &hoy_globals.storage, true, &err);
	if (!r)
		r = hoy_artifacts_lock(&a, true, &err);
	if (!r && o.all)
		r = drop_all(&a, &err);
	for (int i = 1; i <= n && !r; i++) {
		r = hoy_artifact_find(&a, argv[i], &entry, &err);
		if (!r)
			r = drop(&a, entry, &err);
		else if (r == -ENOENT && o.ignore)
			r = 0;
	}
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_artifact_rm = { "artifact rm", "[options] ARTIFACT [ARTIFACT...]", "Remove artifacts", rm_opts, run_rm, 0 };
const struct hoy_verb verb_artifact_remove = { "artifact remove", "[options] ARTIFACT [ARTIFACT...]", NULL, rm_opts, run_rm, 0 };
