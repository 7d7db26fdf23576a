/* cmd-run/env.c: the container's environment: image, then files, then flags; the later wins. */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd-run/options.h"

extern char **environ;

static const char *const proxies[] = { "http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY",
				       "NO_PROXY" };

static void set_pair(struct hoy_strv *env, const char *pair)
{
	const char *eq = strchr(pair, '=');
	cleanup_free char *name = strndup(pair, eq - pair);

	if (name)
		hoy_env_set(env, name, eq + 1);
}

/* "NAME=VALUE"; "NAME" takes ours if it is set; "PRE*" takes all of ours that match. */
static void add(struct hoy_strv *env, const char *text)
{
	const char *eq = strchr(text, '='), *have;

	if (eq) {
		set_pair(env, text);
		return;
	}
	if (strchr(text, '*')) {
		for (char **e = environ; *e; e++) {
			const char *end = strchr(*e, '=');
			cleanup_free char *name = end ? strndup(*e, end - *e) : NULL;

			if (name && !fnmatch(text, name, 0))
				set_pair(env, *e);
		}
		return;
	}
	have = getenv(text);
	if (have)
		hoy_env_set(env, text, have);
}

int read_lines(const struct hoy_strv *files, struct hoy_strv *ret, struct hoy_err *err)
{
	for (size_t i = 0; i < files->n; i++) {
		cleanup_file FILE *f = fopen(files->v[i], "re");
		cleanup_free char *line = NULL;
		size_t size = 0;
		ssize_t n;

		if (!f)
			return hoy_fail_errno(err, errno, "cannot open '%s'", files->v[i]);
		while ((n = getline(&line, &size, f)) > 0) {
			char *p = line;

			while (n && (line[n - 1] == '\n' || line[n - 1] == '\r'))
				line[--n] = '\0';
			p += strspn(p, " \t");
			if (*p && *p != '#')
				hoy_strv_push(ret, p);
		}
	}
	return ret->error ? hoy_fail_oom(err) : 0;
}

int add_env(struct hoy_strv *env, const struct hoy_strv *files, const struct hoy_strv *given, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv lines = HOY_STRV_INIT;
	int r = read_lines(files, &lines, err);

	for (size_t i = 0; i < lines.n && !r; i++)
		add(env, lines.v[i]);
	for (size_t i = 0; i < given->n && !r; i++) {
		if (given->v[i][0] == '=' || !given->v[i][0])
			return hoy_fail(err, EINVAL, "invalid environment variable '%s'", given->v[i]);
		add(env, given->v[i]);
	}
	return r;
}

int define_env(struct ctr *c, const struct create_opts *o, const struct hoy_json *image_env, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv env = HOY_STRV_INIT;
	const struct hoy_json *defaults = hoy_json_path(conf(), "containers", "env", NULL);
	int r;

	if (!defaults && !image_env)
		hoy_strv_push(&env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	HOY_JSON_EACH(it, defaults)
		if (hoy_json_text(it) && strchr(it->str, '='))
			set_pair(&env, it->str);
	HOY_JSON_EACH(it, image_env)
		if (hoy_json_text(it) && strchr(it->str, '='))
			set_pair(&env, it->str);
	if (!hoy_env_get(&env, "PATH"))
		hoy_env_set(&env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	hoy_env_set(&env, "container", "podman");
	for (size_t i = 0; i < ARRAY_SIZE(proxies) && o->http_proxy != 0; i++)
		if (getenv(proxies[i]))
			hoy_env_set(&env, proxies[i], getenv(proxies[i]));
	if (o->env_host)
		for (char **e = environ; *e; e++)
			if (strchr(*e, '='))
				set_pair(&env, *e);
	if (o->tty)
		hoy_env_set(&env, "TERM", "xterm");
	r = add_env(&env, &o->env_file, &o->env, err);
	for (size_t i = 0; i < o->unsetenv.n; i++)
		hoy_env_unset(&env, o->unsetenv.v[i]);
	if (env.error)
		return hoy_fail_oom(err);
	def_list(c, "env", &env);
	return r;
}
