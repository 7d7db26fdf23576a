#include "common/conf/toml.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/fd.h"

struct toml {
	struct hoy_json_doc *doc;
	const char *p, *end;
	const char *name;
	struct hoy_err *err;
	int line, depth;
};

static int bad(struct toml *t, const char *what)
{
	return hoy_fail(t->err, HOY_EFORMAT, "'%s' line %d: %s", t->name, t->line, what);
}

static int oom(struct toml *t)
{
	return hoy_fail_oom(t->err);
}

static int peek(struct toml *t) { return t->p < t->end ? (unsigned char)*t->p : -1; }

static void blanks(struct toml *t)
{
	while (peek(t) == ' ' || peek(t) == '\t')
		t->p++;
}

/* Blanks, comments and line ends, which are free inside arrays and between statements. */
static void space(struct toml *t)
{
	for (;;) {
		blanks(t);
		if (peek(t) == '#')
			while (t->p < t->end && *t->p != '\n')
				t->p++;
		if (peek(t) == '\r' && t->p + 1 < t->end && t->p[1] == '\n')
			t->p++;
		if (peek(t) != '\n')
			return;
		t->line++;
		t->p++;
	}
}

static int line_end(struct toml *t)
{
	blanks(t);
	if (peek(t) == '#')
		while (t->p < t->end && *t->p != '\n')
			t->p++;
	if (peek(t) == '\r')
		t->p++;
	return t->p == t->end || *t->p == '\n' ? 0 : bad(t, "something stands behind the value");
}

static void put_utf8(struct hoy_buf *b, unsigned c)
{
	if (c < 0x80) {
		hoy_buf_putc(b, (char)c);
	} else if (c < 0x800) {
		hoy_buf_putc(b, (char)(0xc0 | c >> 6));
		hoy_buf_putc(b, (char)(0x80 | (c & 63)));
	} else if (c < 0x10000) {
		hoy_buf_putc(b, (char)(0xe0 | c >> 12));
		hoy_buf_putc(b, (char)(0x80 | (c >> 6 & 63)));
		hoy_buf_putc(b, (char)(0x80 | (c & 63)));
	} else {
		hoy_buf_putc(b, (char)(0xf0 | c >> 18));
		hoy_buf_putc(b, (char)(0x80 | (c >> 12 & 63)));
		hoy_buf_putc(b, (char)(0x80 | (c >> 6 & 63)));
		hoy_buf_putc(b, (char)(0x80 | (c & 63)));
	}
}

