/* cmd-image/prune.h: the parts of `image prune`: prune.c, and bound.c for what keeps the cache of builds small. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "common/base/strv.h"

struct hoy_err;
struct hoy_json;
struct hoy_store;

struct prune_opts {
	bool all, build_cache, external, force, leftovers, sizes;
	struct hoy_strv filters;
	const char *max_used_space, *reserved_space, *min_free_space;
	bool bounded; /* one of these was given, in bytes: */
	int64_t max_used, reserved, min_free, used_before; /* the last: ns; of --filter until */
};
/* Remove image ID. 1: it's gone, and *RET_FREED is what that gave; 0: somebody came first, or needs it now. */
int prune_one(struct hoy_store *s, const struct prune_opts *o, const char *id, int64_t *ret_freed, struct hoy_err *err);
/* Print that WHAT is gone. */
void prune_tell(const struct prune_opts *o, const char *what, int64_t freed);
/* Delete image REC, under the locks; *RET_FREED is what its items and the layers that went with it took. */
int delete_image(struct hoy_store *s, const struct hoy_json *rec, int64_t *ret_freed, struct hoy_err *err);

/* Make numbers of the sizes that were given; an error with a sentence if that cannot be. */
int bound_parse(struct prune_opts *o, struct hoy_err *err);
/* Is REC one that only serves as a cache, on which no other one such stands? */
bool bound_may_go(const struct hoy_store *s, const struct prune_opts *o, const struct hoy_json *rec);
/* Remove images without a name and directories of RUN --mount=type=cache, what was not used for longest first, until O's bounds hold. */
int bound_prune(struct hoy_store *s, const struct prune_opts *o, struct hoy_err *err);
