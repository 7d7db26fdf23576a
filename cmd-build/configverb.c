/* cmd-build/configverb.c: `config`: what the image will say of itself is changed in a working container. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/ctr.h"
#include "cmd-build/subst.h"
#include "cmd-build/verbs.h"
#include "common/base/buf.h"
#include "common/base/msg.h"
#include "common/data/time.h"

struct config_opts {
	struct hoy_strv annotation, env, label, onbuild, os_feature, port, unset_annotation, unset_label, volume;
	const char *arch, *author, *cmd, *comment, *created_by, *domainname, *entrypoint, *health, *health_interval, *health_start_period,
		*health_start_interval, *health_timeout, *history_comment, *hostname, *os, *os_version, *shell, *stop_signal, *user, *variant,
		*workingdir, *health_retries;
	int add_history;
};
#define O(field) offsetof(struct config_opts, field)
#define STR(letter, name, field, arg, help) { letter, name, HOY_OPT_STRING, O(field), arg, help }
#define LIST(letter, name, field, arg, help) { letter, name, HOY_OPT_LIST, O(field), arg, help }
#define COMMAS(letter, name, field, arg, help) { letter, name, HOY_OPT_COMMAS, O(field), arg, help }
static const struct hoy_opt config_opts[] = {
	{ 0, "add-history", HOY_OPT_TRI, O(add_history), NULL, "note it in the image's history (default BUILDAH_HISTORY)" },
	LIST('a', "annotation", annotation, "KEY=VALUE", "annotation of the manifest; KEY- takes it away, - all"),
	STR(0, "arch", arch, "ARCH", "architecture that the image is for"),
	STR(0, "author", author, "TEXT", "who made the image"),
	STR(0, "cmd", cmd, "COMMAND", "default command: words, or a JSON array"),
	STR(0, "comment", comment, "TEXT", "comment of the image (docker)"),
	STR(0, "created-by", created_by, "TEXT", "what the history says of the layer"),
	STR(0, "domainname", domainname, "NAME", "domain name (docker)"),
	STR(0, "entrypoint", entrypoint, "COMMAND", "entry point: a JSON array, or a line for /bin/sh"),
	LIST('e', "env", env, "NAME[=VALUE]", "environment variable; NAME- takes it away, - all"),
	STR(0, "healthcheck", health, "COMMAND", "command of the health check (docker)"),
	STR(0, "healthcheck-interval", health_interval, "TIME", "time between checks"),
	STR(0, "healthcheck-retries", health_retries, "N", "failures in a row that make it unhealthy"),
	STR(0, "healthcheck-start-interval", health_start_interval, "TIME", "time between checks during the start"),
	STR(0, "healthcheck-start-period", health_start_period, "TIME", "time after the start in which failures do not count"),
	STR(0, "healthcheck-timeout", health_timeout, "TIME", "time that a check may take"),
	STR(0, "history-comment", history_comment, "TEXT", "comment of the layer in the history"),
	STR(0, "hostname", hostname, "NAME", "host name (docker)"),
	LIST('l', "label", label, "KEY[=VALUE]", "label; KEY- takes it away, - all"),
	COMMAS(0, "onbuild", onbuild, "INSTRUCTION", "trigger for those who build on the image (docker)"),
	STR(0, "os", os, "OS", "operating system that the image is for"),
	LIST(0, "os-feature", os_feature, "FEATURE", "feature that it needs; FEATURE- takes it away, - all"),
	STR(0, "os-version", os_version, "VERSION", "version that it needs"),
	COMMAS('p', "port", port, "PORT", "port that is listened on; PORT- takes it away, - all"),
	STR(0, "shell", shell, "SHELL", "shell that runs commands (docker)"),
	STR(0, "stop-signal", stop_signal, "SIGNAL", "signal that stops it"),
	COMMAS(0, "unsetannotation", unset_annotation, "KEY", "take an annotation away"),
	COMMAS(0, "unsetlabel", unset_label, "KEY", "take a label away"),
	STR('u', "user", user, "USER[:GROUP]", "default user"),
	STR(0, "variant", variant, "VARIANT", "variant of the architecture"),
	COMMAS('v', "volume", volume, "PATH", "path of a volume; PATH- takes it away, - all"),
	STR(0, "workingdir", workingdir, "DIR", "default working directory"),
	HOY_OPTS_END,
};

struct config {
	struct ctr c;
	struct config_opts o;
};

static int oom(struct config *g) { return hoy_fail_oom(&g->c.b.err); }

static int note(struct config *g, const char *fmt, ...) HOY_PRINTF(2, 3);
static int note(struct config *g, const char *fmt, ...)
{
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(1 << 20);
	va_list ap;

	va_start(ap, fmt);
	hoy_buf_vprintf(&text, fmt, ap);
	va_end(ap);
	return text.error ? oom(g) : ctr_note(&g->c, g->o.add_history, text.data);
}

/* "nop" as the history tells of an instruction, with all of V behind it. */
static int note_list(struct config *g, const char *word, const struct hoy_strv *v)
{
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(1 << 20);

	for (size_t i = 0; i < v->n; i++)
		hoy_buf_printf(&text, "%s%s", i ? " " : "", v->v[i]);
	return text.error ? oom(g) : note(g, "/bin/sh -c #(nop) %s %s", word, hoy_buf_str(&text));
}

