/* cmd-image/transfer/login.c: `login` and `logout`. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>

#include "cmd-image/transfer/auth.h"
#include "cmd-image/transfer/registry.h"
#include "cmd-image/transfer/secret.h"
#include "cmd-image/transfer/skopeo.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/conf/registries.h"

#define ANSWER_MAX ((size_t)1 << 20)

struct login_opts {
	struct reg_opts reg;
	const char *user, *password, *secret;
	const char *compat;
	bool from_stdin, get_login, all, verbose;
	int tls_unused;
};
#define L(field) offsetof(struct login_opts, field)
static const struct hoy_opt login_opts[] = {
	{ 0, "authfile", HOY_OPT_STRING, L(reg.authfile), "FILE", "file with credentials" },
	{ 0, "cert-dir", HOY_OPT_STRING, L(reg.cert_dir), "DIR", "directory of certificates" },
	{ 0, "compat-auth-file", HOY_OPT_STRING, L(compat), "FILE", "a docker config.json to write to instead" },
	{ 0, "get-login", HOY_OPT_FLAG, L(get_login), NULL, "print who is logged in" },
	{ 'p', "password", HOY_OPT_STRING, L(password), "PASSWORD", "password" },
	{ 0, "password-stdin", HOY_OPT_FLAG, L(from_stdin), NULL, "read the password from stdin" },
	{ 0, "secret", HOY_OPT_STRING, L(secret), "NAME", "take the password from podman's secret NAME" },
	{ 0, "tls-verify", HOY_OPT_TRI, L(reg.tls_verify), NULL, "require HTTPS and check certificates (default true)" },
	{ 'u', "username", HOY_OPT_STRING, L(user), "USER", "user name" },
	{ 'v', "verbose", HOY_OPT_FLAG, L(verbose), NULL, "say which file is written" },
	HOY_OPTS_END,
};
static const struct hoy_opt logout_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, L(all), NULL, "log out everywhere" },
	{ 0, "authfile", HOY_OPT_STRING, L(reg.authfile), "FILE", "file with credentials" },
	{ 0, "compat-auth-file", HOY_OPT_STRING, L(compat), "FILE", "a docker config.json to take them out of instead" },
	{ 0, "tls-verify", HOY_OPT_TRI, L(tls_unused), NULL, "for command lines that login takes too: logout connects to nobody" },
	HOY_OPTS_END,
};

/* With --compat-auth-file, keys are registries alone, as docker has them. */
static int choose_file(struct login_opts *o, const char *key, struct hoy_err *err)
{
	if (o->compat && o->reg.authfile)
		return hoy_fail(err, EINVAL, "options for paths to the credential file and to the Docker-compatible credential file can not be set simultaneously");
	if (o->compat && key && strchr(key, '/'))
		return hoy_fail(err, EINVAL, "docker's config.json has credentials for registries only, not for '%s'", key);
	if (o->compat)
		o->reg.authfile = o->compat;
	return 0;
}

/* "https://host/" is taken for "host". */
static char *registry_key(const char *arg)
{
	const char *at = !strncmp(arg, "https://", 8) ? arg + 8 : !strncmp(arg, "http://", 7) ? arg + 7 : arg;
	size_t n = strlen(at);

	while (n && at[n - 1] == '/')
		n--;
	if ((n == 15 && !strncmp(at, "index.docker.io", 15)) || (n == 18 && !strncmp(at, "index.docker.io/v1", 18)))
		return strdup("docker.io");
	return strndup(at, n);
}

static int read_line(const char *prompt, bool hide, char **ret, struct hoy_err *err)
{
	struct termios old, off;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	if (prompt && !isatty(0))
		return hoy_fail(err, EINVAL, "cannot ask for credentials without a terminal (use --username and --password-stdin)");
	if (prompt)
		fprintf(stderr, "%s", prompt);
	hide = hide && prompt && !tcgetattr(0, &old);
	if (hide) {
		off = old;
		off.c_lflag &= ~ECHO;
		tcsetattr(0, TCSAFLUSH, &off);
	}
	n = getline(&line, &cap, stdin);
	if (hide) {
		tcsetattr(0, TCSAFLUSH, &old);
		fputc('\n', stderr);
	}
	if (n < 0) {
		free(line);
		return hoy_fail(err, EINVAL, "no password was given");
	}
	line[strcspn(line, "\r\n")] = '\0';
	*ret = line;
	return 0;
}

static int get_login(const char *key, const struct login_opts *o, struct hoy_err *err)
{
	cleanup_creds struct creds c = { NULL, NULL, NULL };
	int r = auth_find(&c, key, o->reg.authfile, err);

	if (!r && !c.user)
		r = hoy_fail(err, ENOENT, "not logged into %s", key);
	if (!r)
		puts(c.user);
	return r;
}

/* Ask /v2/ with them. */
static int check_login(const char *key, struct login_opts *o, const char *user, const char *password, struct hoy_err *err)
{
	cleanup_free char *pair = hoy_asprintf("%s:%s", user, password);
	cleanup_answer struct answer a = { 0 };
	struct registry *r = NULL;
	int res;

	o->reg.creds = pair;
	res = pair ? registry_as_such(&r, key, key, &o->reg, err) : hoy_fail_oom(err);
	if (!res)
		res = registry_ping(r, false, err);
	if (!res)
		res = registry_do(r, "GET", "/v2/", NULL, NULL, NULL, 0, ANSWER_MAX, &a, err);
	if ((!res && (a.status == 401 || a.status == 403)) || res == -HOY_EAUTH)
		res = hoy_fail(err, HOY_EAUTH, "logging into '%s': invalid username or password", key);
	else if (!res && a.status != 200)
		res = registry_refused(r, &a, "/v2/", err);
	registry_free(r);
	return res;
}

