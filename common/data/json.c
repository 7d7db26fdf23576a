#include "common/data/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/data/time.h"

struct chunk {
	struct chunk *next;
	size_t used, size;
	_Alignas(16) char data[];
};

struct parser {
	struct hoy_json_doc *doc;
	struct hoy_json *stack[HOY_JSON_DEPTH];
	int depth;
	const char *key;
	int error; /* ENOMEM, or EFBIG for too deep */
	size_t hint;
	char *text; /* what is parsed, and ours */
	size_t len;
};

static void *take(struct hoy_json_doc *doc, size_t size, size_t align, size_t hint)
{
	struct chunk *c = doc->chunks;
	size_t at = c ? (c->used + align - 1) & ~(align - 1) : 0;

	if (!c || at + size > c->size) {
		size_t want = c ? c->size * 2 : hint;

		if (want > (1 << 20))
			want = 1 << 20;
		if (want < size)
			want = size;
		c = malloc(sizeof(*c) + want);
		if (!c)
			return NULL;
		hoy_populate(c, sizeof(*c) + want);
		c->next = doc->chunks;
		c->size = want;
		at = 0;
		doc->chunks = c;
	}
	c->used = at + size;
	return c->data + at;
}

static char *take_text(struct hoy_json_doc *doc, const void *s, size_t len, size_t hint)
{
	char *t = take(doc, len + 1, 1, hint);

	if (t) {
		memcpy(t, s, len);
		t[len] = '\0';
	}
	return t;
}

static void append(struct hoy_json *up, struct hoy_json *n)
{
	n->next = NULL;
	if (up->last)
		up->last->next = n;
	else
		up->child = n;
	up->last = n;
	up->count++;
	up->changed = true;
}

static struct hoy_json *add(struct parser *p, enum hoy_json_type type)
{
	struct hoy_json *n = take(p->doc, sizeof(*n), _Alignof(struct hoy_json), p->hint);
	struct hoy_json *up = p->depth ? p->stack[p->depth - 1] : NULL;

	if (!n) {
		p->error = ENOMEM;
		return NULL;
	}
	*n = (struct hoy_json){ .type = type };
	if (!up) {
		p->doc->root = n;
		return n;
	}
	n->key = up->type == HOY_JSON_OBJECT ? p->key : NULL;
	append(up, n);
	return n;
}

static int open_node(struct parser *p, enum hoy_json_type type)
{
	struct hoy_json *n;

	if (p->depth == HOY_JSON_DEPTH) {
		p->error = EFBIG;
		return 0;
	}
	n = add(p, type);
	if (n)
		p->stack[p->depth++] = n;
	return n != NULL;
}

static int on_null(void *p) { return add(p, HOY_JSON_NULL) != NULL; }
static int on_map(void *p) { return open_node(p, HOY_JSON_OBJECT); }
static int on_array(void *p) { return open_node(p, HOY_JSON_ARRAY); }

static int on_bool(void *p, int value)
{
	struct hoy_json *n = add(p, HOY_JSON_BOOL);

	if (n)
		n->boolean = value;
	return n != NULL;
}

/*
 * A string's text: where it stands, if it had no escapes (what yajl unescapes lies elsewhere); the quote behind it, which
 * was read already, becomes its NUL.
 */
static char *keep_text(struct parser *p, const unsigned char *s, size_t len)
{
	uintptr_t at = (uintptr_t)s - (uintptr_t)p->text;

	if (at >= p->len || len >= p->len - at || p->text[at + len] != '"')
		return take_text(p->doc, s, len, p->hint);
	p->text[at + len] = '\0';
	return p->text + at;
}

static int scalar(struct parser *p, enum hoy_json_type type, const void *s, size_t len)
{
	struct hoy_json *n = add(p, type);

	if (!n)
		return 0;
	n->str = type == HOY_JSON_STRING ? keep_text(p, s, len) : take_text(p->doc, s, len, p->hint);
	n->len = len;
	if (!n->str)
		p->error = ENOMEM;
	return n->str != NULL;
}

static int on_number(void *p, const char *s, size_t len) { return scalar(p, HOY_JSON_NUMBER, s, len); }
static int on_string(void *p, const unsigned char *s, size_t len) { return scalar(p, HOY_JSON_STRING, s, len); }

static int on_key(void *ctx, const unsigned char *s, size_t len)
{
	struct parser *p = ctx;

	p->key = keep_text(p, s, len);
	if (!p->key)
		p->error = ENOMEM;
	return p->key != NULL;
}

static int on_end(void *ctx)
{
	((struct parser *)ctx)->depth--;
	return 1;
}

