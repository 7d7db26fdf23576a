/* cmd-run/df.c: `system df`: what images, containers and volumes take, and what of it could go. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-run/run.h"
#include "common/base/tree.h"
#include "common/cli/format.h"
#include "common/cli/table.h"
#include "common/data/digest.h"
#include "common/data/ref.h"
#include "common/data/time.h"
#include "common/data/units.h"
#include "common/store/containers.h"
#include "common/store/layers.h"
#include "common/store/parts.h"

#define MAX_DEPTH 1000

struct layer {
	const char *id, *parent;
	int64_t size;
	unsigned images; /* that stand on it */
	bool needed;	 /* by an image that a container uses, or by a container */
	size_t seen;	 /* the last walk that passed */
};

struct image {
	const struct hoy_json *rec;
	int64_t shared, unique;
	unsigned containers;
};

struct df {
	struct hoy_store *s;
	struct layer *layers; /* sorted by id */
	struct image *images;
	size_t n_layers, n_images, walks;
	int64_t images_size, images_needed;
	struct usages ctrs, volumes;
};

static void df_release(struct df *d)
{
	free(d->layers);
	free(d->images);
	usages_release(&d->ctrs);
	usages_release(&d->volumes);
}

/* ---- images ---- */

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct layer *)a)->id, ((const struct layer *)b)->id);
}

static struct layer *layer_of(const struct df *d, const char *id)
{
	struct layer key = { .id = id };

	return id && d->n_layers ? bsearch(&key, d->layers, d->n_layers, sizeof(key), by_id) : NULL;
}

/* A layer that two places have counts once. */
static void drop_doubles(struct df *d)
{
	size_t n = 0;

	for (size_t i = 0; i < d->n_layers; i++)
		if (!n || strcmp(d->layers[n - 1].id, d->layers[i].id))
			d->layers[n++] = d->layers[i];
	d->n_layers = n;
}

/* Those of all places: podman counts what is in additional stores as its own. */
static int load_layers(struct df *d)
{
	size_t n = 0;

	HOY_PLACES_EACH(p, d->s)
		for (struct hoy_json *r = hoy_first(p->layers); r; r = hoy_next(p->layers, r))
			n++;
	d->layers = calloc(n + 1, sizeof(*d->layers));
	if (!d->layers)
		return -ENOMEM;
	HOY_PLACES_EACH(p, d->s)
		for (struct hoy_json *r = hoy_first(p->layers); r; r = hoy_next(p->layers, r))
			if (hoy_json_str(r, "id"))
				d->layers[d->n_layers++] = (struct layer){ .id = hoy_json_str(r, "id"), .parent = hoy_json_str(r, "parent"),
									   .size = hoy_json_int(r, "diff-size", 0) };
	if (d->n_layers)
		qsort(d->layers, d->n_layers, sizeof(*d->layers), by_id);
	drop_doubles(d);
	for (size_t i = 0; i < d->n_layers; i++) {
		if (d->layers[i].size < 0) /* pulled in part: nobody has counted */
			d->layers[i].size = hoy_layer_size(d->s, d->layers[i].id);
		d->images_size += d->layers[i].size;
	}
	return 0;
}

/* Pass over the layers from TOP down, each once in this walk. */
typedef void visit(struct layer *l, void *arg);
static void walk(struct df *d, const char *top, visit *fn, void *arg)
{
	struct layer *l = layer_of(d, top);

	for (int depth = 0; l && l->seen != d->walks && depth < MAX_DEPTH; depth++, l = layer_of(d, l->parent)) {
		l->seen = d->walks;
		fn(l, arg);
	}
}

static void walk_image(struct df *d, const struct hoy_json *rec, visit *fn, void *arg)
{
	d->walks++;
	walk(d, hoy_json_str(rec, "layer"), fn, arg);
	HOY_JSON_EACH(m, hoy_json_get(rec, "mapped-layers"))
		walk(d, hoy_json_text(m), fn, arg);
}

static void count(struct layer *l, void *arg)
{
	(void)arg;
	l->images++;
}

static void need(struct layer *l, void *arg)
{
	(void)arg;
	l->needed = true;
}

static void sum(struct layer *l, void *arg)
{
	struct image *i = arg;

	*(l->images > 1 ? &i->shared : &i->unique) += l->size;
}

