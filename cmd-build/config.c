/* cmd-build/config.c: what instructions say of an image's config, and how its history tells of them. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "cmd-build/build.h"
#include "cmd-build/linkstep.h"
#include "cmd-build/subst.h"
#include "common/base/buf.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/time.h"
#include "common/proc/signal.h"

static const char *const proxies[] = { "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY",
				       "no_proxy", "ALL_PROXY", "all_proxy" };

static bool is_proxy(const char *key, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(proxies); i++)
		if (strlen(proxies[i]) == len && !strncmp(proxies[i], key, len))
			return true;
	return false;
}

static int oom(struct state *s) { return hoy_fail_oom(&s->b->err); }

void state_release(struct state *s)
{
	work_drop(s->work);
	hoy_json_release(&s->d);
	hoy_json_release(&s->base);
	hoy_strv_release(&s->args);
	hoy_strv_release(&s->declared);
	hoy_strv_release(&s->pending);
	hoy_strv_release(&s->set_envs);
	free(s->author);
	free(s->name);
}

const char *config_str(const struct state *s, const char *key) { return hoy_json_str(s->cfg, key) ?: ""; }

int config_begin(struct state *s, const struct hoy_json *base)
{
	s->d.root = hoy_json_new(&s->d, HOY_JSON_OBJECT);
	s->cfg = s->d.root ? hoy_json_need(&s->d, s->d.root, "config", HOY_JSON_OBJECT) : NULL;
	if (!s->cfg)
		return oom(s);
	if (hoy_json_is(hoy_json_get(base, "config"), HOY_JSON_OBJECT)) {
		s->cfg = hoy_json_put(&s->d, s->d.root, "config", hoy_json_copy(&s->d, hoy_json_get(base, "config")));
		if (!s->cfg)
			return oom(s);
	}
	hoy_json_unset(s->cfg, "OnBuild");
	if (hoy_json_str(base, "author") && !(s->author = strdup(hoy_json_str(base, "author"))))
		return oom(s);
	s->notes = hoy_json_need(&s->d, s->d.root, "annotations", HOY_JSON_OBJECT);
	return s->notes ? 0 : oom(s);
}

static int set_env(struct state *s, const char *key, const char *value);

int config_scratch(struct state *s)
{
	static const char *const notes[] = { "org.opencontainers.image.base.digest", "org.opencontainers.image.base.name" };
	int r = config_begin(s, NULL);

	if (!r)
		r = set_env(s, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	for (size_t i = 0; i < ARRAY_SIZE(notes) && !r; i++)
		r = hoy_json_set_string(&s->d, s->notes, notes[i], "") ? 0 : oom(s);
	return r ? r : hoy_json_set_string(&s->d, s->cfg, "WorkingDir", "/") ? 0 : oom(s);
}

void config_vars(const struct state *s, struct hoy_strv *ret)
{
	for (size_t i = 0; i < s->args.n; i++)
		hoy_strv_push(ret, s->args.v[i]);
	HOY_JSON_EACH(e, hoy_json_get(s->cfg, "Env")) {
		const char *eq = hoy_json_text(e) ? strchr(e->str, '=') : NULL;
		cleanup_free char *key = eq ? strndup(e->str, eq - e->str) : NULL;

		if (key)
			hoy_env_set(ret, key, eq + 1);
	}
}

char *config_word(struct state *s, const struct cf_instr *i, const char *word)
{
	cleanup_strv struct hoy_strv vars = HOY_STRV_INIT;
	char *got;

	config_vars(s, &vars);
	got = subst_word(word, '\\', &vars, &s->b->err);
	if (!got)
		cfile_fail(&s->b->f, i, &s->b->err, s->b->err.code ?: ENOMEM, "%s", (char *)strdupa(s->b->err.msg));
	return got;
}

/* ---- lists and maps of the config ---- */

static int set_list(struct state *s, const char *key, const struct hoy_strv *v, size_t from)
{
	struct hoy_json *list = hoy_json_put(&s->d, s->cfg, key, hoy_json_new(&s->d, HOY_JSON_ARRAY));

	for (size_t i = from; list && i < v->n; i++)
		if (!hoy_json_set_string(&s->d, list, NULL, v->v[i]))
			return oom(s);
	return list ? 0 : oom(s);
}

