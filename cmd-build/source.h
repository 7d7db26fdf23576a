/* cmd-build/source.h: where COPY --from and RUN --mount=from= take their files: the context, a stage, an image. */
#pragma once
#include <stdbool.h>

#include "common/data/digest.h"

struct hoy_idmaps;
struct state;

struct source {
	char *path;	     /* a directory that is taken for "/" */
	bool image;	     /* a root of its own: no context */
	bool named;	     /* another context, by its name */
	char id[HOY_ID_SIZE]; /* the image, or "" */
	char layer[HOY_ID_SIZE]; /* mounted for this, or "" */
	struct work *work;   /* a container made for this, or NULL */
	const struct hoy_idmaps *maps; /* its files' ids are shifted by, or NULL */
	struct source *next; /* for whoever keeps some */
};
/* What FROM names to the stage at hand (NULL: the context). source_close() is to be called whatever this returns. */
int source_open(struct state *s, const char *from, struct source *src);
/* The same for a mount that S's working container sees: an image's files have the ids that they have to it. */
int source_open_seen(struct state *s, const char *from, struct source *src);
void source_close(struct state *s, struct source *src);
