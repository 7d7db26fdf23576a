/* cmd-image/transfer/sync_yaml.c: the file that `sync --src yaml` reads: registries, with their images, tags and credentials. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmd-image/transfer/sync.h"
#include "cmd-image/transfer/tagmatch.h"
#include "cmd-image/transfer/yaml.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/digest.h"
#include "common/data/ref.h"

#define FILE_MAX ((size_t)4 << 20)

struct registry_config {
	const char *host;
	const struct hoy_json *images, *by_regex, *by_semver;
	struct reg_opts reg;
};

/* ---- reading ---- */

static int wrong(const struct registry_config *c, const char *key, const char *what, struct hoy_err *err)
{
	return hoy_fail(err, HOY_EFORMAT, "'%s' of registry '%s' is to be %s", key, c->host, what);
}

static int read_bool(const char *text)
{
	static const char *const yes[] = { "true", "yes", "on", "y" }, *const no[] = { "false", "no", "off", "n" };

	for (size_t i = 0; text && i < ARRAY_SIZE(yes); i++) {
		if (!strcasecmp(text, yes[i]))
			return 1;
		if (!strcasecmp(text, no[i]))
			return 0;
	}
	return -1;
}

static int read_credentials(struct registry_config *c, const struct hoy_json *v, struct hoy_err *err)
{
	if (!hoy_json_is(v, HOY_JSON_OBJECT))
		return wrong(c, "credentials", "a map of username and password", err);
	HOY_JSON_EACH(it, v) {
		if (!strcmp(it->key, "username"))
			c->reg.user = hoy_json_text(it);
		else if (!strcmp(it->key, "password"))
			c->reg.password = hoy_json_text(it);
		else
			return hoy_fail(err, HOY_EUNSUPPORTED, "the credentials of registry '%s' have a '%s', which is not supported", c->host, it->key);
	}
	c->reg.creds = NULL;
	c->reg.no_creds = false;
	return reg_opts_check(&c->reg, err);
}

/* Tags and versions are texts, whatever they look like: 1 and true too. */
static void as_texts(struct hoy_json *v)
{
	if (v->type == HOY_JSON_BOOL) {
		v->str = v->boolean ? "true" : "false";
		v->len = strlen(v->str);
	}
	if (v->type == HOY_JSON_BOOL || v->type == HOY_JSON_NUMBER)
		v->type = HOY_JSON_STRING;
	for (struct hoy_json *it = v->child; it; it = it->next)
		as_texts(it);
}

/* A map of names; each has a text, or (LISTS) a list of texts or nothing. */
static int check_names(const struct registry_config *c, const struct hoy_json *v, bool lists, struct hoy_err *err)
{
	if (!hoy_json_is(v, HOY_JSON_OBJECT))
		return wrong(c, v->key, "a map of repositories", err);
	HOY_JSON_EACH(it, v) {
		if (!lists && it->type != HOY_JSON_STRING)
			return wrong(c, it->key, "a text", err);
		if (lists && it->type != HOY_JSON_ARRAY && it->type != HOY_JSON_NULL)
			return wrong(c, it->key, "a list", err);
		HOY_JSON_EACH(tag, lists ? it : NULL)
			if (tag->type != HOY_JSON_STRING)
				return wrong(c, it->key, "a list of texts", err);
	}
	return 0;
}

static int read_key(struct registry_config *c, const struct hoy_json *v, struct hoy_err *err)
{
	if (v->type == HOY_JSON_NULL)
		return 0;
	if (!strcmp(v->key, "images"))
		return check_names(c, c->images = v, true, err);
	if (!strcmp(v->key, "images-by-tag-regex"))
		return check_names(c, c->by_regex = v, false, err);
	if (!strcmp(v->key, "images-by-semver"))
		return check_names(c, c->by_semver = v, false, err);
	if (!strcmp(v->key, "credentials"))
		return read_credentials(c, v, err);
	if (!strcmp(v->key, "cert-dir"))
		return (c->reg.cert_dir = hoy_json_text(v)) ? 0 : wrong(c, v->key, "a text", err);
	if (!strcmp(v->key, "tls-verify")) {
		c->reg.tls_verify = read_bool(hoy_json_text(v));
		return c->reg.tls_verify >= 0 ? 0 : wrong(c, v->key, "true or false", err);
	}
	hoy_warning("'%s' of registry '%s' is not known, ignoring", v->key, c->host);
	return 0;
}

/* ---- what it asks for ---- */

/* A repository of its own, whose options outlive the document. */
static struct sync_repo *add_repo(struct sync_plan *p, const struct registry_config *c)
{
	struct sync_repo *r = sync_plan_add(p, &c->reg);

	if (!r)
		return NULL;
	const char **strings[] = { &r->reg.user, &r->reg.password, &r->reg.cert_dir };

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		if (*strings[i]) {
			hoy_strv_push(&r->hold, *strings[i]);
			if (r->hold.error)
				return NULL;
			*strings[i] = r->hold.v[r->hold.n - 1];
		}
	return r;
}

