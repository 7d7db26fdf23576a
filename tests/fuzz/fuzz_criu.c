/* What CRIU answers: a message of protocol buffers. */
#include <stdint.h>
#include <stdlib.h>

#include "cmd-runtime/criu.c"

void signals_reset(void) {}
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + !size);
	struct answer a;

	memcpy(copy, data, size);
	if (parse(copy, size, &a) && (strlen(a.message) >= sizeof(a.message) || strlen(a.script) >= sizeof(a.script)))
		abort();
	free(copy);
	return 0;
}
