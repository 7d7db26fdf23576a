/*
 * cmd-image/transfer/keywrap.h: the key of an encrypted layer, wrapped for those who may read it, as ocicrypt has it: JWE, PKCS #7,
 * OpenPGP, and programs that know keys ("providers"). One annotation per way.
 */
#pragma once
#include "cmd-image/transfer/crypt.h"

#define KEY_FILE_MAX ((size_t)64 << 10)

/* DATA wrapped for all that O names, into ANNOTATIONS of DOC. */
int keywrap_seal(const struct crypt_opts *o, const struct hoy_buf *data, struct hoy_json_doc *doc, struct hoy_json *annotations, struct hoy_err *err);
/* What the ANNOTATIONS of the layer DIGEST have for one of the private keys of O, appended to RET. -EACCES: nothing. */
int keywrap_open(const struct crypt_opts *o, const struct hoy_json *annotations, const char *digest, struct hoy_buf *ret, struct hoy_err *err);
