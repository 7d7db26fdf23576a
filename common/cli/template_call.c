/* common/cli/template_call.c: the functions of templates. */
#include "common/cli/template_in.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

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

static void printf_one(struct tpl *r, struct hoy_buf *b, const char *spec, size_t len, const struct hoy_json *v)
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
		hoy_jw_string(&w, NULL, tpl_text(r, v));
	} else {
		fmt[len - 1] = 's';
		fmt[len] = '\0';
		hoy_buf_printf(b, fmt, tpl_text(r, v));
#pragma GCC diagnostic pop
	}
}

static int do_printf(struct tpl *r, const struct hoy_json **a, int n, const struct hoy_json **ret)
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
			return tpl_fail(r, "printf: verb '%.4s' is not supported", p);
		}
		len++;
		if (at < n)
			printf_one(r, &b, p, len, a[at++]);
		else
			hoy_buf_printf(&b, "%%!%c(MISSING)", p[len - 1]);
		p += len;
	}
	*ret = tpl_take(r, &b);
	return 0;
}

static int do_index(struct tpl *r, const struct hoy_json **a, int n, const struct hoy_json **ret)
{
	const struct hoy_json *v = a[0];

	for (int i = 1; i < n; i++) {
		int64_t at;

		if (v->type == HOY_JSON_OBJECT) {
			const struct hoy_json *m = hoy_json_get(v, tpl_text(r, a[i]));

			v = m ? m : tpl_string(r, "");
		} else if (v->type == HOY_JSON_ARRAY && hoy_json_int64(a[i], &at)) {
			const struct hoy_json *m = v->child;

			if (at < 0 || at >= (int64_t)v->count)
				return tpl_fail(r, "index out of range: %lld", (long long)at);
			while (at-- > 0)
				m = m->next;
			v = m;
		} else {
			return tpl_fail(r, "can't index this value");
		}
	}
	*ret = v;
	return 0;
}

static const struct hoy_json *do_case(struct tpl *r, const char *s, char how)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 20);
	bool first = true;

	for (; *s; s++) {
		hoy_buf_putc(&b, how == 'l' ? (char)tolower((unsigned char)*s) :
					how == 'u' || first ? (char)toupper((unsigned char)*s) : *s);
		first = isspace((unsigned char)*s);
	}
	return tpl_take(r, &b);
}

static const struct hoy_json *do_split(struct tpl *r, const char *s, const char *sep)
{
	struct hoy_json *arr = tpl_list(r);
	size_t len = strlen(sep);

	while (arr && len) {
		const char *at = strstr(s, sep);
		cleanup_free char *part = at ? strndup(s, at - s) : strdup(s);

		if (!part || !hoy_json_set_string(&r->doc, arr, NULL, part))
			return &tpl_null;
		if (!at)
			break;
		s = at + len;
	}
	return arr ? arr : &tpl_null;
}

static const struct hoy_json *do_join(struct tpl *r, const struct hoy_json *list, const char *sep)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 24);

	HOY_JSON_EACH(it, list) {
		if (it != list->child)
			hoy_buf_puts(&b, sep);
		tpl_print(&b, it);
	}
	return tpl_take(r, &b);
}

static int do_slice(struct tpl *r, const struct hoy_json **a, int n, const struct hoy_json **ret)
{
	int64_t from = 0, to = a[0]->type == HOY_JSON_STRING ? (int64_t)a[0]->len : a[0]->count, at = 0;
	struct hoy_json *arr;

	if ((n > 1 && !hoy_json_int64(a[1], &from)) || (n > 2 && !hoy_json_int64(a[2], &to)) || from < 0 || from > to ||
	    to > (a[0]->type == HOY_JSON_STRING ? (int64_t)a[0]->len : (int64_t)a[0]->count))
		return tpl_fail(r, "slice: index out of range");
	if (a[0]->type == HOY_JSON_STRING) {
		struct hoy_buf b = HOY_BUF_INIT(1 << 24);

		hoy_buf_add(&b, a[0]->str + from, to - from);
		*ret = tpl_take(r, &b);
		return 0;
	}
	arr = tpl_list(r);
	HOY_JSON_EACH(it, a[0]) {
		if (arr && at >= from && at < to)
			hoy_json_put(&r->doc, arr, NULL, hoy_json_copy(&r->doc, it));
		at++;
	}
	*ret = arr ? arr : &tpl_null;
	return 0;
}

static const struct hoy_json *do_json(struct tpl *r, const struct hoy_json *v)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 26);
	struct hoy_jw w = hoy_jw_on(&b, NULL);

	hoy_jw_value(&w, NULL, v);
	return tpl_take(r, &b);
}

