/* cmd-runtime/mounts.h: the mounts of a container, as a list that is opened early and carried out later. */
#pragma once
#include "cmd-runtime/runtime.h"

struct mount_job {
	const struct hoy_json *json;
	const char *source, *target, *type;
	struct mount_opts o;
	bool late_ro; /* read-only once devices are made and files copied up */
	int fd; /* the detached mount, if it had to be opened before; -1 */
};
struct mount_jobs {
	struct mount_job *v;
	size_t n;
};

/* LIST as "mounts" of config.json. */
int mounts_parse(struct mount_jobs *jobs, const struct hoy_json *list, struct hoy_err *err);
void mounts_release(struct mount_jobs *jobs);
/* A detached clone of what M binds. */
int mounts_open_source(const struct root *r, const struct mount_job *m, struct hoy_err *err);
int mounts_attributes(int fd, const struct mount_opts *o, const char *target, struct hoy_err *err);
/* What had to wait until /dev was filled. */
int mounts_finish(const struct root *r, struct hoy_err *err);
/* idmap.c: in the parent, open and map the sources that want it. */
int idmap_prepare(struct mount_jobs *jobs, const struct root *r, const struct spec *s, struct hoy_err *err);
