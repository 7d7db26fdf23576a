/* sources: cmd-image/transfer/manifest.c cmd-image/transfer/schema1.c cmd-image/transfer/stream.c */
#include <stdint.h>
#include <stdlib.h>

#include "cmd-image/transfer/manifest.h"
#include "common/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Configs of images: what is taken for one, is still one when it was written as OCI has it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_config struct config c = CONFIG_INIT, again = CONFIG_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	struct hoy_err err = HOY_ERR_INIT;

	if (config_parse(&c, (const char *)data, size, -1, &err) < 0)
		return 0;
	config_write(&w, c.doc.root);
	if (config_parse(&again, hoy_buf_str(&b), b.len, (long)c.diff_ids.n, &err) < 0)
		abort();
	return 0;
}
