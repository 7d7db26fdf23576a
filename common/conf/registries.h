/* common/conf/registries.h: where an image name leads, by containers-registries.conf(5). */
#pragma once
#include <stdbool.h>

#include "common/base/strv.h"

struct hoy_err;
struct hoy_ref;
struct hoy_regconf;
struct hoy_json;

/*
 * The full names that a short name (REF without a domain) may have in the local store, in the order in which podman
 * tries them: its alias, localhost/, the unqualified-search-registries, docker.io. Tag "latest" if there is none.
 */
int hoy_short_name_local(const struct hoy_ref *ref, struct hoy_strv *ret, struct hoy_err *err);

/* What a short name may be pulled from. */
struct hoy_short {
	struct hoy_strv names; /* one alias, or the name in each of the unqualified-search-registries */
	bool alias;
	bool ask;	/* there are several, and the user is to choose one where there is a terminal */
	bool enforcing; /* and without one it is an error */
	char *file;	/* that says so */
};
#define HOY_SHORT_INIT { HOY_STRV_INIT, false, false, false, NULL }
void hoy_short_release(struct hoy_short *s);
static inline void hoy_cleanup_short_(struct hoy_short *s) { hoy_short_release(s); }
#define cleanup_short __attribute__((cleanup(hoy_cleanup_short_)))
/* Fill RET, which is blank. Without alias and search registries it is an error, as podman has it. */
int hoy_short_name_remote(const struct hoy_regconf *c, const struct hoy_ref *ref, struct hoy_short *ret, struct hoy_err *err);

/* The unqualified-search-registries, in their order. */
int hoy_search_registries(struct hoy_strv *ret, struct hoy_err *err);

/* One place where a repository may be reached: "host[:port]/path" as rewritten by the configuration. */
struct hoy_endpoint {
	char *repo;
	bool insecure; /* certificates aren't checked, plain HTTP will do */
};
struct hoy_endpoints {
	struct hoy_endpoint *v;
	size_t n;
};
/*
 * Where to reach REF (which has a domain): for pulling the mirrors of its [[registry]] in their order, then the registry's
 * location; for all else (PUSH) the place that REF itself names. -EACCES with a sentence if the configuration blocks it.
 */
int hoy_registry_endpoints(const struct hoy_ref *ref, bool push, struct hoy_endpoints *ret, struct hoy_err *err);
void hoy_endpoints_release(struct hoy_endpoints *e);
/* Is the mirror MIRROR of registry REG asked for REF? */
bool hoy_mirror_fits(const struct hoy_json *reg, const struct hoy_json *mirror, const struct hoy_ref *ref);
/* The repository REPO at the registry or mirror TABLE, whose prefix stands for its first LEN bytes. In new memory. */
char *hoy_registry_rewrite(const struct hoy_json *table, const char *repo, size_t len);