static void warn_oci(struct config *g, const char *what, const char *key, const char *value)
{
	if (!*value || ctr_is_docker(&g->c))
		return;
	if (key)
		hoy_warning("%s is not supported for OCI image format, %s%s%s will be ignored. Must use `docker` format", what, key, *key ? " " : "", value);
	else
		hoy_warning("%s is not supported for OCI image format and will be ignored. Must use `docker` format", what);
}

/* ---- the image as a whole ---- */

/* A member beside the config, of both forms. */
static int set_top(struct config *g, const char *key, const char *value)
{
	static const char *const forms[] = { "ociv1", "docker" };

	for (size_t i = 0; value && i < ARRAY_SIZE(forms); i++) {
		struct hoy_json *form = hoy_json_need(&g->c.d, g->c.d.root, forms[i], HOY_JSON_OBJECT);

		if (!form || !hoy_json_set_string(&g->c.d, form, key, value))
			return oom(g);
	}
	return 0;
}

static int set_features(struct config *g, const char *form)
{
	struct hoy_json *of = hoy_json_need(&g->c.d, g->c.d.root, form, HOY_JSON_OBJECT), *list;
	cleanup_strv struct hoy_strv v = HOY_STRV_INIT;

	HOY_JSON_EACH(f, hoy_json_get(of, "os.features"))
		hoy_strv_push(&v, hoy_json_text(f) ?: "");
	for (size_t i = 0; i < g->o.os_feature.n; i++) {
		const char *word = g->o.os_feature.v[i];
		size_t len = strlen(word);
		cleanup_free char *bare = strndup(word, len && word[len - 1] == '-' ? len - 1 : len);

		if (!strcmp(word, "-"))
			hoy_strv_release(&v);
		else if (bare && len != strlen(bare) && hoy_strv_has(&v, bare))
			hoy_strv_remove(&v, hoy_strv_find(&v, bare));
		else if (len && word[len - 1] != '-' && !hoy_strv_has(&v, word))
			hoy_strv_push(&v, word);
	}
	list = of ? hoy_json_put(&g->c.d, of, "os.features", hoy_json_new(&g->c.d, HOY_JSON_ARRAY)) : NULL;
	for (size_t i = 0; list && i < v.n; i++)
		if (!hoy_json_set_string(&g->c.d, list, NULL, v.v[i]))
			list = NULL;
	return list ? 0 : oom(g);
}

static int set_root(struct config *g, const char *key, const char *value)
{
	return !value || hoy_json_set_string(&g->c.d, g->c.d.root, key, value) ? 0 : oom(g);
}

static int apply_image(struct config *g)
{
	const struct config_opts *o = &g->o;
	const struct {
		const char *key, *value;
	} tops[] = { { "author", o->author }, { "architecture", o->arch }, { "variant", o->variant }, { "os", o->os }, { "os.version", o->os_version } };
	int r = set_root(g, "created-by", o->created_by);

	for (size_t i = 0; i < ARRAY_SIZE(tops) && !r; i++)
		r = set_top(g, tops[i].key, tops[i].value);
	if (!r && o->os_feature.n)
		r = set_features(g, "ociv1");
	return !r && o->os_feature.n ? set_features(g, "docker") : r;
}

/* ---- texts of the config ---- */

static int apply_text(struct config *g, const char *key, const char *value, const char *word)
{
	int r = value ? ctr_set(&g->c, key, value) : 0;

	return r || !value ? r : note(g, "/bin/sh -c #(nop) %s %s", word, value);
}

