#include "cmd-image/transfer/override.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/strv.h"

#define OVERRIDE_MAX ((size_t)1 << 20)

enum type { TEXT, BOOL, INT, TEXTS, SET, MAP, HEALTH };
enum how {
	IF_ANY,	/* replaces what is there unless it is empty */
	ALWAYS, /* replaces it, also by nothing */
	JOIN,	/* its members, or variables, join those that are there */
	START,	/* Entrypoint and Cmd: both are replaced by both if either is given */
};

static const struct member {
	const char *key;
	enum type type;
	enum how how;
} members[] = {
	{ "Hostname", TEXT, IF_ANY }, { "Domainname", TEXT, IF_ANY }, { "User", TEXT, IF_ANY }, { "AttachStdin", BOOL, ALWAYS },
	{ "AttachStdout", BOOL, ALWAYS }, { "AttachStderr", BOOL, ALWAYS }, { "ExposedPorts", SET, JOIN }, { "Tty", BOOL, ALWAYS },
	{ "OpenStdin", BOOL, ALWAYS }, { "StdinOnce", BOOL, ALWAYS }, { "Env", TEXTS, JOIN }, { "Cmd", TEXTS, START },
	{ "Healthcheck", HEALTH, IF_ANY }, { "ArgsEscaped", BOOL, ALWAYS }, { "Image", TEXT, IF_ANY }, { "Volumes", SET, JOIN },
	{ "WorkingDir", TEXT, IF_ANY }, { "Entrypoint", TEXTS, START }, { "NetworkDisabled", BOOL, ALWAYS }, { "MacAddress", TEXT, ALWAYS },
	{ "OnBuild", TEXTS, ALWAYS }, { "Labels", MAP, JOIN }, { "StopSignal", TEXT, ALWAYS }, { "StopTimeout", INT, ALWAYS },
	{ "Shell", TEXTS, IF_ANY },
}, health[] = {
	{ "Test", TEXTS, ALWAYS }, { "Interval", INT, ALWAYS }, { "Timeout", INT, ALWAYS }, { "StartPeriod", INT, ALWAYS },
	{ "Retries", INT, ALWAYS },
};

/* ---- reading ---- */

static bool all_of(const struct hoy_json *v, enum hoy_json_type outer, enum hoy_json_type inner)
{
	if (v->type != outer)
		return false;
	HOY_JSON_EACH(it, v)
		if (it->type != inner || (inner == HOY_JSON_STRING && !hoy_json_text(it)))
			return false;
	return true;
}

static bool right_type(const struct hoy_json *v, enum type type)
{
	int64_t n;

	switch (type) {
	case TEXT: return hoy_json_text(v);
	case BOOL: return v->type == HOY_JSON_BOOL;
	case INT: return hoy_json_int64(v, &n);
	case TEXTS: return all_of(v, HOY_JSON_ARRAY, HOY_JSON_STRING);
	case SET: return all_of(v, HOY_JSON_OBJECT, HOY_JSON_OBJECT);
	case MAP: return all_of(v, HOY_JSON_OBJECT, HOY_JSON_STRING);
	case HEALTH: break;
	}
	return v->type == HOY_JSON_OBJECT;
}

static bool is_empty(const struct hoy_json *v)
{
	switch (v->type) {
	case HOY_JSON_NULL: return true;
	case HOY_JSON_BOOL: return !v->boolean;
	case HOY_JSON_NUMBER: return !strcmp(v->str, "0");
	case HOY_JSON_STRING: return !v->len;
	default: return !v->child;
	}
}

