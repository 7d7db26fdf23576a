/* cmd-image/transfer/skopeo.h: what the verbs of skopeo have in common: its options before the verb, and its exit codes. */
#pragma once
#include "cmd-image/transfer/allow.h"
#include "common/cli/opts.h"

/*
 * hoy_verb_args() for a verb with skopeo's exit codes; also puts what stood before the verb into effect:
 * --tmpdir and --command-timeout.
 */
int skopeo_args(const struct hoy_verb *v, int argc, char **argv, void *opts, int least, int most, int *status);
/*
 * Report ERR and give the exit status: 1, and 2 for an image that isn't there (HOY_ENOIMAGE). Behind `hoy`, which speaks
 * for podman, it is 125.
 */
int skopeo_failed(struct hoy_err *err);
/* Is the time over that --command-timeout allows? */
bool skopeo_timed_out(void);
/* Whose judgement --policy and --insecure-policy ask for. */
struct trust skopeo_trust(void);
/* The platform that the --override options ask for. */
struct platform skopeo_platform(void);
