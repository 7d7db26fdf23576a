#include "cmd-build/subst.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

struct subst {
	const char *p;
	char escape;
	const struct hoy_strv *vars;
	struct hoy_strv *words; /* NULL: one word */
	bool text;		/* quotes mean nothing */
	int depth;
	struct hoy_err *err;
};

static int run(struct subst *s, struct hoy_buf *out, const char *stop);
static int variable(struct subst *s, struct hoy_buf *out);
static int single_quoted(struct subst *s, struct hoy_buf *out);
static int double_quoted(struct subst *s, struct hoy_buf *out);

/* ---- globs ---- */

/* Does the glob P (PN bytes; *, ? and \) match S (N bytes) as a whole? */
static bool glob(const char *p, size_t pn, const char *s, size_t n)
{
	size_t i = 0, k = 0, star = SIZE_MAX, mark = 0;

	while (k < n) {
		size_t esc = i + 1 < pn && p[i] == '\\';

		if (i < pn && !esc && p[i] == '*') {
			star = i++;
			mark = k;
		} else if (i < pn && ((!esc && p[i] == '?') || p[i + esc] == s[k])) {
			i += 1 + esc;
			k++;
		} else if (star != SIZE_MAX) {
			i = star + 1;
			k = ++mark;
		} else {
			return false;
		}
	}
	while (i < pn && p[i] == '*')
		i++;
	return i == pn;
}

/* VALUE without the shortest or (LONG) longest part at its beginning or END that PAT matches. */
static void trim(struct hoy_buf *out, const char *value, const char *pat, bool end, bool longest)
{
	size_t n = strlen(value), pn = strlen(pat);

	for (size_t i = 0; i <= n; i++) {
		size_t len = longest ? n - i : i;

		if (!glob(pat, pn, end ? value + n - len : value, len))
			continue;
		hoy_buf_add(out, end ? value : value + len, n - len);
		return;
	}
	hoy_buf_puts(out, value);
}

/* VALUE with the first, or (ALL) every, longest part that PAT matches replaced. */
static void replace(struct hoy_buf *out, const char *value, const char *pat, const char *with, bool all)
{
	size_t n = strlen(value), pn = strlen(pat), at = 0;

	while (at < n) {
		size_t len = n - at;

		while (len && !glob(pat, pn, value + at, len))
			len--;
		if (!len) {
			hoy_buf_putc(out, value[at++]);
			continue;
		}
		hoy_buf_puts(out, with);
		at += len;
		if (!all)
			break;
	}
	hoy_buf_puts(out, value + at);
}

/* ---- variables ---- */

static size_t name_len(const char *s)
{
	size_t n = 0;

	/* As podman has it: "$12" is "$1" and a 2, and "$@" is nothing special. */
	if (isdigit((unsigned char)*s))
		return 1;
	while (isalnum((unsigned char)s[n]) || s[n] == '_')
		n++;
	return n;
}

/* Text up to one of STOP, substituted; it is not consumed. */
static int inner(struct subst *s, struct hoy_buf *out, const char *stop)
{
	struct hoy_strv *words = s->words;
	bool text = s->text;
	int r;

	if (++s->depth > SUBST_DEPTH)
		return hoy_fail(s->err, EINVAL, "variables are nested more than %d deep", SUBST_DEPTH);
	s->words = NULL;
	s->text = false;
	r = run(s, out, stop);
	s->words = words;
	s->text = text;
	s->depth--;
	return r;
}

static int close_brace(struct subst *s)
{
	if (*s->p != '}')
		return hoy_fail(s->err, EINVAL, "syntax error: missing '}'");
	s->p++;
	return 0;
}

