/* common/conf/policy.h: containers-policy.json(5): which images may come in, and by whom they must be signed. */
#pragma once
#include <stdbool.h>

#include "common/base/strv.h"
#include "common/data/json.h"

struct hoy_err;
struct hoy_ref;

struct hoy_policy {
	struct hoy_json_doc doc; /* valid: what is not understood was refused */
};
#define HOY_POLICY_INIT { HOY_JSON_DOC_INIT }

/*
 * Parse TEXT (LEN bytes, named NAME in messages) into P, which is blank. A member that is not known or comes twice, and a
 * requirement without what it needs, are -HOY_EFORMAT: a typing error must not open a door.
 */
int hoy_policy_parse(struct hoy_policy *p, const char *text, size_t len, const char *name, struct hoy_err *err);
/* Read PATH, or (NULL) the user's file, or the system's. Without any: -ENOENT. */
int hoy_policy_load(struct hoy_policy *p, const char *path, struct hoy_err *err);
/* The file that hoy_policy_load() reads without a PATH, in new memory; *RET_THERE: it is there. NULL without memory. */
char *hoy_policy_path(bool *ret_there);
void hoy_policy_release(struct hoy_policy *p);
static inline void hoy_cleanup_policy_(struct hoy_policy *p) { hoy_policy_release(p); }
#define cleanup_policy __attribute__((cleanup(hoy_cleanup_policy_)))

/* The requirements (an array, never empty) for an image of TRANSPORT with the names SCOPES, the most exact first. */
const struct hoy_json *hoy_policy_find(const struct hoy_policy *p, const char *transport, const struct hoy_strv *scopes);
/* The scopes of REF (complete) in a registry: itself, its repository, what that lies in, the host, "*.example.com". 0 or -ENOMEM. */
int hoy_policy_scopes(const struct hoy_ref *ref, struct hoy_strv *ret);
/* The scopes of the absolute PATH: itself and the directories that it lies in, without "/". 0 or -ENOMEM. */
int hoy_policy_paths(const char *path, struct hoy_strv *ret);
/*
 * Is a signature that names SIGNED good for the image REF (complete; NULL: it has no such name)? MATCH is the requirement's
 * signedIdentity; NULL: matchRepoDigestOrExact.
 */
bool hoy_policy_identity(const struct hoy_json *match, const struct hoy_ref *ref, const char *signed_name);
