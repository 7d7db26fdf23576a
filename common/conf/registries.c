#include "common/conf/registries.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/conf/dirs.h"
#include "common/conf/dropins.h"
#include "common/conf/toml.h"
#include "common/data/ref.h"

struct search {
	struct hoy_strv registries; /* unqualified-search-registries of the last file that has the key */
	char *alias;
	const char *path; /* the short name, without tag; or NULL */
	const char *repo; /* or the "host/path" whose [[registry]] is looked for */
	struct hoy_json_doc best;
	size_t best_len;
};

/* How much of REPO the prefix P covers: at the end of a component, or "*.example.com" a host below it; 0: nothing. */
static size_t covers(const char *p, const char *repo)
{
	size_t len = strlen(p), host = strcspn(repo, "/");

	if (!strncmp(p, "*.", 2)) {
		const char *tail = strchr(p, '/');
		size_t want = tail ? (size_t)(tail - p) : len;

		if (host < want || strncmp(repo + host - (want - 1), p + 1, want - 1))
			return 0;
		return !tail || !strncmp(repo + host, tail, strlen(tail)) ? len : 0;
	}
	return !strncmp(repo, p, len) && (!repo[len] || repo[len] == '/') ? len : 0;
}

/* The longest prefix counts; of equal ones the last, which a later file may have changed. */
static void take_registry(struct search *s, const struct hoy_json *root)
{
	HOY_JSON_EACH(reg, hoy_json_get(root, "registry")) {
		const char *prefix = hoy_json_str(reg, "prefix"), *loc = hoy_json_str(reg, "location");
		size_t n = prefix || loc ? covers(prefix ? prefix : loc, s->repo) : 0;

		if (!n || n < s->best_len)
			continue;
		hoy_json_release(&s->best);
		s->best = (struct hoy_json_doc)HOY_JSON_DOC_INIT;
		s->best.root = hoy_json_copy(&s->best, reg);
		s->best_len = n;
	}
}

static void take_file(struct search *s, const struct hoy_json *root)
{
	const struct hoy_json *list = hoy_json_get(root, "unqualified-search-registries");
	const char *alias = s->path ? hoy_json_str(hoy_json_get(root, "aliases"), s->path) : NULL;

	if (s->repo) {
		take_registry(s, root);
		return;
	}

	if (hoy_json_is(list, HOY_JSON_ARRAY)) {
		hoy_strv_release(&s->registries);
		HOY_JSON_EACH(it, list)
			if (hoy_json_text(it))
				hoy_strv_push(&s->registries, it->str);
	}
	if (alias) {
		free(s->alias);
		s->alias = strdup(alias);
	}
}

static int read_one(struct search *s, const char *path, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	int r;

	if (access(path, F_OK) < 0)
		return -ENOENT;
	r = hoy_toml_load(&doc, path, err);
	if (!r)
		take_file(s, doc.root);
	return r;
}

static int read_drop_ins(struct search *s, const char *dir, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv files = HOY_STRV_INIT;
	int r = hoy_dropins(&dir, 1, &files) < 0 ? hoy_fail_oom(err) : 0;

	for (size_t i = 0; i < files.n && (!r || r == -ENOENT); i++)
		r = read_one(s, files.v[i], err);
	return r == -ENOENT ? 0 : r;
}

/* CONTAINERS_REGISTRIES_CONF alone; else the user's or the system's file, then the drop-ins of both. */
static int read_all(struct search *s, struct hoy_err *err)
{
	const char *env = getenv("CONTAINERS_REGISTRIES_CONF");
	cleanup_free char *home = NULL, *user = NULL, *user_d = NULL, *cache = NULL;
	int r = -ENOENT;

	if (env && *env)
		return read_one(s, env, err);
	home = hoy_config_home();
	user = home ? hoy_path_join(home, "containers/registries.conf") : NULL;
	user_d = home ? hoy_path_join(home, "containers/registries.conf.d") : NULL;
	cache = home ? hoy_path_join(home, "containers/short-name-aliases.conf") : NULL;
	if (!user || !user_d || !cache)
		return hoy_fail_oom(err);
	if (hoy_rootless())
		r = read_one(s, user, err);
	if (r == -ENOENT)
		r = read_one(s, "/etc/containers/registries.conf", err);
	if (r == -ENOENT)
		r = read_one(s, "/usr/share/containers/registries.conf", err);
	if (!r || r == -ENOENT)
		r = read_drop_ins(s, "/etc/containers/registries.conf.d", err);
	if (!r && hoy_rootless())
		r = read_drop_ins(s, user_d, err);
	if (!r) {
		r = read_one(s, hoy_rootless() ? cache : "/var/cache/containers/short-name-aliases.conf", err);
		r = r == -ENOENT ? 0 : r;
	}
	return r;
}

