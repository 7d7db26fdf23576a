#include "common/conf/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/conf/dirs.h"
#include "common/data/ref.h"

#define POLICY_MAX ((size_t)4 << 20)
#define SYSTEM_POLICY "/etc/containers/policy.json"

/* ---- what may stand in it ---- */

#define BAD(err, ...) hoy_fail(err, HOY_EFORMAT, __VA_ARGS__)

static bool in_list(const char *const *list, const char *s)
{
	for (; *list; list++)
		if (!strcmp(*list, s))
			return true;
	return false;
}

/* OBJ is an object, each member once, and (KNOWN not NULL) none but KNOWN. */
static int check_members(const struct hoy_json *obj, const char *const *known, struct hoy_err *err)
{
	if (!hoy_json_is(obj, HOY_JSON_OBJECT))
		return BAD(err, "a JSON object is missing");
	HOY_JSON_EACH(a, obj) {
		if (known && !in_list(known, a->key))
			return BAD(err, "Unknown key \"%s\"", a->key);
		for (const struct hoy_json *b = a->next; b; b = b->next)
			if (!strcmp(a->key, b->key))
				return BAD(err, "Duplicate key \"%s\"", a->key);
	}
	return 0;
}

static int need_text(const struct hoy_json *obj, const char *key, struct hoy_err *err)
{
	return hoy_json_str(obj, key) ? 0 : BAD(err, "\"%s\" is missing or no string", key);
}

static int parse_name(struct hoy_ref *ref, const char *name, struct hoy_err *err)
{
	bool bare;
	int r = hoy_ref_parse(ref, name, err);

	bare = !r && !ref->tag && !ref->digest;
	if (!r && hoy_ref_normalize(ref) < 0)
		return hoy_fail_oom(err);
	/* A signature means what it says: no tag is made up. */
	if (bare) {
		free(ref->tag);
		ref->tag = NULL;
	}
	return r;
}

/* A prefix of remapIdentity: a host, or a host and a path. */
static int check_prefix(const char *s, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_free char *name = strchr(s, '/') ? strdup(s) : hoy_asprintf("%s/x", s);

	if (!name)
		return hoy_fail_oom(err);
	if (hoy_ref_parse(&ref, name, NULL) < 0 || ref.tag || ref.digest)
		return BAD(err, "prefix \"%s\" is not valid", s);
	return 0;
}

static int check_match(const struct hoy_json *m, struct hoy_err *err)
{
	static const char *const plain[] = { "type", NULL }, *const exact[] = { "type", "dockerReference", NULL },
				 *const repo[] = { "type", "dockerRepository", NULL }, *const remap[] = { "type", "prefix", "signedPrefix", NULL };
	static const char *const simple[] = { "matchExact", "matchRepoDigestOrExact", "matchRepository", NULL };
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	const char *type = hoy_json_str(m, "type");
	int r;

	if (!type)
		return BAD(err, "Unknown policy reference match type \"\"");
	if (in_list(simple, type))
		return check_members(m, plain, err);
	if (!strcmp(type, "exactReference")) {
		r = check_members(m, exact, err) ?: need_text(m, exact[1], err) ?: parse_name(&ref, hoy_json_str(m, exact[1]), err);
		if (!r && !ref.tag && !ref.digest)
			r = BAD(err, "dockerReference \"%s\" contains neither a tag nor digest", hoy_json_str(m, exact[1]));
		return r;
	}
	if (!strcmp(type, "exactRepository"))
		return check_members(m, repo, err) ?: need_text(m, repo[1], err) ?: parse_name(&ref, hoy_json_str(m, repo[1]), err);
	if (!strcmp(type, "remapIdentity"))
		return check_members(m, remap, err) ?: need_text(m, "prefix", err) ?: need_text(m, "signedPrefix", err) ?:
		       check_prefix(hoy_json_str(m, "prefix"), err) ?: check_prefix(hoy_json_str(m, "signedPrefix"), err);
	return BAD(err, "Unknown policy reference match type \"%s\"", type);
}

