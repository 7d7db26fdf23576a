/* cmd-run/userns.c: --userns and the options for its ids become the definition's user namespace; what its ids are outside. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd-run/options.h"
#include "common/base/fd.h"
#include "common/conf/dirs.h"
#include "common/conf/subid.h"

#define MAX_RANGES 32

/* ---- what a definition says ---- */

bool ctr_has_userns(const struct ctr *c) { return hoy_json_str(c->def.root, "userns") != NULL; }

int ctr_maps(const struct ctr *c, struct hoy_idmaps *ret, struct hoy_err *err)
{
	int r = hoy_idmaps_read(c->def.root, ret);

	return r < 0 ? hoy_fail_errno(err, -r, "the id maps of container %.12s", c->id) : 0;
}

int ctr_outside(const struct ctr *c, unsigned uid, unsigned gid, uid_t *ret_uid, gid_t *ret_gid, struct hoy_err *err)
{
	struct hoy_idmaps m = { 0 };
	int r = ctr_maps(c, &m, err);

	*ret_uid = uid;
	*ret_gid = gid;
	if (!r && m.uid.n && !hoy_idmap_out(&m.uid, uid, ret_uid))
		r = hoy_fail(err, EINVAL, "container ID %u cannot be mapped to a host ID", uid);
	if (!r && m.gid.n && !hoy_idmap_out(&m.gid, gid, ret_gid))
		r = hoy_fail(err, EINVAL, "container ID %u cannot be mapped to a host ID", gid);
	return r;
}

int ctr_userns_path(struct ctr *c, char **ret, struct hoy_err *err)
{
	const char *path = hoy_json_str(c->def.root, "usernsPath"), *of = hoy_json_str(c->def.root, "usernsOf");
	cleanup_ctr struct ctr other = CTR_INIT;
	int r;

	*ret = NULL;
	if (path) {
		*ret = strdup(path);
		return *ret ? 0 : hoy_fail_oom(err);
	}
	if (!of)
		return 0;
	r = ctr_open_id(&other, c->s, of, err);
	if (!r)
		r = ctr_load_live(&other, err);
	if (!r && !ctr_pid(&other))
		r = hoy_fail(err, EINVAL, "container %.12s is not running: its user namespace cannot be joined", of);
	if (!r && !(*ret = hoy_asprintf("/proc/%d/ns/user", (int)ctr_pid(&other))))
		r = hoy_fail_oom(err);
	return r;
}

int ctr_check_dependents(struct ctr *c, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf found = HOY_BUF_INIT(1 << 16);
	int r = ctr_load_def(c, NULL);

	if (r < 0 || !ctr_has_userns(c) || ctr_list(c->s, &ids) < 0)
		return 0; /* what cannot be read is to be removed all the same */
	for (size_t i = 0; i < ids.n; i++) {
		cleanup_ctr struct ctr other = CTR_INIT;

		if (!ctr_open_id(&other, c->s, ids.v[i], NULL) && !ctr_load_def(&other, NULL) &&
		    !strcmp(hoy_json_str(other.def.root, "usernsOf") ?: "", c->id))
			hoy_buf_printf(&found, "%s%s", found.len ? ", " : "", other.id);
	}
	return found.len ? hoy_fail(err, EEXIST, "container %s has dependent containers which must be removed before it: %s: container already "
				    "exists", c->id, hoy_buf_str(&found)) : 0;
}

/* ---- options ---- */

static int set(struct ctr *c, const char *key, const char *value, struct hoy_err *err)
{
	return hoy_json_set_string(&c->def, c->def.root, key, value) ? 0 : hoy_fail_oom(err);
}

static int put_maps(struct ctr *c, const struct hoy_idmaps *m, struct hoy_err *err)
{
	return hoy_idmaps_put(&c->def, c->def.root, m) < 0 ? hoy_fail_oom(err) : 0;
}

