/* cmd-image/prune.c: `image prune`: images that nobody uses go, one lock for each, so that others get their turn. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd-image/image.h"
#include "cmd-image/prune.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/cli/prompt.h"
#include "common/store/containers.h"
#include "common/store/inuse.h"
#include "common/store/layers.h"
#include "common/store/mountcaches.h"

#define O(field) offsetof(struct prune_opts, field)
static const struct hoy_opt opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, O(all), NULL, "remove all images that no container uses, not only nameless ones" },
	{ 0, "build-cache", HOY_OPT_FLAG, O(build_cache), NULL, "remove what builds kept by RUN --mount=type=cache" },
	{ 0, "external", HOY_OPT_FLAG, O(external), NULL, "remove images that only builds use, with their containers" },
	{ 0, "filter", HOY_OPT_LIST, O(filters), "KEY=VALUE", "until, label, label! and what `images` takes" },
	{ 'f', "force", HOY_OPT_FLAG, O(force), NULL, "do not ask" },
	{ 0, "keep-storage", HOY_OPT_STRING, O(reserved_space), "SIZE", "--reserved-space" },
	{ 0, "leftovers", HOY_OPT_FLAG, O(leftovers), NULL, "remove no image, only what dead processes left in the store" },
	{ 0, "max-used-space", HOY_OPT_STRING, O(max_used_space), "SIZE", "remove what builds have not used for longest, until their cache takes no more" },
	{ 0, "min-free-space", HOY_OPT_STRING, O(min_free_space), "SIZE", "the same, until so much of the disk is free" },
	{ 0, "reserved-space", HOY_OPT_STRING, O(reserved_space), "SIZE", "leave the cache so much in any case" },
	{ 0, "sizes", HOY_OPT_FLAG, O(sizes), NULL, "print behind each id how many bytes that freed, and behind \"-\" those of leftovers" },
	HOY_OPTS_END,
};

/* May REC go? Decided twice: when looking for candidates, and under the lock. */
static int may_go(const struct hoy_store *s, const struct prune_opts *o, const struct hoy_json *rec, struct hoy_err *err)
{
	const char *id = hoy_json_str(rec, "id");
	unsigned builds, users;

	if (!id || hoy_image_place(s, rec)->rdonly || (o->bounded ? !bound_may_go(s, o, rec) : !o->all && (!image_nameless(rec) || image_has_children(s, rec))))
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

/* Is it one that a build stands on, which has no name yet? */
static bool in_use(const struct hoy_json *rec, int gate) { return image_nameless(rec) && hoy_inuse_held(gate, hoy_json_str(rec, "id")); }

int prune_one(struct hoy_store *s, const struct prune_opts *o, const char *id, int64_t *ret_freed, struct hoy_err *err)
{
	cleanup_fd int gate = hoy_inuse_gate(s, true);
	int r = gate < 0 ? hoy_fail_errno(err, -gate, "cannot take the lock of builds") :
			   hoy_store_lock(s, 0, HOY_GRAPH | HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, err);
	const struct hoy_json *rec = r < 0 ? NULL : hoy_image_get(s, id);

	if (rec)
		r = in_use(rec, gate) ? 0 : may_go(s, o, rec, err);
	if (r > 0) {
		r = o->external ? drop_builds(s, id, err) : 0;
		if (!r)
			r = delete_image(s, rec, ret_freed, err);
		r = r < 0 ? r : 1;
	}
	hoy_store_unlock(s);
	return r;
}

void prune_tell(const struct prune_opts *o, const char *what, int64_t freed)
{
	if (o->sizes)
		printf("%s %lld\n", what, (long long)freed);
	else
		puts(what);
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

/* Again and again, since a nameless image's parent may be nameless too. */
static int prune_all(struct hoy_store *s, const struct prune_opts *o, struct hoy_err *err)
{
	int r = 0, gone;

	do {
		cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;

		gone = 0;
		r = candidates(s, o, &ids, err);
		for (size_t i = 0; i < ids.n && r >= 0; i++) {
			int64_t freed = 0;

			r = prune_one(s, o, ids.v[i], &freed, err);
			if (r <= 0)
				continue;
			prune_tell(o, ids.v[i], freed);
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

static int ask(const struct prune_opts *o)
{
	int r = o->force || o->leftovers ? 1 : hoy_confirm(o->bounded ? "WARNING! This command removes what builds keep as a cache.\n" : o->all ? "WARNING! This command removes all images without at least one container "
						    "associated with them.\n" :
						    "WARNING! This command removes all dangling images.\n");

	if (r < 0)
		hoy_error("EOF");
	return r;
}

static int prune(const struct prune_opts *o, struct hoy_err *err)
{
	cleanup_store struct hoy_store *s = open_writer();
	int r;

	if (!s)
		return -HOY_EREMOTE; /* that has been said */
	if (o->bounded)
		return bound_prune(s, o, err);
	r = o->leftovers ? 0 : prune_all(s, o, err);
	if (!r)
		r = prune_leftovers(s, o, err);
	return !r && o->build_cache ? hoy_mountcaches_clear(err) : r;
}

static int run_prune(const struct hoy_verb *v, int argc, char **argv)
{
	struct prune_opts o = { .filters = HOY_STRV_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, 0, &status);

	if (n < 0)
		return status;
	r = bound_parse(&o, &err);
	status = r < 0 ? hoy_report(&err, 125) : 0;
	if (!r && (r = ask(&o)) < 0)
		status = 125;
	if (r > 0 && (r = prune(&o, &err)) < 0)
		status = err.code ? hoy_report(&err, 125) : 125;
	hoy_strv_release(&o.filters);
	return status;
}
const struct hoy_verb verb_prune = { "image prune", "[options]", "Remove unused images", opts, run_prune, false };
