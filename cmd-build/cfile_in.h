/* cmd-build/cfile_in.h: what the pieces of the parser share: cfile.c has instructions, cfile_docs.c directives and here-documents. */
#pragma once
#include "cmd-build/cfile.h"

#define CF_SPACES " \t\v\f\r"

struct parser {
	struct cfile *f;
	const char *p, *end;
	unsigned line; /* of what is at p */
};

/* The line at p without its end; p moves behind it. */
const char *cf_take_line(struct parser *ps, size_t *len);
/* The words of S, with their quotes, appended to RET. */
void cf_split_words(const struct cfile *f, const char *s, struct hoy_strv *ret);
/* The here-documents that I's words begin. */
int cf_take_docs(struct parser *ps, struct cf_instr *i, struct hoy_err *err);
/* "# KEY=VALUE" lines at the very top; the first line that is something else ends them. */
int cf_take_directives(struct parser *ps, struct hoy_err *err);