/* The members of FROM that TABLE knows, into the object INTO. */
static int take(struct hoy_json_doc *doc, struct hoy_json *into, const struct hoy_json *from, const struct member *table, size_t n,
		const char *path, struct hoy_err *err)
{
	HOY_JSON_EACH(it, from)
		for (const struct member *m = table; m < table + n; m++) {
			struct hoy_json *sub;
			int r;

			if (strcasecmp(m->key, it->key) || it->type == HOY_JSON_NULL)
				continue;
			if (!right_type(it, m->type))
				return hoy_fail(err, HOY_EFORMAT, "--config: '%s' in '%s' is of the wrong type", it->key, path);
			if (m->type != HEALTH && is_empty(it))
				continue;
			sub = hoy_json_put(doc, into, m->key, m->type == HEALTH ? hoy_json_new(doc, HOY_JSON_OBJECT) : hoy_json_copy(doc, it));
			if (!sub)
				return hoy_fail_oom(err);
			r = m->type == HEALTH ? take(doc, sub, it, health, ARRAY_SIZE(health), path, err) : 0;
			if (r < 0)
				return r;
		}
	return 0;
}

int override_load(struct hoy_json_doc *doc, const char *path, bool *ret_given, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc file = HOY_JSON_DOC_INIT;
	cleanup_free char *data = NULL;
	size_t len;
	int r = hoy_read_file(AT_FDCWD, path, OVERRIDE_MAX, &data, &len, err);

	if (!r && len)
		r = hoy_json_parse(&file, data, len, path, err);
	if (r < 0)
		return hoy_fail_prefix(err, "--config");
	if (len && file.root->type != HOY_JSON_OBJECT && file.root->type != HOY_JSON_NULL)
		return hoy_fail(err, HOY_EFORMAT, "--config: '%s' holds no JSON object", path);
	*ret_given = len > 0;
	return take(doc, doc->root, file.root, members, ARRAY_SIZE(members), path, err);
}

/* ---- laying over ---- */

/* A variable without a value has the one of our own environment. */
static void put_variable(struct hoy_strv *env, const char *text)
{
	cleanup_free char *name = strndup(text, strcspn(text, "="));
	const char *value = text[strcspn(text, "=")] ? strchr(text, '=') + 1 : getenv(text);

	if (name)
		hoy_env_set(env, name, value ?: "");
	else
		env->error = ENOMEM;
}

static int join_env(struct hoy_json_doc *doc, struct hoy_json *config, const struct hoy_json *more)
{
	cleanup_strv struct hoy_strv env = HOY_STRV_INIT;
	struct hoy_json *list = hoy_json_new(doc, HOY_JSON_ARRAY);

	HOY_JSON_EACH(it, hoy_json_get(config, "Env"))
		put_variable(&env, hoy_json_text(it) ?: "");
	HOY_JSON_EACH(it, more)
		put_variable(&env, it->str);
	for (size_t i = 0; i < env.n; i++)
		if (!list || !hoy_json_set_string(doc, list, NULL, env.v[i]))
			return -ENOMEM;
	return !env.error && hoy_json_put(doc, config, "Env", list) ? 0 : -ENOMEM;
}

static int join(struct hoy_json_doc *doc, struct hoy_json *config, const char *key, const struct hoy_json *more)
{
	struct hoy_json *into;

	if (!strcmp(key, "Env"))
		return join_env(doc, config, more);
	into = hoy_json_need(doc, config, key, HOY_JSON_OBJECT);
	HOY_JSON_EACH(it, more)
		if (!into || !hoy_json_put(doc, into, it->key, hoy_json_copy(doc, it)))
			return -ENOMEM;
	return 0;
}

int override_apply(struct hoy_json_doc *doc, struct hoy_json *config, const struct hoy_json *over)
{
	const struct hoy_json *entrypoint = hoy_json_get(over, "Entrypoint"), *cmd = hoy_json_get(over, "Cmd");
	bool start = (entrypoint && !is_empty(entrypoint)) || (cmd && !is_empty(cmd));
	int r = 0;

	for (const struct member *m = members; m < members + ARRAY_SIZE(members) && !r; m++) {
		const struct hoy_json *v = hoy_json_get(over, m->key);
		bool any = v && (m->type == HEALTH || !is_empty(v));

		if (m->how == JOIN) {
			r = any ? join(doc, config, m->key, v) : 0;
			continue;
		}
		if (!any && (m->how == IF_ANY || (m->how == START && !start)))
			continue;
		hoy_json_unset(config, m->key);
		if (any && !hoy_json_put(doc, config, m->key, hoy_json_copy(doc, v)))
			r = -ENOMEM;
	}
	return r;
}
