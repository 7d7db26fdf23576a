#include "common/base/strv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"

void hoy_strv_release(struct hoy_strv *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s->v);
	*s = (struct hoy_strv)HOY_STRV_INIT;
}

static bool grow(struct hoy_strv *s)
{
	size_t cap = s->cap ? s->cap * 2 : 8;
	char **v;

	if (s->error)
		return false;
	if (s->n + 2 <= s->cap)
		return true;
	v = reallocarray(s->v, cap, sizeof(*v));
	if (!v) {
		s->error = ENOMEM;
		return false;
	}
	s->v = v;
	s->cap = cap;
	return true;
}

void hoy_strv_take(struct hoy_strv *s, char *str)
{
	if (!str)
		s->error = ENOMEM;
	if (!grow(s)) {
		free(str);
		return;
	}
	s->v[s->n++] = str;
	s->v[s->n] = NULL;
}

void hoy_strv_push(struct hoy_strv *s, const char *str)
{
	hoy_strv_take(s, strdup(str));
}

void hoy_strv_pushn(struct hoy_strv *s, const char *str, size_t len)
{
	hoy_strv_take(s, strndup(str, len));
}

void hoy_strv_pushf(struct hoy_strv *s, const char *fmt, ...)
{
	struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	va_list ap;
	char *str;

	va_start(ap, fmt);
	hoy_buf_vprintf(&b, fmt, ap);
	va_end(ap);
	str = hoy_buf_steal(&b);
	if (!str)
		hoy_buf_release(&b);
	hoy_strv_take(s, str);
}

void hoy_strv_insert(struct hoy_strv *s, size_t at, const char *str)
{
	char *last;

	hoy_strv_push(s, str);
	if (s->error)
		return;
	last = s->v[s->n - 1];
	memmove(s->v + at + 1, s->v + at, (s->n - 1 - at) * sizeof(*s->v));
	s->v[at] = last;
}

void hoy_strv_remove(struct hoy_strv *s, size_t at)
{
	free(s->v[at]);
	memmove(s->v + at, s->v + at + 1, (s->n - at) * sizeof(*s->v));
	s->n--;
}

long hoy_strv_find(const struct hoy_strv *s, const char *str)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->v[i], str))
			return (long)i;
	return -1;
}

void hoy_strv_split(struct hoy_strv *s, const char *str, char sep)
{
	const char *end;

	if (!*str)
		return;
	for (; (end = strchr(str, sep)); str = end + 1)
		hoy_strv_pushn(s, str, end - str);
	hoy_strv_push(s, str);
}

static long env_find(const struct hoy_strv *s, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < s->n; i++)
		if (!strncmp(s->v[i], key, len) && (s->v[i][len] == '=' || !s->v[i][len]))
			return (long)i;
	return -1;
}

const char *hoy_env_get(const struct hoy_strv *s, const char *key)
{
	long i = env_find(s, key);
	const char *eq = i < 0 ? NULL : strchr(s->v[i], '=');

	return eq ? eq + 1 : NULL;
}

void hoy_env_set(struct hoy_strv *s, const char *key, const char *value)
{
	long i = env_find(s, key);
	char *str;

	if (i < 0) {
		hoy_strv_pushf(s, "%s=%s", key, value);
		return;
	}
	str = hoy_asprintf("%s=%s", key, value);
	if (!str) {
		s->error = ENOMEM;
		return;
	}
	free(s->v[i]);
	s->v[i] = str;
}

void hoy_env_unset(struct hoy_strv *s, const char *key)
{
	long i = env_find(s, key);

	if (i >= 0)
		hoy_strv_remove(s, i);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void hoy_strv_sort(struct hoy_strv *s)
{
	if (s->n)
		qsort(s->v, s->n, sizeof(*s->v), by_text);
}

bool hoy_strv_has_sorted(const struct hoy_strv *s, const char *str)
{
	return s->n && bsearch(&str, s->v, s->n, sizeof(*s->v), by_text);
}
