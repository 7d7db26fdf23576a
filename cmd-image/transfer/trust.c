/* cmd-image/transfer/trust.c: `image trust`: policy.json shown, and changed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/gpg.h"
#include "cmd-image/transfer/lookaside.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/cli/table.h"
#include "common/conf/policy.h"
#include "common/data/base64.h"

#define FILE_MAX ((size_t)4 << 20)

struct trust_args {
	const char *policy, *registries_d, *type;
	struct hoy_strv keys;
	bool json, noheading, raw;
};
#define O(field) offsetof(struct trust_args, field)
static const struct hoy_opt show_opts[] = {
	{ 'j', "json", HOY_OPT_FLAG, O(json), NULL, "print JSON" },
	{ 'n', "noheading", HOY_OPT_FLAG, O(noheading), NULL, "no column headings" },
	{ 0, "policypath", HOY_OPT_STRING, O(policy), "FILE", NULL },
	{ 0, "raw", HOY_OPT_FLAG, O(raw), NULL, "print the policy file as it is" },
	{ 0, "registrypath", HOY_OPT_STRING, O(registries_d), "DIR", NULL },
	HOY_OPTS_END,
};
static const struct hoy_opt set_opts[] = {
	{ 0, "policypath", HOY_OPT_STRING, O(policy), "FILE", NULL },
	{ 'f', "pubkeysfile", HOY_OPT_LIST, O(keys), "FILE", "public keys; an image needs a signature by one of each FILE" },
	{ 't', "type", HOY_OPT_STRING, O(type), "TYPE", "signedBy (default), sigstoreSigned, accept or reject" },
	HOY_OPTS_END,
};

static char *policy_path(const struct trust_args *o)
{
	bool there;

	return o->policy ? strdup(o->policy) : hoy_policy_path(&there);
}

/* ---- showing ---- */

struct row {
	const char *transport, *name, *repo, *type, *store;
	char *ids;
};

static const char *type_word(const char *type)
{
	static const char *const words[][2] = { { "insecureAcceptAnything", "accept" }, { "signedBy", "signed" },
						{ "sigstoreSigned", "sigstoreSigned" }, { "reject", "reject" } };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(type, words[i][0]))
			return words[i][1];
	return "";
}

/* Where signatures of SCOPE are read; without a scope of its own, its parents'. */
static const char *store_of(const struct regsd *d, const char *scope)
{
	static const char *const keys[] = { "lookaside", "sigstore", NULL };
	cleanup_strv struct hoy_strv scopes = HOY_STRV_INIT;
	cleanup_free char *at = strdup(scope);

	for (char *slash = at; at && slash; ) {
		hoy_strv_push(&scopes, at);
		slash = strrchr(at, '/');
		if (slash)
			*slash = '\0';
	}
	return hoy_json_text(regsd_find(d, &scopes, keys));
}

/* Whose keys are in the file PATH, or (PATH NULL) in the base64 DATA. Keys that cannot be read are nobody's. */
static void add_ids(struct hoy_strv *ids, const char *path, const char *data)
{
	cleanup_gpg struct gpg g = { NULL };
	cleanup_free char *text = NULL;
	struct hoy_err err = HOY_ERR_INIT;
	size_t len;
	int r = path ? hoy_read_file(AT_FDCWD, path, FILE_MAX, &text, &len, &err) :
		hoy_unbase64_new(data, &text, &len) < 0 ? hoy_fail(&err, HOY_EFORMAT, "it is no base64") : 0;

	if (!r)
		r = gpg_open(&g, true, &err);
	if (!r)
		r = gpg_import(&g, text, len, &err);
	if (!r)
		gpg_ids(&g, ids);
	else
		hoy_warning("no keys can be read from '%s': %s, ignoring", path ? path : "keyData", err.msg);
}

static char *ids_of(const struct hoy_json *q)
{
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(FILE_MAX);
	const char *type = hoy_json_str(q, "type"), *path = hoy_json_str(q, "keyPath"), *data = hoy_json_str(q, "keyData");

	if (!strcmp(type, "sigstoreSigned"))
		return strdup("N/A");
	if (strcmp(type, "signedBy"))
		return strdup("");
	if (path)
		add_ids(&ids, path, NULL);
	HOY_JSON_EACH(p, hoy_json_get(q, "keyPaths"))
		add_ids(&ids, p->str, NULL);
	if (data)
		add_ids(&ids, NULL, data);
	for (size_t i = 0; i < ids.n; i++)
		hoy_buf_printf(&b, "%s%s", i ? ", " : "", ids.v[i]);
	return strdup(hoy_buf_str(&b));
}