static char *repository(const struct registry_config *c, const char *name)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_free char *text = hoy_asprintf("%s/%s", c->host, name);
	struct hoy_err err = HOY_ERR_INIT;

	if (!text || hoy_ref_parse(&ref, text, &err) < 0 || ref.tag || ref.digest) {
		hoy_error("'%s/%s' is no repository, skipping it", c->host, name);
		return NULL;
	}
	return hoy_ref_normalize(&ref) < 0 ? NULL : hoy_ref_repo(&ref);
}

static void add_listed(struct sync_repo *r, const char *repo, const struct hoy_json *refs)
{
	HOY_JSON_EACH(it, refs) {
		cleanup_free char *full = hoy_asprintf("%s%c%s", repo, hoy_is_digest(it->str) ? '@' : ':', it->str);
		cleanup_ref struct hoy_ref ref = HOY_REF_INIT;

		if (!full || hoy_ref_parse(&ref, full, NULL) < 0)
			hoy_error("'%s' of '%s' is neither a tag nor a digest, skipping it", it->str, repo);
		else
			sync_add_image(r, full);
	}
}

static int by_regex(const void *arg, const char *tag, struct hoy_err *err) { return !regexec(arg, tag, 0, NULL, 0); }
static int by_semver(const void *arg, const char *tag, struct hoy_err *err) { return semver_match(arg, tag, err); }

/* The tags of NAME that fit, or all; WANTED NULL: those of the list REFS. */
static int add_one(struct sync_plan *p, const struct registry_config *c, const char *name, const struct hoy_json *refs,
		   int (*wanted)(const void *, const char *, struct hoy_err *), const void *arg, struct hoy_err *err)
{
	cleanup_free char *repo = repository(c, name);
	struct hoy_err why = HOY_ERR_INIT;
	struct sync_repo *r;

	if (!repo)
		return 0;
	r = add_repo(p, c);
	if (!r)
		return hoy_fail_oom(err);
	if (refs && refs->count) {
		add_listed(r, repo, refs);
	} else if (sync_add_tags(r, repo, wanted, arg, &why) < 0) {
		hoy_report(&why, 0);
		hoy_error("the tags of '%s' cannot be listed, skipping it", repo);
	}
	if (!r->images.n && !why.code)
		hoy_warning("'%s' has nothing to be copied, ignoring", repo);
	return r->images.error || r->names.error ? hoy_fail_oom(err) : 0;
}

static int add_filtered(struct sync_plan *p, const struct registry_config *c, struct hoy_err *err)
{
	int r = 0;

	HOY_JSON_EACH(it, c->by_regex) {
		regex_t re;

		r = tag_regex(&re, it->str, err);
		if (!r) {
			r = add_one(p, c, it->key, NULL, by_regex, &re, err);
			regfree(&re);
		}
		if (r < 0)
			return r;
	}
	HOY_JSON_EACH(it, c->by_semver) {
		r = semver_match(it->str, "0.0.0", err);
		if (r >= 0)
			r = add_one(p, c, it->key, NULL, by_semver, it->str, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_registry(struct sync_plan *p, const struct hoy_json *v, const struct reg_opts *reg, struct hoy_err *err)
{
	struct registry_config c = { .host = v->key, .reg = *reg };
	int r = 0;

	c.reg.cert_dir = NULL;
	if (v->type != HOY_JSON_OBJECT && v->type != HOY_JSON_NULL)
		return hoy_fail(err, HOY_EFORMAT, "registry '%s' is to be a map", c.host);
	HOY_JSON_EACH(it, v)
		if ((r = read_key(&c, it, err)) < 0)
			return r;
	if (!c.images && !c.by_regex && !c.by_semver)
		hoy_warning("registry '%s' has no images, ignoring", c.host);
	HOY_JSON_EACH(it, c.images)
		if ((r = add_one(p, &c, it->key, it, NULL, NULL, err)) < 0)
			return r;
	return add_filtered(p, &c, err);
}

int sync_from_yaml(struct sync_plan *p, const char *path, const struct reg_opts *reg, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_free char *data = NULL;
	size_t len;
	int r = hoy_read_file(AT_FDCWD, path, FILE_MAX, &data, &len, err);

	if (!r)
		r = yaml_parse(&doc, data, len, path, err);
	if (!r)
		as_texts(doc.root);
	if (!r && doc.root->type != HOY_JSON_OBJECT && doc.root->type != HOY_JSON_NULL)
		r = hoy_fail(err, HOY_EFORMAT, "'%s' is no map of registries", path);
	if (r < 0)
		return r;
	HOY_JSON_EACH(it, doc.root)
		if ((r = add_registry(p, it, reg, err)) < 0)
			return r;
	return 0;
}
