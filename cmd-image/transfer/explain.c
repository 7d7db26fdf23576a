/* cmd-image/transfer/explain.c: `explain`: the route that the name of an image takes, and which file says so. Nobody is asked. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/auth.h"
#include "cmd-image/transfer/lookaside.h"
#include "cmd-image/transfer/proxy.h"
#include "cmd-image/transfer/skopeo.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/msg.h"
#include "common/conf/dirs.h"
#include "common/conf/policy.h"
#include "common/conf/regconf.h"
#include "common/conf/registries.h"

struct explain_opts {
	const char *authfile, *cert_dir, *format;
};
#define O(field) offsetof(struct explain_opts, field)
static const struct hoy_opt opts[] = {
	{ 0, "authfile", HOY_OPT_STRING, O(authfile), "FILE", "file with credentials" },
	{ 0, "cert-dir", HOY_OPT_STRING, O(cert_dir), "DIR", "directory of certificates" },
	{ 0, "format", HOY_OPT_STRING, O(format), "FORMAT", "json" },
	HOY_OPTS_END,
};

struct explain {
	const struct explain_opts *o;
	struct hoy_regconf regs;
	struct hoy_policy policy;
	char *policy_file; /* NULL: there is none */
	struct regsd lookaside;
	struct hoy_jw *w;
	struct hoy_err *err;
};

/* "file" and, where it is known, "line", or other names for them. */
static void put_place(struct explain *e, const char *file_key, const char *file, const char *line_key, unsigned number)
{
	hoy_jw_string_opt(e->w, file_key, file);
	if (number)
		hoy_jw_uint(e->w, line_key, number);
}

/* ---- one place ---- */

/* The directories with certificates for HOST, and what is in them. */
static void put_certs(struct explain *e, const char *host)
{
	cleanup_free char *home = hoy_config_home();
	const char *const roots[] = { home, "/etc/containers", "/etc/docker" };

	hoy_jw_array(e->w, "certificates");
	for (size_t i = 0; i < (e->o->cert_dir ? 1 : ARRAY_SIZE(roots)); i++) {
		cleanup_free char *path = e->o->cert_dir ? strdup(e->o->cert_dir) :
					  hoy_asprintf(i ? "%s/certs.d/%s" : "%s/containers/certs.d/%s", roots[i] ? roots[i] : "", host);
		cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
		cleanup_dir DIR *d = path ? opendir(path) : NULL;
		struct dirent *f;

		while (d && (f = readdir(d))) {
			const char *dot = strrchr(f->d_name, '.');

			if (dot && (!strcmp(dot, ".crt") || !strcmp(dot, ".cert") || !strcmp(dot, ".key")))
				hoy_strv_push(&names, f->d_name);
		}
		if (!d)
			continue;
		hoy_strv_sort(&names);
		hoy_jw_object(e->w, NULL);
		hoy_jw_string(e->w, "directory", path);
		hoy_jw_strings(e->w, "files", names.v, names.n);
		hoy_jw_end_object(e->w);
	}
	hoy_jw_end_array(e->w);
}

static int put_credentials(struct explain *e, const char *repo)
{
	struct auth_place p = { NULL, NULL, NULL };
	int r = auth_locate(&p, repo, e->o->authfile, e->err);

	if (!r && p.key) {
		hoy_jw_object(e->w, "credentials");
		hoy_jw_string_opt(e->w, "file", p.file);
		hoy_jw_string_opt(e->w, "helper", p.helper);
		hoy_jw_string(e->w, "key", p.key);
		hoy_jw_end_object(e->w);
	}
	auth_place_release(&p);
	return r;
}

/* Without the user and password that its address may have. */
static void put_proxy(struct explain *e, const char *host)
{
	const char *var, *proxy = proxy_for(host, true, &var), *at = proxy ? strrchr(proxy, '@') : NULL, *name = proxy ? strstr(proxy, "://") : NULL;

	if (!var)
		return;
	hoy_jw_object(e->w, "proxy");
	if (proxy) {
		cleanup_free char *text = at ? hoy_asprintf("%.*s%s", name && name < at ? (int)(name + 3 - proxy) : 0, proxy, at + 1) : strdup(proxy);

		hoy_jw_string(e->w, "address", text);
	}
	hoy_jw_string(e->w, "variable", var);
	hoy_jw_end_object(e->w);
}

