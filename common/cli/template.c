/* common/cli/template.c: templates evaluated: expressions, then blocks. */
#include "common/cli/template.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cli/template_in.h"

/* ---- expressions ---- */

struct lex {
	const char *p;
};

static void skip(struct lex *l)
{
	while (isspace((unsigned char)*l->p))
		l->p++;
}

static int pipeline(struct tpl *r, struct lex *l, const struct hoy_json *dot, const struct hoy_json **ret);

void tpl_take_name(const char **at, char *buf, size_t size)
{
	size_t n = 0;

	for (; tpl_name_char(**at); ++*at)
		if (n + 1 < size)
			buf[n++] = **at;
	buf[n] = '\0';
}

static int quoted(struct tpl *r, struct lex *l, const struct hoy_json **ret)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	char q = *l->p++;

	while (*l->p && *l->p != q) {
		if (*l->p == '\\' && q == '"' && l->p[1]) {
			static const char from[] = "nrt\"\\", to[] = "\n\r\t\"\\";
			const char *at = strchr(from, *++l->p);

			hoy_buf_putc(&b, at ? to[at - from] : *l->p);
			l->p++;
			continue;
		}
		hoy_buf_putc(&b, *l->p++);
	}
	if (*l->p != q)
		return tpl_fail(r, "unterminated string");
	l->p++;
	*ret = tpl_string(r, hoy_buf_str(&b));
	return 0;
}

static int chain(struct tpl *r, struct lex *l, const struct hoy_json **v)
{
	char name[128];

	while (l->p[0] == '.' && (tpl_name_char(l->p[1]))) {
		int e;

		l->p++;
		tpl_take_name(&l->p, name, sizeof(name));
		e = tpl_field(r, *v, name, v);
		if (e < 0)
			return e;
	}
	return 0;
}

static int variable(struct tpl *r, struct lex *l, const struct hoy_json **ret)
{
	char name[32];

	l->p++;
	tpl_take_name(&l->p, name, sizeof(name));
	if (!*name) {
		*ret = r->root;
		return chain(r, l, ret);
	}
	for (int i = r->n_vars; i-- > 0;)
		if (!strcmp(r->vars[i].name, name)) {
			*ret = r->vars[i].value;
			return chain(r, l, ret);
		}
	return tpl_fail(r, "undefined variable \"$%s\"", name);
}

/* A constant, field, variable or parenthesised pipeline; 1 if there is none here. */
static int operand(struct tpl *r, struct lex *l, const struct hoy_json *dot, const struct hoy_json **ret)
{
	char name[64];
	int e;

	skip(l);
	if (*l->p == '.') {
		*ret = dot;
		if (!tpl_name_char(l->p[1])) {
			l->p++;
			return 0;
		}
		return chain(r, l, ret);
	}
	if (*l->p == '$')
		return variable(r, l, ret);
	if (*l->p == '"' || *l->p == '`')
		return quoted(r, l, ret);
	if (*l->p == '(') {
		l->p++;
		if (++r->depth > 50)
			return tpl_fail(r, "nested too deeply");
		e = pipeline(r, l, dot, ret);
		r->depth--;
		skip(l);
		if (!e && *l->p != ')')
			return tpl_fail(r, "unclosed left paren");
		if (e)
			return e;
		l->p++;
		return chain(r, l, ret);
	}
	if (isdigit((unsigned char)*l->p) || (*l->p == '-' && isdigit((unsigned char)l->p[1]))) {
		char *end;
		long long v = strtoll(l->p, &end, 0);

		l->p = end;
		*ret = tpl_int(r, v);
		return 0;
	}
	if (isalpha((unsigned char)*l->p)) {
		const char *back = l->p;

		tpl_take_name(&l->p, name, sizeof(name));
		if (!strcmp(name, "true") || !strcmp(name, "false")) {
			*ret = tpl_bool(r, name[0] == 't');
			return 0;
		}
		if (!strcmp(name, "nil")) {
			*ret = &tpl_null;
			return 0;
		}
		l->p = back;
	}
	return 1;
}

/* One command of a pipeline; PIPED, if any, becomes its last argument. */
static int command(struct tpl *r, struct lex *l, const struct hoy_json *dot, const struct hoy_json *piped,
		   const struct hoy_json **ret)
{
	const struct hoy_json *args[TPL_MAX_ARGS + 1];
	char name[64] = "";
	int n = 0, e;

	skip(l);
	if (isalpha((unsigned char)*l->p)) {
		const char *back = l->p;

		tpl_take_name(&l->p, name, sizeof(name));
		if (!strcmp(name, "true") || !strcmp(name, "false") || !strcmp(name, "nil")) {
			l->p = back;
			name[0] = '\0';
		}
	}
	while (n < TPL_MAX_ARGS && (e = operand(r, l, dot, &args[n])) != 1) {
		if (e < 0)
			return e;
		n++;
	}
	if (piped)
		args[n++] = piped;
	if (*name)
		return tpl_call(r, name, args, n, ret);
	if (n != 1)
		return n ? tpl_fail(r, "can't give argument to non-function") : tpl_fail(r, "missing value for command");
	*ret = args[0];
	return 0;
}

static int pipeline(struct tpl *r, struct lex *l, const struct hoy_json *dot, const struct hoy_json **ret)
{
	int e = command(r, l, dot, NULL, ret);

	for (skip(l); !e && *l->p == '|'; skip(l)) {
		l->p++;
		e = command(r, l, dot, *ret, ret);
	}
	return e;
}