static const yajl_callbacks callbacks = {
	.yajl_null = on_null, .yajl_boolean = on_bool, .yajl_number = on_number, .yajl_string = on_string,
	.yajl_start_map = on_map, .yajl_map_key = on_key, .yajl_end_map = on_end,
	.yajl_start_array = on_array, .yajl_end_array = on_end,
};

void hoy_json_release(struct hoy_json_doc *doc)
{
	for (struct chunk *c = doc->chunks, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	free(doc->text);
	*doc = (struct hoy_json_doc)HOY_JSON_DOC_INIT;
}

int hoy_json_parse(struct hoy_json_doc *doc, const char *data, size_t len, const char *name, struct hoy_err *err)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return hoy_fail_oom(err);
	memcpy(copy, data, len);
	return hoy_json_adopt(doc, copy, len, name, err);
}

int hoy_json_adopt(struct hoy_json_doc *doc, char *data, size_t len, const char *name, struct hoy_err *err)
{
	/* A node needs some three times the text that it stands for; thousands of small documents need no page each. */
	struct parser p = { .doc = doc, .hint = len < 4096 ? 3 * len + 128 : len, .text = data, .len = len };
	yajl_handle h = yajl_alloc(&callbacks, NULL, &p);
	yajl_status s;
	size_t at;

	doc->text = data;
	if (!h) {
		hoy_json_release(doc);
		return hoy_fail_oom(err);
	}
	s = yajl_parse(h, (const unsigned char *)data, len);
	if (s == yajl_status_ok)
		s = yajl_complete_parse(h);
	at = yajl_get_bytes_consumed(h);
	yajl_free(h);
	if (s == yajl_status_ok && doc->root)
		return 0;
	hoy_json_release(doc);
	if (p.error == ENOMEM)
		return hoy_fail_oom(err);
	if (p.error == EFBIG)
		return hoy_fail(err, HOY_EFORMAT, "'%s' nests JSON deeper than %d levels", name, HOY_JSON_DEPTH);
	if (s == yajl_status_ok)
		return hoy_fail(err, HOY_EFORMAT, "'%s' is empty where JSON is expected", name);
	return hoy_fail(err, HOY_EFORMAT, "'%s' is not valid JSON (near byte %zu)", name, at);
}

int hoy_json_load(struct hoy_json_doc *doc, int dirfd, const char *path, size_t max, struct hoy_err *err)
{
	char *data;
	size_t len;
	int r = hoy_read_file(dirfd, path, max, &data, &len, err);

	return r < 0 ? r : hoy_json_adopt(doc, data, len, path, err);
}

struct hoy_json *hoy_json_get(const struct hoy_json *obj, const char *key)
{
	if (!hoy_json_is(obj, HOY_JSON_OBJECT))
		return NULL;
	for (struct hoy_json *n = obj->child; n; n = n->next)
		if (!strcmp(n->key, key))
			return n;
	return NULL;
}

struct hoy_json *hoy_json_path(const struct hoy_json *node, ...)
{
	struct hoy_json *n = (struct hoy_json *)node;
	const char *key;
	va_list ap;

	va_start(ap, node);
	while (n && (key = va_arg(ap, const char *)))
		n = hoy_json_get(n, key);
	va_end(ap);
	return n;
}

const char *hoy_json_text(const struct hoy_json *node)
{
	if (!hoy_json_is(node, HOY_JSON_STRING) || strlen(node->str) != node->len)
		return NULL;
	return node->str;
}

bool hoy_json_int64(const struct hoy_json *node, int64_t *ret)
{
	long long v;
	char *end;

	if (!hoy_json_is(node, HOY_JSON_NUMBER))
		return false;
	errno = 0;
	v = strtoll(node->str, &end, 10);
	if (errno || *end)
		return false;
	*ret = v;
	return true;
}

bool hoy_json_uint64(const struct hoy_json *node, uint64_t *ret)
{
	unsigned long long v;
	char *end;

	if (!hoy_json_is(node, HOY_JSON_NUMBER) || node->str[0] == '-')
		return false;
	errno = 0;
	v = strtoull(node->str, &end, 10);
	if (errno || *end)
		return false;
	*ret = v;
	return true;
}

const char *hoy_json_str(const struct hoy_json *obj, const char *key)
{
	return hoy_json_text(hoy_json_get(obj, key));
}

int64_t hoy_json_int(const struct hoy_json *obj, const char *key, int64_t absent)
{
	int64_t v;

	return hoy_json_int64(hoy_json_get(obj, key), &v) ? v : absent;
}