static int put_endpoint(struct explain *e, const struct hoy_ref *ref, const struct hoy_json *table, const char *kind, bool used, size_t len, const char *repo)
{
	cleanup_free char *at = hoy_registry_rewrite(table, repo, len), *host = at ? strndup(at, strcspn(at, "/")) : NULL;
	cleanup_free char *name = at ? hoy_asprintf("%s%s%s", at, ref->digest ? "@" : ":", ref->digest ? ref->digest : ref->tag) : NULL;
	int r;

	if (!host || !name)
		return hoy_fail_oom(e->err);
	hoy_jw_object(e->w, NULL);
	hoy_jw_string(e->w, "name", name);
	hoy_jw_string(e->w, "kind", kind);
	hoy_jw_bool(e->w, "insecure", hoy_json_bool(table, "insecure", false));
	hoy_jw_string_opt(e->w, "pullFromMirror", hoy_json_str(table, "pull-from-mirror"));
	hoy_jw_bool(e->w, "used", used);
	put_certs(e, host);
	r = put_credentials(e, at);
	put_proxy(e, host);
	hoy_jw_end_object(e->w);
	return r;
}

/* ---- one name ---- */

static int put_registry(struct explain *e, const struct hoy_ref *ref, const char *repo, const char *full)
{
	const char *file = NULL;
	size_t len = 0;
	const struct hoy_json *reg = hoy_regconf_registry(&e->regs, full, &len, &file);
	int r = 0;

	if (reg) {
		hoy_jw_object(e->w, "registry");
		hoy_jw_string(e->w, "prefix", hoy_json_str(reg, "prefix"));
		hoy_jw_string_opt(e->w, "location", hoy_json_str(reg, "location"));
		hoy_jw_bool(e->w, "blocked", hoy_json_bool(reg, "blocked", false));
		hoy_jw_bool(e->w, "mirrorByDigestOnly", hoy_json_bool(reg, "mirror-by-digest-only", false));
		put_place(e, "file", file, "line", hoy_regconf_registry_line(&e->regs, reg));
		hoy_jw_end_object(e->w);
	}
	if (len > strlen(repo))
		return hoy_fail(e->err, HOY_EUNSUPPORTED, "the prefix '%s' in '%s' has a tag or digest, which is not supported", hoy_json_str(reg, "prefix"), file);
	hoy_jw_array(e->w, "pull");
	HOY_JSON_EACH(m, hoy_json_get(reg, "mirror"))
		if (!r)
			r = put_endpoint(e, ref, m, "mirror", hoy_mirror_fits(reg, m, ref), len, repo);
	if (!r)
		r = put_endpoint(e, ref, reg, "registry", true, len, repo);
	hoy_jw_end_array(e->w);
	hoy_jw_string(e->w, "push", full);
	return r;
}

/* The scope of policy P that REQS are said of; "": all of its transport; NULL: the default. */
static const char *scope_of(const struct hoy_policy *p, const struct hoy_json *reqs, const struct hoy_strv *scopes)
{
	const struct hoy_json *docker = hoy_json_path(p->doc.root, "transports", "docker", NULL);

	for (size_t i = 0; i < scopes->n; i++)
		if (hoy_json_get(docker, scopes->v[i]) == reqs)
			return scopes->v[i];
	return hoy_json_get(docker, "") == reqs ? "" : NULL;
}

static void put_policy(struct explain *e, const struct hoy_strv *scopes)
{
	static const char *const keys[] = { "keyPath", "keyPaths", "signedIdentity" };
	const struct hoy_json *reqs;
	const char *scope;

	if (!e->policy_file)
		return;
	reqs = hoy_policy_find(&e->policy, "docker", scopes);
	scope = scope_of(&e->policy, reqs, scopes);
	hoy_jw_object(e->w, "policy");
	hoy_jw_string(e->w, "scope", scope ? scope : "default");
	hoy_jw_array(e->w, "requirements");
	HOY_JSON_EACH(q, reqs) {
		hoy_jw_object(e->w, NULL);
		hoy_jw_string(e->w, "type", hoy_json_str(q, "type"));
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			if (hoy_json_get(q, keys[i]))
				hoy_jw_value(e->w, keys[i], hoy_json_get(q, keys[i]));
		hoy_jw_end_object(e->w);
	}
	hoy_jw_end_array(e->w);
	hoy_jw_string(e->w, "file", e->policy_file);
	hoy_jw_end_object(e->w);
}

