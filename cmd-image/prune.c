/* cmd-image/prune.c: `image prune`: images that nobody uses go, one lock for each, so that others get their turn. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd-image/image.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/cli/prompt.h"
#include "common/data/units.h"
#include "common/store/containers.h"
#include "common/store/layers.h"

struct prune_opts {
	bool all, build_cache, external, force, leftovers, sizes;
	struct hoy_strv filters;
	const char *keep_storage;
	int64_t keep; /* bytes that nameless images may take; -1: none */
};
#define O(field) offsetof(struct prune_opts, field)
static const struct hoy_opt opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, O(all), NULL, "remove all images that no container uses, not only nameless ones" },
	{ 0, "build-cache", HOY_OPT_FLAG, O(build_cache), NULL, "remove what builds kept by RUN --mount=type=cache" },
	{ 0, "external", HOY_OPT_FLAG, O(external), NULL, "remove images that only builds use, with their containers" },
	{ 0, "filter", HOY_OPT_LIST, O(filters), "KEY=VALUE", "until, label, label! and what `images` takes" },
	{ 'f', "force", HOY_OPT_FLAG, O(force), NULL, "do not ask" },
	{ 0, "keep-storage", HOY_OPT_STRING, O(keep_storage), "SIZE", "leave the youngest nameless images (a build's cache), as many as take no more" },
	{ 0, "leftovers", HOY_OPT_FLAG, O(leftovers), NULL, "remove no image, only what dead processes left in the store" },
	{ 0, "sizes", HOY_OPT_FLAG, O(sizes), NULL, "print behind each id how many bytes that freed, and behind \"-\" those of leftovers" },
	HOY_OPTS_END,
};

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

/* Delete image REC; *RET_FREED is what its items and the layers that went with it took. */
static int delete_image(struct hoy_store *s, const struct hoy_json *rec, int64_t *ret_freed, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv chain = HOY_STRV_INIT;
	int64_t sum = 0, items = 0;
	int r;

	chain_of(s, rec, &chain);
	for (size_t i = 0; i < chain.n; i++)
		sum += layer_bytes(s, chain.v[i]);
	HOY_JSON_EACH(n, hoy_json_get(rec, "big-data-sizes")) {
		int64_t v;

		if (hoy_json_int64(n, &v) && v > 0)
			items += v;
	}
	r = chain.error ? hoy_fail_oom(err) : hoy_image_delete(s, hoy_json_str(rec, "id"), NULL, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < chain.n; i++)
		sum -= layer_bytes(s, chain.v[i]); /* what others still need is not freed */
	*ret_freed = sum + items;
	return 0;
}

/* May REC go? Decided twice: when looking for candidates, and under the lock. */
static int may_go(const struct hoy_store *s, const struct prune_opts *o, const struct hoy_json *rec, struct hoy_err *err)
{
	const char *id = hoy_json_str(rec, "id");
	unsigned builds, users;

	if (!id || hoy_image_place(s, rec)->rdonly || (!o->all && (!image_nameless(rec) || image_has_children(s, rec))))
		return 0;
	users = hoy_image_users(s, id, &builds);
	if (o->external ? !users || users != builds : users > 0)
		return 0;
	return image_wanted(s, &o->filters, rec, err);
}

/* --external: the working containers of builds go with their image. */
static int drop_builds(struct hoy_store *s, const char *image, struct hoy_err *err)
{
	struct hoy_json *next;
	int r = 0;

	for (struct hoy_json *c = hoy_first(s->ctrs); c && !r; c = next) {
		next = hoy_next(s->ctrs, c);
		if (!strcmp(hoy_json_str(c, "image") ?: "", image))
			r = hoy_container_delete(s, hoy_json_str(c, "id"), err);
	}
	return r;
}

/* 1: gone, 0: somebody came first or needs it now. */
static int prune_one(struct hoy_store *s, const struct prune_opts *o, const char *id, int64_t *ret_freed, struct hoy_err *err)
{
	int r = hoy_store_lock(s, 0, HOY_GRAPH | HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, err);
	const struct hoy_json *rec = r < 0 ? NULL : hoy_image_get(s, id);

	if (rec)
		r = may_go(s, o, rec, err);
	if (r > 0) {
		r = o->external ? drop_builds(s, id, err) : 0;
		if (!r)
			r = delete_image(s, rec, ret_freed, err);
		r = r < 0 ? r : 1;
	}
	hoy_store_unlock(s);
	return r;
}

static int candidates(struct hoy_store *s, const struct prune_opts *o, struct hoy_strv *ret, struct hoy_err *err)
{
	int r = hoy_store_peek(s, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, err);

	if (!r)
		r = image_filters_check(s, &o->filters, err);
	if (r < 0)
		return r;
	for (struct hoy_json *rec = hoy_image_first(s); rec; rec = hoy_image_next(s, rec)) {
		r = may_go(s, o, rec, err);
		if (r < 0)
			return r;
		if (r)
			hoy_strv_push(ret, hoy_json_str(rec, "id"));
	}
	return ret->error ? hoy_fail_oom(err) : 0;
}

static void chains_of(const struct hoy_store *s, bool nameless, struct hoy_strv *ret)
{
	for (struct hoy_json *rec = hoy_image_first(s); rec; rec = hoy_image_next(s, rec)) {
		cleanup_strv struct hoy_strv chain = HOY_STRV_INIT;

		if (image_nameless(rec) != nameless)
			continue;
		chain_of(s, rec, &chain);
		for (size_t i = 0; i < chain.n; i++)
			hoy_strv_push(ret, chain.v[i]);
	}
	hoy_strv_sort(ret);
}

