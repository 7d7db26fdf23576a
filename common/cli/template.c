#include "common/cli/template.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/err.h"
#include "common/cli/table.h"

/*
 * The text is walked again at each evaluation: templates are short, and a range runs over few rows. Actions are cut
 * into pieces once, so that if/range/end can be matched.
 */
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

#define MAX_VARS 32
struct run {
	struct hoy_template *t;
	struct hoy_json_doc doc; /* computed values */
	struct { char name[32]; const struct hoy_json *value; } vars[MAX_VARS];
	int n_vars, depth;
	const struct hoy_json *root;
	struct hoy_buf *out;
	struct hoy_err *err;
};

/* ---- cutting ---- */

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

/* ---- values ---- */

static const struct hoy_json null_value = { .type = HOY_JSON_NULL };

/* Holds an array or object for its elements. */
static struct hoy_json *holder(struct run *r)
{
	return hoy_json_new(&r->doc, HOY_JSON_ARRAY);
}

static const struct hoy_json *make_string(struct run *r, const char *s)
{
	struct hoy_json *h = holder(r);
	const struct hoy_json *n = h ? hoy_json_set_string(&r->doc, h, NULL, s) : NULL;

	return n ? n : &null_value;
}

static const struct hoy_json *make_int(struct run *r, int64_t v)
{
	struct hoy_json *h = holder(r);
	const struct hoy_json *n = h ? hoy_json_set_int(&r->doc, h, NULL, v) : NULL;

	return n ? n : &null_value;
}

static const struct hoy_json *make_bool(struct run *r, bool v)
{
	struct hoy_json *h = holder(r);
	const struct hoy_json *n = h ? hoy_json_set_bool(&r->doc, h, NULL, v) : NULL;

	return n ? n : &null_value;
}

static bool truth(const struct hoy_json *v)
{
	switch (v->type) {
	case HOY_JSON_NULL:
		return false;
	case HOY_JSON_BOOL:
		return v->boolean;
	case HOY_JSON_NUMBER:
		return strtod(v->str, NULL) != 0;
	case HOY_JSON_STRING:
		return v->len > 0;
	default:
		return v->count > 0;
	}
}

/* JSON does not tell structs from maps: our structs have Go names, which begin with a capital letter. */
static bool is_struct(const struct hoy_json *v)
{
	HOY_JSON_EACH(it, v)
		if (!isupper((unsigned char)it->key[0]))
			return false;
	return v->count > 0;
}

static void print_value(struct hoy_buf *out, const struct hoy_json *v)
{
	const char *sep = "";
	bool strukt;

	switch (v->type) {
	case HOY_JSON_NULL:
		hoy_buf_puts(out, "<nil>");
		break;
	case HOY_JSON_BOOL:
		hoy_buf_puts(out, v->boolean ? "true" : "false");
		break;
	case HOY_JSON_NUMBER:
	case HOY_JSON_STRING:
		hoy_buf_add(out, v->str, v->len);
		break;
	case HOY_JSON_ARRAY:
		hoy_buf_putc(out, '[');
		HOY_JSON_EACH(it, v) {
			hoy_buf_puts(out, sep);
			print_value(out, it);
			sep = " ";
		}
		hoy_buf_putc(out, ']');
		break;
	case HOY_JSON_OBJECT:
		strukt = is_struct(v);
		hoy_buf_puts(out, strukt ? "{" : "map[");
		HOY_JSON_EACH(it, v) {
			hoy_buf_puts(out, sep);
			if (!strukt)
				hoy_buf_printf(out, "%s:", it->key);
			print_value(out, it);
			sep = " ";
		}
		hoy_buf_puts(out, strukt ? "}" : "]");
		break;
	}
}