static int set_env(struct state *s, const char *key, const char *value)
{
	cleanup_strv struct hoy_strv env = HOY_STRV_INIT;

	HOY_JSON_EACH(e, hoy_json_get(s->cfg, "Env"))
		if (hoy_json_text(e))
			hoy_strv_push(&env, e->str);
	/* As buildah has it: what a stage sets stands behind what it doesn't, in the order in which it was first set. */
	if (!hoy_strv_has(&s->set_envs, key)) {
		hoy_strv_push(&s->set_envs, key);
		hoy_env_unset(&env, key);
	}
	hoy_env_set(&env, key, value);
	return env.error ? oom(s) : set_list(s, "Env", &env, 0);
}

static int add_key(struct state *s, const char *of, const char *key)
{
	struct hoy_json *map = hoy_json_need(&s->d, s->cfg, of, HOY_JSON_OBJECT);

	return map && hoy_json_put(&s->d, map, key, hoy_json_new(&s->d, HOY_JSON_OBJECT)) ? 0 : oom(s);
}

/* ---- instructions ---- */

static int apply_pairs(struct state *s, const struct cf_instr *i)
{
	bool env = *i->word == 'E';
	cleanup_strv struct hoy_strv got = HOY_STRV_INIT;
	int r = 0;

	/* All are substituted with what held before the instruction. */
	for (size_t k = 0; k < i->args.n; k++) {
		char *word = config_word(s, i, i->args.v[k]);

		if (!word)
			return -s->b->err.code;
		hoy_strv_take(&got, word);
	}
	for (size_t k = 0; k + 1 < got.n && !r; k += 2) {
		struct hoy_json *labels = env ? NULL : hoy_json_need(&s->d, s->cfg, "Labels", HOY_JSON_OBJECT);

		if (env)
			r = set_env(s, got.v[k], got.v[k + 1]);
		else if (!labels || !hoy_json_set_string(&s->d, labels, got.v[k], got.v[k + 1]))
			r = oom(s);
	}
	return r;
}

static int declare(struct state *s, const struct cf_instr *i, const char *word)
{
	struct build *b = s->b;
	const char *eq = strchr(word, '=');
	cleanup_free char *raw = strndup(word, eq ? (size_t)(eq - word) : strlen(word)), *key = raw ? config_word(s, i, raw) : NULL, *value = NULL;
	const char *given = key ? hoy_env_get(&b->given, key) : NULL, *heading = key ? hoy_env_get(&b->heading, key) : NULL;

	if (!key)
		return b->err.code ? -b->err.code : oom(s);
	if (!hoy_strv_has(&s->declared, key))
		hoy_strv_push(&s->declared, key);
	if (given)
		hoy_strv_push(&b->used, key);
	else if (eq && !(value = config_word(s, i, eq + 1)))
		return -b->err.code;
	/* --build-arg, then the default here, then what an ARG before the first FROM said. */
	if (given || value || heading)
		hoy_env_set(&s->args, key, given ?: value ?: heading);
	else if (!hoy_env_get(&s->args, key))
		hoy_warning("missing \"%s\" build argument. Try adding \"--build-arg %s=<VALUE>\" to the command line", key, key);
	return s->args.error ? oom(s) : 0;
}

static int apply_command(struct state *s, const struct cf_instr *i)
{
	bool entry = *i->word == 'E';
	const char *key = entry ? "Entrypoint" : "Cmd";
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;

	/* Whatever SHELL says: as buildah has it. */
	if (!i->json && (i->args.n || !entry)) {
		hoy_strv_push(&words, "/bin/sh");
		hoy_strv_push(&words, "-c");
	}
	for (size_t k = 0; k < i->args.n; k++)
		hoy_strv_push(&words, i->args.v[k]);
	if (entry && !s->cmd_set)
		hoy_json_unset(s->cfg, "Cmd");
	s->cmd_set = s->cmd_set || (!entry && i->args.n);
	return words.error ? oom(s) : set_list(s, key, &words, 0);
}

/* Whatever it says: as buildah has it, a range stays one, and what a port is, matters to those who publish it. */
static int expose(struct state *s, const char *spec)
{
	size_t port = strcspn(spec, "/");
	const char *proto = spec[port] ? spec + port + 1 : "";
	size_t len = strcspn(proto, "/");
	cleanup_free char *key = hoy_asprintf("%.*s/%.*s", (int)port, spec, len ? (int)len : 3, len ? proto : "tcp");

	return key ? add_key(s, "ExposedPorts", key) : oom(s);
}

