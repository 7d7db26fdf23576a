/*
 * cmd-build/chroot.h: a command in a working container without a runtime, cgroups or a network of its own: where builds are in an
 * unprivileged container, that is what can be had. As buildah's isolation of that name.
 */
#pragma once
#include <stdint.h>

#include "common/base/strv.h"

struct build;
struct hoy_err;
struct run_mounts;
struct userns;

struct chroot_cmd {
	const char *root;	  /* where the container is mounted */
	struct hoy_strv words;	  /* the command */
	struct hoy_strv env;	  /* all of its environment; HOME is added if it isn't there */
	struct hoy_strv volumes;  /* "SOURCE:TARGET[:OPTIONS]" */
	struct hoy_strv hosts;	  /* "NAME:IP", "NAME:host-gateway" */
	struct hoy_strv limits;	  /* "nofile=100:200" */
	struct hoy_strv groups;	  /* of the user beside his own */
	struct hoy_strv dns, dns_search, dns_options; /* instead of ours */
	struct hoy_strv masks, unmasks;		      /* paths that are hidden, and that are not */
	const char *user, *dir, *hostname; /* user "": root; hostname NULL: ours */
	uint64_t caps;
	int64_t shm; /* size of a /dev/shm of its own; 0: it's ours */
	bool no_new_privs, no_hosts, no_hostname, no_resolv, no_pivot, no_proxy, no_network, host_pid, host_ipc, host_uts;
	const struct run_mounts *mounts; /* or NULL */
	const struct userns *ns;
};
/* What WORDS ("--NAME=VALUE") would tell hoy-run goes into C, which borrows from them; what cannot be had is -HOY_EUNSUPPORTED with a sentence. */
int chroot_words(struct chroot_cmd *c, const struct hoy_strv *words, struct hoy_err *err);
void chroot_cmd_release(struct chroot_cmd *c);
/*
 * Run C to its end with FLAGS of enum run_flags; a signal for us kills it, and all that it has started, as does our death. Its exit
 * status, or an error with a sentence.
 */
int chroot_run(struct build *b, const struct chroot_cmd *c, unsigned flags);
