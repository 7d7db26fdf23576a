/* cmd-image/transfer/yaml.h: a YAML file as the tree that JSON is read into; all scalars are strings. By libyaml, loaded when it is needed. */
#pragma once
#include "common/data/json.h"

/*
 * One document from DATA (NAME in messages): 0, -HOY_EFORMAT with the line, -HOY_EUNSUPPORTED without the library. Aliases and
 * keys that are no scalars are refused, as are two equal keys; depth is bounded as in JSON.
 */
int yaml_parse(struct hoy_json_doc *doc, const char *data, size_t len, const char *name, struct hoy_err *err);
