/* cmd-image/transfer/allow.h: the judgement of containers-policy.json(5) on an image that wants to come in. */
#pragma once
#include "cmd-image/transfer/transport.h"

struct trust {
	const char *policy; /* a file; NULL: the user's or the system's */
	bool insecure;	    /* anything goes, whatever the policy says */
};

/*
 * May M of SRC come in (an image, which INSTANCE says was chosen from a list, or a list as a whole)? T NULL: by the policy of
 * user or system. Nothing of it but manifests has been read until here. 0, or an error that begins with
 * "Source image rejected: ", or that of the policy itself.
 */
int image_allowed(struct source *src, const struct manifest *m, bool instance, const struct trust *t, struct hoy_err *err);
