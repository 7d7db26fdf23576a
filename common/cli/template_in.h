/*
 * common/cli/template_in.h: what the parts of the template machine share, and nobody else includes: template_parse.c cuts a
 * text into pieces, template.c walks over them, template_value.c has the values, template_call.c the functions.
 *
 * The text of an action is walked again at each evaluation: templates are short, and a range runs over few rows. Actions are
 * cut into pieces once, so that if/range/end can be matched.
 */
#pragma once
#include <ctype.h>

#include "common/base/err.h"
#include "common/cli/template.h"

enum piece_kind { TEXT, ACTION, IF, WITH, RANGE, ELSE, ELSE_IF, END };
struct piece {
	enum piece_kind kind;
	char *text; /* TEXT: literal; else what stands behind the keyword */
	size_t other, end; /* IF, WITH, RANGE, ELSE_IF: index of the matching else (or end), and of the end */
};

struct hoy_template {
	struct piece *pieces;
	size_t n, cap;
};

#define TPL_MAX_VARS 32
#define TPL_MAX_ARGS 12

/* One evaluation. */
struct tpl {
	struct hoy_template *t;
	struct hoy_json_doc doc; /* computed values */
	struct { char name[32]; const struct hoy_json *value; } vars[TPL_MAX_VARS];
	int n_vars, depth;
	const struct hoy_json *root;
	struct hoy_buf *out;
	struct hoy_err *err;
};

/* -EINVAL, with "template: " before the sentence. */
int tpl_fail(struct tpl *r, const char *fmt, ...) HOY_PRINTF(2, 3);

/* Identifiers: the one at *AT, which it moves behind it, into BUF (cut if need be). */
static inline bool tpl_name_char(char c) { return isalnum((unsigned char)c) || c == '_'; }
void tpl_take_name(const char **at, char *buf, size_t size);

/* Values; without memory they are nil, and the text that is made of them fails. */
extern const struct hoy_json tpl_null;
struct hoy_json *tpl_list(struct tpl *r);
const struct hoy_json *tpl_string(struct tpl *r, const char *s);
const struct hoy_json *tpl_int(struct tpl *r, int64_t v);
const struct hoy_json *tpl_bool(struct tpl *r, bool v);
/* The string in B, which is released. */
const struct hoy_json *tpl_take(struct tpl *r, struct hoy_buf *b);
/* Is it what Go's `if` takes for true? */
bool tpl_truth(const struct hoy_json *v);
/* As Go prints it. */
void tpl_print(struct hoy_buf *out, const struct hoy_json *v);
const char *tpl_text(struct tpl *r, const struct hoy_json *v);
/* V.NAME, whatever its case. */
int tpl_field(struct tpl *r, const struct hoy_json *v, const char *name, const struct hoy_json **ret);

/* Function F of the N arguments A. */
int tpl_call(struct tpl *r, const char *f, const struct hoy_json **a, int n, const struct hoy_json **ret);