static int fail(struct run *r, const char *fmt, ...) HOY_PRINTF(2, 3);
static int fail(struct run *r, const char *fmt, ...)
{
	char msg[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	return hoy_fail(r->err, EINVAL, "template: %s", msg);
}

static int field(struct run *r, const struct hoy_json *v, const char *name, const struct hoy_json **ret)
{
	const struct hoy_json *n = hoy_json_get(v, name);

	if (!n && hoy_json_is(v, HOY_JSON_OBJECT))
		HOY_JSON_EACH(it, v)
			if (!strcasecmp(it->key, name))
				n = it;
	if (!n && hoy_json_is(v, HOY_JSON_OBJECT) && !is_struct(v)) {
		*ret = make_string(r, "<no value>");
		return 0;
	}
	if (!n && v->type == HOY_JSON_NULL)
		return fail(r, "nil value has no field '%s'", name);
	if (!n)
		return fail(r, "can't evaluate field %s", name);
	*ret = n;
	return 0;
}

/* ---- expressions ---- */

struct lex {
	const char *p;
};

static void skip(struct lex *l)
{
	while (isspace((unsigned char)*l->p))
		l->p++;
}

static int pipeline(struct run *r, struct lex *l, const struct hoy_json *dot, const struct hoy_json **ret);

static bool name_char(char c) { return isalnum((unsigned char)c) || c == '_'; }

static void take_name(struct lex *l, char *buf, size_t size)
{
	size_t n = 0;

	while (name_char(*l->p)) {
		if (n + 1 < size)
			buf[n++] = *l->p;
		l->p++;
	}
	buf[n] = '\0';
}

static int quoted(struct run *r, struct lex *l, const struct hoy_json **ret)
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
		return fail(r, "unterminated string");
	l->p++;
	*ret = make_string(r, hoy_buf_str(&b));
	return 0;
}

static int chain(struct run *r, struct lex *l, const struct hoy_json **v)
{
	char name[128];

	while (l->p[0] == '.' && (name_char(l->p[1]))) {
		int e;

		l->p++;
		take_name(l, name, sizeof(name));
		e = field(r, *v, name, v);
		if (e < 0)
			return e;
	}
	return 0;
}

static int variable(struct run *r, struct lex *l, const struct hoy_json **ret)
{
	char name[32];

	l->p++;
	take_name(l, name, sizeof(name));
	if (!*name) {
		*ret = r->root;
		return chain(r, l, ret);
	}
	for (int i = r->n_vars; i-- > 0;)
		if (!strcmp(r->vars[i].name, name)) {
			*ret = r->vars[i].value;
			return chain(r, l, ret);
		}
	return fail(r, "undefined variable \"$%s\"", name);
}

#define MAX_ARGS 12