static int apply_expose(struct state *s, const struct cf_instr *i)
{
	cleanup_strv struct hoy_strv vars = HOY_STRV_INIT, ports = HOY_STRV_INIT;
	int r = 0;

	config_vars(s, &vars);
	for (size_t k = 0; k < i->args.n && !r; k++)
		r = subst_words(i->args.v[k], '\\', &vars, &ports, &s->b->err);
	if (r < 0)
		return cfile_fail(&s->b->f, i, &s->b->err, -r, "%s", (char *)strdupa(s->b->err.msg));
	if (!ports.n || (ports.n == 1 && !*ports.v[0]))
		return cfile_fail(&s->b->f, i, &s->b->err, EINVAL, "requires at least one argument");
	for (size_t k = 0; k < ports.n && !r; k++)
		r = *ports.v[k] ? expose(s, ports.v[k]) : 0;
	return r;
}

static int apply_volume(struct state *s, const struct cf_instr *i)
{
	int r = 0;

	for (size_t k = 0; k < i->args.n && !r; k++) {
		cleanup_free char *path = config_word(s, i, i->args.v[k]);

		if (!path)
			return -s->b->err.code;
		r = *path ? add_key(s, "Volumes", path) : cfile_fail(&s->b->f, i, &s->b->err, EINVAL, "VOLUME specified can not be an empty string");
	}
	return r;
}

static int apply_word(struct state *s, const struct cf_instr *i, const char *key)
{
	cleanup_free char *word = config_word(s, i, i->args.v[0]), *path = NULL;

	if (!word)
		return -s->b->err.code;
	if (!strcmp(key, "WorkingDir")) {
		/* As buildah has it: what is absolute stays as it is, but for a slash at its end. */
		size_t len = strlen(word);

		path = *word != '/' ? join_clean(config_str(s, key), word) : strndup(word, len - (len > 1 && word[len - 1] == '/'));
		return path && hoy_json_set_string(&s->d, s->cfg, key, path) ? 0 : oom(s);
	}
	return hoy_json_set_string(&s->d, s->cfg, key, word) ? 0 : oom(s);
}

static int apply_signal(struct state *s, const struct cf_instr *i)
{
	cleanup_free char *word = config_word(s, i, i->args.v[0]);
	char *end;
	long n;

	if (!word)
		return -s->b->err.code;
	/* Any number but 0 is one, as to podman: what it means is the matter of the machine that it is sent on. */
	n = strtol(word, &end, 10);
	if (*word && !*end ? !n : hoy_signal_parse(word) < 0)
		return cfile_fail(&s->b->f, i, &s->b->err, EINVAL, "Invalid signal: %s", word);
	return hoy_json_set_string(&s->d, s->cfg, "StopSignal", word) ? 0 : oom(s);
}

static int health_flag(struct state *s, const struct cf_instr *i, struct hoy_json *h, const char *flag, const char *key)
{
	const char *text = cf_flag(i, flag);
	int64_t ns;

	if (!text)
		return 0;
	if (!strcmp(flag, "retries")) {
		char *end;

		ns = strtol(text, &end, 10);
		if (!*text || *end || ns < 0)
			return cfile_fail(&s->b->f, i, &s->b->err, EINVAL, "--retries must be a number that is not negative, not '%s'", text);
	} else if (!hoy_duration_parse(text, &ns) || ns < 1000000 || isdigit((unsigned char)text[strlen(text) - 1])) {
		return cfile_fail(&s->b->f, i, &s->b->err, EINVAL, "--%s must be a duration with a unit, of at least 1ms, not '%s'", flag, text);
	}
	return hoy_json_set_int(&s->d, h, key, ns) ? 0 : oom(s);
}

static int apply_health(struct state *s, const struct cf_instr *i)
{
	static const char *const flags[][2] = { { "interval", "Interval" }, { "timeout", "Timeout" }, { "start-period", "StartPeriod" },
						{ "start-interval", "StartInterval" }, { "retries", "Retries" } };
	struct hoy_json *h = hoy_json_put(&s->d, s->cfg, "Healthcheck", hoy_json_new(&s->d, HOY_JSON_OBJECT)), *test;
	int r = 0;

	test = h ? hoy_json_need(&s->d, h, "Test", HOY_JSON_ARRAY) : NULL;
	if (!test)
		return oom(s);
	for (size_t k = 0; k < i->args.n; k++) {
		const char *word = k ? i->args.v[k] : !strcmp(i->args.v[0], "NONE") ? "NONE" : i->json ? "CMD" : "CMD-SHELL";

		if (!hoy_json_set_string(&s->d, test, NULL, word))
			return oom(s);
	}
	for (size_t k = 0; k < ARRAY_SIZE(flags) && !r && i->args.n > 1; k++)
		r = health_flag(s, i, h, flags[k][0], flags[k][1]);
	return r;
}