static void add_row(struct hoy_grid *g, struct hoy_jw *w, const struct row *r)
{
	const char *const cells[] = { r->transport, r->repo, r->type, r->ids, r->store };

	for (size_t i = 0; i < ARRAY_SIZE(cells); i++)
		hoy_grid_add(g, cells[i] ? cells[i] : "");
	hoy_jw_object(w, NULL);
	hoy_jw_string(w, "transport", r->transport);
	hoy_jw_string_opt(w, "name", r->name);
	hoy_jw_string_opt(w, "repo_name", r->repo);
	hoy_jw_string_opt(w, "sigstore", r->store);
	hoy_jw_string_opt(w, "type", r->type);
	hoy_jw_string_opt(w, "gpg_id", r->ids);
	hoy_jw_end_object(w);
}

static void add_rows(struct hoy_grid *g, struct hoy_jw *w, const struct hoy_json *list, struct row r)
{
	HOY_JSON_EACH(q, list) {
		r.type = type_word(hoy_json_str(q, "type"));
		r.ids = ids_of(q);
		add_row(g, w, &r);
		free(r.ids);
	}
}

/* The members of OBJ by name. */
static void sorted_keys(const struct hoy_json *obj, struct hoy_strv *ret)
{
	HOY_JSON_EACH(m, obj)
		hoy_strv_push(ret, m->key);
	hoy_strv_sort(ret);
}

static void add_transport(struct hoy_grid *g, struct hoy_jw *w, const struct regsd *d, const struct hoy_json *t)
{
	cleanup_strv struct hoy_strv scopes = HOY_STRV_INIT;
	const char *transport = strcmp(t->key, "docker") ? t->key : "repository";

	sorted_keys(t, &scopes);
	for (size_t i = 0; i < scopes.n; i++)
		add_rows(g, w, hoy_json_get(t, scopes.v[i]),
			 (struct row){ .transport = transport, .name = scopes.v[i], .repo = scopes.v[i], .store = store_of(d, scopes.v[i]) });
}

static int show(const struct trust_args *o, const char *path, struct hoy_err *err)
{
	cleanup_policy struct hoy_policy p = HOY_POLICY_INIT;
	cleanup_regsd struct regsd d = REGSD_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	cleanup_strv struct hoy_strv transports = HOY_STRV_INIT;
	static const char *const heads[] = { "TRANSPORT", "NAME", "TYPE", "ID", "STORE" };
	struct hoy_grid g = { .ncols = ARRAY_SIZE(heads) };
	struct hoy_jw w = hoy_jw_on(&b, "  ");
	const struct hoy_json *all;
	int r = hoy_policy_load(&p, path, err);

	if (!r)
		r = regsd_load(&d, o->registries_d, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		hoy_grid_add(&g, heads[i]);
	hoy_jw_array(&w, NULL);
	add_rows(&g, &w, hoy_json_get(p.doc.root, "default"),
		 (struct row){ .transport = "all", .name = "* (default)", .repo = "default", .store = store_of(&d, "") });
	all = hoy_json_get(p.doc.root, "transports");
	sorted_keys(all, &transports);
	for (size_t i = 0; i < transports.n; i++)
		add_transport(&g, &w, &d, hoy_json_get(all, transports.v[i]));
	hoy_jw_end_array(&w);
	if (o->json)
		puts(hoy_buf_str(&b));
	else
		hoy_grid_print(&g, !o->noheading);
	hoy_grid_release(&g);
	return 0;
}

static int run_show(const struct hoy_verb *v, int argc, char **argv)
{
	struct trust_args o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_free char *path = NULL, *text = NULL;
	size_t len;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, 1, &status);

	if (n < 0)
		return status;
	if (!(path = policy_path(&o)))
		return hoy_report((hoy_fail_oom(&err), &err), 125);
	if (!o.raw)
		return show(&o, path, &err) < 0 ? hoy_report(&err, 125) : hoy_finish_stdout(0);
	r = hoy_read_file(AT_FDCWD, path, FILE_MAX, &text, &len, &err);
	if (r < 0)
		return hoy_report(&err, 125);
	puts(text);
	return hoy_finish_stdout(0);
}
const struct hoy_verb verb_trust_show = { "image trust show", "[options] [REGISTRY]", "Show which images may come in", show_opts, run_show, false };

/* ---- changing ---- */

static int requirements(const struct trust_args *o, struct hoy_buf *ret, struct hoy_err *err)
{
	const char *type = o->type ? o->type : "signedBy";
	bool plain = !strcmp(type, "accept") || !strcmp(type, "reject"), gpg = !strcmp(type, "signedBy");
	struct hoy_jw w = hoy_jw_on(ret, NULL);

	if (!plain && !gpg && strcmp(type, "sigstoreSigned"))
		return hoy_fail(err, EINVAL, "invalid choice: %s (choose from 'accept', 'reject', 'signedBy', 'sigstoreSigned')", type);
	if (plain && o->keys.n)
		return hoy_fail(err, EINVAL, "%zu public keys unexpectedly provided for trust type %s", o->keys.n, type);
	if (!plain && !o->keys.n)
		return hoy_fail(err, EINVAL, "at least one public key must be defined for type '%s'", type);
	hoy_jw_array(&w, NULL);
	for (size_t i = 0; i < (plain ? 1 : o->keys.n); i++) {
		hoy_jw_object(&w, NULL);
		hoy_jw_string(&w, "type", !strcmp(type, "accept") ? "insecureAcceptAnything" : type);
		if (gpg)
			hoy_jw_string(&w, "keyType", "GPGKeys");
		if (!plain)
			hoy_jw_string(&w, "keyPath", o->keys.v[i]);
		hoy_jw_end_object(&w);
	}
	hoy_jw_end_array(&w);
	return ret->error ? hoy_fail_oom(err) : 0;
}

