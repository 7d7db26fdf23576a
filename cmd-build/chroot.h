/*
 * cmd-build/chroot.h: a command in a working container without a runtime, cgroups or a network of its own: where builds are in an
 * unprivileged container, that is what can be had. As buildah's isolation of that name.
 */
#pragma once
#include <stdint.h>

#include "common/base/strv.h"

struct build;
struct run_mounts;

struct chroot_cmd {
	const char *root;	  /* where the container is mounted */
	struct hoy_strv words;	  /* the command */
	struct hoy_strv env;	  /* all of its environment; HOME is added if it isn't there */
	struct hoy_strv volumes;  /* "SOURCE:TARGET[:ro|rw]" */
	struct hoy_strv hosts;	  /* "NAME:IP" */
	struct hoy_strv limits;	  /* "nofile=100:200" */
	const char *user, *dir, *hostname; /* user "": root; hostname NULL: ours */
	uint64_t caps;
	bool no_new_privs, no_hosts, no_pivot;
	const struct run_mounts *mounts; /* or NULL */
	const struct userns *ns;
};
void chroot_cmd_release(struct chroot_cmd *c);
/*
 * Run C to its end with FLAGS of enum run_flags; a signal for us kills it, and all that it has started, as does our death. Its exit
 * status, or an error with a sentence.
 */
int chroot_run(struct build *b, const struct chroot_cmd *c, unsigned flags);