/* "$x := PIPELINE" or "$x = PIPELINE": the name in NAME, or "" if it is a plain pipeline. */
static bool assignment(struct lex *l, char *name, size_t size, char *second, size_t second_size)
{
	struct lex try = *l;

	*name = *second = '\0';
	if (*try.p++ != '$')
		return false;
	tpl_take_name(&try.p, name, size);
	skip(&try);
	if (*try.p == ',') {
		try.p++;
		skip(&try);
		if (*try.p++ != '$')
			return false;
		tpl_take_name(&try.p, second, second_size);
		skip(&try);
	}
	if (!strncmp(try.p, ":=", 2))
		try.p += 2;
	else if (*try.p == '=' && *name)
		try.p++;
	else
		return false;
	*l = try;
	return true;
}

static int set_var(struct tpl *r, const char *name, const struct hoy_json *v)
{
	if (r->n_vars == TPL_MAX_VARS)
		return tpl_fail(r, "more than %d variables", TPL_MAX_VARS);
	snprintf(r->vars[r->n_vars].name, sizeof(r->vars[0].name), "%s", name);
	r->vars[r->n_vars++].value = v;
	return 0;
}

static int evaluate(struct tpl *r, const char *text, const struct hoy_json *dot, const struct hoy_json **ret, bool *silent,
		    char vars[2][32])
{
	struct lex l = { text };
	int e;

	*silent = assignment(&l, vars[0], 32, vars[1], 32);
	e = pipeline(r, &l, dot, ret);
	if (!e && *l.p)
		return tpl_fail(r, "unexpected \"%.20s\" in action", l.p);
	return e;
}

static int block(struct tpl *r, size_t from, size_t to, const struct hoy_json *dot);

/* The index of the piece that closes the chain beginning at I. */
static size_t chain_end(const struct hoy_template *t, size_t i)
{
	while (t->pieces[i].kind != END)
		i = t->pieces[i].other;
	return i;
}

static int do_range(struct tpl *r, size_t i, const struct hoy_json *v, const struct hoy_json *dot, char vars[2][32])
{
	size_t other = r->t->pieces[i].other;
	int e = 0, n = r->n_vars, at = 0;

	if (!tpl_truth(v) || (v->type != HOY_JSON_ARRAY && v->type != HOY_JSON_OBJECT)) {
		if (tpl_truth(v))
			return tpl_fail(r, "range can't iterate over this value");
		return r->t->pieces[other].kind == END ? 0 : block(r, other + 1, chain_end(r->t, other), dot);
	}
	HOY_JSON_EACH(it, v) {
		const struct hoy_json *key = v->type == HOY_JSON_OBJECT ? tpl_string(r, it->key) : tpl_int(r, at);

		if (vars[1][0]) {
			e = set_var(r, vars[0], key);
			e = e ? e : set_var(r, vars[1], it);
		} else if (vars[0][0]) {
			e = set_var(r, vars[0], it);
		}
		e = e ? e : block(r, i + 1, other, it);
		r->n_vars = n;
		if (e)
			return e;
		at++;
	}
	return 0;
}

/* if, with, range and their else branches, from piece I on; the caller goes on behind chain_end(I). */
static int control(struct tpl *r, size_t i, const struct hoy_json *dot)
{
	struct piece *p = &r->t->pieces[i];
	const struct hoy_json *v = &tpl_null;
	char vars[2][32] = { "", "" };
	int n = r->n_vars, e = 0;
	bool silent = false;

	if (p->kind == ELSE)
		return block(r, i + 1, p->other, dot);
	if (p->kind == END)
		return 0;
	e = evaluate(r, p->text, dot, &v, &silent, vars);
	if (e)
		return e;
	if (p->kind == RANGE)
		return do_range(r, i, v, dot, vars);
	if (silent)
		e = set_var(r, vars[0], v);
	if (!e && tpl_truth(v))
		e = block(r, i + 1, p->other, p->kind == WITH ? v : dot);
	else if (!e)
		e = control(r, p->other, dot);
	r->n_vars = n;
	return e;
}

static int block(struct tpl *r, size_t from, size_t to, const struct hoy_json *dot)
{
	int e = 0;

	if (++r->depth > 50)
		return tpl_fail(r, "nested too deeply");
	for (size_t i = from; i < to && !e; i++) {
		struct piece *p = &r->t->pieces[i];
		const struct hoy_json *v = &tpl_null;
		char vars[2][32] = { "", "" };
		bool silent = false;

		if (p->kind == TEXT) {
			hoy_buf_puts(r->out, p->text);
		} else if (p->kind == ACTION) {
			e = evaluate(r, p->text, dot, &v, &silent, vars);
			if (!e && silent)
				e = set_var(r, vars[0], v);
			else if (!e)
				tpl_print(r->out, v);
		} else {
			e = control(r, i, dot);
			i = chain_end(r->t, i);
		}
	}
	r->depth--;
	return e;
}

int hoy_template_eval(struct hoy_template *t, const struct hoy_json *dot, struct hoy_buf *out, struct hoy_err *err)
{
	struct tpl r = { .t = t, .root = dot, .out = out, .err = err };
	int e = block(&r, 0, t->n, dot);

	hoy_json_release(&r.doc);
	return e ? e : out->error ? hoy_fail_oom(err) : 0;
}
