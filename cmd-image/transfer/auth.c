#include "cmd-image/transfer/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-image/transfer/helper.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/strv.h"
#include "common/conf/dirs.h"
#include "common/data/base64.h"
#include "common/conf/regconf.h"
#include "common/data/json.h"

#define FILE_MAX ((size_t)1 << 20)

void creds_release(struct creds *c)
{
	free(c->user);
	free(c->password);
	free(c->token);
	*c = (struct creds){ NULL, NULL, NULL };
}

char *auth_basic(const char *user, const char *password)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(FILE_MAX);
	cleanup_free char *pair = hoy_asprintf("%s:%s", user ? user : "", password ? password : "");

	if (pair)
		hoy_base64(&b, pair, strlen(pair));
	return pair ? hoy_buf_steal(&b) : NULL;
}

/* "USER:PASSWORD" in base64. */
static int decode(struct creds *c, const char *b64)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(FILE_MAX);
	int r = hoy_unbase64(&b, b64, strlen(b64));
	char *colon = r ? NULL : strchr(b.data, ':');

	if (!colon)
		return r ? r : -EINVAL;
	c->user = strndup(b.data, colon - b.data);
	c->password = strdup(colon + 1);
	return c->user && c->password ? 0 : -ENOMEM;
}

/* ---- helpers ---- */

/* docker-credential-NAME VERB, with INPUT on its stdin; RET is what it prints. */
static int run_helper(const char *name, const char *verb, const char *input, char **ret)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(FILE_MAX);
	cleanup_free char *prog = hoy_asprintf("docker-credential-%s", name);
	char *argv[] = { prog, (char *)verb, NULL };
	int r = !prog || strchr(name, '/') ? -EINVAL : helper_ask(argv, input, strlen(input), &b);

	*ret = hoy_buf_steal(&b);
	return r < 0 ? r : r ? -ENOENT : *ret ? 0 : -ENOMEM;
}

static int from_helper(struct creds *c, const char *name, const char *server)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_free char *out = NULL;
	const char *user, *secret;
	int r = run_helper(name, "get", server, &out);

	if (!r)
		r = hoy_json_parse(&doc, out, strlen(out), name, NULL);
	if (r < 0)
		return r;
	user = hoy_json_str(doc.root, "Username");
	secret = hoy_json_str(doc.root, "Secret");
	if (!user || !secret)
		return -ENOENT;
	if (!strcmp(user, "<token>")) {
		c->token = strdup(secret);
	} else {
		c->user = strdup(user);
		c->password = strdup(secret);
	}
	return 0;
}

/* Give helper NAME the credentials for SERVER, or (USER NULL) let it forget them. */
static int to_helper(const char *name, const char *server, const char *user, const char *password, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(FILE_MAX);
	cleanup_free char *out = NULL;
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	int r;

	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "ServerURL", server);
	hoy_jw_string(&w, "Username", user);
	hoy_jw_string(&w, "Secret", password);
	hoy_jw_end_object(&w);
	r = b.error ? -b.error : run_helper(name, user ? "store" : "erase", user ? b.data : server, &out);
	return r < 0 ? hoy_fail(err, HOY_EREMOTE, "the credential helper 'docker-credential-%s' fails%s%.*s", name, out && *out ? ": " : "",
				out ? (int)strcspn(out, "\n") : 0, out ? out : "") : 0;
}

/* ---- files ---- */

/* "https://index.docker.io/v1/" is docker's key for docker.io; schemes and trailing slashes count for nothing. */
static bool key_is(const char *key, const char *want)
{
	size_t n;

	if (!strncmp(key, "https://", 8))
		key += 8;
	else if (!strncmp(key, "http://", 7))
		key += 7;
	if (!strcmp(key, "index.docker.io/v1/") || !strcmp(key, "index.docker.io") || !strcmp(key, "registry-1.docker.io"))
		key = "docker.io";
	n = strlen(key);
	while (n && key[n - 1] == '/')
		n--;
	return strlen(want) == n && !strncmp(key, want, n);
}

static const struct hoy_json *member(const struct hoy_json *obj, const char *want)
{
	HOY_JSON_EACH(it, obj)
		if (key_is(it->key, want))
			return it;
	return NULL;
}

static int from_entry(struct creds *c, const struct hoy_json *e, const char *file, struct hoy_err *err)
{
	const char *auth = hoy_json_str(e, "auth"), *token = hoy_json_str(e, "identitytoken");

	if (token && *token) {
		c->token = strdup(token);
		return 1;
	}
	if (!auth || !*auth)
		return 0;
	if (decode(c, auth) < 0)
		return hoy_fail(err, HOY_EFORMAT, "the credentials for '%s' in '%s' cannot be read", e->key, file);
	return 1;
}