/* The comma list behind "MODE:", each KEY=VALUE for EACH. */
static int each_option(const char *mode, int (*each)(void *arg, const char *key, const char *value, struct hoy_err *err), void *arg,
		       struct hoy_err *err)
{
	const char *colon = strchr(mode, ':');
	cleanup_strv struct hoy_strv list = HOY_STRV_INIT;
	int r = 0;

	if (!colon)
		return 0;
	hoy_strv_split(&list, colon + 1, ',');
	if (!list.n)
		return hoy_fail(err, EINVAL, "invalid option specified: \"\"");
	for (size_t i = 0; i < list.n && !r; i++) {
		char *eq = strchr(list.v[i], '=');

		if (!eq)
			return hoy_fail(err, EINVAL, "invalid option specified: \"%s\"", list.v[i]);
		*eq = '\0';
		r = each(arg, list.v[i], eq + 1, err);
	}
	return r;
}

static int unknown(const char *key, struct hoy_err *err) { return hoy_fail(err, EINVAL, "unknown option specified: \"%s\"", key); }

struct keep {
	bool uid_given, gid_given, size_given;
	uint32_t uid, gid, size;
};

static int keep_option(void *arg, const char *key, const char *value, struct hoy_err *err)
{
	struct keep *k = arg;

	if (!strcmp(key, "uid"))
		return (k->uid_given = true), parse_uint32(value, &k->uid, err);
	if (!strcmp(key, "gid"))
		return (k->gid_given = true), parse_uint32(value, &k->gid, err);
	if (!strcmp(key, "size"))
		return (k->size_given = true), parse_uint32(value, &k->size, err);
	return unknown(key, err);
}

static uint64_t sub_ids(const char *file)
{
	struct hoy_idrange r[MAX_RANGES];
	size_t n = hoy_subids(file, hoy_rootless_uid(), r, MAX_RANGES);
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += r[i].count;
	return sum < UINT32_MAX ? sum : UINT32_MAX - 1;
}

/* ID inside is who we are (0 in our own namespace); the others follow as they come. */
static void keep_map(const char *file, uint32_t id, const struct keep *k, struct hoy_idmap *m)
{
	uint64_t max = sub_ids(file);
	bool any = max > 0;

	if (k->size_given && k->size && max > k->size - 1)
		max = k->size - 1;
	if (any && id)
		(void)hoy_idmap_add(m, 0, 1, (uint32_t)(id < max ? id : max));
	(void)hoy_idmap_add(m, id, 0, 1);
	if (max > id)
		(void)hoy_idmap_add(m, id + 1, id + 1, (uint32_t)(max - id));
}

/* The user who called keeps the ids, and is who the container runs as, unless it is said otherwise. */
static int keep_id(struct ctr *c, const struct create_opts *o, const char *mode, const char *image_user, struct hoy_err *err)
{
	struct keep k = { 0 };
	struct hoy_idmaps m = { 0 };
	char user[32];
	int r = each_option(mode, keep_option, &k, err);
	bool plain = !k.uid_given && !k.gid_given;

	if (r < 0)
		return r;
	if (!hoy_rootless()) {
		if (hoy_idmap_own("uid_map", &m.uid) < 0 || hoy_idmap_own("gid_map", &m.gid) < 0)
			return hoy_fail(err, EIO, "cannot read the ids of our own user namespace");
	} else {
		k.uid = k.uid_given ? k.uid : hoy_rootless_uid();
		k.gid = k.gid_given ? k.gid : hoy_rootless_gid();
		keep_map("/etc/subuid", k.uid, &k, &m.uid);
		keep_map("/etc/subgid", k.gid, &k, &m.gid);
	}
	snprintf(user, sizeof(user), "%u:%u", k.uid, k.gid);
	if (!(o->user && *o->user) && !(image_user && *image_user))
		r = set(c, "user", user, err);
	if (!r && plain && hoy_rootless() && !hoy_json_set_bool(&c->def, c->def.root, "addCaller", true))
		r = hoy_fail_oom(err);
	return r ? r : put_maps(c, &m, err);
}

