/* cmd-image/bound.c: `image prune --max-used-space`: what builds keep as a cache goes, least recently used first, until it is small enough. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "cmd-image/image.h"
#include "cmd-image/prune.h"
#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/data/time.h"
#include "common/data/units.h"
#include "common/store/images.h"
#include "common/store/inuse.h"
#include "common/store/layers.h"
#include "common/store/mountcaches.h"

/* ---- sizes ---- */

/* The layers of REC from the top down, as long as they have records. */
static void chain_of(const struct hoy_store *s, const struct hoy_json *rec, struct hoy_strv *ret)
{
	const struct hoy_json *l;

	for (const char *id = hoy_json_str(rec, "layer"); id && (l = hoy_layer_get(s, id)) && ret->n < 1000;
	     id = hoy_json_str(l, "parent"))
		hoy_strv_push(ret, id);
}

static int64_t layer_bytes(const struct hoy_store *s, const char *id)
{
	int64_t n = hoy_json_int(hoy_layer_get(s, id), "diff-size", 0);

	return n > 0 ? n : 0;
}

static int64_t item_bytes(const struct hoy_json *rec)
{
	int64_t sum = 0, v;

	HOY_JSON_EACH(n, hoy_json_get(rec, "big-data-sizes"))
		if (hoy_json_int64(n, &v) && v > 0)
			sum += v;
	return sum;
}

int delete_image(struct hoy_store *s, const struct hoy_json *rec, int64_t *ret_freed, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv chain = HOY_STRV_INIT;
	int64_t sum = 0, items = item_bytes(rec);
	int r;

	chain_of(s, rec, &chain);
	for (size_t i = 0; i < chain.n; i++)
		sum += layer_bytes(s, chain.v[i]);
	r = chain.error ? hoy_fail_oom(err) : hoy_image_delete(s, hoy_json_str(rec, "id"), NULL, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < chain.n; i++)
		sum -= layer_bytes(s, chain.v[i]); /* what others still need is not freed */
	*ret_freed = sum + items;
	return 0;
}

/* Layers of all images that have a name, or of those that have none; *RET_ITEMS (may be NULL): what their items take. */
static void chains_of(const struct hoy_store *s, bool nameless, struct hoy_strv *ret, int64_t *ret_items)
{
	for (struct hoy_json *rec = hoy_image_first(s); rec; rec = hoy_image_next(s, rec)) {
		if ((image_nameless(rec) && !hoy_image_place(s, rec)->rdonly) != nameless)
			continue;
		chain_of(s, rec, ret);
		if (ret_items)
			*ret_items += item_bytes(rec);
	}
	hoy_strv_sort(ret);
}

/* What goes if all nameless images go: the layers that only they have. */
static int64_t nameless_bytes(const struct hoy_store *s)
{
	cleanup_strv struct hoy_strv theirs = HOY_STRV_INIT, others = HOY_STRV_INIT;
	int64_t sum = 0;

	chains_of(s, true, &theirs, &sum);
	chains_of(s, false, &others, NULL);
	for (size_t i = 0; i < theirs.n; i++)
		if ((!i || strcmp(theirs.v[i], theirs.v[i - 1])) && !hoy_strv_has_sorted(&others, theirs.v[i]))
			sum += layer_bytes(s, theirs.v[i]);
	return sum;
}

/* ---- what there is ---- */

struct cached {
	char name[HOY_ID_SIZE]; /* an image's id, or a mount cache's name */
	bool mount;
	unsigned depth; /* of an image: nameless ones that stand on it, one on the other */
	int64_t used;	/* of an image: also by those that stand on it */
	int64_t bytes;	/* of a mount cache */
};

struct cache {
	struct cached *v;
	size_t n;
	int dir; /* of the mount caches, or -1 */
	int64_t total;
};

static struct cached *add(struct cache *c, const char *name)
{
	struct cached *v = realloc(c->v, (c->n + 1) * sizeof(*v));

	if (!v)
		return NULL;
	c->v = v;
	v[c->n] = (struct cached){ .mount = false };
	snprintf(v[c->n].name, sizeof(v->name), "%s", name);
	return &v[c->n++];
}

static struct cached *find(const struct cache *c, const char *name)
{
	for (size_t i = 0; i < c->n; i++)
		if (!strcmp(c->v[i].name, name))
			return &c->v[i];
	return NULL;
}

/* What an image stands on is as young as itself, and goes later. */
static void pass_on(struct cache *c, const struct hoy_store *s, const struct cached *from)
{
	const struct hoy_json *rec = hoy_image_get(s, from->name);
	unsigned depth = from->depth;
	struct cached *below;

	while (rec && (rec = image_parent(s, rec)) && (below = find(c, hoy_json_str(rec, "id") ?: "")) && depth++ < 1000) {
		if (below->depth < depth)
			below->depth = depth;
		if (below->used < from->used)
			below->used = from->used;
	}
}

static int load_images(struct cache *c, struct hoy_store *s, struct hoy_err *err)
{
	int r = hoy_store_peek(s, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, err);

	for (struct hoy_json *rec = r ? NULL : hoy_image_first(s); rec; rec = hoy_image_next(s, rec)) {
		const char *id = hoy_json_str(rec, "id");
		struct cached *one = id && image_nameless(rec) && !hoy_image_place(s, rec)->rdonly ? add(c, id) : NULL;

		if (one)
			one->used = hoy_image_touched(s, id);
	}
	for (size_t i = 0; i < c->n; i++)
		pass_on(c, s, &c->v[i]);
	if (!r)
		c->total = nameless_bytes(s);
	return r;
}