/* KEY is a string, or (MANY) an array of at least one. */
static int check_source(const struct hoy_json *v, bool many, struct hoy_err *err)
{
	if (!many)
		return hoy_json_text(v) && *v->str ? 0 : BAD(err, "\"%s\" is no string", v->key);
	if (!hoy_json_is(v, HOY_JSON_ARRAY) || !v->count)
		return BAD(err, "\"%s\" is no list of strings", v->key);
	HOY_JSON_EACH(it, v)
		if (!hoy_json_text(it))
			return BAD(err, "\"%s\" is no list of strings", v->key);
	return 0;
}

/* Exactly one of SOURCES (those whose names end in s are lists, the objects fulcio and pki aside). */
static int check_sources(const struct hoy_json *q, const char *const *sources, const char *text, struct hoy_err *err)
{
	int n = 0, r = 0;

	for (; *sources && !r; sources++) {
		const struct hoy_json *v = hoy_json_get(q, *sources);

		n += !!v;
		if (v && strncmp(*sources, "key", 3))
			r = check_members(v, NULL, err);
		else if (v)
			r = check_source(v, (*sources)[strlen(*sources) - 1] == 's', err);
	}
	if (r || n == 1)
		return r;
	return BAD(err, "exactly one of %s must be specified, %s", text, n ? "more than one present" : "none of them present");
}

static int check_signed_by(const struct hoy_json *q, struct hoy_err *err)
{
	static const char *const known[] = { "type", "keyType", "keyPath", "keyPaths", "keyData", "signedIdentity", NULL };
	static const char *const sources[] = { "keyPath", "keyPaths", "keyData", NULL };
	static const char *const types[] = { "GPGKeys", "signedByGPGKeys", "X509Certificates", "signedByX509CAs", NULL };
	const struct hoy_json *match = hoy_json_get(q, "signedIdentity");
	const char *type = hoy_json_str(q, "keyType");
	int r = check_members(q, known, err);

	if (!r && (!type || !in_list(types, type)))
		r = BAD(err, "Unrecognized keyType value \"%s\"", type ? type : "");
	if (!r)
		r = check_sources(q, sources, "keyPath, keyPaths and keyData", err);
	return r ? r : match ? check_match(match, err) : 0;
}

static int check_sigstore(const struct hoy_json *q, struct hoy_err *err)
{
	static const char *const known[] = { "type", "keyPath", "keyPaths", "keyData", "keyDatas", "fulcio", "pki", "rekorPublicKeyPath",
					     "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas", "signedIdentity", NULL };
	static const char *const sources[] = { "keyPath", "keyPaths", "keyData", "keyDatas", "fulcio", "pki", NULL };
	const struct hoy_json *match = hoy_json_get(q, "signedIdentity");
	int r = check_members(q, known, err);

	if (!r)
		r = check_sources(q, sources, "keyPath, keyPaths, keyData, keyDatas, fulcio and pki", err);
	return r ? r : match ? check_match(match, err) : 0;
}

static int check_requirement(const struct hoy_json *q, struct hoy_err *err)
{
	static const char *const plain[] = { "type", NULL }, *const base[] = { "type", "baseLayerIdentity", NULL };
	const char *type = hoy_json_str(q, "type");

	if (type && (!strcmp(type, "insecureAcceptAnything") || !strcmp(type, "reject")))
		return check_members(q, plain, err);
	if (type && !strcmp(type, "signedBy"))
		return check_signed_by(q, err);
	if (type && !strcmp(type, "sigstoreSigned"))
		return check_sigstore(q, err);
	if (type && !strcmp(type, "signedBaseLayer"))
		return check_members(q, base, err) ?: check_match(hoy_json_get(q, "baseLayerIdentity"), err);
	return BAD(err, "Unknown policy requirement type \"%s\"", type ? type : "");
}

static int check_requirements(const struct hoy_json *list, struct hoy_err *err)
{
	int r = 0;

	if (!hoy_json_is(list, HOY_JSON_ARRAY))
		return BAD(err, "a list of verification policy requirements is missing");
	if (!list->count)
		return BAD(err, "List of verification policy requirements must not be empty");
	for (const struct hoy_json *q = list->child; q && !r; q = q->next)
		r = check_requirement(q, err);
	return r;
}

