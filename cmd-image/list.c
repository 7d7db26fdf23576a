/* cmd-image/list.c: `images`, from images.json and layers.json alone unless labels are asked for. */
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
#include "common/store/layers.h"

struct list_opts {
	bool all, digests, no_trunc, quiet, noheading, history;
	const char *format, *sort;
	struct hoy_strv filters;
};
#define O(field) offsetof(struct list_opts, field)
static const struct hoy_opt opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, O(all), NULL, "show intermediate images too" },
	{ 0, "digests", HOY_OPT_FLAG, O(digests), NULL, "show digests" },
	{ 'f', "filter", HOY_OPT_LIST, O(filters), "KEY=VALUE",
	  "dangling, reference, id, label, before, since, until, containers, intermediate" },
	{ 0, "format", HOY_OPT_STRING, O(format), "FORMAT", "json, or a Go template" },
	{ 0, "history", HOY_OPT_FLAG, O(history), NULL, "show the names that images had" },
	{ 0, "no-trunc", HOY_OPT_FLAG, O(no_trunc), NULL, "do not cut ids" },
	{ 'n', "noheading", HOY_OPT_FLAG, O(noheading), NULL, "leave out the heading" },
	{ 'q', "quiet", HOY_OPT_FLAG, O(quiet), NULL, "print ids only" },
	{ 0, "sort", HOY_OPT_STRING, O(sort), "KEY", "created, id, repository, size or tag (default created)" },
	HOY_OPTS_END,
};

struct row {
	const struct hoy_json *rec;
	const char *id, *name; /* name: NULL for a dangling image */
	bool rdonly;	       /* of an additional image store */
	char *repo, *tag;
	int64_t created, size;
	size_t index; /* names of one image keep their order */
};

struct listing {
	struct hoy_store *s;
	const struct list_opts *o;
	struct row *rows;
	size_t n, cap;
};

struct hoy_store *open_reader(unsigned parts)
{
	struct hoy_err err = HOY_ERR_INIT;
	struct hoy_store *s = NULL;
	int r = hoy_store_open(&s, &hoy_globals.storage, HOY_STORE_RDONLY, &err);

	if (!r)
		r = hoy_store_peek(s, parts, &err);
	if (!r)
		return s;
	hoy_report(&err, 125);
	hoy_store_free(s);
	return NULL;
}

void split_name(const char *name, char **ret_repo, char **ret_tag)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;

	if (name && !hoy_ref_parse(&ref, name, NULL)) {
		*ret_repo = hoy_ref_repo(&ref);
		*ret_tag = strdup(ref.tag ? ref.tag : "<none>");
	} else {
		*ret_repo = strdup(name ? name : "<none>");
		*ret_tag = strdup("<none>");
	}
}

static int add_row(struct listing *l, const struct hoy_json *rec, const char *name)
{
	struct row *row;

	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct row *p = reallocarray(l->rows, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		l->rows = p;
		l->cap = cap;
	}
	row = &l->rows[l->n++];
	*row = (struct row){ .rec = rec, .id = hoy_json_str(rec, "id"), .name = name, .rdonly = hoy_image_place(l->s, rec)->rdonly,
			     .created = hoy_json_time(rec, "created"),
			     .size = hoy_image_size(l->s, rec), .index = l->n };
	split_name(name, &row->repo, &row->tag);
	return row->repo && row->tag ? 0 : -ENOMEM;
}

static int collect(struct listing *l, const char *only, struct hoy_err *err)
{
	bool filtered = l->o->filters.n;

	for (struct hoy_json *rec = hoy_image_first(l->s); rec; rec = hoy_image_next(l->s, rec)) {
		const struct hoy_json *names = hoy_json_get(rec, "names");
		int r;

		if (!hoy_json_str(rec, "id"))
			continue;
		if (only && strcmp(only, hoy_json_str(rec, "id")))
			continue;
		if (!l->o->all && !filtered && image_intermediate(l->s, rec))
			continue;
		r = image_wanted(l->s, &l->o->filters, rec, err);
		if (r < 0)
			return r;
		if (!r)
			continue;
		r = 0;
		if (!names || !names->child || l->o->quiet)
			r = add_row(l, rec, names && names->child ? hoy_json_text(names->child) : NULL);
		else
			HOY_JSON_EACH(n, names)
				r = r ? r : hoy_json_text(n) ? add_row(l, rec, n->str) : 0;
		if (r < 0)
			return hoy_fail_oom(err);
	}
	return 0;
}

