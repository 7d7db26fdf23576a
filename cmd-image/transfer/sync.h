/* cmd-image/transfer/sync.h: what `sync` copies: images of a source, by the repositories or directories that they are in. */
#pragma once
#include "cmd-image/transfer/transport.h"

struct sync_repo {
	struct hoy_strv images; /* "docker://..." or "dir:..." */
	struct hoy_strv names;	/* of each, what the destination puts behind its own name */
	struct reg_opts reg;	/* how to reach them; strings are borrowed, or lie in HOLD */
	struct hoy_strv hold;
};
struct sync_plan {
	struct sync_repo *v;
	size_t n;
};
void sync_plan_release(struct sync_plan *p);
/* One more, to be filled; NULL without memory. */
struct sync_repo *sync_plan_add(struct sync_plan *p, const struct reg_opts *reg);
/* Image FULL ("docker.io/library/debian:1"). */
void sync_add_image(struct sync_repo *r, const char *full);
/* All tags of the repository FULL that WANTED (may be NULL) takes: 1, 0 or an error. */
int sync_add_tags(struct sync_repo *r, const char *full, int (*wanted)(const void *arg, const char *tag, struct hoy_err *err), const void *arg,
		  struct hoy_err *err);
/* What the YAML file PATH asks for. A repository that cannot be listed is told and left out, as skopeo does. */
int sync_from_yaml(struct sync_plan *p, const char *path, const struct reg_opts *reg, struct hoy_err *err);
