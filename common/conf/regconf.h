/* common/conf/regconf.h: containers-registries.conf(5), version 2 (and 1 in the main file), with its drop-ins, as podman reads it. */
#pragma once
#include "common/data/json.h"

struct hoy_err;

struct hoy_regfile {
	char *path;
	struct hoy_json_doc doc; /* checked; every registry has a "prefix" */
};
struct hoy_regconf {
	struct hoy_regfile *v; /* the main file, if it is there, and the drop-ins: what comes later counts more */
	size_t n;
	struct hoy_regfile answers; /* short-name-aliases.conf, which prompts write: counts most, for aliases alone */
};
#define HOY_REGCONF_INIT { NULL, 0, { NULL, HOY_JSON_DOC_INIT } }

/* Read and check all files. The main one: $CONTAINERS_REGISTRIES_CONF, the user's, or the system's. C is to be released in any case. */
int hoy_regconf_load(struct hoy_regconf *c, struct hoy_err *err);
/* Parse and check one file's TEXT (LEN bytes, named NAME in messages) into DOC, which is to be released in any case. */
int hoy_regconf_parse(struct hoy_json_doc *doc, const char *text, size_t len, const char *name, bool main_file, struct hoy_err *err);
void hoy_regconf_release(struct hoy_regconf *c);
static inline void hoy_cleanup_regconf_(struct hoy_regconf *c) { hoy_regconf_release(c); }
#define cleanup_regconf __attribute__((cleanup(hoy_cleanup_regconf_)))

/* In all of these *RET_FILE (may be NULL) is the file that says so; it is C's. NULL or absent: nothing was said. */

/*
 * The [[registry]] of REF ("host/path" and what follows it), the one with the longest prefix. *RET_LEN is how much of REF
 * that prefix stands for.
 */
const struct hoy_json *hoy_regconf_registry(const struct hoy_regconf *c, const char *ref, size_t *ret_len, const char **ret_file);
/* The alias of the short name NAME (without tag). */
const char *hoy_regconf_alias(const struct hoy_regconf *c, const char *name, const char **ret_file);
/* "unqualified-search-registries" or "credential-helpers": an array of strings. */
const struct hoy_json *hoy_regconf_list(const struct hoy_regconf *c, const char *key, const char **ret_file);
/* "enforcing", "permissive" (the default) or "disabled". */
const char *hoy_regconf_short_names(const struct hoy_regconf *c, const char **ret_file);

/* In which line of its file the table REG begins, the alias NAME stands, the top-level KEY stands; 0: it cannot be told. */
unsigned hoy_regconf_registry_line(const struct hoy_regconf *c, const struct hoy_json *reg);
unsigned hoy_regconf_alias_line(const char *file, const char *name);
unsigned hoy_regconf_key_line(const char *file, const char *key);

/* Write to the user's short-name-aliases.conf, beside other podmans, that the short name NAME is REPO. */
int hoy_regconf_answer(const char *name, const char *repo, struct hoy_err *err);
