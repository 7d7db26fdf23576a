/* sources: cmd-image/transfer/jwe.c */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ec.h>

#include "cmd-image/transfer/jwe.h"
#include "common/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* The packets in the annotations of an encrypted layer: whatever they are, ours is opened by our key alone, and theirs by none. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static EVP_PKEY *key;
	struct hoy_buf out = HOY_BUF_INIT(1 << 20), sealed = HOY_BUF_INIT(1 << 20), again = HOY_BUF_INIT(1 << 20);
	struct hoy_err err = HOY_ERR_INIT;

	if (!key)
		key = EVP_EC_gen("prime256v1");
	if (!jwe_open(key, (const char *)data, size, &out))
		abort();
	if (size < 1000 && (jwe_seal(key, data, size, &sealed, &err) < 0 || jwe_open(key, hoy_buf_str(&sealed), sealed.len, &again) < 0 ||
			    again.len != size || memcmp(hoy_buf_str(&again), data, size)))
		abort();
	hoy_buf_release(&out);
	hoy_buf_release(&sealed);
	hoy_buf_release(&again);
	return 0;
}
