/* cmd-build/words.h: texts that are commands: words with quotes, or a JSON array. */
#pragma once
#include <stdbool.h>

#include "common/base/strv.h"

/* TEXT cut into words as a shell would, quotes and backslashes understood; -EINVAL: it cannot be. */
int shell_words(const char *text, struct hoy_strv *ret);
/* TEXT as words: a JSON array of strings if it is one; false if not. */
bool json_words(const char *text, struct hoy_strv *ret);