/* The registry of ARG, or (NULL) the first one of the search registries. */
static int choose_key(const char *arg, char **ret, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv hosts = HOY_STRV_INIT;
	int r = arg ? 0 : hoy_search_registries(&hosts, err);

	if (r < 0)
		return r;
	if (!arg && !hosts.n)
		return hoy_fail(err, EINVAL, "no registries found in registries.conf, a registry must be provided");
	*ret = registry_key(arg ? arg : hosts.v[0]);
	return *ret ? 0 : hoy_fail_oom(err);
}

/* What is kept already may do. 1: it does. *RET_USER: whose it is, in new memory. */
static int try_known(const char *key, struct login_opts *o, char **ret_user, struct hoy_err *err)
{
	cleanup_creds struct creds c = { NULL, NULL, NULL };
	struct hoy_err refused = HOY_ERR_INIT;
	int r = auth_find(&c, key, o->reg.authfile, err);

	if (r < 0 || !c.user || !*c.user)
		return r;
	if (c.password && *c.password) {
		printf("Authenticating with existing credentials for %s\n", key);
		fflush(stdout);
		if (!check_login(key, o, c.user, c.password, &refused)) {
			printf("Existing credentials are valid. Already logged in to %s\n", key);
			return 1;
		}
		puts("Existing credentials are invalid, please enter valid username and password");
		fflush(stdout);
	}
	*ret_user = steal_ptr(&c.user);
	return 0;
}

/* User and password: of the options, a secret, stdin, or asked for. */
static int get_pair(struct login_opts *o, const char *known, char **user, char **password, struct hoy_err *err)
{
	cleanup_free char *prompt = known ? hoy_asprintf("Username (%s): ", known) : strdup("Username: ");
	int r = prompt ? 0 : hoy_fail_oom(err);

	if (!r && o->user)
		r = (*user = strdup(o->user)) ? 0 : hoy_fail_oom(err);
	else if (!r)
		r = read_line(prompt, false, user, err);
	if (!r && known && !o->user && !**user) {
		free(*user);
		r = (*user = strdup(known)) ? 0 : hoy_fail_oom(err);
	}
	if (!r && o->secret)
		return secret_read(o->secret, password, err);
	if (!r && o->password)
		return (*password = strdup(o->password)) ? 0 : hoy_fail_oom(err);
	return r ? r : read_line(o->from_stdin ? NULL : "Password: ", true, password, err);
}

static int run_login(const struct hoy_verb *v, int argc, char **argv)
{
	struct login_opts o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_free char *key = NULL, *user = NULL, *password = NULL, *known = NULL;
	int status, r, n = skopeo_args(v, argc, argv, &o, 0, 1, &status);

	if (n < 0)
		return status;
	r = choose_key(n ? argv[1] : NULL, &key, &err);
	if (!r)
		r = choose_file(&o, key, &err);
	if (!r && o.get_login)
		return get_login(key, &o, &err) < 0 ? skopeo_failed(&err) : 0;
	if (!r && o.secret && (o.password || o.from_stdin))
		r = hoy_fail(&err, EINVAL, "--secret can not be used with --password%s options", o.password ? "" : "-stdin");
	if (!r && o.secret && !o.user)
		o.user = o.secret;
	if (!r && o.from_stdin && (o.password || !o.user))
		r = hoy_fail(&err, EINVAL, "--password-stdin needs --username and takes no --password");
	if (!r && !o.user && !o.password && (r = try_known(key, &o, &known, &err)) > 0)
		return 0;
	if (!r)
		r = get_pair(&o, known, &user, &password, &err);
	if (!r)
		r = check_login(key, &o, user, password, &err);
	if (!r)
		r = auth_store(o.reg.authfile, key, user, password, &err);
	if (r < 0)
		return skopeo_failed(&err);
	if (o.verbose) {
		cleanup_free char *file = auth_file(o.reg.authfile);

		printf("Used: %s\n", file);
	}
	puts("Login Succeeded!");
	return 0;
}
const struct hoy_verb verb_login = { "login", "[options] [REGISTRY]", "Log in to a registry", login_opts, run_login, HOY_VERB_COPIES };

static int run_logout(const struct hoy_verb *v, int argc, char **argv)
{
	struct login_opts o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_free char *key = NULL;
	int status, r, n = skopeo_args(v, argc, argv, &o, 0, 1, &status);

	if (n < 0)
		return status;
	r = o.all && n ? hoy_fail(&err, EINVAL, "--all takes no arguments") : o.all ? 0 : choose_key(n ? argv[1] : NULL, &key, &err);
	if (!r)
		r = choose_file(&o, key, &err);
	if (r < 0)
		return skopeo_failed(&err);
	r = o.all ? auth_clear(o.reg.authfile, &err) : auth_store(o.reg.authfile, key, NULL, NULL, &err);
	if (r == 1)
		r = hoy_fail(&err, ENOENT, "not logged into %s", key);
	if (r < 0)
		return skopeo_failed(&err);
	if (o.all)
		puts("Removed login credentials for all registries");
	else
		printf("Removed login credentials for %s\n", key);
	return 0;
}
const struct hoy_verb verb_logout = { "logout", "[options] [REGISTRY]", "Log out of a registry", logout_opts, run_logout, HOY_VERB_COPIES };