static int apply_shell(struct config *g)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(1 << 20);
	struct hoy_json *list;

	if (!g->o.shell)
		return 0;
	if (shell_words(g->o.shell, &words) < 0)
		return hoy_fail(&g->c.b.err, EINVAL, "parsing --shell \"%s\": invalid command line string", g->o.shell);
	for (size_t i = 0; i < words.n; i++)
		hoy_buf_printf(&text, "%s%s", i ? " " : "[", words.v[i]);
	hoy_buf_putc(&text, ']');
	warn_oci(g, "SHELL", "", words.n ? hoy_buf_str(&text) : "");
	if (!words.n) {
		hoy_json_unset(ctr_docker(&g->c), "Shell");
		return note(g, "/bin/sh -c #(nop) SHELL %s", g->o.shell);
	}
	list = hoy_json_put(&g->c.d, ctr_docker(&g->c), "Shell", hoy_json_new(&g->c.d, HOY_JSON_ARRAY));
	for (size_t i = 0; list && i < words.n; i++)
		if (!hoy_json_set_string(&g->c.d, list, NULL, words.v[i]))
			list = NULL;
	return list ? note(g, "/bin/sh -c #(nop) SHELL %s", g->o.shell) : oom(g);
}

/* ---- maps: labels, ports, volumes, annotations ---- */

/* SPEC for the map KEY of one form: KEY=VALUE or KEY; KEY- takes away, - all. EMPTY: values are empty objects. */
static int change_map(struct config *g, struct hoy_json *of, const char *map, const char *spec, bool empty)
{
	const char *eq = empty ? NULL : strchr(spec, '=');
	size_t len = eq ? (size_t)(eq - spec) : strlen(spec);
	bool off = !eq && len && spec[len - 1] == '-';
	cleanup_free char *key = strndup(spec, len - off);
	struct hoy_json *m;

	/* From nothing, nothing is taken. */
	if (off && key && *key && !hoy_json_is(hoy_json_get(of, map), HOY_JSON_OBJECT))
		return 0;
	m = of ? hoy_json_need(&g->c.d, of, map, HOY_JSON_OBJECT) : NULL;
	if (!m || !key)
		return oom(g);
	if (off && !*key)
		return hoy_json_put(&g->c.d, of, map, hoy_json_new(&g->c.d, HOY_JSON_OBJECT)) ? 0 : oom(g);
	if (off) {
		hoy_json_unset(m, key);
		return 0;
	}
	if (empty)
		return hoy_json_put(&g->c.d, m, key, hoy_json_new(&g->c.d, HOY_JSON_OBJECT)) ? 0 : oom(g);
	return hoy_json_set_string(&g->c.d, m, key, eq ? eq + 1 : "") ? 0 : oom(g);
}

static int change_both(struct config *g, const char *map, const char *spec, bool empty)
{
	int r = change_map(g, ctr_oci(&g->c), map, spec, empty);

	return r ? r : change_map(g, ctr_docker(&g->c), map, spec, empty);
}

static int apply_ports(struct config *g)
{
	int r = 0;

	for (size_t i = 0; i < g->o.port.n && !r; i++)
		r = change_both(g, "ExposedPorts", g->o.port.v[i][0] == '-' ? "-" : g->o.port.v[i], true);
	return r || !g->o.port.n ? r : note_list(g, "EXPOSE", &g->o.port);
}

static int apply_volumes(struct config *g)
{
	int r = 0;

	for (size_t i = 0; i < g->o.volume.n && !r; i++) {
		r = change_both(g, "Volumes", g->o.volume.v[i], true);
		if (!r)
			r = note(g, "/bin/sh -c #(nop) VOLUME %s", g->o.volume.v[i]);
	}
	return r;
}

static int apply_labels(struct config *g)
{
	int r = 0;

	for (size_t i = 0; i < g->o.label.n && !r; i++)
		r = change_both(g, "Labels", g->o.label.v[i], false);
	if (!r && g->o.label.n)
		r = note_list(g, "LABEL", &g->o.label);
	for (size_t i = 0; i < g->o.unset_label.n && !r; i++) {
		hoy_json_unset(hoy_json_get(ctr_oci(&g->c), "Labels"), g->o.unset_label.v[i]);
		hoy_json_unset(hoy_json_get(ctr_docker(&g->c), "Labels"), g->o.unset_label.v[i]);
	}
	for (size_t i = 0; i < g->o.unset_annotation.n && !r; i++)
		hoy_json_unset(hoy_json_get(g->c.d.root, "annotations"), g->o.unset_annotation.v[i]);
	return r;
}