/* Into the transport that has SCOPE already, else to docker's. */
static int put_scope(struct hoy_json_doc *doc, const char *scope, struct hoy_json *list, struct hoy_err *err)
{
	struct hoy_json *all, *t;

	if (!strcmp(scope, "default"))
		return hoy_json_put(doc, doc->root, "default", list) ? 0 : hoy_fail_oom(err);
	if (!hoy_json_get(doc->root, "default"))
		return hoy_fail(err, EINVAL, "default trust policy must be set");
	all = hoy_json_need(doc, doc->root, "transports", HOY_JSON_OBJECT);
	if (!all)
		return hoy_fail_oom(err);
	for (t = all->child; t && !hoy_json_get(t, scope); t = t->next)
		;
	if (!t)
		t = hoy_json_need(doc, all, "docker", HOY_JSON_OBJECT);
	return t && hoy_json_put(doc, t, scope, list) ? 0 : hoy_fail_oom(err);
}

static void write_policy(struct hoy_buf *b, const struct hoy_json *root)
{
	struct hoy_jw w = hoy_jw_on(b, "    ");
	const struct hoy_json *all = hoy_json_get(root, "transports");
	cleanup_strv struct hoy_strv transports = HOY_STRV_INIT;

	hoy_jw_object(&w, NULL);
	hoy_jw_value(&w, "default", hoy_json_get(root, "default"));
	sorted_keys(all, &transports);
	if (transports.n)
		hoy_jw_object(&w, "transports");
	for (size_t i = 0; i < transports.n; i++) {
		const struct hoy_json *t = hoy_json_get(all, transports.v[i]);
		cleanup_strv struct hoy_strv scopes = HOY_STRV_INIT;

		hoy_jw_object(&w, t->key);
		sorted_keys(t, &scopes);
		for (size_t k = 0; k < scopes.n; k++)
			hoy_jw_value(&w, scopes.v[k], hoy_json_get(t, scopes.v[k]));
		hoy_jw_end_object(&w);
	}
	if (transports.n)
		hoy_jw_end_object(&w);
	hoy_jw_end_object(&w);
}

/* The file is replaced only by a policy that can be read back. */
static int set(const struct trust_args *o, const char *path, const char *scope, struct hoy_err *err)
{
	cleanup_policy struct hoy_policy p = HOY_POLICY_INIT, check = HOY_POLICY_INIT;
	cleanup_json struct hoy_json_doc list = HOY_JSON_DOC_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(FILE_MAX), out = HOY_BUF_INIT(FILE_MAX);
	struct hoy_json *copy;
	int r = requirements(o, &b, err);

	if (!r)
		r = hoy_json_parse(&list, b.data, b.len, "requirements", err);
	if (!r && hoy_exists(AT_FDCWD, path))
		r = hoy_policy_load(&p, path, err);
	else if (!r && !(p.doc.root = hoy_json_new(&p.doc, HOY_JSON_OBJECT)))
		r = hoy_fail_oom(err);
	if (r < 0)
		return r;
	copy = hoy_json_copy(&p.doc, list.root);
	r = copy ? put_scope(&p.doc, scope, copy, err) : hoy_fail_oom(err);
	if (!r) {
		write_policy(&out, p.doc.root);
		r = out.error ? hoy_fail_oom(err) : hoy_policy_parse(&check, out.data, out.len, path, err);
	}
	if (r < 0)
		return r;
	r = hoy_replace_file(AT_FDCWD, path, out.data, out.len, 0644, true);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write '%s'", path) : 0;
}

/* A host, and perhaps a path. */
static bool is_scope(const char *s)
{
	size_t host = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:*");

	return host && *s != ':' && (!s[host] || s[host] == '/');
}

static int run_set(const struct hoy_verb *v, int argc, char **argv)
{
	struct trust_args o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_free char *path = NULL;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 1, 1, &status);

	if (n < 0)
		return status;
	if (!is_scope(argv[1]))
		return hoy_report((hoy_fail(&err, EINVAL, "invalid image uri: %s", argv[1]), &err), 125);
	path = policy_path(&o);
	r = path ? set(&o, path, argv[1], &err) : hoy_fail_oom(&err);
	hoy_strv_release(&o.keys);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_trust_set = { "image trust set", "[options] REGISTRY", "Say which images of a registry may come in", set_opts, run_set, false };
