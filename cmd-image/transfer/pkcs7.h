/* cmd-image/transfer/pkcs7.h: PKCS #7 envelopes (RFC 2315) as ocicrypt uses them: for the RSA keys of certificates. */
#pragma once
#include <openssl/x509.h>

#include "common/base/buf.h"

struct hoy_err;

/* LEN bytes at DATA for CERT, as DER appended to RET. */
int pkcs7_seal(X509 *cert, const void *data, size_t len, struct hoy_buf *ret, struct hoy_err *err);
/* What the envelope of LEN bytes at DATA has for KEY, appended to RET. -ENOENT: nothing; -HOY_EFORMAT: it is none. */
int pkcs7_open(EVP_PKEY *key, const char *data, size_t len, struct hoy_buf *ret);