int hoy_search_registries(struct hoy_strv *ret, struct hoy_err *err)
{
	struct search s = { 0 };
	int r = read_all(&s, err);

	for (size_t i = 0; i < s.registries.n; i++)
		hoy_strv_push(ret, s.registries.v[i]);
	hoy_strv_release(&s.registries);
	return r && r != -ENOENT ? r : ret->error ? hoy_fail_oom(err) : 0;
}

static void add(struct hoy_strv *ret, const char *repo, const struct hoy_ref *ref)
{
	char *name = ref->digest ? hoy_asprintf("%s@%s", repo, ref->digest) :
				   hoy_asprintf("%s:%s", repo, ref->tag ? ref->tag : "latest");

	if (name && hoy_strv_has(ret, name))
		free(name);
	else
		hoy_strv_take(ret, name);
}

static void add_at(struct hoy_strv *ret, const char *registry, const struct hoy_ref *ref)
{
	bool library = !strcmp(registry, "docker.io") && !strchr(ref->path, '/');
	cleanup_free char *repo = hoy_asprintf("%s/%s%s", registry, library ? "library/" : "", ref->path);

	if (repo)
		add(ret, repo, ref);
	else
		ret->error = ENOMEM;
}

static int resolve(const struct hoy_ref *ref, bool local, struct hoy_strv *ret, struct hoy_err *err)
{
	struct search s = { .path = ref->path };
	int r = read_all(&s, err);

	if (r == -ENOENT)
		r = 0;
	if (!r && s.alias)
		add(ret, s.alias, ref);
	if (!r && local)
		add_at(ret, "localhost", ref);
	for (size_t i = 0; !r && i < s.registries.n && (local || !s.alias); i++)
		add_at(ret, s.registries.v[i], ref);
	if (!r && (local || (!s.alias && !s.registries.n)))
		add_at(ret, "docker.io", ref);
	hoy_strv_release(&s.registries);
	free(s.alias);
	return r ? r : ret->error ? hoy_fail_oom(err) : 0;
}

int hoy_short_name_local(const struct hoy_ref *ref, struct hoy_strv *ret, struct hoy_err *err)
{
	return resolve(ref, true, ret, err);
}

int hoy_short_name_remote(const struct hoy_ref *ref, struct hoy_strv *ret, struct hoy_err *err)
{
	return resolve(ref, false, ret, err);
}

static int add_endpoint(struct hoy_endpoints *e, const struct hoy_json *table, const char *repo, size_t prefix)
{
	const char *location = hoy_json_str(table, "location");
	struct hoy_endpoint *v = realloc(e->v, (e->n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	e->v = v;
	v[e->n] = (struct hoy_endpoint){ location && prefix ? hoy_asprintf("%s%s", location, repo + prefix) : strdup(repo),
					 hoy_json_bool(table, "insecure", false) };
	return v[e->n++].repo ? 0 : -ENOMEM;
}

static bool mirror_fits(const struct hoy_json *reg, const struct hoy_json *mirror, const struct hoy_ref *ref)
{
	const char *from = hoy_json_str(mirror, "pull-from-mirror");

	if (from && !strcmp(from, "digest-only"))
		return ref->digest;
	if (from && !strcmp(from, "tag-only"))
		return !ref->digest;
	return ref->digest || !hoy_json_bool(reg, "mirror-by-digest-only", false);
}

void hoy_endpoints_release(struct hoy_endpoints *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->v[i].repo);
	free(e->v);
	*e = (struct hoy_endpoints){ NULL, 0 };
}

int hoy_registry_endpoints(const struct hoy_ref *ref, bool push, struct hoy_endpoints *ret, struct hoy_err *err)
{
	cleanup_free char *repo = hoy_ref_repo(ref);
	struct search s = { .repo = repo };
	const char *prefix;
	size_t cut;
	int r = repo ? read_all(&s, err) : -ENOMEM;

	*ret = (struct hoy_endpoints){ NULL, 0 };
	if (r == -ENOENT)
		r = 0;
	prefix = hoy_json_str(s.best.root, "prefix");
	/* A wildcard stands for no text that could be replaced. */
	cut = prefix && !strncmp(prefix, "*.", 2) ? 0 : s.best_len;
	if (!r && hoy_json_bool(s.best.root, "blocked", false))
		r = hoy_fail(err, EACCES, "registry '%s' is blocked by registries.conf", repo);
	HOY_JSON_EACH(m, !r && !push ? hoy_json_get(s.best.root, "mirror") : NULL)
		if (!r && mirror_fits(s.best.root, m, ref))
			r = add_endpoint(ret, m, repo, s.best_len);
	if (!r)
		r = add_endpoint(ret, s.best.root, repo, cut);
	hoy_json_release(&s.best);
	if (r < 0)
		hoy_endpoints_release(ret);
	return r == -ENOMEM ? hoy_fail_oom(err) : r;
}
