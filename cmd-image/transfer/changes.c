#include "cmd-image/transfer/changes.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/strv.h"

static int set_command(struct changes *ch, const char *key, const char *value, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	struct hoy_json *arr = hoy_json_new(&ch->doc, HOY_JSON_ARRAY);

	if (!arr)
		return hoy_fail_oom(err);
	if (*value == '[' && !hoy_json_parse(&doc, value, strlen(value), key, NULL) && hoy_json_is(doc.root, HOY_JSON_ARRAY)) {
		HOY_JSON_EACH(it, doc.root)
			if (hoy_json_text(it))
				hoy_json_set_string(&ch->doc, arr, NULL, it->str);
	} else {
		hoy_json_set_string(&ch->doc, arr, NULL, "/bin/sh");
		hoy_json_set_string(&ch->doc, arr, NULL, "-c");
		hoy_json_set_string(&ch->doc, arr, NULL, value);
	}
	return hoy_json_put(&ch->doc, ch->c, key, arr) ? 0 : hoy_fail_oom(err);
}

static int add_trigger(struct changes *ch, const char *value, struct hoy_err *err)
{
	struct hoy_json *list = hoy_json_need(&ch->doc, ch->c, "OnBuild", HOY_JSON_ARRAY);

	return list && hoy_json_set_string(&ch->doc, list, NULL, value) ? 0 : hoy_fail_oom(err);
}

/* The next word of *AT, without its quotes and backslashes, in new memory; NULL at the end. */
static char *next_word(const char **at)
{
	const char *p = *at + strspn(*at, " \t");
	struct hoy_buf b = HOY_BUF_INIT(1 << 20);
	char quote = 0;

	if (!*p)
		return NULL;
	hoy_buf_puts(&b, "");
	for (; *p && (quote || !strchr(" \t", *p)); p++) {
		if (quote ? *p == quote : *p == '"' || *p == '\'')
			quote = quote ? 0 : *p;
		else if (*p == '\\' && p[1] && quote != '\'')
			hoy_buf_putc(&b, *++p);
		else
			hoy_buf_putc(&b, *p);
	}
	*at = p;
	return hoy_buf_steal(&b) ?: strdup("");
}

static int set_env(struct changes *ch, const char *key, const char *value)
{
	struct hoy_json *env = hoy_json_need(&ch->doc, ch->c, "Env", HOY_JSON_ARRAY), *next;
	cleanup_free char *line = hoy_asprintf("%s=%s", key, value);
	size_t len = strlen(key);

	for (struct hoy_json *it = env ? env->child : NULL; it; it = next) {
		next = it->next;
		if (hoy_json_text(it) && !strncmp(it->str, key, len) && it->str[len] == '=')
			hoy_json_remove(env, it);
	}
	return line && env && hoy_json_set_string(&ch->doc, env, NULL, line) ? 0 : -ENOMEM;
}

static int set_label(struct changes *ch, const char *key, const char *value)
{
	struct hoy_json *labels = hoy_json_need(&ch->doc, ch->c, "Labels", HOY_JSON_OBJECT);

	return labels && hoy_json_set_string(&ch->doc, labels, key, value) ? 0 : -ENOMEM;
}

/* "KEY=VALUE KEY=VALUE...", or one "KEY VALUE", as a Containerfile has them. */
static int set_pairs(struct changes *ch, const char *text, const char *what, int (*set)(struct changes *, const char *, const char *),
		     struct hoy_err *err)
{
	const char *at = text;
	char *word;
	int r = 0, n = 0;

	while (!r && (word = next_word(&at))) {
		char *eq = strchr(word, '=');

		if (eq && eq > word) {
			*eq = '\0';
			r = set(ch, word, eq + 1);
		} else if (!n && *word && at[strspn(at, " \t")]) {
			r = set(ch, word, at + strspn(at, " \t"));
			at += strlen(at);
		} else {
			hoy_fail(err, EINVAL, "%s needs KEY=VALUE, not '%s'", what, text);
			free(word);
			return -EINVAL;
		}
		n++;
		free(word);
	}
	return r < 0 ? hoy_fail_oom(err) : n ? 0 : hoy_fail(err, EINVAL, "%s needs KEY=VALUE", what);
}

