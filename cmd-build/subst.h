/* cmd-build/subst.h: quotes, escapes and variables in the words of a Containerfile. */
#pragma once
#include "common/base/strv.h"

struct hoy_err;

#define SUBST_MAX ((size_t)1 << 20)
#define SUBST_DEPTH 50 /* of ${a:-${b:-...}} */

/*
 * WORD without its quotes and escapes (ESCAPE is the character for these; podman takes the backslash, whatever the file's is), with the variables of VARS ("KEY=value") put in:
 * $name, ${name}, ${name:-word} ${name-word} ${name:+word} ${name+word} ${name:?word} ${name?word} ${name#glob} ${name##glob}
 * ${name%glob} ${name%%glob} ${name/glob/text} ${name//glob/text}. In new memory, or NULL with a sentence.
 */
char *subst_word(const char *word, char escape, const struct hoy_strv *vars, struct hoy_err *err);
/* The same, and what has become several words is split at spaces outside of quotes; appended to RET. 0 or an error. */
int subst_words(const char *word, char escape, const struct hoy_strv *vars, struct hoy_strv *ret, struct hoy_err *err);
/* The variables alone, quotes and escapes (but for \$) stay: the content of a here-document. */
char *subst_text(const char *text, char escape, const struct hoy_strv *vars, struct hoy_err *err);
