#include <stdint.h>
#include <stdlib.h>

#include "common/data/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hoy_json_doc doc = HOY_JSON_DOC_INIT, again = HOY_JSON_DOC_INIT;
	struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, NULL);

	/* What was read and written again must be readable. */
	if (!hoy_json_parse(&doc, (const char *)data, size, "fuzz", NULL)) {
		hoy_jw_value(&w, NULL, doc.root);
		if (b.error || hoy_json_parse(&again, b.data, b.len, "again", NULL))
			abort();
	}
	hoy_buf_release(&b);
	hoy_json_release(&doc);
	hoy_json_release(&again);
	return 0;
}