static int escape(struct toml *t, struct hoy_buf *b)
{
	static const char from[] = "btnfre\"\\", to[] = "\b\t\n\f\r\033\"\\";
	int c = peek(t);
	const char *at = c > 0 ? strchr(from, c) : NULL;
	unsigned code = 0;

	t->p++;
	if (at) {
		hoy_buf_putc(b, to[at - from]);
		return 0;
	}
	if (c != 'u' && c != 'U')
		return bad(t, "unknown escape in a string");
	for (int n = c == 'u' ? 4 : 8; n--; t->p++) {
		if (!isxdigit(peek(t)))
			return bad(t, "malformed \\u escape");
		code = code * 16 + (isdigit(peek(t)) ? peek(t) - '0' : (tolower(peek(t)) - 'a') + 10);
	}
	if (!code || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return bad(t, "\\u escape is no character");
	put_utf8(b, code);
	return 0;
}

static bool triple(struct toml *t, char q)
{
	return t->end - t->p >= 3 && t->p[0] == q && t->p[1] == q && t->p[2] == q;
}

/* A string in any of the four quotings, appended to B. */
static int string(struct toml *t, struct hoy_buf *b)
{
	char q = *t->p;
	bool multi = triple(t, q);
	int r;

	t->p += multi ? 3 : 1;
	if (multi && peek(t) == '\r')
		t->p++;
	if (multi && peek(t) == '\n') {
		t->line++;
		t->p++;
	}
	for (;;) {
		int c = peek(t);

		if (c < 0 || (!multi && c == '\n'))
			return bad(t, "a string is not closed");
		if (c == q && (!multi || triple(t, q)))
			break;
		t->p++;
		if (c == '\n')
			t->line++;
		if (c == 0)
			return bad(t, "NUL in a string");
		if (c != '\\' || q == '\'') {
			hoy_buf_putc(b, (char)c);
			continue;
		}
		blanks(t);
		if (multi && (peek(t) == '\n' || peek(t) == '\r')) {
			while (isspace(peek(t))) {
				t->line += *t->p == '\n';
				t->p++;
			}
			continue;
		}
		r = escape(t, b);
		if (r < 0)
			return r;
	}
	t->p += multi ? 3 : 1;
	/* Up to two quotes may stand right before the closing three. */
	while (multi && peek(t) == q) {
		hoy_buf_putc(b, q);
		t->p++;
	}
	return b->error ? oom(t) : 0;
}

static bool bare(int c) { return c > 0 && (isalnum(c) || c == '_' || c == '-'); }

static int key(struct toml *t, struct hoy_buf *b)
{
	hoy_buf_reset(b);
	blanks(t);
	if (peek(t) == '"' || peek(t) == '\'')
		return string(t, b);
	if (!bare(peek(t)))
		return bad(t, "a key is expected");
	while (bare(peek(t)))
		hoy_buf_putc(b, *t->p++);
	return b->error ? oom(t) : 0;
}

/* The table that KEY of TABLE leads into: itself, or the last element of an array of tables. */
static struct hoy_json *descend(struct toml *t, struct hoy_json *table, const char *name)
{
	struct hoy_json *n = hoy_json_get(table, name);

	if (!n)
		return hoy_json_put(t->doc, table, name, hoy_json_new(t->doc, HOY_JSON_OBJECT));
	if (n->type == HOY_JSON_ARRAY)
		n = n->last;
	return hoy_json_is(n, HOY_JSON_OBJECT) ? n : NULL;
}

/* a.b.c: the table of the last key, whose name is left in B. */
static int dotted(struct toml *t, struct hoy_json **table, struct hoy_buf *b)
{
	int r = key(t, b);

	while (!r) {
		blanks(t);
		if (peek(t) != '.')
			return 0;
		t->p++;
		*table = descend(t, *table, hoy_buf_str(b));
		if (!*table)
			return bad(t, "a key is used as a table and as a value");
		r = key(t, b);
	}
	return r;
}

static int value(struct toml *t, struct hoy_json *parent, const char *name);

static int pair(struct toml *t, struct hoy_json *table)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(4096);
	int r = dotted(t, &table, &b);

	if (r < 0)
		return r;
	if (peek(t) != '=')
		return bad(t, "'=' is expected behind a key");
	t->p++;
	blanks(t);
	if (hoy_json_get(table, hoy_buf_str(&b)))
		return bad(t, "a key is given twice");
	return value(t, table, hoy_buf_str(&b));
}

static int array(struct toml *t, struct hoy_json *arr)
{
	t->p++;
	for (;;) {
		int r;

		space(t);
		if (peek(t) == ']')
			break;
		r = value(t, arr, NULL);
		if (r < 0)
			return r;
		space(t);
		if (peek(t) == ',')
			t->p++;
		else if (peek(t) != ']')
			return bad(t, "',' or ']' is expected in an array");
	}
	t->p++;
	return 0;
}

static int inline_table(struct toml *t, struct hoy_json *obj)
{
	t->p++;
	for (;;) {
		int r;

		space(t);
		if (peek(t) == '}')
			break;
		r = pair(t, obj);
		if (r < 0)
			return r;
		space(t);
		if (peek(t) == ',')
			t->p++;
		else if (peek(t) != '}')
			return bad(t, "',' or '}' is expected in an inline table");
	}
	t->p++;
	return 0;
}

