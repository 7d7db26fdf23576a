/* sources: cmd-image/transfer/signature.c */
#include <stdint.h>

#include "cmd-image/transfer/signature.h"
#include "common/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A signature's file, and what is signed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_sigs struct sigs s = { 0 }, again = { 0 };
	cleanup_claim struct claim a = { NULL, NULL }, b = { NULL, NULL };
	struct hoy_buf blob = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_err err;

	(void)claim_parse(&a, SIG_SIMPLE, (const char *)data, size, &err);
	(void)claim_parse(&b, SIG_SIGSTORE, (const char *)data, size, &err);
	if (sigs_add_blob(&s, (const char *)data, size, &err) < 0)
		return 0;
	/* What is written is read again as the same. */
	sig_blob(&s.v[0], &blob);
	if (sigs_add_blob(&again, blob.data, blob.len, &err) < 0 || !sigs_has(&again, &s.v[0]))
		__builtin_trap();
	hoy_buf_release(&blob);
	return 0;
}
