/*
 * cmd-image/transfer/recipe.h: a layer's tar as its tar-split and its files make it, read to the end even if files are
 * damaged: what is missing is replaced by zeros, and told of.
 */
#pragma once
#include "cmd-image/transfer/layer_files.h"
#include "cmd-image/transfer/stream.h"

/* Is told of each file that is not what it was: NAME as in the tar, WHY a sentence without the name of the layer. */
typedef void recipe_fault(void *arg, const char *name, const char *why);

/* The tar of the layer FILES (borrowed) by the tar-split in SPLITFD (owned). NULL without memory or if it is no tar-split. */
struct stream *recipe_stream(struct layer_files *files, int splitfd, recipe_fault *fault, void *arg, struct hoy_err *err);
