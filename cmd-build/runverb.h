/* cmd-build/runverb.h: `run` of a working container, and how what it asks for is said. */
#pragma once
#include "cmd-build/ctr.h"
#include "cmd-build/mounts.h"

struct run_opts {
	struct hoy_strv cap_add, cap_drop, device, env, mount, runtime_flag, volume;
	const char *cgroupns, *contextdir, *hostname, *ipc, *isolation, *network, *pid, *runtime, *user, *uts, *workingdir;
	int add_history, terminal;
	bool no_hostname, no_hosts, no_pivot;
};
struct runner {
	struct ctr *c;
	const struct run_opts *o;
	struct hoy_strv argv;
	char *name; /* of the container that hoy-run makes of it */
	bool chroot; /* there is none: a command in the root */
	struct run_mounts mounts; /* of --mount */
	struct state state;	  /* for these */
};
/*
 * The words of hoy-run's command line that the options and the container's settings make, but for --mount, its name and its user namespace,
 * into u->argv. ROOT is the container's. 0 or an error.
 */
int run_words(struct runner *u, int root);