/* What goes if all nameless images go: the layers that only they have. */
static int64_t nameless_bytes(const struct hoy_store *s)
{
	cleanup_strv struct hoy_strv theirs = HOY_STRV_INIT, others = HOY_STRV_INIT;
	int64_t sum = 0;

	chains_of(s, true, &theirs);
	chains_of(s, false, &others);
	for (size_t i = 0; i < theirs.n; i++)
		if ((!i || strcmp(theirs.v[i], theirs.v[i - 1])) && !hoy_strv_has_sorted(&others, theirs.v[i]))
			sum += layer_bytes(s, theirs.v[i]);
	return sum;
}

struct dated {
	int64_t created;
	char *id;
};
static int older(const void *a, const void *b)
{
	const struct dated *x = a, *y = b;

	return x->created < y->created ? -1 : x->created > y->created;
}

/* The oldest first. */
static int by_age(const struct hoy_store *s, struct hoy_strv *ids, struct hoy_err *err)
{
	struct dated *v = calloc(ids->n + 1, sizeof(*v));

	if (!v)
		return hoy_fail_oom(err);
	for (size_t i = 0; i < ids->n; i++)
		v[i] = (struct dated){ hoy_json_time(hoy_image_get(s, ids->v[i]), "created"), ids->v[i] };
	qsort(v, ids->n, sizeof(*v), older);
	for (size_t i = 0; i < ids->n; i++)
		ids->v[i] = v[i].id;
	free(v);
	return 0;
}

/* Again and again, since a nameless image's parent may be nameless too. */
static int prune_all(struct hoy_store *s, const struct prune_opts *o, struct hoy_err *err)
{
	int64_t left;
	int r = 0, gone;

	do {
		cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;

		gone = 0;
		r = candidates(s, o, &ids, err);
		if (r >= 0)
			r = by_age(s, &ids, err);
		left = r < 0 || o->keep < 0 ? INT64_MAX : nameless_bytes(s);
		for (size_t i = 0; i < ids.n && r >= 0 && left > o->keep; i++) {
			int64_t freed = 0;

			r = prune_one(s, o, ids.v[i], &freed, err);
			if (r <= 0)
				continue;
			left = o->keep < 0 ? left : left - freed;
			if (o->sizes)
				printf("%s %lld\n", ids.v[i], (long long)freed);
			else
				puts(ids.v[i]);
			gone++;
		}
	} while (gone && r >= 0);
	return r < 0 ? r : 0;
}

/* Leaks go too: they are what makes a store grow that is pruned every day. */
static int prune_leftovers(struct hoy_store *s, const struct prune_opts *o, struct hoy_err *err)
{
	int64_t freed;
	int r = drop_garbage(s, &freed, err);

	if (!r && o->sizes)
		printf("- %lld\n", (long long)freed);
	return r;
}

/* Where builds keep the directories of RUN --mount=type=cache; only if it is ours and a directory. */
static int drop_build_cache(struct hoy_err *err)
{
	const char *tmp = getenv("TMPDIR");
	cleanup_free char *path = hoy_asprintf("%s/buildah-cache-%u", tmp && *tmp ? tmp : "/var/tmp", (unsigned)getuid());
	struct stat st;
	int r;

	if (!path)
		return hoy_fail_oom(err);
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : hoy_fail_errno(err, errno, "cannot look at the build cache '%s'", path);
	if (!S_ISDIR(st.st_mode) || st.st_uid != getuid())
		return hoy_fail(err, EPERM, "'%s' is no build cache of ours", path);
	r = hoy_remove_tree(AT_FDCWD, path);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot remove the build cache '%s'", path) : 0;
}

static int ask(const struct prune_opts *o)
{
	int r = o->force || o->leftovers ? 1 : hoy_confirm(o->all ? "WARNING! This command removes all images without at least one container "
						    "associated with them.\n" :
						    "WARNING! This command removes all dangling images.\n");

	if (r < 0)
		hoy_error("EOF");
	return r;
}

static int run_prune(const struct hoy_verb *v, int argc, char **argv)
{
	struct prune_opts o = { .keep = -1 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, 0, &status);

	if (n < 0)
		return status;
	if (o.keep_storage && (o.all || !hoy_size_parse(o.keep_storage, &o.keep))) {
		hoy_error(o.all ? "--keep-storage is about nameless images: not with --all" : "invalid size '%s' for --keep-storage", o.keep_storage);
		hoy_strv_release(&o.filters);
		return 125;
	}
	r = ask(&o);
	if (r > 0 && !(s = open_writer()))
		status = 125;
	else if (r <= 0)
		status = r < 0 ? 125 : 0;
	else {
		r = o.leftovers ? 0 : prune_all(s, &o, &err);
		if (!r)
			r = prune_leftovers(s, &o, &err);
		if (!r && o.build_cache)
			r = drop_build_cache(&err);
		status = r < 0 ? hoy_report(&err, 125) : 0;
	}
	hoy_strv_release(&o.filters);
	return status;
}
const struct hoy_verb verb_prune = { "image prune", "[options]", "Remove unused images", opts, run_prune, false };
