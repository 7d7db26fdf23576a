/* cmd-build/words.h: texts that are commands: words with quotes, or a JSON array. */
#pragma once
#include <stdbool.h>

#include "common/base/strv.h"

/* TEXT cut into words as a shell would, quotes and backslashes understood; -EINVAL: it cannot be. */
int shell_words(const char *text, struct hoy_strv *ret);
/*
 * TEXT as words, if it is a JSON array of strings: 1; 0 if it is none, -EINVAL if it is one of other things. Behind it there may be
 * other text, which is as if it weren't there, unless it must be the WHOLE of TEXT.
 */
int json_words(const char *text, bool whole, struct hoy_strv *ret);