static int64_t items_of(const struct hoy_json *rec)
{
	int64_t total = 0, v;

	HOY_JSON_EACH(n, hoy_json_get(rec, "big-data-sizes"))
		if (hoy_json_int64(n, &v) && v > 0)
			total += v;
	return total;
}

static int load_images(struct df *d)
{
	size_t n = 0;

	for (struct hoy_json *rec = hoy_image_first(d->s); rec; rec = hoy_image_next(d->s, rec))
		n++;
	d->images = calloc(n + 1, sizeof(*d->images));
	if (!d->images)
		return -ENOMEM;
	for (struct hoy_json *rec = hoy_image_first(d->s); rec; rec = hoy_image_next(d->s, rec)) {
		if (!hoy_json_str(rec, "id"))
			continue;
		d->images[d->n_images++] = (struct image){ .rec = rec, .containers = hoy_image_users(d->s, hoy_json_str(rec, "id"), NULL) };
		walk_image(d, rec, count, NULL);
	}
	for (size_t i = 0; i < d->n_images; i++) {
		struct image *m = &d->images[i];
		int64_t items = items_of(m->rec);

		walk_image(d, m->rec, sum, m);
		m->unique += items;
		d->images_size += items;
		if (m->containers) {
			walk_image(d, m->rec, need, NULL);
			d->images_needed += items;
		}
	}
	for (struct hoy_json *c = hoy_first(d->s->ctrs); c; c = hoy_next(d->s->ctrs, c)) {
		d->walks++;
		walk(d, hoy_json_str(c, "layer"), need, NULL);
	}
	for (size_t i = 0; i < d->n_layers; i++)
		if (d->layers[i].needed)
			d->images_needed += d->layers[i].size;
	return 0;
}

static int load(struct df *d, struct hoy_err *err)
{
	int r = hoy_store_peek(d->s, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, err);

	if (!r && (load_layers(d) < 0 || load_images(d) < 0))
		r = hoy_fail_oom(err);
	/* What interrupted pulls keep, to go on with: image prune gives it back. */
	if (!r && d->s->graphfd >= 0)
		d->images_size += hoy_tree_size(d->s->graphfd, HOY_PARTS_DIR);
	if (!r)
		r = list_containers(d->s, true, &d->ctrs, err);
	return r ? r : list_volumes(d->s, &d->ctrs, true, &d->volumes, err);
}

/* ---- the summary ---- */

struct summary {
	const char *type;
	int64_t total, active, size, reclaimable;
};

/* One row for each name with a tag, as podman counts; *RET_REPO is the next name's. */
static bool tagged(const struct hoy_json *name, char **ret_repo, char **ret_tag)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;

	if (!hoy_json_text(name) || hoy_ref_parse(&ref, name->str, NULL) < 0 || !ref.tag)
		return false;
	if (ret_repo) {
		*ret_repo = hoy_ref_repo(&ref);
		*ret_tag = strdup(ref.tag);
	}
	return true;
}

static void summarize(const struct df *d, struct summary ret[3])
{
	ret[0] = (struct summary){ "Images", 0, 0, d->images_size, d->images_size - d->images_needed };
	ret[1] = (struct summary){ "Containers", d->ctrs.n, 0, 0, 0 };
	ret[2] = (struct summary){ "Local Volumes", d->volumes.n, 0, 0, 0 };
	for (size_t i = 0; i < d->n_images; i++) {
		int64_t names = 0;

		HOY_JSON_EACH(n, hoy_json_get(d->images[i].rec, "names"))
			names += tagged(n, NULL, NULL);
		ret[0].total += names ? names : 1;
		ret[0].active += d->images[i].containers > 0;
	}
	for (size_t i = 0; i < d->ctrs.n; i++) {
		bool runs = ctr_status(&d->ctrs.v[i].c) == ST_RUNNING;

		ret[1].active += runs;
		ret[1].size += d->ctrs.v[i].size;
		ret[1].reclaimable += runs ? 0 : d->ctrs.v[i].size;
	}
	for (size_t i = 0; i < d->volumes.n; i++) {
		ret[2].active += d->volumes.v[i].links;
		ret[2].size += d->volumes.v[i].size;
		ret[2].reclaimable += d->volumes.v[i].links ? 0 : d->volumes.v[i].size;
	}
}

static const char *reclaimable_text(const struct summary *s, char buf[64])
{
	char size[32];
	int percent = s->size > 0 ? (int)((double)s->reclaimable / (double)s->size * 100 + 0.5) : 0;

	snprintf(buf, 64, "%s (%d%%)", hoy_size_tight(s->reclaimable, size), percent);
	return buf;
}