/* ":-", "-", ":+", "+", ":?", "?" */
static int by_presence(struct subst *s, struct hoy_buf *out, const char *name, const char *value)
{
	cleanup_buf struct hoy_buf word = HOY_BUF_INIT(SUBST_MAX);
	bool colon = *s->p == ':', have;
	char op = s->p[colon];
	int r;

	s->p += colon + 1;
	r = inner(s, &word, "}");
	if (!r)
		r = close_brace(s);
	if (r < 0)
		return r;
	have = value && (!colon || *value);
	if (op == '?' && !have)
		return hoy_fail(s->err, EINVAL, "%s: %s", name, word.len ? hoy_buf_str(&word) : "is not allowed to be unset");
	if (op == '+')
		hoy_buf_puts(out, have ? hoy_buf_str(&word) : "");
	else
		hoy_buf_puts(out, have ? value : hoy_buf_str(&word));
	return 0;
}

/* A quoted part of a pattern: nothing in it is special to the glob. */
static int literal(struct subst *s, struct hoy_buf *out)
{
	cleanup_buf struct hoy_buf part = HOY_BUF_INIT(SUBST_MAX);
	int r = *s->p == '"' ? double_quoted(s, &part) : single_quoted(s, &part);

	for (size_t i = 0; !r && i < part.len; i++) {
		hoy_buf_putc(out, '\\');
		hoy_buf_putc(out, part.data[i]);
	}
	return r;
}

