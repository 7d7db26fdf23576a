/* cmd-build/userns.h: the user namespace that the commands of a build are in, and whose its files are because of that. */
#pragma once
#include <stdbool.h>

#include "common/base/strv.h"
#include "common/cli/opts.h"
#include "common/data/json.h"
#include "common/proc/idmap.h"
#include "common/store/shift.h"

struct hoy_err;

/* What the options say, which are alike wherever containers are made. */
struct userns_opts {
	const char *mode, *user, *group;
	struct hoy_strv uids, gids;
};
#define USERNS_OPTS(at) \
	{ 0, "userns", HOY_OPT_STRING, (at) + offsetof(struct userns_opts, mode), "MODE", "user namespace: host, private, auto[:OPTIONS] or a path" }, \
	{ 0, "userns-gid-map", HOY_OPT_COMMAS, (at) + offsetof(struct userns_opts, gids), "INSIDE:OUTSIDE:SIZE", "group ids of the user namespace" }, \
	{ 0, "userns-gid-map-group", HOY_OPT_STRING, (at) + offsetof(struct userns_opts, group), "NAME", "whose ranges of /etc/subgid they are" }, \
	{ 0, "userns-uid-map", HOY_OPT_COMMAS, (at) + offsetof(struct userns_opts, uids), "INSIDE:OUTSIDE:SIZE", "user ids of the user namespace" }, \
	{ 0, "userns-uid-map-user", HOY_OPT_STRING, (at) + offsetof(struct userns_opts, user), "NAME", "whose ranges of /etc/subuid they are" }
void userns_opts_release(struct userns_opts *o);

struct userns {
	bool own;		   /* commands have one that is not ours */
	bool automatic;		   /* its ids are not chosen yet: the store does that, as WANT says */
	struct hoy_auto_ids want;
	const char *path;	   /* of one that is there already, or NULL; borrowed */
	struct hoy_idmaps maps;	   /* empty: ids are the same inside and outside */
};

/* What O asks for, or where it asks for nothing the tool's global options. 0, or an error with a sentence. */
int userns_take(struct userns *ret, const struct userns_opts *o, struct hoy_err *err);
/* From, and into, the settings ROOT of a working container. */
int userns_read(struct userns *ret, const struct hoy_json *root, struct hoy_err *err);
int userns_write(const struct userns *u, struct hoy_json_doc *d, struct hoy_err *err);

/* Words of hoy-run's command line for it. 0 or an error. */
int userns_run_argv(const struct userns *u, struct hoy_strv *argv, struct hoy_err *err);
/* Those of hoy-builder's: "--uid-map=..." and "--gid-map=...", their names behind PREFIX; none without maps. */
void userns_map_argv(const struct hoy_idmaps *m, const char *prefix, struct hoy_strv *argv);
/* A user namespace like it, in which nobody is yet: a descriptor, or an error. */
int userns_open(const struct userns *u, struct hoy_err *err);

/* The ids outside of the ids UID and GID inside; -EINVAL with a sentence if there are none. */
int userns_outside(const struct userns *u, uid_t *uid, gid_t *gid, struct hoy_err *err);
/*
 * From here on, whatever this thread makes is the namespace's root's, with all that we may do; until the same is called with NULL. 0 or
 * an error.
 */
int userns_as_root(const struct userns *u, struct hoy_err *err);

/* For hoy_tool_main(): what hoy-build takes before its verb. */
extern const struct hoy_opt userns_globals[];