/* A constant, field, variable or parenthesised pipeline; 1 if there is none here. */
static int operand(struct run *r, struct lex *l, const struct hoy_json *dot, const struct hoy_json **ret)
{
	char name[64];
	int e;

	skip(l);
	if (*l->p == '.') {
		*ret = dot;
		if (!name_char(l->p[1])) {
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
			return fail(r, "nested too deeply");
		e = pipeline(r, l, dot, ret);
		r->depth--;
		skip(l);
		if (!e && *l->p != ')')
			return fail(r, "unclosed left paren");
		if (e)
			return e;
		l->p++;
		return chain(r, l, ret);
	}
	if (isdigit((unsigned char)*l->p) || (*l->p == '-' && isdigit((unsigned char)l->p[1]))) {
		char *end;
		long long v = strtoll(l->p, &end, 0);

		l->p = end;
		*ret = make_int(r, v);
		return 0;
	}
	if (isalpha((unsigned char)*l->p)) {
		const char *back = l->p;

		take_name(l, name, sizeof(name));
		if (!strcmp(name, "true") || !strcmp(name, "false")) {
			*ret = make_bool(r, name[0] == 't');
			return 0;
		}
		if (!strcmp(name, "nil")) {
			*ret = &null_value;
			return 0;
		}
		l->p = back;
	}
	return 1;
}

static int compare(const struct hoy_json *a, const struct hoy_json *b)
{
	if (a->type == HOY_JSON_NUMBER && b->type == HOY_JSON_NUMBER) {
		double x = strtod(a->str, NULL), y = strtod(b->str, NULL);

		return x < y ? -1 : x > y;
	}
	if (a->type == HOY_JSON_BOOL && b->type == HOY_JSON_BOOL)
		return a->boolean - b->boolean;
	return strcmp(a->str ? a->str : "", b->str ? b->str : "");
}

static const char *text_of(struct run *r, const struct hoy_json *v)
{
	struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	const struct hoy_json *s;

	if (v->type == HOY_JSON_STRING)
		return v->str;
	print_value(&b, v);
	s = make_string(r, hoy_buf_str(&b));
	hoy_buf_release(&b);
	return s->str ? s->str : "";
}

static const struct hoy_json *take_buf(struct run *r, struct hoy_buf *b)
{
	const struct hoy_json *v = make_string(r, hoy_buf_str(b));

	hoy_buf_release(b);
	return v;
}

static void printf_one(struct run *r, struct hoy_buf *b, const char *spec, size_t len, const struct hoy_json *v)
{
	char fmt[32], conv = spec[len - 1];

	if (len > sizeof(fmt) - 4)
		return;
	memcpy(fmt, spec, len - 1);
	if (conv == 'd' || conv == 'x' || conv == 'o') {
		strcpy(fmt + len - 1, "ll");
		fmt[len + 1] = conv;
		fmt[len + 2] = '\0';
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		hoy_buf_printf(b, fmt, v->str ? strtoll(v->str, NULL, 10) : 0LL);
	} else if (conv == 'f' || conv == 'g' || conv == 'e') {
		fmt[len - 1] = conv;
		fmt[len] = '\0';
		hoy_buf_printf(b, fmt, v->str ? strtod(v->str, NULL) : 0.0);
	} else if (conv == 'q') {
		struct hoy_jw w = hoy_jw_on(b, NULL);

		w.html = false;
		hoy_jw_string(&w, NULL, text_of(r, v));
	} else {
		fmt[len - 1] = 's';
		fmt[len] = '\0';
		hoy_buf_printf(b, fmt, text_of(r, v));
#pragma GCC diagnostic pop
	}
}

static int do_printf(struct run *r, const struct hoy_json **a, int n, const struct hoy_json **ret)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 20);
	int at = 1;

	for (const char *p = a[0]->str ? a[0]->str : ""; *p;) {
		size_t len;

		if (*p != '%') {
			hoy_buf_putc(&b, *p++);
			continue;
		}
		if (p[1] == '%') {
			hoy_buf_putc(&b, '%');
			p += 2;
			continue;
		}
		len = 1 + strspn(p + 1, "-+ #0123456789.");
		if (!p[len] || !strchr("sdvqtfxoge", p[len]) || len > 12) {
			hoy_buf_release(&b);
			return fail(r, "printf: verb '%.4s' is not supported", p);
		}
		len++;
		if (at < n)
			printf_one(r, &b, p, len, a[at++]);
		else
			hoy_buf_printf(&b, "%%!%c(MISSING)", p[len - 1]);
		p += len;
	}
	*ret = take_buf(r, &b);
	return 0;
}

static int do_index(struct run *r, const struct hoy_json **a, int n, const struct hoy_json **ret)
{
	const struct hoy_json *v = a[0];

	for (int i = 1; i < n; i++) {
		int64_t at;

		if (v->type == HOY_JSON_OBJECT) {
			const struct hoy_json *m = hoy_json_get(v, text_of(r, a[i]));

			v = m ? m : make_string(r, "");
		} else if (v->type == HOY_JSON_ARRAY && hoy_json_int64(a[i], &at)) {
			const struct hoy_json *m = v->child;

			if (at < 0 || at >= (int64_t)v->count)
				return fail(r, "index out of range: %lld", (long long)at);
			while (at-- > 0)
				m = m->next;
			v = m;
		} else {
			return fail(r, "can't index this value");
		}
	}
	*ret = v;
	return 0;
}