/* A set in an object's keys: ports, volumes. */
static int set_keys(struct changes *ch, const char *key, const char *value, const char *ending, struct hoy_err *err)
{
	struct hoy_json *obj = hoy_json_need(&ch->doc, ch->c, key, HOY_JSON_OBJECT);
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;

	if (*value == '[' && !hoy_json_parse(&doc, value, strlen(value), key, NULL)) {
		HOY_JSON_EACH(it, doc.root)
			hoy_strv_push(&words, hoy_json_text(it) ? it->str : "");
	} else {
		hoy_strv_split(&words, value, ' ');
	}
	for (size_t i = 0; obj && i < words.n; i++) {
		cleanup_free char *k = hoy_asprintf("%s%s", words.v[i], strchr(words.v[i], '/') ? "" : ending);

		if (*words.v[i] && (!k || !hoy_json_put(&ch->doc, obj, k, hoy_json_new(&ch->doc, HOY_JSON_OBJECT))))
			return hoy_fail_oom(err);
	}
	return obj ? 0 : hoy_fail_oom(err);
}

int changes_apply(struct changes *ch, const char *text, struct hoy_err *err)
{
	cleanup_free char *copy = strdup(text + strspn(text, " \t"));
	char *value, *word = copy;

	if (!copy)
		return hoy_fail_oom(err);
	value = copy + strcspn(copy, " \t=");
	if (!*value)
		return hoy_fail(err, EINVAL, "the change '%s' has no value", text);
	*value++ = '\0';
	value += strspn(value, " \t");
	for (char *p = word; *p; p++)
		*p = toupper((unsigned char)*p);
	ch->cmd = ch->cmd || !strcmp(word, "CMD");
	ch->entrypoint = ch->entrypoint || !strcmp(word, "ENTRYPOINT");
	if (!strcmp(word, "CMD"))
		return set_command(ch, "Cmd", value, err);
	if (!strcmp(word, "ENTRYPOINT"))
		return set_command(ch, "Entrypoint", value, err);
	if (!strcmp(word, "ONBUILD"))
		return add_trigger(ch, value, err);
	if (!strcmp(word, "ENV"))
		return set_pairs(ch, value, "ENV", set_env, err);
	if (!strcmp(word, "EXPOSE"))
		return set_keys(ch, "ExposedPorts", value, "/tcp", err);
	if (!strcmp(word, "VOLUME"))
		return set_keys(ch, "Volumes", value, "", err);
	if (!strcmp(word, "LABEL"))
		return set_pairs(ch, value, "LABEL", set_label, err);
	word = !strcmp(word, "USER") ? "User" : !strcmp(word, "WORKDIR") ? "WorkingDir" : !strcmp(word, "STOPSIGNAL") ? "StopSignal" : NULL;
	if (!word)
		return hoy_fail(err, EINVAL, "the change '%s' is not known (CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR)",
				text);
	return hoy_json_set_string(&ch->doc, ch->c, word, value) ? 0 : hoy_fail_oom(err);
}

void changes_end(struct changes *ch)
{
	if (ch->entrypoint && !ch->cmd)
		hoy_json_unset(ch->c, "Cmd");
}

/* What Go's "omitempty" leaves out. */
static bool is_empty(const struct hoy_json *v)
{
	return v->type == HOY_JSON_NULL || (v->type == HOY_JSON_STRING && !v->len) || (v->type >= HOY_JSON_ARRAY && !v->count);
}

void changes_put(struct hoy_jw *w, const struct hoy_json *c)
{
	static const char *const keys[] = { "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels",
					    "StopSignal" };

	hoy_jw_object(w, "config");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (hoy_json_get(c, keys[i]) && !is_empty(hoy_json_get(c, keys[i])))
			changes_put_map(w, keys[i], hoy_json_get(c, keys[i]));
	hoy_jw_end_object(w);
}

void changes_put_map(struct hoy_jw *w, const char *key, const struct hoy_json *v)
{
	if (hoy_json_is(v, HOY_JSON_OBJECT))
		hoy_jw_sorted(w, key, v);
	else
		hoy_jw_value(w, key, v);
}