static int load_mounts(struct cache *c, struct hoy_err *err)
{
	cleanup_free struct hoy_mountcache *v = NULL;
	size_t n = 0;
	int r;

	c->dir = hoy_mountcaches_open(false, err);
	if (c->dir < 0)
		return c->dir == -ENOENT ? 0 : c->dir;
	r = hoy_mountcaches_list(c->dir, &v, &n);
	for (size_t i = 0; i < n; i++) {
		struct cached *one = add(c, v[i].name);

		if (!one)
			return hoy_fail_oom(err);
		one->mount = true;
		one->used = v[i].used;
		one->bytes = v[i].bytes;
		c->total += v[i].bytes;
	}
	return r < 0 ? hoy_fail_errno(err, -r, "cannot look at the build cache") : 0;
}

/* ---- what goes ---- */

/* The longest not used first, and of those alike what stands on others. */
static int by_use(const void *a, const void *b)
{
	const struct cached *x = a, *y = b;

	if (x->used != y->used)
		return x->used < y->used ? -1 : 1;
	return x->depth < y->depth ? -1 : x->depth > y->depth;
}

/* As BuildKit counts: as much as may be used, less if the disk is too full, but never less than what is reserved. */
static int64_t keep(const struct prune_opts *o, const struct hoy_store *s, int64_t total)
{
	int64_t ret = o->max_used, lacking = 0;
	struct statvfs fs;

	if (o->min_free && !fstatvfs(s->graphfd, &fs))
		lacking = o->min_free - (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
	if (!o->max_used)
		ret = o->min_free ? total : 0;
	if (lacking > 0 && total - lacking < ret)
		ret = total - lacking;
	return ret > o->reserved ? ret : o->reserved;
}

/* 1: gone, 0: not. */
static int drop(struct hoy_store *s, const struct prune_opts *o, const struct cache *c, const struct cached *one, int64_t *ret_freed, struct hoy_err *err)
{
	int r;

	if (!one->mount)
		return prune_one(s, o, one->name, ret_freed, err);
	r = hoy_mountcache_drop(c->dir, one->name);
	*ret_freed = one->bytes;
	return r < 0 ? hoy_fail_errno(err, -r, "cannot remove the mount cache '%s'", one->name) : r;
}

static int drop_until(struct hoy_store *s, const struct prune_opts *o, struct cache *c, int64_t *ret_freed, struct hoy_err *err)
{
	bool images_only = o->filters.n;
	int64_t limit = keep(o, s, c->total);

	for (size_t i = 0; i < c->n && c->total > limit; i++) {
		const struct cached *one = &c->v[i];
		int64_t freed = 0;
		int r = one->used >= o->used_before || (one->mount && images_only) ? 0 : drop(s, o, c, one, &freed, err);

		if (r < 0)
			return r;
		if (!r)
			continue;
		prune_tell(o, one->name, freed);
		c->total -= freed;
		*ret_freed += freed;
	}
	return 0;
}

bool bound_may_go(const struct hoy_store *s, const struct prune_opts *o, const struct hoy_json *rec)
{
	if (!image_nameless(rec))
		return false;
	for (struct hoy_json *i = o->all ? hoy_image_first(s) : NULL; i; i = hoy_image_next(s, i))
		if (image_nameless(i) && image_is_child(s, rec, i))
			return false;
	return o->all || !image_has_children(s, rec);
}

static int parse(const char *option, const char *text, int64_t *ret, struct prune_opts *o, struct hoy_err *err)
{
	if (!text)
		return 0;
	o->bounded = true;
	return hoy_size_parse(text, ret) ? 0 : hoy_fail(err, EINVAL, "invalid size '%s' for --%s", text, option);
}

/* --filter until is about the last use here, not about when an image was made. */
static int take_until(struct prune_opts *o, struct hoy_err *err)
{
	int64_t t;

	o->used_before = INT64_MAX;
	for (size_t i = o->filters.n; i; i--) {
		const char *v = o->filters.v[i - 1];

		if (strncmp(v, "until=", 6))
			continue;
		if (!hoy_moment_parse(v + 6, &t))
			return hoy_fail(err, EINVAL, "failed to parse value as time or duration: \"%s\"", v + 6);
		if (t < o->used_before)
			o->used_before = t;
		hoy_strv_remove(&o->filters, i - 1);
	}
	return 0;
}

int bound_parse(struct prune_opts *o, struct hoy_err *err)
{
	int r = parse("max-used-space", o->max_used_space, &o->max_used, o, err);

	if (!r)
		r = parse("reserved-space", o->reserved_space, &o->reserved, o, err);
	if (!r)
		r = parse("min-free-space", o->min_free_space, &o->min_free, o, err);
	if (!r && o->bounded && (o->external || o->leftovers || o->build_cache))
		r = hoy_fail(err, EINVAL, "a size of the cache cannot be combined with --build-cache, --external or --leftovers");
	return r || !o->bounded ? r : take_until(o, err);
}

int bound_prune(struct hoy_store *s, const struct prune_opts *o, struct hoy_err *err)
{
	struct cache c = { .dir = -1 };
	int64_t freed = 0;
	char size[32];
	int r = load_images(&c, s, err);

	if (!r)
		r = image_filters_check(s, &o->filters, err);
	if (!r)
		r = load_mounts(&c, err);
	if (!r && c.n) {
		qsort(c.v, c.n, sizeof(*c.v), by_use);
		r = drop_until(s, o, &c, &freed, err);
	}
	if (!r && !o->sizes)
		printf("Total reclaimed space: %s\n", hoy_size_tight(freed, size));
	hoy_close(c.dir);
	free(c.v);
	return r;
}