/* What registries.d says of SCOPES for one purpose; KEYS as regsd_find() takes them. */
static void put_lookaside(struct explain *e, const char *name, const struct hoy_strv *scopes, const char *const *keys)
{
	const struct hoy_json *v = regsd_find(&e->lookaside, scopes, keys), *root = e->lookaside.doc.root;
	const char *scope = "default-docker";

	if (!v)
		return;
	for (size_t i = scopes->n; i; i--)
		for (const char *const *k = keys; *k; k++)
			if (hoy_json_get(hoy_json_path(root, "docker", scopes->v[i - 1], NULL), *k) == v)
				scope = scopes->v[i - 1];
	hoy_jw_object(e->w, name);
	hoy_jw_value(e->w, "value", v);
	hoy_jw_string(e->w, "scope", scope);
	hoy_jw_string_opt(e->w, "file", hoy_json_str(hoy_json_get(root, "files"), scope));
	hoy_jw_end_object(e->w);
}

static int put_candidate(struct explain *e, const char *name)
{
	static const char *const read[] = { "lookaside", "sigstore", NULL }, *const write[] = { "lookaside-staging", "sigstore-staging", "lookaside", "sigstore", NULL },
				 *const attach[] = { "use-sigstore-attachments", NULL };
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_strv struct hoy_strv scopes = HOY_STRV_INIT;
	cleanup_free char *repo = NULL, *full = NULL;
	int r = hoy_ref_parse(&ref, name, e->err);

	if (r < 0)
		return r;
	/* A tag beside a digest says nothing. */
	if (ref.digest)
		ref.tag = (free(ref.tag), NULL);
	if (hoy_ref_normalize(&ref) < 0 || !(repo = hoy_ref_repo(&ref)) || !(full = hoy_ref_string(&ref)) || hoy_policy_scopes(&ref, &scopes) < 0)
		return hoy_fail_oom(e->err);
	hoy_jw_object(e->w, NULL);
	hoy_jw_string(e->w, "name", full);
	r = put_registry(e, &ref, repo, full);
	put_policy(e, &scopes);
	put_lookaside(e, "lookaside", &scopes, read);
	put_lookaside(e, "lookasideStaging", &scopes, write);
	put_lookaside(e, "sigstoreAttachments", &scopes, attach);
	hoy_jw_end_object(e->w);
	return r;
}

/* ---- what was asked for ---- */

static int put_short_name(struct explain *e, const struct hoy_ref *ref, struct hoy_strv *candidates)
{
	cleanup_short struct hoy_short s = HOY_SHORT_INIT;
	const char *file = NULL, *mode = hoy_regconf_short_names(&e->regs, &file);
	int r = hoy_short_name_remote(&e->regs, ref, &s, e->err);

	if (r < 0)
		return r;
	hoy_jw_object(e->w, "shortName");
	hoy_jw_string(e->w, "mode", mode);
	put_place(e, "modeFile", file, "modeLine", file ? hoy_regconf_key_line(file, "short-name-mode") : 0);
	hoy_jw_string(e->w, "resolvedBy", s.alias ? "alias" : "unqualified-search-registries");
	put_place(e, "file", s.file, "line", s.alias ? hoy_regconf_alias_line(s.file, ref->path) :
		  hoy_regconf_key_line(s.file, "unqualified-search-registries"));
	hoy_jw_bool(e->w, "prompt", s.ask);
	hoy_jw_end_object(e->w);
	*candidates = s.names;
	s.names = (struct hoy_strv)HOY_STRV_INIT;
	return 0;
}

