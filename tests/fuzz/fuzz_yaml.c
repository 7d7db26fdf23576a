/* sources: cmd-image/transfer/yaml.c */
#include <stdint.h>

#include "cmd-image/transfer/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hoy_json_doc doc = HOY_JSON_DOC_INIT;

	(void)yaml_parse(&doc, (const char *)data, size, "fuzz", NULL);
	hoy_json_release(&doc);
	return 0;
}
