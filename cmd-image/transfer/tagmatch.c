#include "cmd-image/transfer/tagmatch.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/strv.h"

/* ---- regular expressions ---- */

/* What \C stands for, outside of brackets or in them; NULL: as POSIX has it. */
static const char *class_of(char c, bool in_brackets)
{
	switch (c) {
	case 'd':
		return in_brackets ? "0-9" : "[0-9]";
	case 'D':
		return in_brackets ? "" : "[^0-9]";
	case 'w':
		return in_brackets ? "[:alnum:]_" : "[[:alnum:]_]";
	case 'W':
		return in_brackets ? "" : "[^[:alnum:]_]";
	case 's':
		return in_brackets ? "[:space:]" : "[[:space:]]";
	case 'S':
		return in_brackets ? "" : "[^[:space:]]";
	case 'A':
		return in_brackets ? "" : "^";
	case 'z':
		return in_brackets ? "" : "$";
	}
	return NULL;
}

static int unsupported(const char *text, struct hoy_err *err)
{
	return hoy_fail(err, HOY_EUNSUPPORTED, "the regular expression '%s' has a construct that is not supported", text);
}

/* "[...]" from *P on, which is left on its last character. In POSIX a backslash there means itself. */
static int put_brackets(struct hoy_buf *b, const char **p, const char *text, struct hoy_err *err)
{
	const char *s = *p;

	hoy_buf_putc(b, *s++);
	if (*s == '^')
		hoy_buf_putc(b, *s++);
	for (bool first = true; *s && (*s != ']' || first); s++, first = false) {
		const char *class = *s == '\\' ? class_of(s[1], true) : NULL;

		if (*s == '[' && s[1] == ':') {
			const char *end = strstr(s, ":]");

			if (!end)
				return unsupported(text, err);
			while (s < end + 1)
				hoy_buf_putc(b, *s++);
			hoy_buf_putc(b, *s);
		} else if (*s != '\\') {
			hoy_buf_putc(b, *s);
		} else if (class && *class) {
			hoy_buf_puts(b, class);
			s++;
		} else if (ispunct((unsigned char)s[1]) && !strchr("]^-\\", s[1])) {
			hoy_buf_putc(b, *++s);
		} else if (s[1] == '-' && s[2] == ']') {
			hoy_buf_putc(b, *++s);
		} else {
			return unsupported(text, err);
		}
	}
	hoy_buf_putc(b, ']');
	*p = s;
	return *s ? 0 : unsupported(text, err);
}

static int translate(struct hoy_buf *b, const char *text, int *flags, struct hoy_err *err)
{
	const char *p = text;

	if (!strncmp(p, "(?i)", 4)) {
		*flags |= REG_ICASE;
		p += 4;
	}
	for (; *p; p++) {
		const char *class = *p == '\\' ? class_of(p[1], false) : NULL;

		if (*p == '[') {
			int r = put_brackets(b, &p, text, err);

			if (r < 0)
				return r;
		} else if (class) {
			hoy_buf_puts(b, class);
			p++;
		} else if (*p == '\\' && p[1] && (ispunct((unsigned char)p[1]) || p[1] == 'b' || p[1] == 'B')) {
			hoy_buf_add(b, p++, 2);
		} else if (*p == '\\' || (*p == '(' && p[1] == '?' && p[2] != ':')) {
			return unsupported(text, err);
		} else if (*p == '(' && p[1] == '?') {
			hoy_buf_putc(b, '(');
			p += 2;
		} else {
			hoy_buf_putc(b, *p);
			/* Lazy or not, the same tags match. */
			if (strchr("*+?}", *p)) {
				p += p[1] == '?';
				if (p[1] && strchr("*+?{", p[1]))
					return hoy_fail(err, EINVAL, "the regular expression '%s' repeats a repetition", text);
			}
		}
	}
	return b->error ? hoy_fail_oom(err) : 0;
}