static const char *sort_key = "created";

static int by_key(const void *x, const void *y)
{
	const struct row *a = x, *b = y;
	int r = 0;

	/* podman compares whole seconds, and leaves the store's order within one. */
	if (!strcmp(sort_key, "created"))
		r = (a->created / HOY_NS < b->created / HOY_NS) - (a->created / HOY_NS > b->created / HOY_NS);
	else if (!strcmp(sort_key, "size"))
		r = a->size < b->size ? 1 : a->size > b->size ? -1 : 0;
	else if (!strcmp(sort_key, "id"))
		r = strcmp(a->id, b->id);
	else if (!strcmp(sort_key, "tag"))
		r = strcmp(a->tag, b->tag);
	else
		r = strcmp(a->repo, b->repo);
	return r ? r : a->index < b->index ? -1 : a->index > b->index;
}

static const char *age(int64_t created, char buf[HOY_TIME_SIZE])
{
	if (created == HOY_TIME_ZERO)
		return strcpy(buf, "N/A");
	return strcat((char *)hoy_time_human(hoy_now() - created, buf), " ago");
}

static void put_labels(const struct listing *l, struct hoy_jw *w, const struct hoy_json *rec)
{
	cleanup_json struct hoy_json_doc cfg = HOY_JSON_DOC_INIT;
	const struct hoy_json *labels = NULL;

	if (!hoy_image_config(l->s, rec, &cfg, NULL))
		labels = hoy_json_path(cfg.root, "config", "Labels", NULL);
	hoy_jw_value(w, "Labels", labels && labels->child ? labels : NULL);
}

static int64_t containers_of(const struct listing *l, const char *id)
{
	int64_t n = 0;

	for (struct hoy_json *c = hoy_first(l->s->ctrs); c; c = hoy_next(l->s->ctrs, c))
		n += !strcmp(hoy_json_str(c, "image") ?: "", id);
	return n;
}

static int print_json(const struct listing *l)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "    ");
	char buf[HOY_TIME_SIZE];

	hoy_jw_array(&w, NULL);
	for (size_t i = 0; i < l->n; i++) {
		const struct row *row = &l->rows[i];
		const struct hoy_json *names = hoy_json_get(row->rec, "names"), *hist = hoy_json_get(row->rec, "names-history");

		hoy_jw_object(&w, NULL);
		hoy_jw_string(&w, "Id", row->id);
		hoy_jw_string(&w, "ParentId", hoy_json_str(image_parent(l->s, row->rec), "id"));
		hoy_jw_null(&w, "RepoTags");
		put_repo_digests(&w, row->rec);
		hoy_jw_int(&w, "Size", row->size);
		hoy_jw_int(&w, "SharedSize", 0);
		hoy_jw_int(&w, "VirtualSize", row->size);
		put_labels(l, &w, row->rec);
		hoy_jw_int(&w, "Containers", containers_of(l, row->id));
		if (row->rdonly)
			hoy_jw_bool(&w, "ReadOnly", true);
		if (!row->name)
			hoy_jw_bool(&w, "Dangling", true);
		hoy_jw_string(&w, "Digest", hoy_json_str(row->rec, "digest"));
		if (hist && hist->child)
			hoy_jw_value(&w, "History", hist);
		if (names && names->child)
			hoy_jw_value(&w, "Names", names);
		hoy_jw_int(&w, "Created", row->created == HOY_TIME_ZERO ? -62135596800 : row->created / HOY_NS);
		hoy_jw_string(&w, "CreatedAt", hoy_time_format(row->created, buf));
		hoy_jw_end_object(&w);
	}
	hoy_jw_end_array(&w);
	if (b.error)
		return -b.error;
	puts(hoy_buf_str(&b));
	return 0;
}