/* Scopes of transports in files are clean absolute paths. (A docker-archive has none.) */
static bool scope_fits(const char *transport, const char *scope)
{
	size_t n = strlen(scope);

	if (!n)
		return true;
	if (!strcmp(transport, "docker-archive"))
		return false;
	if (strcmp(transport, "dir") && strcmp(transport, "oci") && strcmp(transport, "oci-archive"))
		return true;
	return n > 1 && *scope == '/' && scope[n - 1] != '/' && !strstr(scope, "//") && !strstr(scope, "/./") && !strstr(scope, "/../");
}

static int check_transport(const struct hoy_json *t, struct hoy_err *err)
{
	int r = check_members(t, NULL, err);

	for (const struct hoy_json *s = r ? NULL : t->child; s && !r; s = s->next)
		r = scope_fits(t->key, s->key) ? check_requirements(s, err) : BAD(err, "Unknown key \"%s\"", s->key);
	return r;
}

static int check_policy(const struct hoy_json *root, struct hoy_err *err)
{
	static const char *const known[] = { "default", "transports", NULL };
	const struct hoy_json *transports = hoy_json_get(root, "transports");
	int r = check_members(root, known, err);

	if (!r && !hoy_json_get(root, "default"))
		r = BAD(err, "Default policy is missing");
	if (!r)
		r = check_requirements(hoy_json_get(root, "default"), err);
	if (!r && transports)
		r = check_members(transports, NULL, err);
	for (const struct hoy_json *t = r || !transports ? NULL : transports->child; t && !r; t = t->next)
		r = check_transport(t, err);
	return r;
}

int hoy_policy_parse(struct hoy_policy *p, const char *text, size_t len, const char *name, struct hoy_err *err)
{
	int r = hoy_json_parse(&p->doc, text, len, name, err);

	if (!r && check_policy(p->doc.root, err) < 0)
		r = hoy_fail_prefix(err, "invalid policy in \"%s\"", name);
	return r;
}

char *hoy_policy_path(bool *ret_there)
{
	/* Not XDG_CONFIG_HOME: whoever may set a variable of somebody may not yet choose what he trusts. */
	cleanup_free char *home = hoy_home();
	cleanup_free char *user = home ? hoy_path_join(home, ".config/containers/policy.json") : NULL;

	if (!user)
		return NULL;
	*ret_there = hoy_exists(AT_FDCWD, user);
	if (*ret_there)
		return steal_ptr(&user);
	*ret_there = hoy_exists(AT_FDCWD, SYSTEM_POLICY);
	return strdup(SYSTEM_POLICY);
}

int hoy_policy_load(struct hoy_policy *p, const char *path, struct hoy_err *err)
{
	cleanup_free char *found = NULL, *text = NULL, *home = NULL;
	bool there = true;
	size_t len;
	int r;

	if (!path && !(path = found = hoy_policy_path(&there)))
		return hoy_fail_oom(err);
	if (!there) {
		home = hoy_home();
		return hoy_fail(err, ENOENT, "no policy.json file found at any of the following: \"%s/.config/containers/policy.json\", \"%s\"",
				home ? home : "~", SYSTEM_POLICY);
	}
	r = hoy_read_file(AT_FDCWD, path, POLICY_MAX, &text, &len, err);
	return r < 0 ? r : hoy_policy_parse(p, text, len, path, err);
}

void hoy_policy_release(struct hoy_policy *p)
{
	hoy_json_release(&p->doc);
	*p = (struct hoy_policy)HOY_POLICY_INIT;
}

/* ---- which requirements ---- */

const struct hoy_json *hoy_policy_find(const struct hoy_policy *p, const char *transport, const struct hoy_strv *scopes)
{
	const struct hoy_json *t = hoy_json_get(hoy_json_get(p->doc.root, "transports"), transport), *found;

	for (size_t i = 0; i < scopes->n; i++)
		if ((found = hoy_json_get(t, scopes->v[i])))
			return found;
	found = hoy_json_get(t, "");
	return found ? found : hoy_json_get(p->doc.root, "default");
}