static const struct hoy_json *do_case(struct run *r, const char *s, char how)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 20);
	bool first = true;

	for (; *s; s++) {
		hoy_buf_putc(&b, how == 'l' ? (char)tolower((unsigned char)*s) :
					how == 'u' || first ? (char)toupper((unsigned char)*s) : *s);
		first = isspace((unsigned char)*s);
	}
	return take_buf(r, &b);
}

static const struct hoy_json *do_split(struct run *r, const char *s, const char *sep)
{
	struct hoy_json *arr = holder(r);
	size_t len = strlen(sep);

	while (arr && len) {
		const char *at = strstr(s, sep);
		cleanup_free char *part = at ? strndup(s, at - s) : strdup(s);

		if (!part || !hoy_json_set_string(&r->doc, arr, NULL, part))
			return &null_value;
		if (!at)
			break;
		s = at + len;
	}
	return arr ? arr : &null_value;
}

static const struct hoy_json *do_join(struct run *r, const struct hoy_json *list, const char *sep)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 24);

	HOY_JSON_EACH(it, list) {
		if (it != list->child)
			hoy_buf_puts(&b, sep);
		print_value(&b, it);
	}
	return take_buf(r, &b);
}

static int do_slice(struct run *r, const struct hoy_json **a, int n, const struct hoy_json **ret)
{
	int64_t from = 0, to = a[0]->type == HOY_JSON_STRING ? (int64_t)a[0]->len : a[0]->count, at = 0;
	struct hoy_json *arr;

	if ((n > 1 && !hoy_json_int64(a[1], &from)) || (n > 2 && !hoy_json_int64(a[2], &to)) || from < 0 || from > to ||
	    to > (a[0]->type == HOY_JSON_STRING ? (int64_t)a[0]->len : (int64_t)a[0]->count))
		return fail(r, "slice: index out of range");
	if (a[0]->type == HOY_JSON_STRING) {
		struct hoy_buf b = HOY_BUF_INIT(1 << 24);

		hoy_buf_add(&b, a[0]->str + from, to - from);
		*ret = take_buf(r, &b);
		return 0;
	}
	arr = holder(r);
	HOY_JSON_EACH(it, a[0]) {
		if (arr && at >= from && at < to)
			hoy_json_put(&r->doc, arr, NULL, hoy_json_copy(&r->doc, it));
		at++;
	}
	*ret = arr ? arr : &null_value;
	return 0;
}

static const struct hoy_json *do_json(struct run *r, const struct hoy_json *v)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 26);
	struct hoy_jw w = hoy_jw_on(&b, NULL);

	hoy_jw_value(&w, NULL, v);
	return take_buf(r, &b);
}

static const struct hoy_json *do_pad(struct run *r, const struct hoy_json **a, int n)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	int64_t before = 0, after = 0;

	if (n > 1)
		hoy_json_int64(a[1], &before);
	if (n > 2)
		hoy_json_int64(a[2], &after);
	hoy_buf_printf(&b, "%*s%s%*s", (int)(before & 0xfff), "", text_of(r, a[0]), (int)(after & 0xfff), "");
	return take_buf(r, &b);
}

static const struct hoy_json *do_print(struct run *r, const struct hoy_json **a, int n, bool line)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 24);

	for (int i = 0; i < n; i++) {
		if (i && (line || (a[i]->type != HOY_JSON_STRING && a[i - 1]->type != HOY_JSON_STRING)))
			hoy_buf_putc(&b, ' ');
		print_value(&b, a[i]);
	}
	if (line)
		hoy_buf_putc(&b, '\n');
	return take_buf(r, &b);
}

static int do_eq(struct run *r, const struct hoy_json **a, int n, const struct hoy_json **ret)
{
	bool hit = false;

	for (int i = 1; i < n; i++)
		hit = hit || (a[0]->type == a[i]->type && !compare(a[0], a[i]));
	*ret = make_bool(r, hit);
	return 0;
}

