/* cmd-image/transfer/auth.h: who we are to a registry: containers-auth.json(5), docker's config.json, credential helpers. */
#pragma once
#include "common/base/cleanup.h"

struct hoy_err;

struct creds {
	char *user, *password;
	char *token; /* an identity token instead of a password */
};
void creds_release(struct creds *c);
static inline void hoy_cleanup_creds_(struct creds *c) { creds_release(c); }
#define cleanup_creds __attribute__((cleanup(hoy_cleanup_creds_)))

/* Where credentials are: a file and the key in it, a helper that has them under that key, or both. */
struct auth_place {
	char *file, *key, *helper;
};
void auth_place_release(struct auth_place *p);
/* Find that place for REPO without asking any helper; *P stays blank if there is none. */
int auth_locate(struct auth_place *p, const char *repo, const char *authfile, struct hoy_err *err);

/*
 * For REPO ("host[:port]/path", the longest key that covers it counts); C stays blank if there are none. Files and helpers are
 * asked in the order that registries.conf's credential-helpers say.
 */
int auth_find(struct creds *c, const char *repo, const char *authfile, struct hoy_err *err);
/* Where login writes: --authfile, REGISTRY_AUTH_FILE, the runtime directory. In new memory. */
char *auth_file(const char *authfile);
/* Put USER:PASSWORD under KEY (in the file, or where its credHelpers have KEY, with that helper), or (USER NULL) take KEY out; 1 if it was not there. The file is replaced at once, 0600. */
int auth_store(const char *authfile, const char *key, const char *user, const char *password, struct hoy_err *err);
/* Forget all. */
int auth_clear(const char *authfile, struct hoy_err *err);
/* "USER:PASSWORD" (either may be NULL) in base64, in new memory. */
char *auth_basic(const char *user, const char *password);