/* PATH and what it lies in, up to the first component (which may be empty: then without it). */
static void add_parents(const char *path, struct hoy_strv *ret)
{
	for (size_t n = strlen(path); n; ) {
		hoy_strv_pushn(ret, path, n);
		while (n && path[n - 1] != '/')
			n--;
		n -= n ? 1 : 0;
	}
}

int hoy_policy_scopes(const struct hoy_ref *ref, struct hoy_strv *ret)
{
	cleanup_free char *full = hoy_ref_string(ref), *repo = hoy_ref_repo(ref), *host = ref->domain ? strdup(ref->domain) : NULL;

	if (!full || !repo || !host)
		return -ENOMEM;
	hoy_strv_push(ret, full);
	add_parents(repo, ret);
	host[strcspn(host, ":")] = '\0';
	for (const char *dot = host; (dot = strchr(dot, '.')); dot++)
		hoy_strv_pushf(ret, "*%s", dot);
	return ret->error ? -ENOMEM : 0;
}

int hoy_policy_paths(const char *path, struct hoy_strv *ret)
{
	if (strcmp(path, "/"))
		add_parents(path, ret);
	return ret->error ? -ENOMEM : 0;
}

/* ---- what a signature must name ---- */

static bool same_text(const char *a, const char *b) { return a ? b && !strcmp(a, b) : !b; }
static bool same_repo(const struct hoy_ref *a, const struct hoy_ref *b)
{
	return same_text(a->domain, b->domain) && !strcmp(a->path, b->path);
}
static bool same_name(const struct hoy_ref *a, const struct hoy_ref *b)
{
	return same_repo(a, b) && same_text(a->tag, b->tag) && same_text(a->digest, b->digest);
}
static bool name_only(const struct hoy_ref *r) { return !r->tag && !r->digest; }

/* By tag the whole name counts; by digest the repository, since the signature's digest is compared anyway. */
static bool digest_or_exact(const struct hoy_ref *ref, const struct hoy_ref *sig)
{
	if (name_only(sig) || name_only(ref))
		return false;
	return ref->tag ? same_name(ref, sig) : same_repo(ref, sig);
}

static bool remapped(const struct hoy_json *match, const struct hoy_ref *ref, const struct hoy_ref *sig)
{
	cleanup_ref struct hoy_ref mapped = HOY_REF_INIT;
	const char *prefix = hoy_json_str(match, "prefix"), *to = hoy_json_str(match, "signedPrefix");
	cleanup_free char *full = hoy_ref_string(ref), *name = NULL;
	size_t n = strlen(prefix);

	/* At the end of a component, or right before the tag or digest; a port is no tag. */
	if (!full || strncmp(full, prefix, n) || (full[n] && !strchr(strchr(prefix, '/') ? "/:@" : "/", full[n])))
		return digest_or_exact(ref, sig);
	name = hoy_asprintf("%s%s", to, full + n);
	return name && !hoy_ref_parse(&mapped, name, NULL) && mapped.domain && digest_or_exact(&mapped, sig);
}

bool hoy_policy_identity(const struct hoy_json *match, const struct hoy_ref *ref, const char *signed_name)
{
	cleanup_ref struct hoy_ref sig = HOY_REF_INIT, want = HOY_REF_INIT;
	const char *type = match ? hoy_json_str(match, "type") : "matchRepoDigestOrExact";

	if (parse_name(&sig, signed_name, NULL) < 0)
		return false;
	if (!strcmp(type, "exactReference"))
		return !parse_name(&want, hoy_json_str(match, "dockerReference"), NULL) && !name_only(&sig) && same_name(&want, &sig);
	if (!strcmp(type, "exactRepository"))
		return !parse_name(&want, hoy_json_str(match, "dockerRepository"), NULL) && same_repo(&want, &sig);
	if (!ref)
		return false;
	if (!strcmp(type, "matchExact"))
		return !name_only(ref) && !name_only(&sig) && same_name(ref, &sig);
	if (!strcmp(type, "matchRepository"))
		return same_repo(ref, &sig);
	if (!strcmp(type, "remapIdentity"))
		return remapped(match, ref, &sig);
	return digest_or_exact(ref, &sig);
}
