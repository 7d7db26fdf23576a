/* cmd-image/transfer/copy_impl.h: what the pieces of copy_image() share: copy.c has the image as a whole and lists, copy_layers.c its layers. */
#pragma once
#include "cmd-image/transfer/copy.h"

struct copy {
	struct source *src;
	struct dest *dst;
	const struct copy_opts *o;
	const struct manifest *m;
	const struct config *config; /* of an image; blank for other artifacts, of which nothing is changed */
	bool artifact;
	enum man_kind kind;
	enum layers_as as;
	const char *pack; /* suffix for layers that are packed here */
	bool chunked;	  /* and that with a table of their files */
	struct hoy_json_doc *notes; /* of each layer that has one: its annotations */
	struct desc *out;
	struct sigs sigs; /* what the source has, which hold for this very manifest */
	size_t next;
	bool changed;
	pthread_mutex_t mu;
	struct hoy_err err;
};
/* D becomes this; without a TYPE, an error that says why there is none. */
int copy_set(struct desc *d, const char *digest, const char *type, int64_t size, struct hoy_err *err);
/* Bring all layers of C to its destination, side by side; c->out says what they are there. */
int copy_layers(struct copy *c, struct hoy_err *err);
