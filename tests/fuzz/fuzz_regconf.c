#include <stdint.h>

#include "common/conf/regconf.h"

/* The first byte says whether it is the main file; what passes the checks is asked. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hoy_regfile f = { (char *)"fuzz", HOY_JSON_DOC_INIT };
	struct hoy_regconf c = { &f, 1, { NULL, HOY_JSON_DOC_INIT } };
	const char *file;
	size_t len = 0;

	if (size && !hoy_regconf_parse(&f.doc, (const char *)data + 1, size - 1, "fuzz", data[0] & 1, NULL)) {
		(void)hoy_regconf_registry(&c, "a.example.com:5000/b/c:1", &len, &file);
		(void)hoy_regconf_alias(&c, "b/c", &file);
		(void)hoy_regconf_list(&c, "credential-helpers", &file);
		(void)hoy_regconf_short_names(&c, &file);
	}
	hoy_json_release(&f.doc);
	return 0;
}
