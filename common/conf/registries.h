/* common/conf/registries.h: containers-registries.conf(5): where an image name leads. */
#pragma once
#include <stdbool.h>

#include "common/base/strv.h"

struct hoy_err;
struct hoy_ref;

/*
 * The full names that a short name (REF without a domain) may have in the local store, in the order in which podman
 * tries them: its alias, localhost/, the unqualified-search-registries, docker.io. Tag "latest" if there is none.
 */
int hoy_short_name_local(const struct hoy_ref *ref, struct hoy_strv *ret, struct hoy_err *err);
/* The names to pull a short name from: its alias alone, else the search registries (docker.io if none is configured). */
int hoy_short_name_remote(const struct hoy_ref *ref, struct hoy_strv *ret, struct hoy_err *err);

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
 * Where to reach REF (which has a domain): for pulling the mirrors of its [[registry]] in their order, then the registry
 * itself; for PUSH the registry alone. -EACCES with a sentence if the configuration blocks it.
 */
int hoy_registry_endpoints(const struct hoy_ref *ref, bool push, struct hoy_endpoints *ret, struct hoy_err *err);
void hoy_endpoints_release(struct hoy_endpoints *e);