static void history_text(const struct hoy_json *rec, struct hoy_buf *b)
{
	hoy_buf_reset(b);
	HOY_JSON_EACH(n, hoy_json_get(rec, "names-history"))
		if (hoy_json_text(n))
			hoy_buf_printf(b, "%s%s", b->len ? ", " : "", n->str);
}

static int print_rows(const struct listing *l, struct hoy_err *err)
{
	static const char *const headers[] = { "ID", "IMAGE ID", "CreatedSince", "CREATED", "CreatedAt", "CREATED AT", "ReadOnly", "R/O", NULL };
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	struct hoy_json *rows = hoy_json_new(&doc, HOY_JSON_ARRAY);
	cleanup_buf struct hoy_buf h = HOY_BUF_INIT(1 << 16);
	bool labels = strstr(l->o->format, "Labels");

	for (size_t i = 0; rows && i < l->n; i++) {
		const struct row *row = &l->rows[i];
		struct hoy_json *o = hoy_json_put(&doc, rows, NULL, hoy_json_new(&doc, HOY_JSON_OBJECT));
		cleanup_json struct hoy_json_doc cfg = HOY_JSON_DOC_INIT;
		const char *digest = hoy_json_str(row->rec, "digest") ?: "<none>";
		cleanup_free char *id = l->o->no_trunc ? hoy_asprintf("sha256:%s", row->id) : strndup(row->id, 12);
		char buf[HOY_TIME_SIZE], size[32];

		if (!o || !id)
			return hoy_fail_oom(err);
		hoy_json_set_string(&doc, o, "Repository", row->repo);
		hoy_json_set_string(&doc, o, "Name", row->repo); /* so buildah has it, and the next one too */
		hoy_json_set_int(&doc, o, "CreatedAtRaw", row->created == HOY_TIME_ZERO ? -62135596800 : row->created / HOY_NS);
		hoy_json_set_string(&doc, o, "Tag", row->tag);
		hoy_json_set_string(&doc, o, "ID", id);
		hoy_json_set_string(&doc, o, "Id", row->id);
		hoy_json_set_string(&doc, o, "Digest", digest);
		hoy_json_set_string(&doc, o, "Created", age(row->created, buf));
		hoy_json_set_string(&doc, o, "CreatedSince", age(row->created, buf));
		hoy_json_set_string(&doc, o, "CreatedAt", hoy_time_string(row->created, buf));
		hoy_json_set_string(&doc, o, "Size", hoy_size_human(row->size, size));
		hoy_json_set_int(&doc, o, "VirtualSize", row->size);
		history_text(row->rec, &h);
		hoy_json_set_string(&doc, o, "History", hoy_buf_str(&h));
		hoy_json_set_int(&doc, o, "Containers", containers_of(l, row->id));
		hoy_json_set_bool(&doc, o, "Dangling", !row->name);
		hoy_json_set_bool(&doc, o, "ReadOnly", row->rdonly);
		if (hoy_json_get(row->rec, "names"))
			hoy_json_put(&doc, o, "Names", hoy_json_copy(&doc, hoy_json_get(row->rec, "names")));
		if (labels && !hoy_image_config(l->s, row->rec, &cfg, NULL) &&
		    hoy_json_path(cfg.root, "config", "Labels", NULL))
			hoy_json_put(&doc, o, "Labels", hoy_json_copy(&doc, hoy_json_path(cfg.root, "config", "Labels", NULL)));
		else
			hoy_json_need(&doc, o, "Labels", HOY_JSON_OBJECT);
	}
	return rows ? hoy_format_rows(l->o->format, rows, headers, l->o->noheading, err) : hoy_fail_oom(err);
}

