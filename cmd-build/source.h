/* cmd-build/source.h: where COPY --from and RUN --mount=from= take their files: the context, a stage, an image. */
#pragma once
#include <stdbool.h>

#include "common/data/digest.h"

struct state;

struct source {
	char *path;	     /* a directory that is taken for "/" */
	bool image;	     /* a root of its own: no context */
	bool named;	     /* another context, by its name */
	char id[HOY_ID_SIZE]; /* the image, or "" */
	char layer[HOY_ID_SIZE]; /* mounted for this, or "" */
	struct source *next; /* for whoever keeps some */
};
/* What FROM names to the stage at hand (NULL: the context). source_close() is to be called whatever this returns. */
int source_open(struct state *s, const char *from, struct source *src);
void source_close(struct state *s, struct source *src);
