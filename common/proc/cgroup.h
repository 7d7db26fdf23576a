/*
 * common/proc/cgroup.h: where cgroups are mounted, on v2, v1 and hybrid hosts, and what can be done to one.
 *
 * A cgroup is named by its path from the root of each hierarchy ("/machine/x"); a container has the same path in all.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct hoy_err;

#define HOY_CGROUP_MAX 20
struct hoy_cgroup_hier {
	char name[64];	 /* "memory", "cpu,cpuacct", "name=systemd"; "" is cgroup2 */
	char mount[96];	 /* "/sys/fs/cgroup/memory" */
	char *self;	 /* path of the calling process in it */
};
struct hoy_cgroups {
	bool unified; /* cgroup2 alone, at /sys/fs/cgroup */
	size_t n;
	struct hoy_cgroup_hier h[HOY_CGROUP_MAX];
	char *text; /* private */
};
#define HOY_CGROUPS_INIT { .n = 0, .text = NULL }

void hoy_cgroups_release(struct hoy_cgroups *cg);
static inline void hoy_cleanup_cgroups_(struct hoy_cgroups *cg) { hoy_cgroups_release(cg); }
#define cleanup_cgroups __attribute__((cleanup(hoy_cleanup_cgroups_)))

/* Find the mounted hierarchies; none at all is no error. 0 or -errno. */
int hoy_cgroups_find(struct hoy_cgroups *cg, struct hoy_err *err);
/* The v1 hierarchy with CONTROLLER ("memory"); "" gives cgroup2; NULL if there is none. */
struct hoy_cgroup_hier *hoy_cgroups_with(struct hoy_cgroups *cg, const char *controller);
/* Open the directory of cgroup PATH in H; fd (O_PATH) or -errno. */
int hoy_cgroup_open(const struct hoy_cgroup_hier *h, const char *path);
/* The hierarchy in which a container's processes can be counted and frozen: cgroup2 if unified, else freezer, pids or any. */
struct hoy_cgroup_hier *hoy_cgroups_main(struct hoy_cgroups *cg);

/* Freeze or thaw PATH and all below it, and wait until that has happened; 0 or -errno (-EOPNOTSUPP: no freezer). */
int hoy_cgroup_freeze(struct hoy_cgroups *cg, const char *path, bool frozen);
/* Is PATH frozen? 1, 0 or -errno. */
int hoy_cgroup_frozen(struct hoy_cgroups *cg, const char *path);
/* All processes in PATH and below, in *RET_PIDS (the caller's to free). */
int hoy_cgroup_pids(struct hoy_cgroups *cg, const char *path, pid_t **ret_pids, size_t *ret_n);
/* Send SIG to every process in PATH and below (SIGKILL: until none is left to signal); 0 or -errno, 0 if PATH is gone. */
int hoy_cgroup_kill(struct hoy_cgroups *cg, const char *path, int sig);
/* Remove PATH and what is below it from all hierarchies, waiting up to a few seconds for dying processes. */
int hoy_cgroup_remove(struct hoy_cgroups *cg, const char *path);
