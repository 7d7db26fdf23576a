/* common/cli/template_value.c: the values of templates, which are JSON's, as Go sees and prints them. */
#include "common/cli/template_in.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const struct hoy_json tpl_null = { .type = HOY_JSON_NULL };

struct hoy_json *tpl_list(struct tpl *r)
{
	return hoy_json_new(&r->doc, HOY_JSON_ARRAY);
}

const struct hoy_json *tpl_string(struct tpl *r, const char *s)
{
	struct hoy_json *h = tpl_list(r);
	const struct hoy_json *n = h ? hoy_json_set_string(&r->doc, h, NULL, s) : NULL;

	return n ? n : &tpl_null;
}

const struct hoy_json *tpl_int(struct tpl *r, int64_t v)
{
	struct hoy_json *h = tpl_list(r);
	const struct hoy_json *n = h ? hoy_json_set_int(&r->doc, h, NULL, v) : NULL;

	return n ? n : &tpl_null;
}

const struct hoy_json *tpl_bool(struct tpl *r, bool v)
{
	struct hoy_json *h = tpl_list(r);
	const struct hoy_json *n = h ? hoy_json_set_bool(&r->doc, h, NULL, v) : NULL;

	return n ? n : &tpl_null;
}

bool tpl_truth(const struct hoy_json *v)
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

void tpl_print(struct hoy_buf *out, const struct hoy_json *v)
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
			tpl_print(out, it);
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
			tpl_print(out, it);
			sep = " ";
		}
		hoy_buf_puts(out, strukt ? "}" : "]");
		break;
	}
}

int tpl_fail(struct tpl *r, const char *fmt, ...)
{
	char msg[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	return hoy_fail(r->err, EINVAL, "template: %s", msg);
}

int tpl_field(struct tpl *r, const struct hoy_json *v, const char *name, const struct hoy_json **ret)
{
	const struct hoy_json *n = hoy_json_get(v, name);

	if (!n && hoy_json_is(v, HOY_JSON_OBJECT))
		HOY_JSON_EACH(it, v)
			if (!strcasecmp(it->key, name))
				n = it;
	if (!n && hoy_json_is(v, HOY_JSON_OBJECT) && !is_struct(v)) {
		*ret = tpl_string(r, "<no value>");
		return 0;
	}
	if (!n && v->type == HOY_JSON_NULL)
		return tpl_fail(r, "nil value has no field '%s'", name);
	if (!n)
		return tpl_fail(r, "can't evaluate field %s", name);
	*ret = n;
	return 0;
}

const char *tpl_text(struct tpl *r, const struct hoy_json *v)
{
	struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	const struct hoy_json *s;

	if (v->type == HOY_JSON_STRING)
		return v->str;
	tpl_print(&b, v);
	s = tpl_string(r, hoy_buf_str(&b));
	hoy_buf_release(&b);
	return s->str ? s->str : "";
}

const struct hoy_json *tpl_take(struct tpl *r, struct hoy_buf *b)
{
	const struct hoy_json *v = tpl_string(r, hoy_buf_str(b));

	hoy_buf_release(b);
	return v;
}
