/* cmd-build/containers.c: `containers`: a list of the working containers, and of others. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/ctr.h"
#include "cmd-build/verbs.h"
#include "common/cli/format.h"
#include "common/store/containers.h"

/* ---- containers ---- */

struct list_opts {
	bool all, json, noheading, notruncate, quiet;
	const char *filter, *format;
};
#define O(field) offsetof(struct list_opts, field)
static const struct hoy_opt list_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, O(all), NULL, "those of other engines, too" },
	{ 'f', "filter", HOY_OPT_STRING, O(filter), "FILTER", "id=, name= and ancestor=, with commas between them" },
	{ 0, "format", HOY_OPT_STRING, O(format), "TEMPLATE", "a Go template for each" },
	{ 0, "json", HOY_OPT_FLAG, O(json), NULL, "print JSON" },
	{ 'n', "noheading", HOY_OPT_FLAG, O(noheading), NULL, "no heads of the columns" },
	{ 0, "notruncate", HOY_OPT_FLAG, O(notruncate), NULL, "whole ids" },
	{ 'q', "quiet", HOY_OPT_FLAG, O(quiet), NULL, "ids alone" },
	HOY_OPTS_END,
};

struct filter {
	char *id, *name, *ancestor;
};

struct row {
	const char *id, *name, *image, *image_name;
	bool builder;
};

static int parse_filter(const char *text, struct filter *f, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv parts = HOY_STRV_INIT;

	hoy_strv_split(&parts, text, ',');
	for (size_t i = 0; i < parts.n; i++) {
		char *eq = strchr(parts.v[i], '='), **to;

		if (!eq)
			return hoy_fail(err, EINVAL, "parsing filter: incorrect filter value \"%s\", should be of form filter=value", parts.v[i]);
		*eq = '\0';
		to = !strcmp(parts.v[i], "id") ? &f->id : !strcmp(parts.v[i], "name") ? &f->name : !strcmp(parts.v[i], "ancestor") ? &f->ancestor : NULL;
		if (!to)
			return hoy_fail(err, EINVAL, "parsing filter: invalid filter \"%s\"", parts.v[i]);
		free(*to);
		*to = strdup(eq + 1);
	}
	return 0;
}

/* Is NAME the image that REF means: with or without registry and tag? */
static bool is_reference(const char *name, const char *ref)
{
	size_t n = strlen(name), k = strlen(ref), bare = strrchr(name, ':') && !strchr(strrchr(name, ':'), '/') ? (size_t)(strrchr(name, ':') - name) : n;

	if (n >= k && !strcmp(name + n - k, ref) && (n == k || name[n - k - 1] == '/'))
		return true;
	return bare >= k && !strncmp(name + bare - k, ref, k) && (bare == k || name[bare - k - 1] == '/');
}

static bool matches(const struct filter *f, const struct row *w)
{
	return (!f->id || !strncmp(w->id, f->id, strlen(f->id))) && (!f->name || strstr(w->name, f->name)) &&
	       (!f->ancestor || (*f->ancestor && !strncmp(w->image, f->ancestor, strlen(f->ancestor))) || is_reference(w->image_name, f->ancestor));
}

static void fill_row(struct hoy_store *s, const struct hoy_json *rec, struct row *w)
{
	w->id = hoy_json_str(rec, "id") ?: "";
	w->name = ctr_first_name(rec);
	w->image = hoy_json_str(rec, "image") ?: "";
	w->image_name = *w->image ? ctr_first_name(hoy_image_get(s, w->image)) : "scratch";
	w->builder = hoy_container_builds(s, w->id);
}

static void put_row(struct hoy_jw *w, const struct row *r, bool json)
{
	hoy_jw_object(w, NULL);
	hoy_jw_string(w, json ? "id" : "ContainerID", r->id);
	if (json)
		hoy_jw_bool(w, "builder", r->builder);
	else
		hoy_jw_string(w, "Builder", r->builder ? "   *" : "");
	hoy_jw_string(w, json ? "imageid" : "ImageID", r->image);
	hoy_jw_string(w, json ? "imagename" : "ImageName", r->image_name);
	hoy_jw_string(w, json ? "containername" : "ContainerName", r->name);
	hoy_jw_end_object(w);
}