static void print_table(const struct listing *l)
{
	struct hoy_grid g = { 5 + l->o->digests + l->o->history, HOY_STRV_INIT };
	cleanup_buf struct hoy_buf h = HOY_BUF_INIT(1 << 16);
	bool rdonly = false;

	for (size_t i = 0; i < l->n; i++)
		rdonly = rdonly || l->rows[i].rdonly;
	g.ncols += rdonly;

	hoy_grid_add(&g, "REPOSITORY");
	hoy_grid_add(&g, "TAG");
	if (l->o->digests)
		hoy_grid_add(&g, "DIGEST");
	hoy_grid_add(&g, "IMAGE ID");
	hoy_grid_add(&g, "CREATED");
	hoy_grid_add(&g, "SIZE");
	if (l->o->history)
		hoy_grid_add(&g, "HISTORY");
	if (rdonly)
		hoy_grid_add(&g, "R/O");
	for (size_t i = 0; i < l->n; i++) {
		const struct row *row = &l->rows[i];
		char buf[HOY_TIME_SIZE], id[80];

		snprintf(id, sizeof(id), l->o->no_trunc ? "sha256:%s" : "%.12s", row->id);
		hoy_grid_add(&g, row->repo);
		hoy_grid_add(&g, row->tag);
		if (l->o->digests)
			hoy_grid_add(&g, hoy_json_str(row->rec, "digest") ?: "<none>");
		hoy_grid_add(&g, id);
		hoy_grid_add(&g, age(row->created, buf));
		hoy_grid_add(&g, hoy_size_human(row->size, buf));
		history_text(row->rec, &h);
		if (l->o->history)
			hoy_grid_add(&g, h.len ? hoy_buf_str(&h) : "<none>");
		if (rdonly)
			hoy_grid_add(&g, row->rdonly ? "true" : "false");
	}
	hoy_grid_print(&g, !l->o->noheading);
	hoy_grid_release(&g);
}

static int output(struct listing *l, struct hoy_err *err)
{
	int r;

	if (l->o->sort)
		sort_key = l->o->sort;
	if (strcmp(sort_key, "created") && strcmp(sort_key, "id") && strcmp(sort_key, "repository") && strcmp(sort_key, "size") &&
	    strcmp(sort_key, "tag"))
		return hoy_fail(err, EINVAL, "\"%s\" is not a valid field for sorting. Choose from: created, id, repository, size, tag",
				sort_key);
	if (l->n)
		qsort(l->rows, l->n, sizeof(*l->rows), by_key);
	if (l->o->quiet) {
		for (size_t i = 0; i < l->n; i++)
			printf(l->o->no_trunc ? "sha256:%s\n" : "%.12s\n", l->rows[i].id);
		return 0;
	}
	if (l->o->format && !strcmp(l->o->format, "json")) {
		r = print_json(l);
		return r < 0 ? hoy_fail_oom(err) : 0;
	}
	if (l->o->format)
		return print_rows(l, err);
	print_table(l);
	return 0;
}

static int run_images(const struct hoy_verb *v, int argc, char **argv)
{
	struct list_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	struct listing l = { .o = &o };
	cleanup_store struct hoy_store *s = NULL;
	struct hoy_json *only = NULL;
	int status, r = 0, n = hoy_verb_args(v, argc, argv, &o, 0, 1, &status);

	if (n < 0)
		return status;
	/* Only they ask who uses an image. */
	s = open_reader(HOY_LAYERS | HOY_IMAGES | (o.format || o.filters.n ? HOY_CONTAINERS : 0));
	if (!s)
		return 125;
	l.s = s;
	if (n && strchr(argv[1], '*')) {
		hoy_strv_pushf(&o.filters, "reference=%s", argv[1]);
	} else if (n && hoy_image_find(s, argv[1], &only, NULL, &err) < 0) {
		hoy_strv_pushf(&o.filters, "reference=%s", argv[1]);
		only = NULL;
	}
	if (!r)
		r = image_filters_check(s, &o.filters, &err);
	if (!r)
		r = collect(&l, only ? hoy_json_str(only, "id") : NULL, &err);
	if (!r)
		r = output(&l, &err);
	for (size_t i = 0; i < l.n; i++) {
		free(l.rows[i].repo);
		free(l.rows[i].tag);
	}
	free(l.rows);
	hoy_strv_release(&o.filters);
	return r < 0 ? hoy_report(&err, 125) : 0;
}

const struct hoy_verb verb_images = { "images", "[options] [IMAGE]", "List images", opts, run_images, false };
const struct hoy_verb verb_image_ls = { "image ls", "[options] [IMAGE]", NULL, opts, run_images, false };
const struct hoy_verb verb_image_list = { "image list", "[options] [IMAGE]", NULL, opts, run_images, false };
