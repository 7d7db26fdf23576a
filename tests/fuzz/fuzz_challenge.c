/* sources: cmd-image/transfer/challenge.c */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/challenge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* WWW-Authenticate lines of a registry. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct challenge c = { AUTH_NONE, NULL, NULL };
	char *text = strndup((const char *)data, size), *line, *rest = text;

	while ((line = strsep(&rest, "\n")))
		challenge_add(&c, line);
	/* Whom to ask for a token is known, or nobody is asked. */
	if ((c.kind == AUTH_BEARER) != (c.realm && c.kind == AUTH_BEARER))
		abort();
	challenge_release(&c);
	free(text);
	return 0;
}
