/* cmd-image/transfer/override.h: a file with a container's configuration, and what it changes of an image's config. */
#pragma once
#include "common/data/json.h"

struct hoy_err;

/*
 * Read PATH, Docker's container configuration in JSON, into the empty object of DOC's root: members that it has and we know,
 * in their proper spelling (Go's is any). An empty file has none, and *RET_GIVEN is false. Members of a wrong type are an error.
 */
int override_load(struct hoy_json_doc *doc, const char *path, bool *ret_given, struct hoy_err *err);
/*
 * Lay OVER over CONFIG, an object of DOC, as buildah does: most of what OVER has replaces or joins what is there, but
 * the instructions of ONBUILD, the stop signal, and what only Docker's format has are OVER's even if it has none.
 * 0 or -ENOMEM.
 */
int override_apply(struct hoy_json_doc *doc, struct hoy_json *config, const struct hoy_json *over);