static int no_map(struct ctr *c, struct hoy_err *err)
{
	struct hoy_idmaps m = { 0 };
	uint64_t u, g;
	int r = 0;

	if (!hoy_rootless())
		return hoy_fail(err, EINVAL, "nomap is only supported in rootless mode");
	u = sub_ids("/etc/subuid");
	g = sub_ids("/etc/subgid");
	if (!u || !g)
		return hoy_fail(err, EINVAL, "nomap requires additional UIDs or GIDs defined in /etc/subuid and /etc/subgid to function correctly");
	(void)hoy_idmap_add(&m.uid, 0, 1, (uint32_t)u);
	(void)hoy_idmap_add(&m.gid, 0, 1, (uint32_t)g);
	if (!hoy_json_str(c->def.root, "user") || !*hoy_json_str(c->def.root, "user"))
		r = set(c, "user", "0:0", err);
	return r ? r : put_maps(c, &m, err);
}

static int auto_option(void *arg, const char *key, const char *value, struct hoy_err *err)
{
	struct hoy_auto_ids *a = arg;

	if (!strcmp(key, "size"))
		return parse_uint32(value, &a->size, err);
	if (!strcmp(key, "uidmapping"))
		return parse_auto_map(value, "UID", &a->extra.uid, err);
	if (!strcmp(key, "gidmapping"))
		return parse_auto_map(value, "GID", &a->extra.gid, err);
	return unknown(key, err);
}

/* Which ids they are is decided under the store's locks: ctr_choose_ids(). */
static int automatic(struct ctr *c, const char *mode, struct hoy_err *err)
{
	struct hoy_auto_ids a = { 0 };
	int r = each_option(mode, auto_option, &a, err);

	if (!r && !hoy_json_set_int(&c->def, c->def.root, "autoIds", a.size))
		r = hoy_fail_oom(err);
	return r ? r : put_maps(c, &a.extra, err);
}

int ctr_choose_ids(struct ctr *c, const struct hoy_json *image, struct hoy_idmaps *ret, struct hoy_err *err)
{
	const char *user = hoy_json_str(c->def.root, "user"), *p = user ?: "";
	struct hoy_auto_ids a = { .size = (uint32_t)hoy_json_int(c->def.root, "autoIds", 0) };
	struct hoy_idmaps none = { 0 };
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!hoy_json_get(c->def.root, "autoIds"))
		return ctr_maps(c, ret, err);
	a.extra = none;
	r = ctr_maps(c, &a.extra, err);
	for (; *p; p += strcspn(p, ":"), p += *p == ':') {
		unsigned long v = strtoul(p, NULL, 10);

		if (v < UINT32_MAX && v >= a.least)
			a.least = (uint32_t)v + 1;
	}
	if (!r)
		r = hoy_auto_ids(c->s, image, &a, ret, err);
	if (r < 0)
		return r;
	hoy_json_unset(c->def.root, "autoIds");
	return put_maps(c, ret, err);
}

static int join_path(struct ctr *c, const char *path, struct hoy_err *err)
{
	if (access(path, F_OK) < 0)
		return hoy_fail(err, errno, "cannot find specified user namespace path: faccessat %s: %s", path,
				errno == ENOENT ? "no such file or directory" : hoy_strerror(errno));
	return set(c, "usernsPath", path, err);
}

static int join_container(struct ctr *c, const char *name, struct hoy_err *err)
{
	cleanup_ctr struct ctr other = CTR_INIT;
	struct hoy_idmaps m = { 0 };
	int r = ctr_open(&other, c->s, name, err);

	if (!r)
		r = ctr_load_def(&other, err);
	if (r < 0)
		return hoy_fail_prefix(err, "looking up container to share user namespace with");
	r = ctr_maps(&other, &m, err);
	if (!r)
		r = set(c, "usernsOf", other.id, err);
	return r ? r : put_maps(c, &m, err);
}