static int call(struct run *r, const char *f, const struct hoy_json **a, int n, const struct hoy_json **ret)
{
	static const struct { const char *name; int least, most; } known[] = {
		{ "json", 1, 1 }, { "join", 2, 2 }, { "lower", 1, 1 }, { "upper", 1, 1 }, { "title", 1, 1 }, { "split", 2, 2 },
		{ "pad", 1, 3 }, { "truncate", 2, 2 }, { "len", 1, 1 }, { "index", 1, MAX_ARGS }, { "slice", 1, 3 },
		{ "print", 0, MAX_ARGS }, { "println", 0, MAX_ARGS }, { "printf", 1, MAX_ARGS }, { "not", 1, 1 },
		{ "and", 1, MAX_ARGS }, { "or", 1, MAX_ARGS }, { "eq", 2, MAX_ARGS }, { "ne", 2, 2 }, { "lt", 2, 2 },
		{ "le", 2, 2 }, { "gt", 2, 2 }, { "ge", 2, 2 },
	};
	size_t k;
	int64_t max;

	for (k = 0; k < ARRAY_SIZE(known) && strcmp(known[k].name, f); k++)
		;
	if (k == ARRAY_SIZE(known))
		return fail(r, "function \"%s\" not defined", f);
	if (n < known[k].least || n > known[k].most)
		return fail(r, "wrong number of args for %s: %d", f, n);
#define IS(s) (!strcmp(f, s))
	if (IS("printf"))
		return do_printf(r, a, n, ret);
	if (IS("index"))
		return do_index(r, a, n, ret);
	if (IS("slice"))
		return do_slice(r, a, n, ret);
	if (IS("eq"))
		return do_eq(r, a, n, ret);
	if (IS("and") || IS("or")) {
		int i = 0;

		while (i < n - 1 && truth(a[i]) == IS("and"))
			i++;
		*ret = a[i];
		return 0;
	}
	if (IS("truncate") && hoy_json_int64(a[1], &max)) {
		struct hoy_buf b = HOY_BUF_INIT(1 << 24);

		hoy_buf_printf(&b, "%.*s", (int)max, text_of(r, a[0]));
		*ret = take_buf(r, &b);
		return 0;
	}
	*ret = IS("json") ? do_json(r, a[0]) :
	       IS("join") ? do_join(r, a[0]->type == HOY_JSON_ARRAY ? a[0] : a[1], text_of(r, a[0]->type == HOY_JSON_ARRAY ? a[1] : a[0])) :
	       IS("lower") || IS("upper") || IS("title") ? do_case(r, text_of(r, a[0]), f[0]) :
	       IS("split") ? do_split(r, text_of(r, a[0]), text_of(r, a[1])) :
	       IS("pad") ? do_pad(r, a, n) :
	       IS("len") ? make_int(r, a[0]->type == HOY_JSON_STRING ? (int64_t)a[0]->len : a[0]->count) :
	       IS("print") || IS("println") ? do_print(r, a, n, IS("println")) :
	       IS("not") ? make_bool(r, !truth(a[0])) :
	       IS("ne") ? make_bool(r, a[0]->type != a[1]->type || compare(a[0], a[1])) :
	       IS("lt") ? make_bool(r, compare(a[0], a[1]) < 0) :
	       IS("le") ? make_bool(r, compare(a[0], a[1]) <= 0) :
	       IS("gt") ? make_bool(r, compare(a[0], a[1]) > 0) :
	       IS("ge") ? make_bool(r, compare(a[0], a[1]) >= 0) : &null_value;
#undef IS
	return 0;
}

/* One command of a pipeline; PIPED, if any, becomes its last argument. */
static int command(struct run *r, struct lex *l, const struct hoy_json *dot, const struct hoy_json *piped,
		   const struct hoy_json **ret)
{
	const struct hoy_json *args[MAX_ARGS + 1];
	char name[64] = "";
	int n = 0, e;

	skip(l);
	if (isalpha((unsigned char)*l->p)) {
		const char *back = l->p;

		take_name(l, name, sizeof(name));
		if (!strcmp(name, "true") || !strcmp(name, "false") || !strcmp(name, "nil")) {
			l->p = back;
			name[0] = '\0';
		}
	}
	while (n < MAX_ARGS && (e = operand(r, l, dot, &args[n])) != 1) {
		if (e < 0)
			return e;
		n++;
	}
	if (piped)
		args[n++] = piped;
	if (*name)
		return call(r, name, args, n, ret);
	if (n != 1)
		return n ? fail(r, "can't give argument to non-function") : fail(r, "missing value for command");
	*ret = args[0];
	return 0;
}

