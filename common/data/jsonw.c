/* common/data/jsonw.c: the writing half of common/data/json.h; spelling as Go's encoding/json. */
#include <assert.h>
#include <string.h>

#include "common/base/strv.h"
#include "common/data/json.h"

static void newline(struct hoy_jw *w)
{
	if (!w->indent)
		return;
	hoy_buf_putc(w->out, '\n');
	for (int i = 0; i < w->depth; i++)
		hoy_buf_puts(w->out, w->indent);
}

/* Length of the valid UTF-8 sequence at S (at most LEFT bytes), or 0. */
static size_t utf8_len(const unsigned char *s, size_t left)
{
	size_t n = *s < 0xc2 ? 0 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : *s < 0xf5 ? 4 : 0;

	if (!n || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) || (*s == 0xf0 && s[1] < 0x90) ||
	    (*s == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

static void quote(struct hoy_jw *w, const char *str, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *s = (const unsigned char *)str, *end = s + len, *run = s;

	hoy_buf_putc(w->out, '"');
	while (s < end) {
		char esc[8] = "";
		size_t n = 1;

		if (*s == '"' || *s == '\\')
			snprintf(esc, sizeof(esc), "\\%c", *s);
		else if (*s == '\n' || *s == '\r' || *s == '\t' || *s == '\b' || *s == '\f')
			snprintf(esc, sizeof(esc), "\\%c", "btn\0fr"[*s - '\b']);
		else if (*s < 0x20 || (w->html && (*s == '<' || *s == '>' || *s == '&')))
			snprintf(esc, sizeof(esc), "\\u00%c%c", hex[*s >> 4], hex[*s & 15]);
		else if (*s >= 0x80) {
			n = utf8_len(s, end - s);
			if (!n) {
				n = 1;
				strcpy(esc, "\\ufffd");
			} else if (n == 3 && s[0] == 0xe2 && s[1] == 0x80 && (s[2] & 0xfe) == 0xa8)
				snprintf(esc, sizeof(esc), "\\u202%c", hex[s[2] & 15]);
		}
		if (esc[0]) {
			hoy_buf_add(w->out, run, s - run);
			hoy_buf_puts(w->out, esc);
			run = s + n;
		}
		s += n;
	}
	hoy_buf_add(w->out, run, s - run);
	hoy_buf_putc(w->out, '"');
}

static void lead(struct hoy_jw *w, const char *key)
{
	if (w->depth) {
		if (w->some[w->depth])
			hoy_buf_putc(w->out, ',');
		w->some[w->depth] = true;
		newline(w);
	}
	if (key) {
		quote(w, key, strlen(key));
		hoy_buf_puts(w->out, w->indent ? ": " : ":");
	}
}

static void open_with(struct hoy_jw *w, const char *key, char c)
{
	lead(w, key);
	hoy_buf_putc(w->out, c);
	assert(w->depth + 1 < (int)ARRAY_SIZE(w->some));
	w->some[++w->depth] = false;
}

static void close_with(struct hoy_jw *w, char c)
{
	bool some = w->some[w->depth--];

	if (some)
		newline(w);
	hoy_buf_putc(w->out, c);
}

void hoy_jw_object(struct hoy_jw *w, const char *key) { open_with(w, key, '{'); }
void hoy_jw_array(struct hoy_jw *w, const char *key) { open_with(w, key, '['); }
void hoy_jw_end_object(struct hoy_jw *w) { close_with(w, '}'); }
void hoy_jw_end_array(struct hoy_jw *w) { close_with(w, ']'); }

void hoy_jw_stringn(struct hoy_jw *w, const char *key, const char *value, size_t len)
{
	lead(w, key);
	quote(w, value, len);
}

void hoy_jw_string(struct hoy_jw *w, const char *key, const char *value)
{
	hoy_jw_stringn(w, key, value ? value : "", value ? strlen(value) : 0);
}

void hoy_jw_string_opt(struct hoy_jw *w, const char *key, const char *value)
{
	if (value && *value)
		hoy_jw_string(w, key, value);
}

void hoy_jw_int(struct hoy_jw *w, const char *key, int64_t value)
{
	lead(w, key);
	hoy_buf_printf(w->out, "%lld", (long long)value);
}

void hoy_jw_uint(struct hoy_jw *w, const char *key, uint64_t value)
{
	lead(w, key);
	hoy_buf_printf(w->out, "%llu", (unsigned long long)value);
}

void hoy_jw_bool(struct hoy_jw *w, const char *key, bool value)
{
	hoy_jw_raw(w, key, value ? "true" : "false");
}

void hoy_jw_null(struct hoy_jw *w, const char *key)
{
	hoy_jw_raw(w, key, "null");
}

void hoy_jw_raw(struct hoy_jw *w, const char *key, const char *json)
{
	lead(w, key);
	hoy_buf_puts(w->out, json);
}

void hoy_jw_strings(struct hoy_jw *w, const char *key, char *const *v, size_t n)
{
	hoy_jw_array(w, key);
	for (size_t i = 0; i < n; i++)
		hoy_jw_string(w, NULL, v[i]);
	hoy_jw_end_array(w);
}

void hoy_jw_value(struct hoy_jw *w, const char *key, const struct hoy_json *v)
{
	switch (v ? v->type : HOY_JSON_NULL) {
	case HOY_JSON_NULL:
		hoy_jw_null(w, key);
		break;
	case HOY_JSON_BOOL:
		hoy_jw_bool(w, key, v->boolean);
		break;
	case HOY_JSON_NUMBER:
		hoy_jw_raw(w, key, v->str);
		break;
	case HOY_JSON_STRING:
		hoy_jw_stringn(w, key, v->str, v->len);
		break;
	case HOY_JSON_ARRAY:
		hoy_jw_array(w, key);
		HOY_JSON_EACH(it, v)
			hoy_jw_value(w, NULL, it);
		hoy_jw_end_array(w);
		break;
	case HOY_JSON_OBJECT:
		hoy_jw_object(w, key);
		HOY_JSON_EACH(it, v)
			hoy_jw_value(w, it->key, it);
		hoy_jw_end_object(w);
		break;
	}
}

void hoy_jw_sorted(struct hoy_jw *w, const char *key, const struct hoy_json *obj)
{
	cleanup_strv struct hoy_strv keys = HOY_STRV_INIT;

	HOY_JSON_EACH(it, obj)
		hoy_strv_push(&keys, it->key);
	hoy_strv_sort(&keys);
	if (keys.error)
		w->out->error = keys.error;
	hoy_jw_object(w, key);
	for (size_t i = 0; i < keys.n; i++)
		hoy_jw_value(w, keys.v[i], hoy_json_get(obj, keys.v[i]));
	hoy_jw_end_object(w);
}
