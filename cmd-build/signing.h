/* cmd-build/signing.h: signatures of images that are in the store, where whoever pushes or copies them finds them. */
#pragma once
struct hoy_err;
/*
 * Have image ID of the store signed with KEY of gpg as NAME (a full one; NULL: it has none, and the signature a name of chance,
 * as buildah's has). The signatures that it had are gone. 0, or an error; -HOY_EREMOTE: the user knows why.
 */
int sign_stored(const char *id, const char *name, const char *key, struct hoy_err *err);
