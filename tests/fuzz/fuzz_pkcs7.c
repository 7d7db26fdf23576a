/* sources: cmd-image/transfer/pkcs7.c */
#include <stdint.h>
#include <stdlib.h>

#include "cmd-image/transfer/pkcs7.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* The envelopes in the annotations of an encrypted layer: none is for our key. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static EVP_PKEY *key;
	struct hoy_buf out = HOY_BUF_INIT(1 << 20);

	if (!key)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
	if (!key || !pkcs7_open(key, (const char *)data, size, &out))
		abort();
	hoy_buf_release(&out);
	return 0;
}