static int print_table(const struct summary v[3])
{
	struct hoy_grid g = { .ncols = 5 };
	char buf[64];

	for (const char *const *h = (const char *const[]){ "TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE", NULL }; *h; h++)
		hoy_grid_add(&g, *h);
	for (int i = 0; i < 3; i++) {
		hoy_grid_add(&g, v[i].type);
		snprintf(buf, sizeof(buf), "%lld", (long long)v[i].total);
		hoy_grid_add(&g, buf);
		snprintf(buf, sizeof(buf), "%lld", (long long)v[i].active);
		hoy_grid_add(&g, buf);
		hoy_grid_add(&g, hoy_size_tight(v[i].size, buf));
		hoy_grid_add(&g, reclaimable_text(&v[i], buf));
	}
	hoy_grid_print(&g, true);
	hoy_grid_release(&g);
	return 0;
}

static int row(struct hoy_json_doc *doc, struct hoy_json *rows, const struct summary *s)
{
	struct hoy_json *o = hoy_json_put(doc, rows, NULL, hoy_json_new(doc, HOY_JSON_OBJECT));
	char size[32], part[64];

	return o && hoy_json_set_string(doc, o, "Type", s->type) && hoy_json_set_int(doc, o, "Total", s->total) &&
	       hoy_json_set_int(doc, o, "Active", s->active) && hoy_json_set_int(doc, o, "RawSize", s->size) &&
	       hoy_json_set_int(doc, o, "RawReclaimable", s->reclaimable) && hoy_json_set_int(doc, o, "TotalCount", s->total) &&
	       hoy_json_set_string(doc, o, "Size", hoy_size_tight(s->size, size)) &&
	       hoy_json_set_string(doc, o, "Reclaimable", reclaimable_text(s, part)) ? 0 : -ENOMEM;
}

/* podman's spelling: a row a line. */
static int print_json(const struct hoy_json *rows)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);

	hoy_buf_puts(&b, "[\n");
	HOY_JSON_EACH(r, rows) {
		struct hoy_jw w = hoy_jw_on(&b, NULL);

		hoy_buf_puts(&b, "    ");
		hoy_jw_value(&w, NULL, r);
		hoy_buf_puts(&b, r->next ? ",\n" : "\n");
	}
	hoy_buf_putc(&b, ']');
	puts(hoy_buf_str(&b));
	return b.error ? -b.error : 0;
}

static int print_formatted(const struct summary v[3], const char *format, struct hoy_err *err)
{
	static const char *const headers[] = { "Size", "SIZE", NULL };
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	struct hoy_json *rows = hoy_json_new(&doc, HOY_JSON_ARRAY);

	for (int i = 0; i < 3; i++)
		if (!rows || row(&doc, rows, &v[i]) < 0)
			return hoy_fail_oom(err);
	if (!strcmp(format, "json"))
		return print_json(rows) < 0 ? hoy_fail_oom(err) : 0;
	return hoy_format_rows(format, rows, headers, false, err);
}

/* ---- the long form ---- */

static void start(struct hoy_grid *g, const char *const *heads)
{
	*g = (struct hoy_grid){ 0 };
	for (; *heads; heads++, g->ncols++)
		hoy_grid_add(g, *heads);
}

static void finish(struct hoy_grid *g)
{
	hoy_grid_print(g, true);
	hoy_grid_release(g);
}

static const char *age(int64_t created, char buf[HOY_TIME_SIZE])
{
	return created == HOY_TIME_ZERO ? strcpy(buf, "N/A") : hoy_time_human(hoy_now() - created, buf);
}

static void image_row(struct hoy_grid *g, const struct image *i, const char *repo, const char *tag)
{
	char buf[HOY_TIME_SIZE], size[32];

	hoy_grid_add(g, repo);
	hoy_grid_add(g, tag);
	snprintf(buf, sizeof(buf), "%.12s", hoy_json_str(i->rec, "id"));
	hoy_grid_add(g, buf);
	hoy_grid_add(g, age(hoy_json_time(i->rec, "created"), buf));
	hoy_grid_add(g, hoy_size_tight(i->shared + i->unique, size));
	hoy_grid_add(g, hoy_size_tight(i->shared, size));
	hoy_grid_add(g, hoy_size_tight(i->unique, size));
	snprintf(buf, sizeof(buf), "%u", i->containers);
	hoy_grid_add(g, buf);
}

