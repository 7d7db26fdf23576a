/* cmd-image/garbage.c: what dead processes left in the store goes, and how much that was. */
#include <stdlib.h>
#include <string.h>

#include "cmd-image/check.h"
#include "cmd-image/image.h"
#include "common/base/err.h"
#include "common/base/tree.h"
#include "common/data/time.h"
#include "common/store/layers.h"
#include "common/store/parts.h"

#define EVERYTHING (HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS)

/* Damaged things that somebody may still want are no garbage. */
static bool garbage(const struct finding *f)
{
	return f->what == LEFTOVER || (f->what == DAMAGED_LAYER && (f->unaccounted || f->unused));
}

static int64_t size_of(const struct hoy_store *s, const struct finding *f)
{
	cleanup_free char *split = hoy_asprintf("%s.tar-split.gz", f->id);

	if (!split)
		return 0;
	if (f->what == LEFTOVER)
		return hoy_tree_size(s->graphfd, f->id);
	return hoy_tree_size(hoy_layer_home(s, f->id)->homefd, f->id) + (f->unused ? hoy_tree_size(s->own.layersfd, split) : 0);
}

static const struct finding *same(const struct report *r, const struct finding *f)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->v[i].what == f->what && garbage(&r->v[i]) && !strcmp(r->v[i].id, f->id))
			return &r->v[i];
	return NULL;
}

static int drop(struct hoy_store *s, const struct finding *f, struct hoy_err *err)
{
	int r;

	if (f->what == LEFTOVER)
		return drop_leftover(s, f->id, err);
	if (f->unused)
		return hoy_layer_delete(s, f->id, err);
	r = hoy_layer_discard(s, f->id);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot remove the layer '%s', which nobody knows", f->id) : 0;
}

/* Those that stand on others first. */
static int by_depth(const void *x, const void *y)
{
	const struct finding *a = x, *b = y;

	return a->depth > b->depth ? -1 : a->depth < b->depth;
}

/* Under the locks: what was garbage and still is. Taking them has removed some of it already. */
static int drop_all(struct hoy_store *s, const struct check_opts *o, struct report *seen, int64_t *sizes, int64_t *ret_freed,
		    struct hoy_err *err)
{
	struct report now = { 0 };
	int r = check_store(s, o, &now, err);

	for (size_t i = 0; i < seen->n && !r; i++) {
		const struct finding *f = same(&now, &seen->v[i]);

		if (f)
			r = drop(s, f, err);
		if (!r)
			*ret_freed += sizes[i];
	}
	report_release(&now);
	return r;
}

int drop_garbage(struct hoy_store *s, int64_t *ret_freed, struct hoy_err *err)
{
	const struct check_opts o = { .max_age = 24 * 3600 * HOY_NS };
	cleanup_free int64_t *sizes = NULL;
	struct report seen = { 0 };
	size_t n = 0;
	int r;

	*ret_freed = 0;
	/* What interrupted pulls keep, to go on with; those that run have leases on theirs. */
	hoy_parts_prune(s, -1, 0, ret_freed);
	r = hoy_store_peek(s, EVERYTHING, err);
	if (!r)
		r = check_store(s, &o, &seen, err);
	for (size_t i = 0; i < seen.n && !r; i++)
		n += garbage(&seen.v[i]);
	if (!r && n) {
		qsort(seen.v, seen.n, sizeof(*seen.v), by_depth);
		sizes = calloc(seen.n, sizeof(*sizes));
		for (size_t i = 0; sizes && i < seen.n; i++)
			sizes[i] = garbage(&seen.v[i]) ? size_of(s, &seen.v[i]) : 0;
		r = sizes ? hoy_store_lock(s, 0, HOY_GRAPH | EVERYTHING, err) : hoy_fail_oom(err);
		if (!r)
			r = drop_all(s, &o, &seen, sizes, ret_freed, err);
		hoy_store_unlock(s);
	}
	report_release(&seen);
	return r;
}