static int put_all(struct explain *e, const char *name)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_strv struct hoy_strv candidates = HOY_STRV_INIT;
	bool docker = !strncmp(name, "docker://", 9);
	int r = hoy_names_transport(name) && !docker ? hoy_fail(e->err, EINVAL, "'%s' doesn't lead to a registry", name) :
							 hoy_ref_parse(&ref, docker ? name + 9 : name, e->err);

	if (r < 0)
		return r;
	hoy_jw_object(e->w, NULL);
	hoy_jw_string(e->w, "name", name);
	/* With docker:// a short name is docker.io's. */
	if (!ref.domain && !docker)
		r = put_short_name(e, &ref, &candidates);
	else
		hoy_strv_push(&candidates, docker ? name + 9 : name);
	hoy_jw_array(e->w, "candidates");
	for (size_t i = 0; i < candidates.n && !r; i++)
		r = put_candidate(e, candidates.v[i]);
	hoy_jw_end_array(e->w);
	hoy_jw_end_object(e->w);
	return r ? r : candidates.error ? hoy_fail_oom(e->err) : 0;
}

static int load(struct explain *e)
{
	bool there = true;
	int r = hoy_regconf_load(&e->regs, e->err);

	if (!r)
		r = regsd_load(&e->lookaside, hoy_globals.registries_d, e->err);
	if (r < 0)
		return r;
	e->policy_file = hoy_globals.policy ? strdup(hoy_globals.policy) : hoy_policy_path(&there);
	if (!e->policy_file)
		return hoy_fail_oom(e->err);
	if (there)
		return hoy_policy_load(&e->policy, hoy_globals.policy, e->err);
	free(steal_ptr(&e->policy_file));
	return 0;
}

/* ---- as text ---- */

/* "  WHAT  VALUE (FILE)", VALUE as printf() has it. */
static void line(int indent, const char *what, const char *file, const char *fmt, ...) HOY_PRINTF(4, 5);
static void line(int indent, const char *what, const char *file, const char *fmt, ...)
{
	va_list ap;

	printf("%*s%-*s ", indent, "", 14 - indent, what);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(file ? " (%s)\n" : "\n", file);
}

/* "FILE:LINE" of O into BUF, or NULL where no file says it. */
static const char *place(const struct hoy_json *o, const char *file_key, const char *line_key, char buf[PATH_MAX + 16])
{
	const char *file = hoy_json_str(o, file_key);
	int64_t number = hoy_json_int(o, line_key, 0);

	snprintf(buf, PATH_MAX + 16, number ? "%s:%lld" : "%s", file ? file : "", (long long)number);
	return file ? buf : NULL;
}

static const char *str(const struct hoy_json *o, const char *key) { return hoy_json_str(o, key) ?: ""; }

static void print_endpoint(const struct hoy_json *p, unsigned number)
{
	const struct hoy_json *creds = hoy_json_get(p, "credentials"), *proxy = hoy_json_get(p, "proxy");
	const char *only = hoy_json_str(p, "pullFromMirror"), *helper = hoy_json_str(creds, "helper");
	bool used = hoy_json_bool(p, "used", true);
	char head[32];

	snprintf(head, sizeof(head), number ? "pull %u" : "pull never", number);
	line(2, head, NULL, "%s, %s%s%s%s", str(p, "name"), str(p, "kind"), hoy_json_bool(p, "insecure", false) ? ", insecure" : "",
	     only ? ", " : "", only ? only : "");
	if (!used)
		return;
	HOY_JSON_EACH(d, hoy_json_get(p, "certificates")) {
		line(4, "certs", NULL, "%s:", str(d, "directory"));
		HOY_JSON_EACH(f, hoy_json_get(d, "files"))
			line(4, "", NULL, "  %s", f->str);
	}
	if (!creds)
		line(4, "login", NULL, "none");
	else if (helper)
		line(4, "login", hoy_json_str(creds, "file"), "docker-credential-%s, key %s", helper, str(creds, "key"));
	else
		line(4, "login", hoy_json_str(creds, "file"), "key %s", str(creds, "key"));
	if (proxy)
		line(4, "proxy", str(proxy, "variable"), "%s", hoy_json_str(proxy, "address") ?: "none");
}