/* A pattern: what is escaped in it stays so for the glob. */
static int pattern(struct subst *s, struct hoy_buf *out, const char *stop)
{
	while (*s->p && !strchr(stop, *s->p)) {
		int r = 0;

		if (*s->p == s->escape && s->p[1]) {
			hoy_buf_putc(out, '\\');
			hoy_buf_putc(out, s->p[1]);
			s->p += 2;
		} else if (*s->p == '$') {
			r = variable(s, out);
		} else if (*s->p == '"' || *s->p == '\'') {
			r = literal(s, out);
		} else {
			hoy_buf_putc(out, *s->p++);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* "#", "##", "%", "%%" */
static int by_trimming(struct subst *s, struct hoy_buf *out, const char *value)
{
	cleanup_buf struct hoy_buf pat = HOY_BUF_INIT(SUBST_MAX);
	bool end = *s->p == '%', longest = s->p[1] == *s->p;
	int r;

	s->p += 1 + longest;
	r = pattern(s, &pat, "}");
	if (!r)
		r = close_brace(s);
	if (!r)
		trim(out, value ?: "", hoy_buf_str(&pat), end, longest);
	return r;
}

/* "/", "//" */
static int by_replacing(struct subst *s, struct hoy_buf *out, const char *value)
{
	cleanup_buf struct hoy_buf pat = HOY_BUF_INIT(SUBST_MAX), with = HOY_BUF_INIT(SUBST_MAX);
	bool all = s->p[1] == '/';
	int r;

	s->p += 1 + all;
	r = pattern(s, &pat, "/}");
	if (!r && *s->p == '/') {
		s->p++;
		r = inner(s, &with, "}");
	}
	if (!r)
		r = close_brace(s);
	if (!r)
		replace(out, value ?: "", hoy_buf_str(&pat), hoy_buf_str(&with), all);
	return r;
}

static int variable(struct subst *s, struct hoy_buf *out)
{
	bool brace = *++s->p == '{';
	size_t n = name_len(s->p + brace);
	cleanup_free char *name = strndup(s->p + brace, n);
	const char *value, *op = s->p + brace + n;

	if (!name)
		return hoy_fail_oom(s->err);
	if (!n && !brace) {
		hoy_buf_putc(out, '$');
		return 0;
	}
	if (!n)
		return hoy_fail(s->err, EINVAL, "syntax error: bad substitution in '${%.40s'", s->p + 1);
	value = hoy_env_get(s->vars, name);
	s->p = op;
	if (!brace || *op == '}') {
		s->p += brace;
		hoy_buf_puts(out, value ?: "");
		return 0;
	}
	if (*op && (strchr("-+?", *op) || (*op == ':' && op[1] && strchr("-+?", op[1]))))
		return by_presence(s, out, name, value);
	if (*op == '#' || *op == '%')
		return by_trimming(s, out, value);
	if (*op == '/')
		return by_replacing(s, out, value);
	if (!*op)
		return hoy_fail(s->err, EINVAL, "syntax error: missing '}' after '${%s'", name);
	return hoy_fail(s->err, EINVAL, "unsupported modifier (%.2s) in substitution of '%s'", op, name);
}

/* ---- words ---- */

static int single_quoted(struct subst *s, struct hoy_buf *out)
{
	const char *end = strchr(++s->p, '\'');

	if (!end)
		return hoy_fail(s->err, EINVAL, "unexpected end of statement while looking for matching single-quote");
	hoy_buf_add(out, s->p, end - s->p);
	s->p = end + 1;
	return 0;
}

static int double_quoted(struct subst *s, struct hoy_buf *out)
{
	int r = 0;

	for (s->p++; *s->p != '"' && !r;) {
		if (!*s->p)
			return hoy_fail(s->err, EINVAL, "unexpected end of statement while looking for matching double-quote");
		if (*s->p == '$') {
			r = variable(s, out);
		} else {
			if (*s->p == s->escape && (s->p[1] == '"' || s->p[1] == '$' || s->p[1] == s->escape))
				s->p++;
			hoy_buf_putc(out, *s->p++);
		}
	}
	s->p += !r;
	return r;
}

static void escaped(struct subst *s, struct hoy_buf *out)
{
	if (!s->text) {
		s->p++;
		if (*s->p)
			hoy_buf_putc(out, *s->p++);
	} else {
		if (s->p[1] == '$' || s->p[1] == s->escape)
			s->p++;
		hoy_buf_putc(out, *s->p++);
	}
}

static int run(struct subst *s, struct hoy_buf *out, const char *stop)
{
	bool quoted = false;
	int r = 0;

	while (*s->p && !strchr(stop, *s->p) && !r) {
		if (*s->p == '\'' && !s->text) {
			quoted = true;
			r = single_quoted(s, out);
		} else if (*s->p == '"' && !s->text) {
			quoted = true;
			r = double_quoted(s, out);
		} else if (*s->p == '$') {
			size_t from = out->len;

			r = variable(s, out);
			/* What a variable brings is split, too. */
			for (size_t i = from; s->words && !r && !out->error && i < out->len; i++)
				if (strchr(" \t", out->data[i])) {
					if (i)
						hoy_strv_pushn(s->words, out->data, i);
					memmove(out->data, out->data + i + 1, out->len - i);
					out->len -= i + 1;
					i = (size_t)-1;
				}
		} else if (*s->p == s->escape) {
			escaped(s, out);
		} else if (s->words && strchr(" \t", *s->p)) {
			if (out->len || quoted)
				hoy_strv_push(s->words, hoy_buf_str(out));
			hoy_buf_reset(out);
			quoted = false;
			s->p++;
		} else {
			hoy_buf_putc(out, *s->p++);
		}
	}
	if (s->words && !r && (out->len || quoted))
		hoy_strv_push(s->words, hoy_buf_str(out));
	return r;
}

static char *subst(struct subst *s)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(SUBST_MAX);

	hoy_buf_puts(&out, "");
	if (run(s, &out, "") < 0)
		return NULL;
	if (out.error) {
		hoy_fail_errno(s->err, out.error, "cannot substitute variables");
		return NULL;
	}
	return strdup(hoy_buf_str(&out));
}

char *subst_word(const char *word, char escape, const struct hoy_strv *vars, struct hoy_err *err)
{
	struct subst s = { .p = word, .escape = escape, .vars = vars, .err = err };

	return subst(&s);
}

char *subst_text(const char *text, char escape, const struct hoy_strv *vars, struct hoy_err *err)
{
	struct subst s = { .p = text, .escape = escape, .vars = vars, .text = true, .err = err };

	return subst(&s);
}

int subst_words(const char *word, char escape, const struct hoy_strv *vars, struct hoy_strv *ret, struct hoy_err *err)
{
	struct subst s = { .p = word, .escape = escape, .vars = vars, .words = ret, .err = err };
	cleanup_free char *last = subst(&s);

	if (!last)
		return err->code ? -err->code : hoy_fail_oom(err);
	return ret->error ? hoy_fail_oom(err) : 0;
}