static int apply_onbuild(struct state *s, const struct cf_instr *i)
{
	struct hoy_json *list = hoy_json_need(&s->d, s->cfg, "OnBuild", HOY_JSON_ARRAY);
	static const char *const never[] = { "ONBUILD", "FROM", "MAINTAINER" };
	size_t len = strcspn(i->rest, " \t");
	const char *trigger;

	for (size_t k = 0; k < ARRAY_SIZE(never); k++)
		if (len == strlen(never[k]) && !strncasecmp(i->rest, never[k], len))
			return cfile_fail(&s->b->f, i, &s->b->err, EINVAL, "%.*s isn't allowed as an ONBUILD trigger", (int)len, i->rest);
	/* As it was written, with the spaces at its end. */
	trigger = strcasestr(i->text, "ONBUILD") + 7;
	return list && hoy_json_set_string(&s->d, list, NULL, trigger + strspn(trigger, " \t")) ? 0 : oom(s);
}

static int apply_maintainer(struct state *s, const struct cf_instr *i)
{
	free(s->author);
	s->author = strdup(i->rest);
	return s->author ? 0 : oom(s);
}

static int apply_args(struct state *s, const struct cf_instr *i)
{
	int r = 0;

	for (size_t k = 0; k < i->args.n && !r; k++)
		r = declare(s, i, i->args.v[k]);
	return r;
}

int config_apply(struct state *s, const struct cf_instr *i)
{
	const char *w = i->word;

	if (!strcmp(w, "ENV") || !strcmp(w, "LABEL"))
		return apply_pairs(s, i);
	if (!strcmp(w, "ARG"))
		return apply_args(s, i);
	if (!strcmp(w, "CMD") || !strcmp(w, "ENTRYPOINT"))
		return apply_command(s, i);
	if (!strcmp(w, "EXPOSE"))
		return apply_expose(s, i);
	if (!strcmp(w, "VOLUME"))
		return apply_volume(s, i);
	if (!strcmp(w, "USER"))
		return apply_word(s, i, "User");
	if (!strcmp(w, "WORKDIR"))
		return apply_word(s, i, "WorkingDir");
	if (!strcmp(w, "STOPSIGNAL"))
		return apply_signal(s, i);
	/* OCI's format has no place for it, and as buildah warns, it then holds for no RUN either. */
	if (!strcmp(w, "SHELL") && !s->b->docker)
		return 0;
	if (!strcmp(w, "SHELL"))
		return set_list(s, "Shell", &i->args, 0);
	if (!strcmp(w, "HEALTHCHECK"))
		return apply_health(s, i);
	if (!strcmp(w, "ONBUILD"))
		return apply_onbuild(s, i);
	if (!strcmp(w, "MAINTAINER"))
		return apply_maintainer(s, i);
	return 0;
}

/* ---- history ---- */

/* "KEY=value KEY=value", sorted: the arguments that a RUN sees. */
static void run_args(const struct state *s, struct hoy_buf *b)
{
	cleanup_strv struct hoy_strv list = HOY_STRV_INIT, env = HOY_STRV_INIT;

	HOY_JSON_EACH(e, hoy_json_get(s->cfg, "Env"))
		hoy_strv_push(&env, hoy_json_text(e) ?: "");
	for (size_t i = 0; i < s->args.n; i++) {
		size_t len = strcspn(s->args.v[i], "=");
		cleanup_free char *key = strndup(s->args.v[i], len);
		const char *over = key ? hoy_env_get(&env, key) : NULL;

		if (!over && is_proxy(s->args.v[i], len) && key && !hoy_strv_has(&s->declared, key))
			continue;
		hoy_strv_pushf(&list, "%s=%s", key ?: "", over ?: s->args.v[i] + len + 1);
	}
	hoy_strv_sort(&list);
	for (size_t i = 0; i < list.n; i++)
		hoy_buf_printf(b, "%s%s", i ? " " : "", list.v[i]);
}

static void run_by(const struct state *s, const struct cf_instr *i, const char *sums, struct hoy_buf *b)
{
	cleanup_buf struct hoy_buf args = HOY_BUF_INIT(1 << 20);
	unsigned n = 1;

	run_args(s, &args);
	for (const char *c = hoy_buf_str(&args); *c; c++)
		n += *c == ' ';
	if (args.len)
		hoy_buf_printf(b, "|%u %s ", n, args.data);
	hoy_buf_printf(b, "/bin/sh -c %s", strlen(i->text) > 4 ? i->text + 4 : "");
	for (size_t k = 0; k < i->n_docs; k++) {
		const char *c = i->docs[k].written ?: i->docs[k].content, *e = c + strlen(c);

		while (*c && isspace((unsigned char)*c))
			c++;
		while (e > c && isspace((unsigned char)e[-1]))
			e--;
		hoy_buf_putc(b, '\n');
		hoy_buf_add(b, c, e - c);
	}
	hoy_buf_puts(b, sums ?: "");
}

