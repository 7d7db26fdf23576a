/*
 * common/conf/toml.h: TOML 1.0 into the same tree as JSON. Tables are objects, arrays of tables arrays of objects,
 * integers, floats and dates numbers or strings in their own spelling. https://toml.io/en/v1.0.0
 */
#pragma once
#include "common/data/json.h"

struct hoy_err;

#define HOY_CONF_MAX ((size_t)1 << 20) /* no configuration file is larger */

/* Parse TEXT (LEN bytes, named NAME in messages) into DOC (empty before). 0 or -HOY_EFORMAT with the line, -ENOMEM. */
int hoy_toml_parse(struct hoy_json_doc *doc, const char *text, size_t len, const char *name, struct hoy_err *err);
/* Read PATH and parse it. -ENOENT is silent about nothing: it is returned with its sentence like any other. */
int hoy_toml_load(struct hoy_json_doc *doc, const char *path, struct hoy_err *err);
