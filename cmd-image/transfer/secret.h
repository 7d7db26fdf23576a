/* cmd-image/transfer/secret.h: what podman's `secret create` keeps in the store. */
#pragma once

struct hoy_err;
/* The content of the secret NAME (or id, or an id's unambiguous beginning) of the command line's store, in new memory. */
int secret_read(const char *name, char **ret, struct hoy_err *err);