static int pipeline(struct run *r, struct lex *l, const struct hoy_json *dot, const struct hoy_json **ret)
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
	take_name(&try, name, size);
	skip(&try);
	if (*try.p == ',') {
		try.p++;
		skip(&try);
		if (*try.p++ != '$')
			return false;
		take_name(&try, second, second_size);
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

static int set_var(struct run *r, const char *name, const struct hoy_json *v)
{
	if (r->n_vars == MAX_VARS)
		return fail(r, "more than %d variables", MAX_VARS);
	snprintf(r->vars[r->n_vars].name, sizeof(r->vars[0].name), "%s", name);
	r->vars[r->n_vars++].value = v;
	return 0;
}

static int evaluate(struct run *r, const char *text, const struct hoy_json *dot, const struct hoy_json **ret, bool *silent,
		    char vars[2][32])
{
	struct lex l = { text };
	int e;

	*silent = assignment(&l, vars[0], 32, vars[1], 32);
	e = pipeline(r, &l, dot, ret);
	if (!e && *l.p)
		return fail(r, "unexpected \"%.20s\" in action", l.p);
	return e;
}

static int block(struct run *r, size_t from, size_t to, const struct hoy_json *dot);

/* The index of the piece that closes the chain beginning at I. */
static size_t chain_end(const struct hoy_template *t, size_t i)
{
	while (t->pieces[i].kind != END)
		i = t->pieces[i].other;
	return i;
}

static int do_range(struct run *r, size_t i, const struct hoy_json *v, const struct hoy_json *dot, char vars[2][32])
{
	size_t other = r->t->pieces[i].other;
	int e = 0, n = r->n_vars, at = 0;

	if (!truth(v) || (v->type != HOY_JSON_ARRAY && v->type != HOY_JSON_OBJECT)) {
		if (truth(v))
			return fail(r, "range can't iterate over this value");
		return r->t->pieces[other].kind == END ? 0 : block(r, other + 1, chain_end(r->t, other), dot);
	}
	HOY_JSON_EACH(it, v) {
		const struct hoy_json *key = v->type == HOY_JSON_OBJECT ? make_string(r, it->key) : make_int(r, at);

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
static int control(struct run *r, size_t i, const struct hoy_json *dot)
{
	struct piece *p = &r->t->pieces[i];
	const struct hoy_json *v = &null_value;
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
	if (!e && truth(v))
		e = block(r, i + 1, p->other, p->kind == WITH ? v : dot);
	else if (!e)
		e = control(r, p->other, dot);
	r->n_vars = n;
	return e;
}

static int block(struct run *r, size_t from, size_t to, const struct hoy_json *dot)
{
	int e = 0;

	if (++r->depth > 50)
		return fail(r, "nested too deeply");
	for (size_t i = from; i < to && !e; i++) {
		struct piece *p = &r->t->pieces[i];
		const struct hoy_json *v = &null_value;
		char vars[2][32] = { "", "" };
		bool silent = false;

		if (p->kind == TEXT) {
			hoy_buf_puts(r->out, p->text);
		} else if (p->kind == ACTION) {
			e = evaluate(r, p->text, dot, &v, &silent, vars);
			if (!e && silent)
				e = set_var(r, vars[0], v);
			else if (!e)
				print_value(r->out, v);
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
	struct run r = { .t = t, .root = dot, .out = out, .err = err };
	int e = block(&r, 0, t->n, dot);

	hoy_json_release(&r.doc);
	return e ? e : out->error ? hoy_fail_oom(err) : 0;
}

/* ---- lists ---- */

/* \t and \n as typed in a shell's single quotes. */
static char *unescape(const char *s)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 16);

	for (; *s; s++) {
		if (s[0] == '\\' && (s[1] == 't' || s[1] == 'n'))
			hoy_buf_putc(&b, *++s == 't' ? '\t' : '\n');
		else
			hoy_buf_putc(&b, *s);
	}
	hoy_buf_puts(&b, "");
	return hoy_buf_steal(&b);
}

static const char *heading(const char *const *headers, const char *name, char *buf, size_t size)
{
	size_t i;

	for (; headers && headers[0]; headers += 2)
		if (!strcmp(headers[0], name))
			return headers[1];
	for (i = 0; name[i] && i + 1 < size; i++)
		buf[i] = (char)toupper((unsigned char)name[i]);
	buf[i] = '\0';
	return buf;
}

/* The header row of a table template: each action replaced by the heading of the field it begins with. */
static void header_row(const struct hoy_template *t, const char *const *headers, struct hoy_buf *out)
{
	for (size_t i = 0; i < t->n; i++) {
		const char *dot = t->pieces[i].kind == TEXT ? NULL : strchr(t->pieces[i].text, '.');
		char name[64], up[64];
		struct lex l = { dot ? dot + 1 : "" };

		if (t->pieces[i].kind == TEXT)
			hoy_buf_puts(out, t->pieces[i].text);
		else if (dot) {
			take_name(&l, name, sizeof(name));
			hoy_buf_puts(out, heading(headers, name, up, sizeof(up)));
		}
	}
}

/* Lines of tab-separated cells become an aligned table. */
static int align(struct hoy_buf *text)
{
	struct hoy_grid g = { 1, HOY_STRV_INIT };
	cleanup_strv struct hoy_strv lines = HOY_STRV_INIT;

	hoy_strv_split(&lines, hoy_buf_str(text), '\n');
	for (const char *p = lines.n ? lines.v[0] : ""; *p; p++)
		g.ncols += *p == '\t';
	for (size_t i = 0; i < lines.n; i++) {
		cleanup_strv struct hoy_strv cells = HOY_STRV_INIT;

		if (!*lines.v[i] && i + 1 == lines.n)
			break;
		hoy_strv_split(&cells, lines.v[i], '\t');
		for (size_t c = 0; c < g.ncols; c++)
			hoy_grid_add(&g, c < cells.n ? cells.v[c] : "");
	}
	hoy_grid_print(&g, true);
	hoy_grid_release(&g);
	return 0;
}

int hoy_format_rows(const char *format, const struct hoy_json *rows, const char *const *headers, bool noheading,
		    struct hoy_err *err)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS);
	bool table = !strncmp(format, "table", 5) && (isspace((unsigned char)format[5]) || format[5] == '\\');
	cleanup_free char *text = unescape(format);
	const char *body = text;
	struct hoy_template *t = NULL;
	int r;

	if (!text)
		return hoy_fail_oom(err);
	if (table)
		for (body += 5; isspace((unsigned char)*body); body++)
			;
	r = hoy_template_new(&t, body, err);
	if (r < 0)
		return r;
	if (table && !noheading) {
		header_row(t, headers, &out);
		hoy_buf_putc(&out, '\n');
	}
	HOY_JSON_EACH(row, rows) {
		r = hoy_template_eval(t, row, &out, err);
		if (r < 0)
			break;
		hoy_buf_putc(&out, '\n');
	}
	hoy_template_free(t);
	if (r < 0)
		return r;
	if (table)
		return align(&out);
	fwrite(hoy_buf_str(&out), 1, out.len, stdout);
	return 0;
}

int hoy_format_inspect(const char *format, const struct hoy_buf *rows, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	int r;

	if (rows->error)
		return hoy_fail_oom(err);
	if (!format || !strcmp(format, "json")) {
		puts(hoy_buf_str(rows));
		return 0;
	}
	r = hoy_json_parse(&doc, rows->data, rows->len, "inspect", err);
	return r < 0 ? r : hoy_format_rows(format, doc.root, NULL, false, err);
}
