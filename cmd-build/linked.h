/*
 * cmd-build/linked.h: what `copy --link` puts into a working container: not into its root, but into a directory beside it, which becomes
 * a layer of its own of the image. As buildah keeps it: AppendedLinkedLayers of the settings.
 */
#pragma once
#include <stdbool.h>

#include "common/data/digest.h"
#include "common/data/json.h"

struct build;
struct ctr;

/* An empty directory of C for it: its path, in new memory. */
int linked_stage(struct ctr *c, char **ret);
/* The directory DIR is one more of C's layers, which the history tells of as BY, with the time AT. */
int linked_note(struct ctr *c, const char *dir, const char *by, int64_t at);
struct linked_how {
	const char *when; /* the time in the history; NULL: what is noted */
	int64_t mtime;	  /* of all files, -1: their own */
	bool clamp;	  /* but those that are older keep theirs */
};
/* Put the layer L of the settings on the image ID, which is left as it is, and becomes the new one's. 0 or an error, with its sentence in b->err. */
int linked_add(struct build *b, char id[HOY_ID_SIZE], const struct hoy_json *l, const struct linked_how *how);
