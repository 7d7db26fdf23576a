/* cmd-image/transfer/layer_files.h: the files of a layer of the store, by the names that its tar gave them. */
#pragma once
#include "common/base/strv.h"
#include "common/store/store.h"

struct layer_files {
	const struct hoy_store *st; /* borrowed */
	char *id;
	struct hoy_strv lowers;
	int diffs[8], n_diffs; /* opened as they are needed: this layer's, then the lowers' */
};
/* RET is to be released whatever is returned. */
int layer_files_init(struct layer_files *ret, const struct hoy_store *st, const char *id, struct hoy_err *err);
void layer_files_release(struct layer_files *f);
/* Open NAME for reading, in the layer itself or in those below it; fd or -errno. */
int layer_files_open(struct layer_files *f, const char *name);
/* Open a layer's tar-split; fd or -errno. */
int layer_split_open(const struct hoy_store *st, const char *id);
