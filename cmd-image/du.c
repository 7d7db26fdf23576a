/* cmd-image/du.c: `image du`, docker's `buildx du`: what builds keep as a cache, and when they used it last. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/image.h"
#include "cmd-image/prune.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/cli/format.h"
#include "common/cli/table.h"
#include "common/data/time.h"
#include "common/data/units.h"
#include "common/store/containers.h"
#include "common/store/inuse.h"

struct du_opts {
	const char *format;
};
static const struct hoy_opt opts[] = {
	{ 0, "format", HOY_OPT_STRING, offsetof(struct du_opts, format), "FORMAT", "json, or a Go template" },
	HOY_OPTS_END,
};

/* Could a prune take it? (LOCK: of inuse.h, or -1.) */
static bool reclaimable(const struct hoy_store *s, const struct cached *c, int lock)
{
	return c->mount ? !c->busy : !hoy_image_users(s, c->name, NULL) && (lock < 0 || !hoy_inuse_held(lock, c->name));
}

static int add_row(struct hoy_json_doc *doc, struct hoy_json *rows, const struct cached *c, bool free)
{
	struct hoy_json *o = hoy_json_put(doc, rows, NULL, hoy_json_new(doc, HOY_JSON_OBJECT));
	char when[HOY_TIME_SIZE];

	return o && hoy_json_set_string(doc, o, "ID", c->name) && hoy_json_set_string(doc, o, "Type", c->mount ? "exec.cachemount" : "regular") &&
	       hoy_json_set_int(doc, o, "Size", c->bytes) && hoy_json_set_bool(doc, o, "Reclaimable", free) &&
	       hoy_json_set_string(doc, o, "LastUsedAt", hoy_time_format(c->used, when)) ? 0 : -ENOMEM;
}

static int print_json(const struct hoy_json *rows, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "    ");

	hoy_jw_value(&w, NULL, rows);
	if (b.error)
		return hoy_fail_oom(err);
	puts(hoy_buf_str(&b));
	return 0;
}

static int print_formatted(const struct hoy_store *s, const struct cache *c, int lock, const char *format, struct hoy_err *err)
{
	static const char *const headers[] = { "LastUsedAt", "LAST ACCESSED", NULL };
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	struct hoy_json *rows = hoy_json_new(&doc, HOY_JSON_ARRAY);

	for (size_t i = c->n; i; i--)
		if (!rows || add_row(&doc, rows, &c->v[i - 1], reclaimable(s, &c->v[i - 1], lock)) < 0)
			return hoy_fail_oom(err);
	if (!strcmp(format, "json"))
		return print_json(rows, err);
	return hoy_format_rows(format, rows, headers, false, err);
}

static void print_table(const struct hoy_store *s, const struct cache *c, int lock)
{
	struct hoy_grid g = { .ncols = 4 };
	char text[HOY_TIME_SIZE + 8], size[32];
	int64_t free = 0, total = 0;

	for (const char *const *h = (const char *const[]){ "ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED", NULL }; *h; h++)
		hoy_grid_add(&g, *h);
	for (size_t i = c->n; i; i--) {
		const struct cached *one = &c->v[i - 1];
		bool may = reclaimable(s, one, lock);
		char age[HOY_TIME_SIZE];

		hoy_grid_add(&g, one->name);
		hoy_grid_add(&g, may ? "true" : "false");
		hoy_grid_add(&g, hoy_size_tight(one->bytes, size));
		snprintf(text, sizeof(text), "%s ago", hoy_time_human(hoy_now() - one->used, age));
		hoy_grid_add(&g, text);
		total += one->bytes;
		free += may ? one->bytes : 0;
	}
	hoy_grid_print(&g, true);
	hoy_grid_release(&g);
	printf("Reclaimable:\t%s\n", hoy_size_tight(free, size));
	printf("Total:\t\t%s\n", hoy_size_tight(total, size));
}

static int run_du(const struct hoy_verb *v, int argc, char **argv)
{
	struct du_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	struct cache c = CACHE_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_fd int lock = -1;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, 0, &status);

	if (n < 0)
		return status;
	r = hoy_store_open(&s, &hoy_globals.storage, HOY_STORE_RDONLY, &err);
	if (!r)
		r = cache_load(&c, s, &err);
	lock = r ? -1 : hoy_inuse_open(s);
	if (!r && o.format)
		r = print_formatted(s, &c, lock, o.format, &err);
	else if (!r)
		print_table(s, &c, lock);
	cache_release(&c);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_image_du = { "image du", "[options]", "Show what builds keep as a cache", opts, run_du, false };