static const struct hoy_json *do_pad(struct tpl *r, const struct hoy_json **a, int n)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	int64_t before = 0, after = 0;

	if (n > 1)
		hoy_json_int64(a[1], &before);
	if (n > 2)
		hoy_json_int64(a[2], &after);
	hoy_buf_printf(&b, "%*s%s%*s", (int)(before & 0xfff), "", tpl_text(r, a[0]), (int)(after & 0xfff), "");
	return tpl_take(r, &b);
}

static const struct hoy_json *do_print(struct tpl *r, const struct hoy_json **a, int n, bool line)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 24);

	for (int i = 0; i < n; i++) {
		if (i && (line || (a[i]->type != HOY_JSON_STRING && a[i - 1]->type != HOY_JSON_STRING)))
			hoy_buf_putc(&b, ' ');
		tpl_print(&b, a[i]);
	}
	if (line)
		hoy_buf_putc(&b, '\n');
	return tpl_take(r, &b);
}

static int do_eq(struct tpl *r, const struct hoy_json **a, int n, const struct hoy_json **ret)
{
	bool hit = false;

	for (int i = 1; i < n; i++)
		hit = hit || (a[0]->type == a[i]->type && !compare(a[0], a[i]));
	*ret = tpl_bool(r, hit);
	return 0;
}

int tpl_call(struct tpl *r, const char *f, const struct hoy_json **a, int n, const struct hoy_json **ret)
{
	static const struct { const char *name; int least, most; } known[] = {
		{ "json", 1, 1 }, { "join", 2, 2 }, { "lower", 1, 1 }, { "upper", 1, 1 }, { "title", 1, 1 }, { "split", 2, 2 },
		{ "pad", 1, 3 }, { "truncate", 2, 2 }, { "len", 1, 1 }, { "index", 1, TPL_MAX_ARGS }, { "slice", 1, 3 },
		{ "print", 0, TPL_MAX_ARGS }, { "println", 0, TPL_MAX_ARGS }, { "printf", 1, TPL_MAX_ARGS }, { "not", 1, 1 },
		{ "and", 1, TPL_MAX_ARGS }, { "or", 1, TPL_MAX_ARGS }, { "eq", 2, TPL_MAX_ARGS }, { "ne", 2, 2 }, { "lt", 2, 2 },
		{ "le", 2, 2 }, { "gt", 2, 2 }, { "ge", 2, 2 },
	};
	size_t k;
	int64_t max;

	for (k = 0; k < ARRAY_SIZE(known) && strcmp(known[k].name, f); k++)
		;
	if (k == ARRAY_SIZE(known))
		return tpl_fail(r, "function \"%s\" not defined", f);
	if (n < known[k].least || n > known[k].most)
		return tpl_fail(r, "wrong number of args for %s: %d", f, n);
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

		while (i < n - 1 && tpl_truth(a[i]) == IS("and"))
			i++;
		*ret = a[i];
		return 0;
	}
	if (IS("truncate") && hoy_json_int64(a[1], &max)) {
		struct hoy_buf b = HOY_BUF_INIT(1 << 24);

		hoy_buf_printf(&b, "%.*s", (int)max, tpl_text(r, a[0]));
		*ret = tpl_take(r, &b);
		return 0;
	}
	*ret = IS("json") ? do_json(r, a[0]) :
	       IS("join") ? do_join(r, a[0]->type == HOY_JSON_ARRAY ? a[0] : a[1], tpl_text(r, a[0]->type == HOY_JSON_ARRAY ? a[1] : a[0])) :
	       IS("lower") || IS("upper") || IS("title") ? do_case(r, tpl_text(r, a[0]), f[0]) :
	       IS("split") ? do_split(r, tpl_text(r, a[0]), tpl_text(r, a[1])) :
	       IS("pad") ? do_pad(r, a, n) :
	       IS("len") ? tpl_int(r, a[0]->type == HOY_JSON_STRING ? (int64_t)a[0]->len : a[0]->count) :
	       IS("print") || IS("println") ? do_print(r, a, n, IS("println")) :
	       IS("not") ? tpl_bool(r, !tpl_truth(a[0])) :
	       IS("ne") ? tpl_bool(r, a[0]->type != a[1]->type || compare(a[0], a[1])) :
	       IS("lt") ? tpl_bool(r, compare(a[0], a[1]) < 0) :
	       IS("le") ? tpl_bool(r, compare(a[0], a[1]) <= 0) :
	       IS("gt") ? tpl_bool(r, compare(a[0], a[1]) > 0) :
	       IS("ge") ? tpl_bool(r, compare(a[0], a[1]) >= 0) : &tpl_null;
#undef IS
	return 0;
}