int tag_regex(regex_t *ret, const char *text, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(64 << 10);
	int flags = REG_EXTENDED | REG_NOSUB, r = translate(&b, text, &flags, err), e;
	char why[200];

	if (r < 0)
		return r;
	e = regcomp(ret, hoy_buf_str(&b), flags);
	if (!e)
		return 0;
	regerror(e, ret, why, sizeof(why));
	return hoy_fail(err, EINVAL, "the regular expression '%s' is not valid: %s", text, why);
}

/* ---- versions ---- */

struct version {
	uint64_t n[3];
	int given;   /* how many of them: the others are "x" or missing */
	char pre[128];
};

static bool ident(char c) { return isalnum((unsigned char)c) || c == '-' || c == '.'; }

/* "v1.2.3-rc.1+build" at *P, which moves on; with ANY also "x" and "*". */
static bool parse_version(const char **p, bool any, struct version *v)
{
	const char *s = *p;
	size_t n = 0;
	bool open = false;

	*v = (struct version){ .given = 0 };
	if (*s == 'v')
		s++;
	for (int i = 0; i < 3; i++) {
		char *end;

		if (i && *s != '.')
			break;
		if (i)
			s++;
		if (any && (*s == 'x' || *s == 'X' || *s == '*')) {
			s++;
			open = true;
			continue;
		}
		if (!isdigit((unsigned char)*s))
			return false;
		errno = 0;
		v->n[i] = strtoull(s, &end, 10);
		if (errno)
			return false;
		s = end;
		if (!open)
			v->given = i + 1;
	}
	for (int i = v->given; i < 3; i++)
		v->n[i] = 0;
	if (*s == '-' && ident(s[1])) {
		for (s++; ident(*s) && n < sizeof(v->pre) - 1; s++)
			v->pre[n++] = *s;
	}
	if (*s == '+' && ident(s[1]))
		for (s++; ident(*s); s++)
			;
	*p = s;
	return true;
}

/* One dotted part of a prerelease: numbers by value and below words. */
static int compare_part(const char *a, size_t la, const char *b, size_t lb)
{
	bool na = strspn(a, "0123456789") >= la, nb = strspn(b, "0123456789") >= lb;
	int r;

	if (na != nb)
		return na ? -1 : 1;
	if (na) {
		uint64_t x = strtoull(a, NULL, 10), y = strtoull(b, NULL, 10);

		return x < y ? -1 : x > y;
	}
	r = strncmp(a, b, la < lb ? la : lb);
	return r ? r : la < lb ? -1 : la > lb;
}

static int compare_pre(const char *a, const char *b)
{
	if (!*a || !*b)
		return *a ? -1 : *b ? 1 : 0;
	for (;;) {
		size_t la = strcspn(a, "."), lb = strcspn(b, ".");
		int r = compare_part(a, la, b, lb);

		if (r)
			return r;
		a += la;
		b += lb;
		if (!*a || !*b)
			return *a ? 1 : *b ? -1 : 0;
		a++;
		b++;
	}
}

static int compare(const struct version *a, const struct version *b)
{
	for (int i = 0; i < 3; i++)
		if (a->n[i] != b->n[i])
			return a->n[i] < b->n[i] ? -1 : 1;
	return compare_pre(a->pre, b->pre);
}

enum op { EQ, NE, GT, LT, GE, LE, TILDE, CARET };

static bool tilde(const struct version *v, const struct version *c)
{
	if (compare(v, c) < 0)
		return false;
	/* "*", and "~0.0.0" too. */
	if (!c->given || (!c->n[0] && !c->n[1] && !c->n[2] && c->given == 3))
		return true;
	return v->n[0] == c->n[0] && (v->n[1] == c->n[1] || c->given < 2);
}

