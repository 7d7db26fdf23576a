/* cmd-image/transfer/yaml.h: YAML files (registries.d, lists of what to synchronise) read into the same tree as JSON. */
#pragma once
#include "common/data/json.h"

struct hoy_err;

/*
 * Parse TEXT (LEN bytes, named NAME in messages), one document, into DOC (empty before; its root is null if there is nothing
 * in TEXT). Plain scalars are null, booleans, integers or strings. Keys are strings. -HOY_EFORMAT, -ENOMEM.
 */
int yaml_parse(struct hoy_json_doc *doc, const char *text, size_t len, const char *name, struct hoy_err *err);
