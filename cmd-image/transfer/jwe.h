/* cmd-image/transfer/jwe.h: JSON Web Encryption (RFC 7516) as ocicrypt uses it: RSA-OAEP or ECDH-ES+A256KW for the key, A256GCM for the content. */
#pragma once
#include <openssl/evp.h>

#include "common/base/buf.h"

struct hoy_err;

/* LEN bytes at DATA for KEY (an RSA or EC public key), as JSON appended to RET. */
int jwe_seal(EVP_PKEY *key, const void *data, size_t len, struct hoy_buf *ret, struct hoy_err *err);
/* What TEXT (LEN bytes of JSON) has for KEY, appended to RET. -ENOENT: nothing; -HOY_EFORMAT: it is no JWE. */
int jwe_open(EVP_PKEY *key, const char *text, size_t len, struct hoy_buf *ret);