static void print_images(const struct df *d)
{
	static const char *const heads[] = { "REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS",
					     NULL };
	struct hoy_grid g;

	printf("Images space usage:\n\n");
	start(&g, heads);
	for (size_t i = 0; i < d->n_images; i++) {
		bool some = false;

		HOY_JSON_EACH(n, hoy_json_get(d->images[i].rec, "names")) {
			cleanup_free char *repo = NULL, *tag = NULL;

			if (!tagged(n, &repo, &tag))
				continue;
			image_row(&g, &d->images[i], repo ? repo : "", tag ? tag : "");
			some = true;
		}
		if (!some)
			image_row(&g, &d->images[i], "<none>", "<none>");
	}
	finish(&g);
}

static void print_containers(const struct df *d)
{
	static const char *const heads[] = { "CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES", NULL };
	struct hoy_grid g;

	printf("\nContainers space usage:\n\n");
	start(&g, heads);
	for (size_t i = 0; i < d->ctrs.n; i++) {
		const struct usage *u = &d->ctrs.v[i];
		cleanup_buf struct hoy_buf cmd = HOY_BUF_INIT(1 << 20);
		char buf[HOY_TIME_SIZE], size[32];

		HOY_JSON_EACH(a, hoy_json_get(u->c.def.root, "args"))
			hoy_buf_printf(&cmd, "%s%s", cmd.len ? " " : "", a->str ?: "");
		snprintf(buf, sizeof(buf), "%.12s", u->c.id);
		hoy_grid_add(&g, buf);
		snprintf(buf, sizeof(buf), "%.12s", hoy_json_str(u->c.def.root, "image") ?: "");
		hoy_grid_add(&g, buf);
		hoy_grid_add(&g, hoy_buf_str(&cmd));
		snprintf(buf, sizeof(buf), "%u", u->links);
		hoy_grid_add(&g, buf);
		hoy_grid_add(&g, hoy_size_tight(u->size, size));
		hoy_grid_add(&g, age(u->created, buf));
		hoy_grid_add(&g, status_name(ctr_status(&u->c)));
		hoy_grid_add(&g, ctr_name(&u->c));
	}
	finish(&g);
}

static void print_volumes(const struct df *d)
{
	static const char *const heads[] = { "VOLUME NAME", "LINKS", "SIZE", NULL };
	struct hoy_grid g;

	printf("\nLocal Volumes space usage:\n\n");
	start(&g, heads);
	for (size_t i = 0; i < d->volumes.n; i++) {
		char buf[32];

		hoy_grid_add(&g, d->volumes.v[i].name);
		snprintf(buf, sizeof(buf), "%u", d->volumes.v[i].links);
		hoy_grid_add(&g, buf);
		hoy_grid_add(&g, hoy_size_tight(d->volumes.v[i].size, buf));
	}
	finish(&g);
}

/* ---- the verb ---- */

struct df_opts {
	const char *format;
	bool verbose;
};
static const struct hoy_opt opts[] = {
	{ 0, "format", HOY_OPT_STRING, offsetof(struct df_opts, format), "FORMAT", "json, or a Go template" },
	{ 'v', "verbose", HOY_OPT_FLAG, offsetof(struct df_opts, verbose), NULL, "image by image, container by container, volume by volume" },
	HOY_OPTS_END,
};

static int print(const struct df *d, const struct df_opts *o, struct hoy_err *err)
{
	struct summary v[3];

	if (o->verbose) {
		print_images(d);
		print_containers(d);
		print_volumes(d);
		return 0;
	}
	summarize(d, v);
	return o->format ? print_formatted(v, o->format, err) : print_table(v);
}

static int run_df(const struct hoy_verb *v, int argc, char **argv)
{
	struct df_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	struct df d = { 0 };
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, 0, &status);

	if (n < 0)
		return status;
	if (o.format && o.verbose) {
		hoy_error("cannot combine --format and --verbose flags");
		return 125;
	}
	s = open_store(HOY_STORE_RDONLY);
	if (!s)
		return 125;
	d.s = s;
	r = load(&d, &err);
	if (!r)
		r = print(&d, &o, &err);
	df_release(&d);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_system_df = { "system df", "[options]", "Show what images, containers and volumes take", opts, run_df, false };