static int check_clash(const struct hoy_idmap *m, struct hoy_err *err)
{
	long i = hoy_idmap_clash(m);

	return i < 0 ? 0 : hoy_fail(err, EINVAL, "creating container storage: the specified UID and/or GID mapping %u:%u:%u conflicts with other "
				    "mappings: invalid mappings specified", m->v[i].inside, m->v[i].outside, m->v[i].size);
}

/* --uidmap, --gidmap, --subuidname, --subgidname; a missing one is as the other. */
static int explicit_maps(struct ctr *c, const struct create_opts *o, struct hoy_err *err)
{
	const char *u = o->subuidname && *o->subuidname ? o->subuidname : o->subgidname, *g = o->subgidname && *o->subgidname ? o->subgidname : u;
	struct hoy_idmaps m = { 0 };
	int r = 0;

	if (u && *u) {
		r = hoy_subids_map("/etc/subuid", u, &m.uid, err);
		if (!r)
			r = hoy_subids_map("/etc/subgid", g, &m.gid, err);
	}
	if (!r)
		r = parse_idmaps(&o->uidmap, &o->gidmap, &m, err);
	if (!r && (!m.uid.n || !m.gid.n))
		return hoy_fail(err, EINVAL, "must provide at least one UID or GID mapping to configure a user namespace");
	if (!r)
		r = check_clash(&m.uid, err);
	if (!r)
		r = check_clash(&m.gid, err);
	return r ? r : put_maps(c, &m, err);
}

static bool given(const struct hoy_strv *list)
{
	return list->n && (list->n > 1 || *list->v[0]);
}

static bool is_mode(const char *text, const char *mode)
{
	size_t len = strlen(mode);

	return !strncmp(text, mode, len) && strchr(":", text[len]);
}

static int by_mode(struct ctr *c, const struct create_opts *o, const char *mode, const char *image_user, struct hoy_err *err)
{
	const char *value = strchr(mode, ':') ? strchr(mode, ':') + 1 : "";

	if (!strcmp(mode, "private"))
		return explicit_maps(c, o, err);
	if (is_mode(mode, "keep-id"))
		return keep_id(c, o, mode, image_user, err);
	if (is_mode(mode, "auto"))
		return automatic(c, mode, err);
	if (!strcmp(mode, "nomap"))
		return no_map(c, err);
	if (is_mode(mode, "ns") && *value)
		return join_path(c, value, err);
	if (is_mode(mode, "container") && *value)
		return join_container(c, value, err);
	if (!strcmp(mode, "ns:") || !strcmp(mode, "container:"))
		return hoy_fail(err, EINVAL, "invalid config provided: namespace mode %.*s requires a value", (int)strcspn(mode, ":"), mode);
	return hoy_fail(err, EINVAL, "unrecognized namespace mode %s passed", mode);
}

int define_userns(struct ctr *c, const struct create_opts *o, const char *image_user, struct hoy_err *err)
{
	bool maps = given(&o->uidmap) || given(&o->gidmap) || (o->subuidname && *o->subuidname) || (o->subgidname && *o->subgidname);
	const char *mode = maps ? "private" : o->userns;
	struct hoy_json *notes;
	int r;

	if (maps && o->userns)
		return hoy_fail(err, EINVAL, "--userns and --uidmap/--gidmap/--subuidname/--subgidname are mutually exclusive");
	if (!mode || !*mode)
		mode = getenv("PODMAN_USERNS") ?: hoy_json_str(hoy_json_get(conf(), "containers"), "userns");
	if (!mode || !*mode || !strcmp(mode, "host"))
		return 0;
	r = by_mode(c, o, mode, image_user, err);
	if (!r)
		r = set(c, "userns", mode, err);
	notes = r ? NULL : hoy_json_need(&c->def, c->def.root, "annotations", HOY_JSON_OBJECT);
	if (!r && (!notes || !hoy_json_set_string(&c->def, notes, "io.podman.annotations.userns", mode)))
		r = hoy_fail_oom(err);
	return r;
}