static void print_row(const struct list_opts *o, const struct row *w)
{
	const char *builder = w->builder ? "   *" : "";
	bool cut = strlen(w->image_name) > 32;

	if (o->quiet)
		printf("%-64s\n", w->id);
	else if (o->notruncate)
		printf("%-64s %-8s %-64s %-32s %s\n", w->id, builder, w->image, w->image_name, w->name);
	else
		printf("%-12.12s  %-8s %-12.12s %-*.*s%s %s\n", w->id, builder, w->image, cut ? 29 : 32, cut ? 29 : 32, w->image_name, cut ? "..." : "",
		       w->name);
}

static void print_heading(const struct list_opts *o)
{
	if (o->notruncate)
		printf("%-64s %-8s %-64s %-32s %s\n", "CONTAINER ID", "BUILDER", "IMAGE ID", "IMAGE NAME", "CONTAINER NAME");
	else
		printf("%-12s  %-8s %-12s %-32s %s\n", "CONTAINER ID", "BUILDER", "IMAGE ID", "IMAGE NAME", "CONTAINER NAME");
}

static int print_format(struct ctr *c, const struct list_opts *o, const struct hoy_buf *rows)
{
	static const char *const heads[] = { "ContainerName", "CONTAINER NAME", "ContainerID", "CONTAINER ID", "Builder", "BUILDER",
					     "ImageID",	      "IMAGE ID",	"ImageName",   "IMAGE NAME",   NULL };
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	int r = hoy_json_parse(&d, rows->data, rows->len, "containers", &c->b.err);

	return r ? r : hoy_format_rows(o->format, d.root, heads, o->noheading, &c->b.err);
}

static int print_list(struct ctr *c, const struct list_opts *o, const struct filter *f)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&out, o->json ? "    " : NULL);
	size_t n = 0;

	hoy_jw_array(&w, NULL);
	for (struct hoy_json *rec = hoy_first(c->b.s->ctrs); rec; rec = hoy_next(c->b.s->ctrs, rec)) {
		struct row row;

		fill_row(c->b.s, rec, &row);
		if ((!o->all && !row.builder) || !matches(f, &row))
			continue;
		if (o->json || o->format)
			put_row(&w, &row, o->json);
		else
			print_row(o, &row);
		n++;
	}
	hoy_jw_end_array(&w);
	if (out.error)
		return hoy_fail_oom(&c->b.err);
	if (o->json)
		puts(n ? out.data : "null");
	return o->format ? print_format(c, o, &out) : 0;
}

static int run_containers(const struct hoy_verb *v, int argc, char **argv)
{
	struct list_opts o = { 0 };
	struct filter f = { 0 };
	struct ctr c;
	int status, r = 0, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	ctr_init(&c);
	if (n)
		r = hoy_fail(&c.b.err, EINVAL, "'%s containers' does not accept arguments", hoy_tool_name);
	if (!r && o.quiet && o.format)
		r = hoy_fail(&c.b.err, EINVAL, "quiet and format are mutually exclusive");
	if (!r && o.filter)
		r = parse_filter(o.filter, &f, &c.b.err);
	if (!r)
		r = ctr_open_store(&c);
	if (!r)
		r = hoy_store_peek(c.b.s, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, &c.b.err);
	if (!r && !o.noheading && !o.quiet && !o.format && !o.json)
		print_heading(&o);
	if (!r)
		r = print_list(&c, &o, &f);
	free(f.id);
	free(f.name);
	free(f.ancestor);
	return ctr_finish(&c, r);
}
#define LISTS(verb) { verb, "[options]", NULL, list_opts, run_containers, 0 }
const struct hoy_verb verb_containers = { "containers", "[options]", "List working containers", list_opts, run_containers, 0 };
const struct hoy_verb verb_list = LISTS("list"), verb_ls = LISTS("ls"), verb_ps = LISTS("ps");
