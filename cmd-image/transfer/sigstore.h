/* cmd-image/transfer/sigstore.h: sigstore signatures by keys: cosign's key files, and what is signed with them. */
#pragma once
#include "cmd-image/transfer/signature.h"

/* A new ECDSA P-256 key: PRIV gets its PEM, encrypted with PASSPHRASE, PUB the PEM of its public half. */
int sigstore_generate(const char *passphrase, struct hoy_buf *priv, struct hoy_buf *pub, struct hoy_err *err);
/* Sign that the manifest DIGEST is the image NAME with the encrypted key PEM (LEN bytes, named FILE in messages), appended to RET. */
int sigstore_sign(const char *pem, size_t len, const char *file, const char *passphrase, const char *name, const char *digest,
		  struct sigs *ret, struct hoy_err *err);
/* Is S signed by one of the public keys in the N PEM files KEYS? 0, or -HOY_EFORMAT with a sentence. */
int sigstore_verify(const struct sig *s, char *const *keys, size_t n, struct hoy_err *err);