static int apply_annotations(struct config *g)
{
	int r = 0;

	for (size_t i = 0; i < g->o.annotation.n && !r; i++)
		r = change_map(g, g->c.d.root, "annotations", g->o.annotation.v[i], false);
	return r;
}

/* ---- environment ---- */

/* "VALUE" with $NAME and ${NAME} replaced by what the container's environment has. */
static int expand(struct config *g, const char *value, struct hoy_buf *ret)
{
	cleanup_strv struct hoy_strv env = HOY_STRV_INIT;

	HOY_JSON_EACH(e, hoy_json_get(ctr_oci(&g->c), "Env"))
		hoy_strv_push(&env, hoy_json_text(e) ?: "");
	for (const char *s = value; *s;) {
		const char *name = s + 1 + (s[1] == '{');
		size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
		cleanup_free char *key = NULL;
		const char *got;

		if (*s != '$' || !len || (s[1] == '{' && name[len] != '}')) {
			hoy_buf_putc(ret, *s++);
			continue;
		}
		key = strndup(name, len);
		got = key ? hoy_env_get(&env, key) : NULL;
		if (key && !got)
			hoy_error("error expanding variable \"%s\": no value set in configuration", key);
		hoy_buf_puts(ret, got ?: key ?: "");
		s = name + len + (s[1] == '{');
	}
	return ret->error || env.error ? oom(g) : 0;
}

static int change_env(struct config *g, const char *spec)
{
	cleanup_buf struct hoy_buf value = HOY_BUF_INIT(1 << 20);
	cleanup_strv struct hoy_strv none = HOY_STRV_INIT;
	const char *eq = strchr(spec, '=');
	size_t len = eq ? (size_t)(eq - spec) : strlen(spec);
	bool off = !eq && len && spec[len - 1] == '-';
	cleanup_free char *key = strndup(spec, len - off);
	int r;

	if (!key)
		return oom(g);
	if (off)
		return *key ? ctr_set_env(&g->c, key, NULL) : ctr_set_list(&g->c, "Env", &none);
	if (!eq && (!getenv(key) || !*getenv(key)))
		return hoy_fail(&g->c.b.err, EINVAL, "setting env \"%s\": no value given", key);
	if (!eq)
		return ctr_set_env(&g->c, key, getenv(key));
	r = expand(g, eq + 1, &value);
	return r ? r : ctr_set_env(&g->c, key, hoy_buf_str(&value));
}

static int apply_env(struct config *g)
{
	int r = 0;

	for (size_t i = 0; i < g->o.env.n && !r; i++)
		r = change_env(g, g->o.env.v[i]);
	/* (buildah notes an empty ENV where none was given.) */
	return r ? r : note_list(g, "ENV", &g->o.env);
}

/* ---- commands ---- */

static void warn_command(struct config *g, const char *what)
{
	const struct hoy_json *cmd = hoy_json_get(ctr_oci(&g->c), "Cmd");
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(1 << 20);

	HOY_JSON_EACH(w, cmd)
		hoy_buf_printf(&text, "%s%s", text.len ? " " : "", hoy_json_text(w) ?: "");
	if (cmd && cmd->count)
		hoy_warning("cmd \"%s\" exists %s", hoy_buf_str(&text), what);
}

static bool blank(const char *s) { return !s[strspn(s, " \t\r\n")]; }

static int apply_entrypoint(struct config *g)
{
	const char *text = g->o.entrypoint;
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	bool json;
	int r;

	if (!text)
		return 0;
	json = json_words(text, true, &words) > 0;
	if (json) {
		warn_command(g, "and will be passed to entrypoint as a parameter");
	} else if (!blank(text)) {
		hoy_strv_push(&words, "/bin/sh");
		hoy_strv_push(&words, "-c");
		hoy_strv_push(&words, text);
		warn_command(g, "but will be ignored because of entrypoint settings");
	}
	r = words.n || json ? ctr_set_list(&g->c, "Entrypoint", &words) : ctr_set(&g->c, "Entrypoint", NULL);
	return r ? r : note(g, "/bin/sh -c #(nop) ENTRYPOINT %s", text);
}

static int apply_cmd(struct config *g)
{
	const char *text = g->o.cmd;
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	bool json;
	int r;

	if (!text)
		return 0;
	json = json_words(text, true, &words) > 0;
	if (!json && !blank(text) && shell_words(text, &words) < 0)
		return hoy_fail(&g->c.b.err, EINVAL, "parsing --cmd \"%s\": invalid command line string", text);
	r = words.n || json ? ctr_set_list(&g->c, "Cmd", &words) : ctr_set(&g->c, "Cmd", NULL);
	return r ? r : note(g, "/bin/sh -c #(nop) CMD %s", text);
}

