/* cmd-image/transfer/sign.h: the options that sign an image on its way out, and the signing. */
#pragma once
#include "cmd-image/transfer/signature.h"
#include "common/data/ref.h"

struct sign_opts {
	const char *gpg_key, *sigstore_key, *sigstore_params, *passphrase_file, *identity;
	bool remove; /* signatures of the source stay behind */
};
/* Is S to add any? */
static inline bool sign_wanted(const struct sign_opts *s) { return s->gpg_key || s->sigstore_key || s->sigstore_params; }
#define SIGN_BY_OPT(at) { 0, "sign-by", HOY_OPT_STRING, at, "FINGERPRINT", "sign the image with this key of gpg" }
#define SIGN_ADD_OPTS(at) \
	SIGN_BY_OPT((at) + offsetof(struct sign_opts, gpg_key)), \
	{ 0, "sign-by-sigstore", HOY_OPT_STRING, (at) + offsetof(struct sign_opts, sigstore_params), "PATH", "sign the image as the sigstore parameter file says" }, \
	{ 0, "sign-by-sigstore-private-key", HOY_OPT_STRING, (at) + offsetof(struct sign_opts, sigstore_key), "PATH", "sign the image with this sigstore key" }, \
	{ 0, "sign-passphrase-file", HOY_OPT_STRING, (at) + offsetof(struct sign_opts, passphrase_file), "PATH", "file with the passphrase of the signing key" }
#define SIGN_OPTS(at) \
	{ 0, "remove-signatures", HOY_OPT_FLAG, (at) + offsetof(struct sign_opts, remove), NULL, "copy no signatures" }, \
	SIGN_ADD_OPTS(at)

/* Can all that O names be read and done? */
int sign_check(const struct sign_opts *o, struct hoy_err *err);
/* Whose names the signatures will bear: O's identity, else DEST (path NULL: it has none, which is an error). RET is blank. */
int sign_name(const struct sign_opts *o, const struct hoy_ref *dest, const char *dest_title, char **ret, struct hoy_err *err);
/* Add to RET the signatures that O wants, which say that manifest DIGEST is the image NAME. */
int sign_image(const struct sign_opts *o, const char *name, const char *digest, struct sigs *ret, struct hoy_err *err);
/* The same, the name being O's identity or DEST (as sign_name()), with what is to be said unless QUIET. Nothing if O wants none. */
int sign_for(const struct sign_opts *o, bool quiet, const struct hoy_ref *dest, const char *dest_title, const char *digest, struct sigs *ret,
	     struct hoy_err *err);
/* The passphrase in FILE, or (NULL) asked for on the terminal, for the key WHAT; new memory, to be given to passphrase_free(). */
int passphrase_get(const char *file, const char *what, char **ret, struct hoy_err *err);
void passphrase_free(char *p);