static void arg_by(const struct state *s, struct hoy_buf *b)
{
	cleanup_strv struct hoy_strv keys = HOY_STRV_INIT;

	for (size_t i = 0; i < s->args.n; i++)
		hoy_strv_pushn(&keys, s->args.v[i], strcspn(s->args.v[i], "="));
	/* Those that need no ARG are arguments, too. */
	for (size_t i = 0; i < s->b->given.n; i++) {
		size_t len = strcspn(s->b->given.v[i], "=");
		cleanup_free char *key = strndup(s->b->given.v[i], len);

		if (key && is_proxy(key, len) && strcasecmp(key, "all_proxy") && !hoy_strv_has(&keys, key))
			hoy_strv_push(&keys, key);
	}
	hoy_strv_sort(&keys);
	hoy_buf_puts(b, "/bin/sh -c #(nop) ARG ");
	for (size_t i = 0; i < keys.n; i++)
		hoy_buf_printf(b, "%s%s", i ? " " : "", keys.v[i]);
}

/* What beside the instruction decides on the result: buildah's spelling, so that the cache is one. */
static void settings_by(const struct state *s, bool copy, struct hoy_buf *b)
{
	const struct build_opts *o = s->b->o;
	const char *gap = copy ? " " : "";

	for (size_t i = 0; i < o->unset_labels.n; i++)
		hoy_buf_printf(b, "|unsetLabel=%s", o->unset_labels.v[i]);
	hoy_buf_printf(b, "%s%s%s", gap, o->inherit_labels == 0 ? "|inheritLabels=false" : "", gap);
	for (size_t i = 0; s->last && i < o->unset_notes.n; i++)
		hoy_buf_printf(b, "|unsetAnnotation=%s", o->unset_notes.v[i]);
	hoy_buf_printf(b, "%s%s%s", gap, s->last && o->inherit_notes == 0 ? "|inheritAnnotations=false" : "", gap);
	if (s->b->mtime)
		hoy_buf_printf(b, "|%s-mtime=%lld", s->b->mtime == MTIME_FORCE ? "force" : "clamp", (long long)s->b->time);
	hoy_buf_puts(b, gap);
	for (size_t i = 0; s->last && i < o->annotations.n; i++)
		hoy_buf_printf(b, "%s%s", i ? "," : "", o->annotations.v[i]);
}

char *linked_target(struct state *s, const struct cf_instr *i, bool clean)
{
	cleanup_free char *word = config_word(s, i, i->args.v[i->args.n - 1]), *path = NULL;
	size_t n = word ? strlen(word) : 0;
	bool dir = n && (word[n - 1] == '/' || !strcmp(word, ".") || (n > 1 && !strcmp(word + n - 2, "/.")));

	if (!word)
		return NULL;
	path = *word == '/' && !clean ? strdup(word) : join_clean(config_str(s, "WorkingDir"), word);
	n = path ? strlen(path) : 0;
	return n ? hoy_asprintf("%s%s", path, dir && path[n - 1] != '/' ? "/" : "") : NULL;
}

static void copied_by(struct state *s, const struct cf_instr *i, const char *sum, struct hoy_buf *b)
{
	bool link = is_linked(s, i);
	cleanup_free char *to = link ? linked_target(s, i, false) : NULL;

	hoy_buf_printf(b, "/bin/sh -c #(nop) %s%s %s in %s ", i->word, link ? " --link" : "", sum, to ?: i->args.v[i->args.n - 1]);
}

char *created_by(struct state *s, const struct cf_instr *i, const char *sum)
{
	struct hoy_buf b = HOY_BUF_INIT(16 << 20);

	if (!strcmp(i->word, "RUN"))
		run_by(s, i, sum, &b);
	else if (!strcmp(i->word, "ARG"))
		arg_by(s, &b);
	else if (sum)
		copied_by(s, i, sum, &b);
	else
		hoy_buf_printf(&b, "/bin/sh -c #(nop) %s", i->text);
	settings_by(s, sum && strcmp(i->word, "RUN"), &b);
	return hoy_buf_steal(&b);
}