static bool caret(const struct version *v, const struct version *c)
{
	if (compare(v, c) < 0)
		return false;
	if (c->n[0] || c->given == 1)
		return v->n[0] == c->n[0];
	if (v->n[0])
		return !c->given;
	if (c->n[1] || c->given == 2)
		return v->n[1] == c->n[1];
	if (!c->given)
		return true;
	return !v->n[1] && v->n[2] == c->n[2];
}

static bool not_equal(const struct version *v, const struct version *c)
{
	for (int i = 0; i < c->given; i++)
		if (v->n[i] != c->n[i])
			return true;
	return c->given == 3 && compare_pre(v->pre, c->pre);
}

static bool greater(const struct version *v, const struct version *c)
{
	if (c->given == 3 || !c->given)
		return compare(v, c) > 0;
	for (int i = 0; i < c->given; i++)
		if (v->n[i] != c->n[i])
			return v->n[i] > c->n[i];
	return false;
}

static bool at_most(const struct version *v, const struct version *c)
{
	if (c->given == 3)
		return compare(v, c) <= 0;
	for (int i = 0; i < c->given; i++)
		if (v->n[i] != c->n[i])
			return v->n[i] < c->n[i];
	return true;
}

static bool fits(enum op op, const struct version *v, const struct version *c)
{
	/* Who wants early versions says so. */
	if (*v->pre && !*c->pre)
		return false;
	switch (op) {
	case EQ:
		return c->given < 3 ? tilde(v, c) : !compare(v, c);
	case NE:
		return not_equal(v, c);
	case GT:
		return greater(v, c);
	case LT:
		return compare(v, c) < 0;
	case GE:
		return compare(v, c) >= 0;
	case LE:
		return at_most(v, c);
	case TILDE:
		return tilde(v, c);
	case CARET:
		return caret(v, c);
	}
	return false;
}

static enum op parse_op(const char **p)
{
	static const struct { const char *text; enum op op; } ops[] = {
		{ "!=", NE }, { ">=", GE }, { "=>", GE }, { "<=", LE }, { "=<", LE }, { "~>", TILDE }, { "~", TILDE }, { "^", CARET },
		{ ">", GT },  { "<", LT },  { "=", EQ },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		if (!strncmp(*p, ops[i].text, strlen(ops[i].text))) {
			*p += strlen(ops[i].text);
			return ops[i].op;
		}
	return EQ;
}

static void blanks(const char **p)
{
	while (**p == ' ' || **p == '\t')
		++*p;
}

/* All comparisons of S; -1: it is none. */
static int all_of(const char *s, const struct version *v)
{
	bool yes = true, some = false;

	for (blanks(&s); *s; some = true) {
		struct version c, to;
		enum op op = parse_op(&s);

		blanks(&s);
		if (!parse_version(&s, true, &c))
			return -1;
		if (op == EQ && !strncmp(s, " - ", 3)) {
			s += 3;
			blanks(&s);
			if (!parse_version(&s, true, &to))
				return -1;
			yes = yes && fits(GE, v, &c) && fits(LE, v, &to);
		} else {
			yes = yes && fits(op, v, &c);
		}
		if (*s && *s != ' ' && *s != '\t' && *s != ',')
			return -1;
		blanks(&s);
		if (*s == ',') {
			s++;
			blanks(&s);
			if (!*s)
				return -1;
		}
	}
	return some ? yes : -1;
}

int semver_match(const char *text, const char *version, struct hoy_err *err)
{
	const char *p = version;
	struct version v;
	bool is_version = parse_version(&p, false, &v) && !*p, yes = false;

	for (const char *s = text;;) {
		const char *end = strstr(s, "||");
		cleanup_free char *part = end ? strndup(s, end - s) : strdup(s);
		int r = part ? all_of(part, &v) : -1;

		if (!part)
			return hoy_fail_oom(err);
		if (r < 0)
			return hoy_fail(err, EINVAL, "improper constraint: %s", text);
		yes = yes || r;
		if (!end)
			return is_version && yes;
		s = end + 2;
	}
}
