#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/data/ref.h"
#include "common/data/time.h"
#include "common/data/units.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hoy_ref ref = HOY_REF_INIT, again = HOY_REF_INIT;
	char *text = strndup((const char *)data, size), *full = NULL;
	int64_t v;

	/* A reference that was accepted and completed must be accepted again. */
	if (text && !hoy_ref_parse(&ref, text, NULL) && !hoy_ref_normalize(&ref)) {
		full = hoy_ref_string(&ref);
		if (full && hoy_ref_parse(&again, full, NULL) == -1024)
			abort();
	}
	if (text) {
		(void)hoy_time_parse(text, &v);
		(void)hoy_duration_parse(text, &v);
		(void)hoy_size_parse(text, &v);
	}
	hoy_ref_release(&ref);
	hoy_ref_release(&again);
	free(full);
	free(text);
	return 0;
}