static void print_policy(const struct hoy_json *p)
{
	const char *scope = str(p, "scope");

	if (!p) {
		line(2, "policy", NULL, "there is no policy.json: nothing comes in");
		return;
	}
	HOY_JSON_EACH(q, hoy_json_get(p, "requirements")) {
		line(2, "policy", str(p, "file"), "%s, %s%s", str(q, "type"), *scope ? "" : "docker, all", scope);
		if (hoy_json_str(q, "keyPath"))
			line(4, "key", NULL, "%s", str(q, "keyPath"));
		HOY_JSON_EACH(k, hoy_json_get(q, "keyPaths"))
			line(4, "key", NULL, "%s", k->str);
	}
}

static void print_lookaside(const struct hoy_json *c, const char *key, const char *what)
{
	const struct hoy_json *l = hoy_json_get(c, key), *v = hoy_json_get(l, "value");

	if (l)
		line(2, what, hoy_json_str(l, "file"), "%s, %s", hoy_json_is(v, HOY_JSON_BOOL) ? v->boolean ? "yes" : "no" : v->str ? v->str : "",
		     str(l, "scope"));
}

static void print_candidate(const struct hoy_json *c)
{
	const struct hoy_json *reg = hoy_json_get(c, "registry");
	char at[PATH_MAX + 16];
	unsigned n = 0;

	printf("%s\n", str(c, "name"));
	if (reg)
		line(2, "registry", place(reg, "file", "line", at), "prefix %s%s%s%s", str(reg, "prefix"), hoy_json_str(reg, "location") ? ", location " : "",
		     str(reg, "location"), hoy_json_bool(reg, "blocked", false) ? ", BLOCKED" : "");
	HOY_JSON_EACH(p, hoy_json_get(c, "pull"))
		print_endpoint(p, hoy_json_bool(p, "used", true) ? ++n : 0);
	line(2, "push", NULL, "%s", str(c, "push"));
	print_policy(hoy_json_get(c, "policy"));
	print_lookaside(c, "lookaside", "signatures");
	print_lookaside(c, "lookasideStaging", "  written");
	print_lookaside(c, "sigstoreAttachments", "  attached");
}

static void print_text(const struct hoy_json *root)
{
	const struct hoy_json *s = hoy_json_get(root, "shortName");
	char at[PATH_MAX + 16];

	if (s) {
		printf("%s\n", str(root, "name"));
		line(2, "short name", place(s, "file", "line", at), "%s", str(s, "resolvedBy"));
		line(2, "mode", place(s, "modeFile", "modeLine", at), "%s%s", str(s, "mode"), hoy_json_bool(s, "prompt", false) ? ", asks on a terminal" : "");
	}
	HOY_JSON_EACH(c, hoy_json_get(root, "candidates"))
		print_candidate(c);
}

static int run_explain(const struct hoy_verb *v, int argc, char **argv)
{
	struct explain_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "    ");
	struct explain e = { &o, HOY_REGCONF_INIT, HOY_POLICY_INIT, NULL, REGSD_INIT, &w, &err };
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	int status, r, n = skopeo_args(v, argc, argv, &o, 1, 1, &status);

	if (n < 0)
		return status;
	r = o.format && strcmp(o.format, "json") ? hoy_fail(&err, EINVAL, "'%s' is no format of explain (json)", o.format) : load(&e);
	if (!r)
		r = put_all(&e, argv[1]);
	if (!r)
		r = b.error ? hoy_fail_oom(&err) : hoy_json_parse(&doc, b.data, b.len, "explanation", &err);
	if (!r && o.format)
		puts(b.data);
	else if (!r)
		print_text(doc.root);
	hoy_regconf_release(&e.regs);
	hoy_policy_release(&e.policy);
	hoy_json_release(&e.lookaside.doc);
	free(e.policy_file);
	return r < 0 ? skopeo_failed(&err) : 0;
}
const struct hoy_verb verb_explain = { "explain", "[options] [docker://]NAME", "Show the route that the name of an image takes", opts, run_explain,
				       HOY_VERB_COPIES };