/* ---- health checks ---- */

static int set_time(struct config *g, struct hoy_json *h, const char *option, const char *key, const char *text, struct hoy_buf *args)
{
	int64_t ns;

	if (!text)
		return 0;
	if (!hoy_duration_parse(text, &ns))
		return hoy_fail(&g->c.b.err, EINVAL, "parsing --healthcheck-%s \"%s\": invalid duration", option, text);
	hoy_buf_printf(args, "--%s=%s ", option, text);
	if (!ns)
		hoy_json_unset(h, key);
	return !ns || hoy_json_set_int(&g->c.d, h, key, ns) ? 0 : oom(g);
}

static int set_retries(struct config *g, struct hoy_json *h, struct hoy_buf *args)
{
	const char *text = g->o.health_retries;
	char *end;
	long n = text ? strtol(text, &end, 10) : 0;

	if (!text)
		return 0;
	if (!*text || *end)
		return hoy_fail(&g->c.b.err, EINVAL, "--healthcheck-retries must be a number, not '%s'", text);
	hoy_buf_printf(args, "--retries=%ld ", n);
	if (!n)
		hoy_json_unset(h, "Retries");
	return !n || hoy_json_set_int(&g->c.d, h, "Retries", n) ? 0 : oom(g);
}

/* What a check has if nobody says more. */
static struct hoy_json *need_health(struct config *g)
{
	struct hoy_json *config = ctr_docker(&g->c), *h = hoy_json_get(config, "Healthcheck"), *test;

	if (hoy_json_is(h, HOY_JSON_OBJECT))
		return h;
	h = config ? hoy_json_put(&g->c.d, config, "Healthcheck", hoy_json_new(&g->c.d, HOY_JSON_OBJECT)) : NULL;
	test = h ? hoy_json_need(&g->c.d, h, "Test", HOY_JSON_ARRAY) : NULL;
	return test && hoy_json_set_string(&g->c.d, test, NULL, "NONE") && hoy_json_set_int(&g->c.d, h, "Interval", 30 * HOY_NS) &&
	       hoy_json_set_int(&g->c.d, h, "Timeout", 30 * HOY_NS) && hoy_json_set_int(&g->c.d, h, "Retries", 3) ? h : NULL;
}

static int set_test(struct config *g, struct hoy_json *h)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	struct hoy_json *list;

	if (!g->o.health)
		return 0;
	if (shell_words(g->o.health, &words) < 0)
		return hoy_fail(&g->c.b.err, EINVAL, "parsing --healthcheck \"%s\": invalid command line string", g->o.health);
	list = hoy_json_put(&g->c.d, h, "Test", hoy_json_new(&g->c.d, HOY_JSON_ARRAY));
	for (size_t i = 0; list && i < words.n; i++)
		if (!hoy_json_set_string(&g->c.d, list, NULL, words.v[i]))
			list = NULL;
	return list ? 0 : oom(g);
}

/* Its members in the order in which Go writes them. */
static int order_health(struct config *g, const struct hoy_json *h)
{
	static const char *const keys[] = { "Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries" };
	struct hoy_json *own = hoy_json_new(&g->c.d, HOY_JSON_OBJECT);

	for (size_t i = 0; own && i < ARRAY_SIZE(keys); i++)
		if (hoy_json_get(h, keys[i]) && !hoy_json_put(&g->c.d, own, keys[i], hoy_json_copy(&g->c.d, hoy_json_get(h, keys[i]))))
			own = NULL;
	return own && hoy_json_put(&g->c.d, ctr_docker(&g->c), "Healthcheck", own) ? 0 : oom(g);
}