/* What is looked for: credentials, or (C NULL) only where they are. */
struct look {
	struct creds *c;
	struct auth_place *p;
};

void auth_place_release(struct auth_place *p)
{
	free(p->file);
	free(p->key);
	free(p->helper);
	*p = (struct auth_place){ NULL, NULL, NULL };
}

static bool found_at(struct look *l, const char *file, const char *key, const char *helper)
{
	if (l->p)
		*l->p = (struct auth_place){ file ? strdup(file) : NULL, strdup(key), helper ? strdup(helper) : NULL };
	return true;
}

/* Has helper NAME something for SERVER? */
static bool ask_helper(struct look *l, const char *file, const char *name, const char *server)
{
	return l->c && from_helper(l->c, name, server) < 0 ? false : found_at(l, file, server, name);
}

/* 1: found. */
static int from_doc(struct look *l, const struct hoy_json *root, const char *repo, const char *file, struct hoy_err *err)
{
	cleanup_free char *key = strdup(repo);
	const struct hoy_json *e;
	char *slash, *host;

	if (!key)
		return hoy_fail_oom(err);
	for (;;) {
		e = member(hoy_json_get(root, "credHelpers"), key);
		if (e && hoy_json_text(e) && ask_helper(l, file, e->str, key))
			return 1;
		e = member(hoy_json_get(root, "auths"), key);
		if (e) {
			struct creds own = { NULL, NULL, NULL };
			int r = from_entry(l->c ? l->c : &own, e, file, err);

			creds_release(&own);
			if (r)
				return r < 0 ? r : found_at(l, file, e->key, NULL);
		}
		slash = strrchr(key, '/');
		if (!slash)
			break;
		*slash = '\0';
	}
	host = key;
	return hoy_json_str(root, "credsStore") && *hoy_json_str(root, "credsStore") &&
	       ask_helper(l, file, hoy_json_str(root, "credsStore"), strcmp(host, "docker.io") ? host : "https://index.docker.io/v1/");
}

char *auth_file(const char *authfile)
{
	cleanup_free char *run = NULL;

	if (!authfile || !*authfile)
		authfile = getenv("REGISTRY_AUTH_FILE");
	if (authfile && *authfile)
		return strdup(authfile);
	if (!hoy_rootless())
		return strdup("/run/containers/0/auth.json");
	run = hoy_runtime_dir();
	return run ? hoy_path_join(run, "containers/auth.json") : NULL;
}

static int load(struct hoy_json_doc *doc, const char *path, struct hoy_err *err)
{
	int r = hoy_json_load(doc, AT_FDCWD, path, FILE_MAX, err);

	if (r == -ENOENT || r == -EACCES || r == -ENOTDIR)
		return 0;
	return r < 0 ? r : hoy_json_is(doc->root, HOY_JSON_OBJECT) ? 1 :
	       hoy_fail(err, HOY_EFORMAT, "'%s' is no JSON object", path);
}

/* In auth.json and its like. 1: found. */
static int look_in_files(struct look *l, const char *repo, const char *authfile, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv files = HOY_STRV_INIT;
	cleanup_free char *config = hoy_config_home(), *home = hoy_home();
	const char *docker = getenv("DOCKER_CONFIG"), *env = getenv("REGISTRY_AUTH_FILE");
	int r = 0;

	hoy_strv_take(&files, auth_file(authfile));
	if (!(authfile && *authfile) && !(env && *env)) {
		if (config)
			hoy_strv_take(&files, hoy_path_join(config, "containers/auth.json"));
		if (docker && *docker)
			hoy_strv_take(&files, hoy_path_join(docker, "config.json"));
		else if (home)
			hoy_strv_take(&files, hoy_path_join(home, ".docker/config.json"));
	}
	if (files.error)
		return hoy_fail_oom(err);
	for (size_t i = 0; !r && i < files.n; i++) {
		cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;

		r = load(&doc, files.v[i], err);
		if (r > 0)
			r = from_doc(l, doc.root, repo, files.v[i], err);
	}
	return r;
}

/* The helpers of registries.conf; this name among them stands for the files. */
#define FILES "containers-auth.json"

