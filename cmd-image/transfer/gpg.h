/* cmd-image/transfer/gpg.h: OpenPGP signatures through gpgme and the user's gpg. One at a time. */
#pragma once
#include "common/base/buf.h"
#include "common/base/strv.h"

struct hoy_err;

struct gpg {
	void *ctx;
	char *home;		      /* a keyring of our own; NULL: the user's */
	struct hoy_strv fingerprints; /* of the keys that were imported */
};
/* The user's keyring, or (OWN) an empty one that lasts as long as G. */
int gpg_open(struct gpg *g, bool own, struct hoy_err *err);
void gpg_close(struct gpg *g);
static inline void hoy_cleanup_gpg_(struct gpg *g) { gpg_close(g); }
#define cleanup_gpg __attribute__((cleanup(hoy_cleanup_gpg_)))
/* Put the public keys of DATA into G. */
int gpg_import(struct gpg *g, const void *data, size_t len, struct hoy_err *err);
/* Whom the imported keys belong to: mail addresses, or the whole user ids where they have none. */
void gpg_ids(struct gpg *g, struct hoy_strv *ret);
/*
 * Check the message MSG, which must have exactly one good signature by a key of G that is neither expired nor revoked. RET gets what
 * is signed, *RET_KEY (new memory) the fingerprint of the key.
 */
int gpg_verify(struct gpg *g, const void *msg, size_t len, struct hoy_buf *ret, char **ret_key, struct hoy_err *err);
/* A signed message of DATA by KEY (a fingerprint, or what else gpg takes) appended to RET. PASSPHRASE NULL: gpg asks itself. */
int gpg_sign(struct gpg *g, const char *key, const char *passphrase, const void *data, size_t len, struct hoy_buf *ret,
	     struct hoy_err *err);
/* Is there a public key of NAME (a mail address, a fingerprint, ...)? */
int gpg_has(struct gpg *g, const char *name, struct hoy_err *err);
/* DATA for all of NAMES, as one message that is not armoured, appended to RET. */
int gpg_encrypt(struct gpg *g, const struct hoy_strv *names, const void *data, size_t len, struct hoy_buf *ret, struct hoy_err *err);
/* What the message MSG has for a secret key of G, appended to RET. PASSPHRASE (NULL: none) is that of the key. -ENOENT: nothing. */
int gpg_decrypt(struct gpg *g, const char *passphrase, const void *msg, size_t len, struct hoy_buf *ret);
