/* cmd-build/verbs.h: buildah's verbs beside `build`: working containers, and what hoy-image does. */
#pragma once
#include "common/cli/opts.h"

extern const struct hoy_verb verb_copy_add, verb_commit, verb_config, verb_containers, verb_copy_in, verb_delete, verb_from, verb_images, verb_info,
	verb_inspect, verb_list, verb_ls, verb_mkcw, verb_mount, verb_prune, verb_ps, verb_rename, verb_rm, verb_rmi, verb_run, verb_umount, verb_unmount,
	verb_unshare, verb_version;
/* What goes on to hoy-image as it is: tag, pull, push, login, logout, eight of manifest; to hoy-transfer: four of source. */
extern const struct hoy_verb verbs_over[];
/* The command line as it came, for completion. ARGV stays borrowed. */
void handover_remember(char **argv);
#define OVER(i) &verbs_over[i]

#define BUILDAH_VERBS \
	&verb_from, &verb_run, &verb_copy_in, &verb_copy_add, &verb_config, &verb_commit, &verb_containers, &verb_list, &verb_ls, &verb_ps, &verb_inspect, \
	&verb_mount, &verb_umount, &verb_unmount, &verb_rename, &verb_rm, &verb_delete, &verb_images, &verb_rmi, &verb_prune, &verb_unshare, \
	&verb_info, &verb_version, OVER(0), OVER(1), OVER(2), OVER(3), OVER(4), OVER(5), OVER(6), OVER(7), OVER(8), OVER(9), OVER(10), OVER(11), OVER(12), \
	OVER(13), OVER(14), OVER(15), OVER(16), &verb_mkcw,
