/*
 * common/data/ref.h: image references, [DOMAIN/]PATH[:TAG][@DIGEST], by the grammar of distribution/reference.
 * https://pkg.go.dev/github.com/distribution/reference
 */
#pragma once
#include <stdbool.h>

#include "common/base/cleanup.h"

struct hoy_err;

struct hoy_ref {
	char *domain; /* "docker.io", "localhost:5000"; NULL for a short name */
	char *path;   /* "library/debian" */
	char *tag;    /* NULL if none was given */
	char *digest; /* "sha256:..." or NULL */
};
#define HOY_REF_INIT { NULL, NULL, NULL, NULL }

void hoy_ref_release(struct hoy_ref *r);
static inline void hoy_cleanup_ref_(struct hoy_ref *r) { hoy_ref_release(r); }
#define cleanup_ref __attribute__((cleanup(hoy_cleanup_ref_)))

/* Parse NAME into REF (empty before); 0, -HOY_EFORMAT with a sentence, -ENOMEM. A leading "docker://" is no part of it. */
int hoy_ref_parse(struct hoy_ref *ref, const char *name, struct hoy_err *err);
/* Complete a short name docker's way: docker.io, library/ for a one-word path; and tag "latest" if no tag or digest. */
int hoy_ref_normalize(struct hoy_ref *ref);
/* domain/path[:tag][@digest] in new memory, NULL without memory. */
char *hoy_ref_string(const struct hoy_ref *ref);
/* domain/path. */
char *hoy_ref_repo(const struct hoy_ref *ref);
/* Does NAME start with a transport (containers-transports(5)), as skopeo's image names do? */
bool hoy_names_transport(const char *name);
/* Is the command line ARGV (to its NULL) an `inspect` of such a name? Then the store has nothing to say of it. */
bool hoy_inspects_transport(char *const *argv);
