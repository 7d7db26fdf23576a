#include "cmd-image/transfer/yaml.h"

#include <dlfcn.h>
#include <string.h>
#include <yaml.h>

#include "common/base/err.h"

/* Of the library's functions those that reading needs. It is loaded here, since only `sync` with a YAML file wants it. */
static struct {
	__typeof__(yaml_parser_initialize) *init;
	__typeof__(yaml_parser_delete) *release;
	__typeof__(yaml_parser_set_input_string) *input;
	__typeof__(yaml_parser_parse) *parse;
	__typeof__(yaml_event_delete) *drop;
} lib;

static int load(struct hoy_err *err)
{
	void *h = dlopen("libyaml-0.so.2", RTLD_NOW | RTLD_LOCAL);

	if (!h)
		return hoy_fail(err, HOY_EUNSUPPORTED, "reading YAML needs libyaml (libyaml-0.so.2), which is not installed");
	lib.init = dlsym(h, "yaml_parser_initialize");
	lib.release = dlsym(h, "yaml_parser_delete");
	lib.input = dlsym(h, "yaml_parser_set_input_string");
	lib.parse = dlsym(h, "yaml_parser_parse");
	lib.drop = dlsym(h, "yaml_event_delete");
	if (!lib.init || !lib.release || !lib.input || !lib.parse || !lib.drop)
		return hoy_fail(err, HOY_EUNSUPPORTED, "libyaml-0.so.2 is not the library that it should be");
	return 0;
}

struct reader {
	yaml_parser_t p;
	struct hoy_json_doc *doc;
	const char *name;
};

static int bad(struct reader *r, const yaml_mark_t *at, const char *what, struct hoy_err *err)
{
	return hoy_fail(err, HOY_EFORMAT, "'%s', line %zu: %s", r->name, at->line + 1, what);
}

static int next(struct reader *r, yaml_event_t *e, struct hoy_err *err)
{
	return lib.parse(&r->p, e) ? 0 : bad(r, &r->p.problem_mark, r->p.problem ? r->p.problem : "cannot be read", err);
}

static int read_node(struct reader *r, yaml_event_t *e, int depth, struct hoy_json **ret, struct hoy_err *err);

/* A scalar; "~", "null" and nothing at all are null where no quotes say otherwise. */
static int read_scalar(struct reader *r, const yaml_event_t *e, struct hoy_json **ret, struct hoy_err *err)
{
	const char *s = (const char *)e->data.scalar.value;
	struct hoy_json *holder;

	if (strlen(s) != e->data.scalar.length)
		return bad(r, &e->start_mark, "a NUL is in a text", err);
	if (e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && (!*s || !strcmp(s, "~") || !strcmp(s, "null"))) {
		*ret = hoy_json_new(r->doc, HOY_JSON_NULL);
		return *ret ? 0 : hoy_fail_oom(err);
	}
	holder = hoy_json_new(r->doc, HOY_JSON_OBJECT);
	*ret = holder ? hoy_json_set_string(r->doc, holder, "v", s) : NULL;
	if (!*ret)
		return hoy_fail_oom(err);
	hoy_json_remove(holder, *ret);
	return 0;
}

static int read_list(struct reader *r, int depth, struct hoy_json *list, struct hoy_err *err)
{
	for (;;) {
		struct hoy_json *v;
		yaml_event_t e;
		int res = next(r, &e, err);
		bool end = !res && e.type == YAML_SEQUENCE_END_EVENT;

		if (res < 0)
			return res;
		res = end ? 0 : read_node(r, &e, depth, &v, err);
		lib.drop(&e);
		if (end || res < 0)
			return res;
		if (!hoy_json_put(r->doc, list, NULL, v))
			return hoy_fail_oom(err);
	}
}

static int read_member(struct reader *r, const yaml_event_t *key, int depth, struct hoy_json *map, struct hoy_err *err)
{
	const char *k = (const char *)key->data.scalar.value;
	struct hoy_json *v;
	yaml_event_t e;
	int res;

	if (key->type != YAML_SCALAR_EVENT || strlen(k) != key->data.scalar.length)
		return bad(r, &key->start_mark, "a key is to be a text", err);
	if (hoy_json_get(map, k))
		return bad(r, &key->start_mark, "a key stands there twice", err);
	res = next(r, &e, err);
	if (res < 0)
		return res;
	res = read_node(r, &e, depth, &v, err);
	lib.drop(&e);
	return res ? res : hoy_json_put(r->doc, map, k, v) ? 0 : hoy_fail_oom(err);
}

static int read_map(struct reader *r, int depth, struct hoy_json *map, struct hoy_err *err)
{
	for (;;) {
		yaml_event_t e;
		int res = next(r, &e, err);
		bool end = !res && e.type == YAML_MAPPING_END_EVENT;

		if (res < 0)
			return res;
		res = end ? 0 : read_member(r, &e, depth, map, err);
		lib.drop(&e);
		if (end || res < 0)
			return res;
	}
}

static int read_node(struct reader *r, yaml_event_t *e, int depth, struct hoy_json **ret, struct hoy_err *err)
{
	if (depth == HOY_JSON_DEPTH)
		return bad(r, &e->start_mark, "it is nested too deeply", err);
	switch (e->type) {
	case YAML_SCALAR_EVENT:
		return read_scalar(r, e, ret, err);
	case YAML_SEQUENCE_START_EVENT:
		*ret = hoy_json_new(r->doc, HOY_JSON_ARRAY);
		return *ret ? read_list(r, depth + 1, *ret, err) : hoy_fail_oom(err);
	case YAML_MAPPING_START_EVENT:
		*ret = hoy_json_new(r->doc, HOY_JSON_OBJECT);
		return *ret ? read_map(r, depth + 1, *ret, err) : hoy_fail_oom(err);
	case YAML_ALIAS_EVENT:
		return bad(r, &e->start_mark, "aliases are not supported", err);
	default:
		return bad(r, &e->start_mark, "it is not complete", err);
	}
}

/* The first document; an empty file is null. */
static int read_document(struct reader *r, struct hoy_err *err)
{
	yaml_event_t e;
	bool go_on = true;
	int res = 0;

	while (!res && go_on) {
		res = next(r, &e, err);
		if (res < 0)
			break;
		go_on = e.type == YAML_STREAM_START_EVENT || e.type == YAML_DOCUMENT_START_EVENT;
		if (e.type == YAML_STREAM_END_EVENT)
			res = (r->doc->root = hoy_json_new(r->doc, HOY_JSON_NULL)) ? 0 : hoy_fail_oom(err);
		else if (!go_on)
			res = read_node(r, &e, 0, &r->doc->root, err);
		lib.drop(&e);
	}
	return res;
}

int yaml_parse(struct hoy_json_doc *doc, const char *data, size_t len, const char *name, struct hoy_err *err)
{
	struct reader r = { .doc = doc, .name = name };
	int res = load(err);

	if (res < 0)
		return res;
	if (!lib.init(&r.p))
		return hoy_fail_oom(err);
	lib.input(&r.p, (const unsigned char *)data, len);
	res = read_document(&r, err);
	lib.release(&r.p);
	return res;
}
