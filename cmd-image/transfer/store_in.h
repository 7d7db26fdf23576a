/* cmd-image/transfer/store_in.h: an image from anywhere becomes an image of the store. */
#pragma once
#include "cmd-image/transfer/allow.h"
#include "cmd-image/transfer/progress.h"
#include "common/data/digest.h"
#include "common/store/store.h"

struct store_in {
	bool quiet;	    /* no progress */
	const char *const *names; /* full names that it gets; NULL-terminated or NULL */
	int64_t parallel;   /* layers at once; 0: as many as are good */
	int64_t max_layer;  /* bytes that a layer may unpack to; 0: any */
	bool no_signatures; /* those of the source stay behind */
	const struct sign_opts *sign; /* signs it, by the first of NAMES; NULL: nobody does */
	const char *title;  /* what it is called on the command line, where it is to be signed */
	const struct trust *trust; /* whose policy judges the image; NULL: the user's or the system's */
	const struct crypt_opts *crypt; /* whose private keys open encrypted layers; NULL: none are known */
	const char *take; /* of store_import(): the read-write layer that the tar was made of, whose files become the new one's; or NULL */
	const char *again; /* of store_import(), instead of a tar: the layer whose files, digests and sizes the new one has; or NULL */
	const struct hoy_strv *damaged; /* ids of layers that are fetched although they are there, and replaced; or NULL */
};
/* The option --max-layer-size (NULL: not given) into O. */
int store_in_limit(struct store_in *o, const char *size, struct hoy_err *err);
#define MAX_LAYER_OPT(at) { 0, "max-layer-size", HOY_OPT_STRING, at, "SIZE", "refuse layers that unpack to more, or to a file with holes that would (like 10g; default: no limit)" }
/*
 * Put image M (and the LIST that it was chosen from, or a blank one) of SRC into S. All missing layers are fetched
 * side by side without a lock; they become layers of the store together, after one sync. RET_ID is the image's id.
 */
int store_in(struct hoy_store *s, struct source *src, const struct manifest *m, const struct manifest *list,
	     const struct store_in *o, char ret_id[HOY_ID_SIZE], struct hoy_err *err);
/* The id of layer DIFF_ID on PARENT (NULL: the first). */
void layer_chain(const char *parent, const char *diff_id, char ret[HOY_ID_SIZE]);
/* Open the store for writing, its own temporary things of the past removed; NULL on failure. The one of the command line: */
struct hoy_store *open_store(struct hoy_err *err);
struct hoy_store *open_store_at(const struct hoy_storage_args *at, struct hoy_err *err);
/* How many jobs at once are good for N pieces of work. */
int jobs_for(size_t n, int64_t wanted);

struct layer_got;
/*
 * Make an image whose top layer is the stream TAR (NULL: it has none of its own), on the layers BELOW (ids, the lowest first;
 * NULL: none). DESCRIBE is told what the layer turned out to be (NULL if there is none) and writes the config and the manifest's bytes; 0 or an error.
 */
int store_import(struct hoy_store *s, struct stream *tar, const struct hoy_strv *below,
		 int (*describe)(void *arg, const struct layer_got *got, struct hoy_buf *config, struct hoy_buf *manifest,
				 struct hoy_err *err),
		 void *arg, const struct store_in *o, char ret_id[HOY_ID_SIZE], struct hoy_err *err);