/* Integers in any base become decimal; floats and dates keep their text. */
static int scalar(struct toml *t, struct hoy_json *parent, const char *name)
{
	char text[64], clean[64];
	size_t n = 0, m = 0;
	struct hoy_json *node;
	long long v;
	char *end;

	while (n < sizeof(text) - 1 && t->p < t->end && (bare(*t->p) || *t->p == '.' || *t->p == ':' || *t->p == '+'))
		text[n++] = *t->p++;
	text[n] = '\0';
	if (!strcmp(text, "true") || !strcmp(text, "false")) {
		node = hoy_json_new(t->doc, HOY_JSON_BOOL);
		if (node)
			node->boolean = text[0] == 't';
		return hoy_json_put(t->doc, parent, name, node) ? 0 : oom(t);
	}
	for (size_t i = 0; i < n; i++)
		if (text[i] != '_')
			clean[m++] = text[i];
	clean[m] = '\0';
	errno = 0;
	if (!strncmp(clean, "0b", 2))
		v = strtoll(clean + 2, &end, 2);
	else if (!strncmp(clean, "0o", 2))
		v = strtoll(clean + 2, &end, 8);
	else
		v = strtoll(clean, &end, !strncmp(clean, "0x", 2) ? 16 : 10);
	if (m && !*end && !errno)
		return hoy_json_set_int(t->doc, parent, name, v) ? 0 : oom(t);
	if (!isdigit((unsigned char)clean[0]) && clean[0] != '-' && clean[0] != '+')
		return bad(t, "a value is expected");
	return hoy_json_set_string(t->doc, parent, name, clean) ? 0 : oom(t);
}

static int value(struct toml *t, struct hoy_json *parent, const char *name)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_CONF_MAX);
	struct hoy_json *node;
	int r;

	switch (peek(t)) {
	case '"':
	case '\'':
		r = string(t, &b);
		if (r < 0)
			return r;
		return hoy_json_set_string(t->doc, parent, name, hoy_buf_str(&b)) ? 0 : oom(t);
	case '[':
	case '{':
		if (++t->depth > 32)
			return bad(t, "values nest too deeply");
		node = hoy_json_put(t->doc, parent, name,
				    hoy_json_new(t->doc, peek(t) == '[' ? HOY_JSON_ARRAY : HOY_JSON_OBJECT));
		if (!node)
			return oom(t);
		r = peek(t) == '[' ? array(t, node) : inline_table(t, node);
		t->depth--;
		return r;
	default:
		return scalar(t, parent, name);
	}
}

/* [a.b] or [[a.b]]: the table that the following pairs belong to. */
static int header(struct toml *t, struct hoy_json **table)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(4096);
	bool many = t->end - t->p > 1 && t->p[1] == '[';
	struct hoy_json *arr;
	int r;

	t->p += many ? 2 : 1;
	*table = t->doc->root;
	r = dotted(t, table, &b);
	if (r < 0)
		return r;
	if (peek(t) != ']' || (many && (t->end - t->p < 2 || t->p[1] != ']')))
		return bad(t, "']' is expected behind a table's name");
	t->p += many ? 2 : 1;
	if (!many) {
		*table = descend(t, *table, hoy_buf_str(&b));
		return *table ? 0 : bad(t, "a key is used as a table and as a value");
	}
	arr = hoy_json_get(*table, hoy_buf_str(&b));
	if (arr && arr->type != HOY_JSON_ARRAY)
		return bad(t, "a key is used as an array of tables and as something else");
	if (!arr)
		arr = hoy_json_put(t->doc, *table, hoy_buf_str(&b), hoy_json_new(t->doc, HOY_JSON_ARRAY));
	*table = arr ? hoy_json_put(t->doc, arr, NULL, hoy_json_new(t->doc, HOY_JSON_OBJECT)) : NULL;
	return *table ? 0 : oom(t);
}

int hoy_toml_parse(struct hoy_json_doc *doc, const char *text, size_t len, const char *name, struct hoy_err *err)
{
	struct toml t = { .doc = doc, .p = text, .end = text + len, .name = name, .err = err, .line = 1 };
	struct hoy_json *table = doc->root = hoy_json_new(doc, HOY_JSON_OBJECT);
	int r = table ? 0 : oom(&t);

	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
		t.p += 3;
	while (!r) {
		space(&t);
		if (t.p == t.end)
			return 0;
		r = *t.p == '[' ? header(&t, &table) : pair(&t, table);
		if (!r)
			r = line_end(&t);
	}
	hoy_json_release(doc);
	return r;
}

int hoy_toml_load(struct hoy_json_doc *doc, const char *path, struct hoy_err *err)
{
	cleanup_free char *data = NULL;
	size_t len;
	int r = hoy_read_file(AT_FDCWD, path, HOY_CONF_MAX, &data, &len, err);

	return r < 0 ? r : hoy_toml_parse(doc, data, len, path, err);
}
