/* common/cli/template_parse.c: a template's text cut into pieces, and blocks matched with their ends. */
#include "common/cli/template_in.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int add_piece(struct hoy_template *t, enum piece_kind kind, const char *s, size_t len)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 16;
		struct piece *p = reallocarray(t->pieces, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		t->pieces = p;
		t->cap = cap;
	}
	t->pieces[t->n] = (struct piece){ kind, strndup(s, len), 0, 0 };
	return t->pieces[t->n++].text ? 0 : -ENOMEM;
}

static bool word(const char **s, size_t *len, const char *w)
{
	size_t n = strlen(w);

	if (*len < n || strncmp(*s, w, n) || (*len > n && !isspace((unsigned char)(*s)[n])))
		return false;
	*s += n;
	*len -= n;
	while (*len && isspace((unsigned char)**s)) {
		++*s;
		--*len;
	}
	return true;
}

static int add_action(struct hoy_template *t, const char *s, size_t len)
{
	while (len && isspace((unsigned char)*s)) {
		s++;
		len--;
	}
	while (len && isspace((unsigned char)s[len - 1]))
		len--;
	if (len >= 2 && s[0] == '/' && s[1] == '*')
		return 0;
	if (word(&s, &len, "if"))
		return add_piece(t, IF, s, len);
	if (word(&s, &len, "with"))
		return add_piece(t, WITH, s, len);
	if (word(&s, &len, "range"))
		return add_piece(t, RANGE, s, len);
	if (word(&s, &len, "end"))
		return add_piece(t, END, s, len);
	if (word(&s, &len, "else"))
		return word(&s, &len, "if") ? add_piece(t, ELSE_IF, s, len) : add_piece(t, ELSE, s, len);
	return add_piece(t, ACTION, s, len);
}

/* The end of an action: "}}" outside of quotes. */
static const char *action_end(const char *s)
{
	char quote = 0;

	for (; *s; s++) {
		if (quote && *s == '\\' && quote == '"' && s[1])
			s++;
		else if (quote)
			quote = *s == quote ? 0 : quote;
		else if (*s == '"' || *s == '`')
			quote = *s;
		else if (s[0] == '}' && s[1] == '}')
			return s;
	}
	return NULL;
}

static int cut(struct hoy_template *t, const char *s, struct hoy_err *err)
{
	bool trim = false;

	while (*s) {
		const char *open = strstr(s, "{{"), *end, *stop = open ? open : s + strlen(s);
		int r;

		while (trim && s < stop && isspace((unsigned char)*s))
			s++;
		trim = open && open[2] == '-' && isspace((unsigned char)open[3]);
		while (trim && stop > s && isspace((unsigned char)stop[-1]))
			stop--;
		if (stop > s && (r = add_piece(t, TEXT, s, stop - s)) < 0)
			return hoy_fail_oom(err);
		if (!open)
			return 0;
		open += 2 + trim;
		end = action_end(open);
		if (!end)
			return hoy_fail(err, EINVAL, "template: unclosed action");
		s = end + 2;
		trim = end > open + 1 && end[-1] == '-' && isspace((unsigned char)end[-2]);
		r = add_action(t, open, end - open - trim);
		if (r < 0)
			return hoy_fail_oom(err);
	}
	return 0;
}

/* Match if/with/range with their else and end. */
static int match(struct hoy_template *t, struct hoy_err *err)
{
	size_t stack[64], n = 0;

	for (size_t i = 0; i < t->n; i++) {
		struct piece *p = &t->pieces[i];

		if (p->kind == IF || p->kind == WITH || p->kind == RANGE) {
			if (n == ARRAY_SIZE(stack))
				return hoy_fail(err, EINVAL, "template: nested too deeply");
			stack[n++] = i;
		} else if (p->kind == ELSE || p->kind == ELSE_IF || p->kind == END) {
			if (!n)
				return hoy_fail(err, EINVAL, "template: unexpected {{%s}}", p->kind == END ? "end" : "else");
			t->pieces[stack[n - 1]].other = i;
			if (p->kind != END) {
				stack[n - 1] = i; /* the chain goes on from here; its end is found by following it */
				continue;
			}
			n--;
		}
	}
	return n ? hoy_fail(err, EINVAL, "template: unexpected EOF, {{end}} is missing") : 0;
}

int hoy_template_new(struct hoy_template **ret, const char *text, struct hoy_err *err)
{
	struct hoy_template *t = calloc(1, sizeof(*t));
	int r = t ? cut(t, text, err) : hoy_fail_oom(err);

	if (!r)
		r = match(t, err);
	if (r < 0)
		hoy_template_free(t);
	else
		*ret = t;
	return r;
}

void hoy_template_free(struct hoy_template *t)
{
	for (size_t i = 0; t && i < t->n; i++)
		free(t->pieces[i].text);
	if (t)
		free(t->pieces);
	free(t);
}
