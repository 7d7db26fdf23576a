#include "cmd-image/transfer/yaml.h"

#include <ctype.h>
#include <string.h>
#include <yaml.h>

#include "common/base/err.h"

/* An alias stands for its whole anchor again: what a small file may grow to is bounded by the buffer. */
#define GROWN_MAX ((size_t)8 << 20)

struct emit {
	yaml_document_t *d;
	struct hoy_jw w;
	const char *name;
	struct hoy_err *err;
};

static bool among(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(s, *list))
			return true;
	return false;
}

static bool is_integer(const char *s)
{
	const char *digits = s + (*s == '-');

	return isdigit((unsigned char)*digits) && (*digits != '0' || !digits[1]) && strspn(digits, "0123456789") == strlen(digits);
}

static void scalar(struct emit *e, const char *key, const yaml_node_t *n)
{
	static const char *const yes[] = { "true", "True", "TRUE", NULL }, *const no[] = { "false", "False", "FALSE", NULL },
				 *const nothing[] = { "", "~", "null", "Null", "NULL", NULL };
	const char *s = (const char *)n->data.scalar.value;
	bool plain = n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

	if (plain && among(s, nothing))
		hoy_jw_null(&e->w, key);
	else if (plain && (among(s, yes) || among(s, no)))
		hoy_jw_bool(&e->w, key, among(s, yes));
	else if (plain && is_integer(s))
		hoy_jw_raw(&e->w, key, s);
	else
		hoy_jw_stringn(&e->w, key, s, n->data.scalar.length);
}

static int node(struct emit *e, const char *key, const yaml_node_t *n, int depth);

static int mapping(struct emit *e, const yaml_node_t *n, int depth)
{
	for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
		const yaml_node_t *k = yaml_document_get_node(e->d, p->key);
		int r;

		if (!k || k->type != YAML_SCALAR_NODE || strlen((const char *)k->data.scalar.value) != k->data.scalar.length)
			return hoy_fail(e->err, HOY_EFORMAT, "'%s' has a key that is no string", e->name);
		r = node(e, (const char *)k->data.scalar.value, yaml_document_get_node(e->d, p->value), depth + 1);
		if (r < 0)
			return r;
	}
	return 0;
}

static int node(struct emit *e, const char *key, const yaml_node_t *n, int depth)
{
	int r = 0;

	if (!n || depth >= HOY_JSON_DEPTH || e->w.out->error)
		return hoy_fail(e->err, HOY_EFORMAT, "'%s' is too deep or too large", e->name);
	if (n->type == YAML_SCALAR_NODE) {
		scalar(e, key, n);
	} else if (n->type == YAML_MAPPING_NODE) {
		hoy_jw_object(&e->w, key);
		r = mapping(e, n, depth);
		hoy_jw_end_object(&e->w);
	} else {
		hoy_jw_array(&e->w, key);
		for (yaml_node_item_t *i = n->data.sequence.items.start; !r && i < n->data.sequence.items.top; i++)
			r = node(e, NULL, yaml_document_get_node(e->d, *i), depth + 1);
		hoy_jw_end_array(&e->w);
	}
	return r;
}

static int convert(struct hoy_json_doc *doc, yaml_document_t *d, const char *name, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(GROWN_MAX);
	struct emit e = { d, hoy_jw_on(&b, NULL), name, err };
	const yaml_node_t *root = yaml_document_get_root_node(d);
	int r = 0;

	if (root)
		r = node(&e, NULL, root, 0);
	else
		hoy_jw_null(&e.w, NULL);
	if (!r && b.error)
		r = hoy_fail(err, HOY_EFORMAT, "'%s' is too large", name);
	return r ? r : hoy_json_parse(doc, b.data, b.len, name, err);
}

int yaml_parse(struct hoy_json_doc *doc, const char *text, size_t len, const char *name, struct hoy_err *err)
{
	yaml_parser_t p;
	yaml_document_t d;
	int r;

	if (!yaml_parser_initialize(&p))
		return hoy_fail_oom(err);
	yaml_parser_set_input_string(&p, (const unsigned char *)text, len);
	if (!yaml_parser_load(&p, &d)) {
		r = p.error == YAML_MEMORY_ERROR ? hoy_fail_oom(err) :
		    hoy_fail(err, HOY_EFORMAT, "parsing '%s': line %zu: %s", name, p.problem_mark.line + 1, p.problem ? p.problem : "no YAML");
	} else {
		r = convert(doc, &d, name, err);
		yaml_document_delete(&d);
	}
	yaml_parser_delete(&p);
	return r;
}
