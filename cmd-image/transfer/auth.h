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

/* For REPO ("host[:port]/path", the longest key that covers it counts); C stays blank if there are none. */
int auth_find(struct creds *c, const char *repo, const char *authfile, struct hoy_err *err);
/* Where login writes: --authfile, REGISTRY_AUTH_FILE, the runtime directory. In new memory. */
char *auth_file(const char *authfile);
/* Put USER:PASSWORD under KEY (in the file, or where its credHelpers have KEY, with that helper), or (USER NULL) take KEY out; 1 if it was not there. The file is replaced at once, 0600. */
int auth_store(const char *authfile, const char *key, const char *user, const char *password, struct hoy_err *err);
/* Forget all. */
int auth_clear(const char *authfile, struct hoy_err *err);
/* "USER:PASSWORD" (either may be NULL) in base64, in new memory. */
char *auth_basic(const char *user, const char *password);