bool hoy_json_bool(const struct hoy_json *obj, const char *key, bool absent)
{
	const struct hoy_json *n = hoy_json_get(obj, key);

	return hoy_json_is(n, HOY_JSON_BOOL) ? n->boolean : absent;
}

int64_t hoy_json_time(const struct hoy_json *obj, const char *key)
{
	int64_t t;

	return hoy_time_parse(hoy_json_str(obj, key), &t) ? t : HOY_TIME_ZERO;
}

bool hoy_label_match(const struct hoy_json *labels, const char *want)
{
	const char *eq = strchr(want, '=');
	cleanup_free char *key = eq ? strndup(want, eq - want) : strdup(want);
	const char *have = key ? hoy_json_str(labels, key) : NULL;

	return have && (!eq || !strcmp(have, eq + 1));
}

#define FRESH 1024 /* first chunk of a document that was not parsed */

struct hoy_json *hoy_json_new(struct hoy_json_doc *doc, enum hoy_json_type type)
{
	struct hoy_json *n = take(doc, sizeof(*n), _Alignof(struct hoy_json), FRESH);

	if (n)
		*n = (struct hoy_json){ .type = type };
	return n;
}

static struct hoy_json *new_text(struct hoy_json_doc *doc, enum hoy_json_type type, const char *s, size_t len)
{
	struct hoy_json *n = hoy_json_new(doc, type);

	if (!n)
		return NULL;
	n->str = take_text(doc, s, len, FRESH);
	n->len = len;
	return n->str ? n : NULL;
}

struct hoy_json *hoy_json_put(struct hoy_json_doc *doc, struct hoy_json *parent, const char *key, struct hoy_json *node)
{
	struct hoy_json *old = key ? hoy_json_get(parent, key) : NULL;
	struct hoy_json **at;

	if (!node)
		return NULL;
	node->key = key ? take_text(doc, key, strlen(key), FRESH) : NULL;
	if (key && !node->key)
		return NULL;
	if (!old) {
		append(parent, node);
		return node;
	}
	for (at = &parent->child; *at != old; at = &(*at)->next)
		;
	*at = node;
	parent->changed = true;
	node->next = old->next;
	if (parent->last == old)
		parent->last = node;
	return node;
}

struct hoy_json *hoy_json_set_string(struct hoy_json_doc *doc, struct hoy_json *obj, const char *key, const char *value)
{
	return hoy_json_put(doc, obj, key, new_text(doc, HOY_JSON_STRING, value, strlen(value)));
}

struct hoy_json *hoy_json_set_int(struct hoy_json_doc *doc, struct hoy_json *obj, const char *key, int64_t value)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%lld", (long long)value);

	return hoy_json_put(doc, obj, key, new_text(doc, HOY_JSON_NUMBER, text, len));
}

struct hoy_json *hoy_json_set_bool(struct hoy_json_doc *doc, struct hoy_json *obj, const char *key, bool value)
{
	struct hoy_json *n = hoy_json_new(doc, HOY_JSON_BOOL);

	if (n)
		n->boolean = value;
	return hoy_json_put(doc, obj, key, n);
}

struct hoy_json *hoy_json_copy(struct hoy_json_doc *doc, const struct hoy_json *node)
{
	struct hoy_json *n;

	if (node->str)
		n = new_text(doc, node->type, node->str, node->len);
	else
		n = hoy_json_new(doc, node->type);
	if (!n)
		return NULL;
	n->boolean = node->boolean;
	HOY_JSON_EACH(it, node)
		if (!hoy_json_put(doc, n, it->key, hoy_json_copy(doc, it)))
			return NULL;
	return n;
}

struct hoy_json *hoy_json_need(struct hoy_json_doc *doc, struct hoy_json *obj, const char *key, enum hoy_json_type type)
{
	struct hoy_json *n = hoy_json_get(obj, key);

	return hoy_json_is(n, type) ? n : hoy_json_put(doc, obj, key, hoy_json_new(doc, type));
}

void hoy_json_remove(struct hoy_json *parent, struct hoy_json *child)
{
	struct hoy_json **at, *prev = NULL;

	for (at = &parent->child; *at && *at != child; at = &(*at)->next)
		prev = *at;
	if (!*at)
		return;
	*at = child->next;
	if (parent->last == child)
		parent->last = prev;
	parent->count--;
	parent->changed = true;
}

void hoy_json_unset(struct hoy_json *obj, const char *key)
{
	struct hoy_json *n = hoy_json_get(obj, key);

	if (n)
		hoy_json_remove(obj, n);
}