static int load_helpers(struct hoy_strv *ret, struct hoy_err *err)
{
	cleanup_regconf struct hoy_regconf c = HOY_REGCONF_INIT;
	int r = hoy_regconf_load(&c, err);

	HOY_JSON_EACH(it, r ? NULL : hoy_regconf_list(&c, "credential-helpers", NULL))
		hoy_strv_push(ret, it->str);
	if (!r && !ret->n)
		hoy_strv_push(ret, FILES);
	return r ? r : ret->error ? hoy_fail_oom(err) : 0;
}

static int look(struct look *l, const char *repo, const char *authfile, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv helpers = HOY_STRV_INIT;
	cleanup_free char *host = strndup(repo, strcspn(repo, "/"));
	int r = host ? load_helpers(&helpers, err) : hoy_fail_oom(err);

	for (size_t i = 0; !r && i < helpers.n; i++)
		r = !strcmp(helpers.v[i], FILES) ? look_in_files(l, repo, authfile, err) : ask_helper(l, NULL, helpers.v[i], host);
	return r < 0 ? r : 0;
}

int auth_find(struct creds *c, const char *repo, const char *authfile, struct hoy_err *err)
{
	return look(&(struct look){ c, NULL }, repo, authfile, err);
}

int auth_locate(struct auth_place *p, const char *repo, const char *authfile, struct hoy_err *err)
{
	return look(&(struct look){ NULL, p }, repo, authfile, err);
}

static int save(const char *path, const struct hoy_json_doc *doc, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(FILE_MAX);
	struct hoy_jw w = hoy_jw_on(&b, "\t");
	cleanup_free char *dir = strdup(path);
	cleanup_fd int fd = -1;
	char *slash = dir ? strrchr(dir, '/') : NULL;
	int r;

	if (!dir)
		return hoy_fail_oom(err);
	if (slash)
		*slash = '\0';
	hoy_jw_value(&w, NULL, doc->root);
	fd = !slash ? open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : hoy_open_dir_p(AT_FDCWD, *dir ? dir : "/", 0700);
	r = fd < 0 ? fd : b.error ? -b.error : hoy_replace_file(fd, slash ? slash + 1 : path, b.data, b.len, 0600, true);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write '%s'", path) : 0;
}

static int store_in_file(const char *authfile, const char *key, const char *user, const char *password, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_free char *path = auth_file(authfile), *b64 = NULL;
	const struct hoy_json *helper;
	struct hoy_json *auths, *e;
	int r = path ? load(&doc, path, err) : hoy_fail_oom(err);

	if (r < 0)
		return r;
	if (!r)
		doc.root = hoy_json_new(&doc, HOY_JSON_OBJECT);
	auths = doc.root ? hoy_json_need(&doc, doc.root, "auths", HOY_JSON_OBJECT) : NULL;
	if (!auths)
		return hoy_fail_oom(err);
	helper = member(hoy_json_get(doc.root, "credHelpers"), key);
	if (helper && hoy_json_text(helper))
		return to_helper(helper->str, key, user, password, err);
	if (!user) {
		e = (struct hoy_json *)member(auths, key);
		if (!e)
			return 1;
		hoy_json_remove(auths, e);
		return save(path, &doc, err);
	}
	b64 = auth_basic(user, password);
	hoy_json_unset(auths, key);
	e = b64 ? hoy_json_need(&doc, auths, key, HOY_JSON_OBJECT) : NULL;
	if (!e || !hoy_json_set_string(&doc, e, "auth", b64))
		return hoy_fail_oom(err);
	return save(path, &doc, err);
}

/* The first place that takes them gets them; they are taken out of all. */
int auth_store(const char *authfile, const char *key, const char *user, const char *password, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv helpers = HOY_STRV_INIT;
	int r = load_helpers(&helpers, err), failed = 0;
	bool removed = false;

	for (size_t i = 0; !r && i < helpers.n; i++) {
		int one = !strcmp(helpers.v[i], FILES) ? store_in_file(authfile, key, user, password, err) :
			  strchr(key, '/')		       ? hoy_fail(err, EINVAL, "the credential helper '%s' has credentials for registries only, not for '%s'", helpers.v[i], key) :
								 to_helper(helpers.v[i], key, user, password, err);

		if (user && !one)
			return 0;
		removed = removed || !one;
		failed = one < 0 ? one : failed;
	}
	return r ? r : removed ? 0 : failed ? failed : 1;
}

int auth_clear(const char *authfile, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_free char *path = auth_file(authfile);
	int r = path ? load(&doc, path, err) : hoy_fail_oom(err);

	if (r <= 0)
		return r;
	hoy_json_unset(doc.root, "auths");
	hoy_json_need(&doc, doc.root, "auths", HOY_JSON_OBJECT);
	return save(path, &doc, err);
}
