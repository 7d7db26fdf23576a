#include "common/conf/registries.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/conf/regconf.h"
#include "common/data/ref.h"

int hoy_search_registries(struct hoy_strv *ret, struct hoy_err *err)
{
	cleanup_regconf struct hoy_regconf c = HOY_REGCONF_INIT;
	int r = hoy_regconf_load(&c, err);

	HOY_JSON_EACH(host, r ? NULL : hoy_regconf_list(&c, "unqualified-search-registries", NULL))
		hoy_strv_push(ret, host->str);
	return r ? r : ret->error ? hoy_fail_oom(err) : 0;
}

/* ---- short names ---- */

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

int hoy_short_name_local(const struct hoy_ref *ref, struct hoy_strv *ret, struct hoy_err *err)
{
	cleanup_regconf struct hoy_regconf c = HOY_REGCONF_INIT;
	const char *alias;
	int r = hoy_regconf_load(&c, err);

	if (r < 0)
		return r;
	alias = hoy_regconf_alias(&c, ref->path, NULL);
	if (alias)
		add(ret, alias, ref);
	add_at(ret, "localhost", ref);
	HOY_JSON_EACH(host, hoy_regconf_list(&c, "unqualified-search-registries", NULL))
		add_at(ret, host->str, ref);
	add_at(ret, "docker.io", ref);
	return ret->error ? hoy_fail_oom(err) : 0;
}

void hoy_short_release(struct hoy_short *s)
{
	hoy_strv_release(&s->names);
	free(s->file);
	*s = (struct hoy_short)HOY_SHORT_INIT;
}

static int no_candidates(const struct hoy_regconf *c, const struct hoy_ref *ref, struct hoy_err *err)
{
	cleanup_free char *name = ref->digest ? hoy_asprintf("%s@%s", ref->path, ref->digest) :
				  ref->tag    ? hoy_asprintf("%s:%s", ref->path, ref->tag) : strdup(ref->path);
	const char *file = NULL;

	if (!name)
		return hoy_fail_oom(err);
	hoy_regconf_list(c, "unqualified-search-registries", &file);
	if (!file && c->n)
		file = c->v[0].path;
	if (file)
		return hoy_fail(err, ENOENT, "short-name \"%s\" did not resolve to an alias and no unqualified-search registries are defined in \"%s\"", name, file);
	return hoy_fail(err, ENOENT, "short-name \"%s\" did not resolve to an alias and no containers-registries.conf(5) was found", name);
}

int hoy_short_name_remote(const struct hoy_regconf *c, const struct hoy_ref *ref, struct hoy_short *ret, struct hoy_err *err)
{
	const char *file = NULL, *alias = hoy_regconf_alias(c, ref->path, &file), *mode = hoy_regconf_short_names(c, NULL);

	ret->alias = alias;
	if (alias)
		add(&ret->names, alias, ref);
	else
		HOY_JSON_EACH(host, hoy_regconf_list(c, "unqualified-search-registries", &file))
			add_at(&ret->names, host->str, ref);
	if (!ret->names.n && !ret->names.error)
		return no_candidates(c, ref, err);
	ret->ask = ret->names.n > 1 && strcmp(mode, "disabled");
	ret->enforcing = !strcmp(mode, "enforcing");
	ret->file = file ? strdup(file) : NULL;
	return ret->names.error || !ret->file ? hoy_fail_oom(err) : 0;
}

/* ---- registries ---- */

char *hoy_registry_rewrite(const struct hoy_json *table, const char *repo, size_t len)
{
	const char *location = hoy_json_str(table, "location");

	return location && *location ? hoy_asprintf("%s%s", location, repo + len) : strdup(repo);
}

/* REPO is taken. */
static int add_endpoint(struct hoy_endpoints *e, char *repo, bool insecure)
{
	struct hoy_endpoint *v = repo ? realloc(e->v, (e->n + 1) * sizeof(*v)) : NULL;

	if (!v) {
		free(repo);
		return -ENOMEM;
	}
	e->v = v;
	v[e->n++] = (struct hoy_endpoint){ repo, insecure };
	return 0;
}

bool hoy_mirror_fits(const struct hoy_json *reg, const struct hoy_json *mirror, const struct hoy_ref *ref)
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
	cleanup_regconf struct hoy_regconf c = HOY_REGCONF_INIT;
	cleanup_free char *repo = hoy_ref_repo(ref), *full = hoy_ref_string(ref);
	const struct hoy_json *reg;
	const char *file = NULL;
	size_t len = 0;
	int r = repo && full ? hoy_regconf_load(&c, err) : -ENOMEM;

	*ret = (struct hoy_endpoints){ NULL, 0 };
	reg = r ? NULL : hoy_regconf_registry(&c, full, &len, &file);
	if (hoy_json_bool(reg, "blocked", false))
		r = hoy_fail(err, EACCES, "registry '%s' is blocked by registries.conf ('%s')", repo, file);
	else if (len > strlen(repo ? repo : ""))
		r = hoy_fail(err, HOY_EUNSUPPORTED, "the prefix '%s' in '%s' has a tag or digest, which is not supported", hoy_json_str(reg, "prefix"), file);
	HOY_JSON_EACH(m, !r && !push ? hoy_json_get(reg, "mirror") : NULL)
		if (!r && hoy_mirror_fits(reg, m, ref))
			r = add_endpoint(ret, hoy_registry_rewrite(m, repo, len), hoy_json_bool(m, "insecure", false));
	if (!r)
		r = add_endpoint(ret, push ? strdup(repo) : hoy_registry_rewrite(reg, repo, len), hoy_json_bool(reg, "insecure", false));
	if (r < 0)
		hoy_endpoints_release(ret);
	return r == -ENOMEM ? hoy_fail_oom(err) : r;
}