static int apply_health(struct config *g)
{
	const struct config_opts *o = &g->o;
	cleanup_buf struct hoy_buf args = HOY_BUF_INIT(1 << 16);
	struct hoy_json *h;
	int r;

	if (!o->health && !o->health_interval && !o->health_retries && !o->health_start_period && !o->health_timeout && !o->health_start_interval)
		return 0;
	h = need_health(g);
	if (!h)
		return oom(g);
	r = set_test(g, h);
	if (!r)
		r = set_time(g, h, "interval", "Interval", o->health_interval, &args);
	if (!r)
		r = set_retries(g, h, &args);
	if (!r)
		r = set_time(g, h, "start-period", "StartPeriod", o->health_start_period, &args);
	if (!r)
		r = set_time(g, h, "start-interval", "StartInterval", o->health_start_interval, &args);
	if (!r)
		r = set_time(g, h, "timeout", "Timeout", o->health_timeout, &args);
	if (!r)
		r = order_health(g, h);
	if (r < 0)
		return r;
	h = hoy_json_get(ctr_docker(&g->c), "Healthcheck");
	if (!hoy_json_get(h, "Test") || !hoy_json_get(h, "Test")->count) {
		hoy_json_unset(ctr_docker(&g->c), "Healthcheck");
		return note(g, "/bin/sh -c #(nop) HEALTHCHECK NONE");
	}
	warn_oci(g, "HEALTHCHECK", NULL, "-");
	return note(g, "/bin/sh -c #(nop) HEALTHCHECK %s%s", hoy_buf_str(&args), o->health ?: "");
}

/* ---- what only docker's form has ---- */

static int set_docker(struct config *g, struct hoy_json *of, const char *key, const char *value)
{
	return !value || hoy_json_set_string(&g->c.d, of, key, value) ? 0 : oom(g);
}

static int apply_docker(struct config *g)
{
	const struct config_opts *o = &g->o;
	struct hoy_json *config = ctr_docker(&g->c), *form = hoy_json_get(g->c.d.root, "docker"), *list;
	int r;

	warn_oci(g, "COMMENT", "comment", o->comment ?: "");
	warn_oci(g, "DOMAINNAME", "domainname", o->domainname ?: "");
	warn_oci(g, "HOSTNAME", "hostname", o->hostname ?: "");
	r = set_docker(g, form, "comment", o->comment);
	if (!r)
		r = set_docker(g, config, "Domainname", o->domainname);
	if (!r)
		r = set_docker(g, config, "Hostname", o->hostname);
	for (size_t i = 0; i < o->onbuild.n && !r; i++) {
		warn_oci(g, "ONBUILD", "", o->onbuild.v[i]);
		list = hoy_json_need(&g->c.d, config, "OnBuild", HOY_JSON_ARRAY);
		r = list && hoy_json_set_string(&g->c.d, list, NULL, o->onbuild.v[i]) ? 0 : oom(g);
		if (!r)
			r = note(g, "/bin/sh -c #(nop) ONBUILD %s", o->onbuild.v[i]);
	}
	return r;
}

static int apply_user(struct config *g) { return apply_text(g, "User", g->o.user, "USER"); }
static int apply_signal(struct config *g) { return apply_text(g, "StopSignal", g->o.stop_signal, "STOPSIGNAL"); }
static int apply_workdir(struct config *g) { return apply_text(g, "WorkingDir", g->o.workingdir, "WORKDIR"); }
static int apply_comment(struct config *g) { return set_root(g, "history-comment", g->o.history_comment); }

/* In this order, which the history shows. */
static int apply_all(struct config *g)
{
	static int (*const steps[])(struct config *) = { apply_image,  apply_user,   apply_shell,  apply_signal, apply_ports,
							 apply_env,    apply_entrypoint, apply_cmd, apply_volumes, apply_health,
							 apply_labels, apply_workdir, apply_comment, apply_docker, apply_annotations };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(steps) && !r; i++)
		r = steps[i](g);
	return r;
}

static int run_config(const struct hoy_verb *v, int argc, char **argv)
{
	struct config g = { .o = { .add_history = -1 } };
	struct hoy_strv *lists[] = { &g.o.annotation, &g.o.env, &g.o.label, &g.o.onbuild, &g.o.os_feature, &g.o.port, &g.o.unset_annotation,
				     &g.o.unset_label, &g.o.volume };
	int status, r, n = hoy_verb_args(v, argc, argv, &g.o, 0, -1, &status);

	if (n < 0)
		return status;
	ctr_init(&g.c);
	r = options_first(n, argv, "container name", &g.c.b.err);
	if (!r && !n)
		r = hoy_fail(&g.c.b.err, EINVAL, "container ID must be specified");
	if (!r && n > 1)
		r = hoy_fail(&g.c.b.err, EINVAL, "too many arguments specified");
	if (!r)
		r = ctr_open(&g.c, argv[1]);
	if (!r)
		r = apply_all(&g);
	if (!r)
		r = ctr_save(&g.c);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		hoy_strv_release(lists[i]);
	return ctr_finish(&g.c, r);
}
const struct hoy_verb verb_config = { "config", "[options] CONTAINER", "Change what the image will say of itself", config_opts, run_config,
				      HOY_VERB_COMMAND };
