/* common/conf/registries.h: containers-registries.conf(5): where an image name leads. */
#pragma once
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
