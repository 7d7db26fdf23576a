/* sources: cmd-image/transfer/tagmatch.c */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/tagmatch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* "EXPRESSION\nTAG": the tag is a registry's, the expression a user's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = size < 200 ? strndup((const char *)data, size) : NULL, *tag = text ? strchr(text, '\n') : NULL;
	regex_t re;

	if (tag) {
		*tag++ = '\0';
		(void)semver_match(text, tag, NULL);
		/* regcomp() of repetitions within repetitions takes as long as it takes: that is the user's. */
		if (!strchr(text, '{') && !tag_regex(&re, text, NULL)) {
			(void)regexec(&re, tag, 0, NULL, 0);
			regfree(&re);
		}
	}
	free(text);
	return 0;
}
