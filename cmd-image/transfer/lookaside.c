#include "cmd-image/transfer/lookaside.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/conf/dirs.h"
#include "common/conf/policy.h"
#include "common/conf/toml.h"
#include "cmd-image/transfer/yaml.h"

#define SYSTEM_DIR "/etc/containers/registries.d"

/* ---- the configuration ---- */

static const char *const read_keys[] = { "lookaside", "sigstore", NULL };
static const char *const write_keys[] = { "lookaside-staging", "sigstore-staging", "lookaside", "sigstore", NULL };
static const char *const attach_keys[] = { "use-sigstore-attachments", NULL };

/* Members of FILE go to ALL; what was there already is said twice. */
static int merge(struct hoy_json_doc *all, const struct hoy_json *file, const char *path, struct hoy_err *err)
{
	struct hoy_json *docker = hoy_json_need(all, all->root, "docker", HOY_JSON_OBJECT);
	struct hoy_json *files = hoy_json_need(all, all->root, "files", HOY_JSON_OBJECT);
	const struct hoy_json *def = hoy_json_get(file, "default-docker"), *theirs = hoy_json_get(file, "docker");

	if (!docker || !files)
		return hoy_fail_oom(err);
	if ((def && !hoy_json_is(def, HOY_JSON_OBJECT) && def->type != HOY_JSON_NULL) ||
	    (theirs && !hoy_json_is(theirs, HOY_JSON_OBJECT) && theirs->type != HOY_JSON_NULL))
		return hoy_fail(err, HOY_EFORMAT, "parsing '%s': it has not the members that it should have", path);
	if (hoy_json_is(def, HOY_JSON_OBJECT)) {
		if (hoy_json_get(all->root, "default-docker"))
			return hoy_fail(err, HOY_EFORMAT, "Error parsing signature storage configuration: \"default-docker\" defined twice, the second time in \"%s\"", path);
		if (!hoy_json_put(all, all->root, "default-docker", hoy_json_copy(all, def)) || !hoy_json_set_string(all, files, "default-docker", path))
			return hoy_fail_oom(err);
	}
	HOY_JSON_EACH(ns, hoy_json_is(theirs, HOY_JSON_OBJECT) ? theirs : NULL) {
		if (hoy_json_get(docker, ns->key))
			return hoy_fail(err, HOY_EFORMAT, "Error parsing signature storage configuration: \"docker\" namespace \"%s\" defined twice, the second time in \"%s\"", ns->key, path);
		if (!hoy_json_put(all, docker, ns->key, hoy_json_copy(all, ns)) || !hoy_json_set_string(all, files, ns->key, path))
			return hoy_fail_oom(err);
	}
	return 0;
}

static int load_file(struct hoy_json_doc *all, const char *path, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_free char *text = NULL;
	size_t len;
	int r = hoy_read_file(AT_FDCWD, path, HOY_CONF_MAX, &text, &len, err);

	if (!r)
		r = yaml_parse(&doc, text, len, path, err);
	return r ? r : merge(all, doc.root, path, err);
}

static char *find_dir(void)
{
	cleanup_free char *home = hoy_home();
	cleanup_free char *user = home ? hoy_path_join(home, ".config/containers/registries.d") : NULL;

	return user && hoy_exists(AT_FDCWD, user) ? steal_ptr(&user) : user ? strdup(SYSTEM_DIR) : NULL;
}

int regsd_load(struct regsd *d, const char *dir, struct hoy_err *err)
{
	cleanup_free char *found = dir ? strdup(dir) : find_dir();
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	cleanup_dir DIR *list = NULL;
	struct dirent *e;
	int r = 0;

	if (!found || !(d->doc.root = hoy_json_new(&d->doc, HOY_JSON_OBJECT)))
		return hoy_fail_oom(err);
	list = opendir(found);
	if (!list)
		return errno == ENOENT ? 0 : hoy_fail_errno(err, errno, "cannot open '%s'", found);
	while ((e = readdir(list)))
		if (strlen(e->d_name) > 5 && !strcmp(e->d_name + strlen(e->d_name) - 5, ".yaml"))
			hoy_strv_take(&names, hoy_path_join(found, e->d_name));
	if (names.error)
		return hoy_fail_oom(err);
	hoy_strv_sort(&names);
	for (size_t i = 0; i < names.n && !r; i++)
		r = load_file(&d->doc, names.v[i], err);
	return r;
}

static const struct hoy_json *said(const struct hoy_json *ns, const char *const *keys)
{
	const struct hoy_json *v = NULL;

	for (; *keys && !v; keys++) {
		v = hoy_json_get(ns, *keys);
		if (v && (v->type == HOY_JSON_NULL || (v->type == HOY_JSON_STRING && !*v->str)))
			v = NULL;
	}
	return v;
}

const struct hoy_json *regsd_find(const struct regsd *d, const struct hoy_strv *scopes, const char *const *keys)
{
	const struct hoy_json *docker = hoy_json_get(d->doc.root, "docker"), *v = NULL;

	for (size_t i = 0; i < scopes->n && !v; i++)
		v = said(hoy_json_get(docker, scopes->v[i]), keys);
	return v ? v : said(hoy_json_get(d->doc.root, "default-docker"), keys);
}

/* ---- files beside the registry ---- */

/* The address of signature number I (from 0), in new memory. The digest's colon would be no good in a file name. */
static char *address(const char *base, const struct hoy_ref *ref, const char *digest, int i)
{
	size_t algorithm = strcspn(digest, ":");

	return hoy_asprintf("%s/%s@%.*s=%s/signature-%d", base, ref->path, (int)algorithm, digest, digest + algorithm + 1, i + 1);
}

static char *default_base(void)
{
	cleanup_free char *home = NULL;

	if (!hoy_rootless())
		return strdup("file:///var/lib/containers/sigstore");
	home = hoy_home();
	return home ? hoy_asprintf("file://%s/.local/share/containers/sigstore", home) : NULL;
}

static int find_base(const struct regsd *d, const struct hoy_strv *scopes, const char *const *keys, char **ret, struct hoy_err *err)
{
	const struct hoy_json *v = regsd_find(d, scopes, keys);
	const char *url = hoy_json_text(v);

	if (v && !url)
		return hoy_fail(err, HOY_EFORMAT, "'%s' in registries.d is no string", v->key);
	*ret = url ? strdup(url) : default_base();
	return *ret ? 0 : hoy_fail_oom(err);
}

/* 1, 0: there is no such signature, or an error. */
static int read_one(struct registry *r, const char *url, struct sigs *ret, struct hoy_err *err)
{
	cleanup_free char *data = NULL;
	cleanup_answer struct answer a = { 0 };
	size_t len;
	int res;

	if (!strncmp(url, "file://", 7)) {
		res = hoy_read_file(AT_FDCWD, url + 7, SIG_MAX, &data, &len, err);
		if (res == -ENOENT || res == -ENOTDIR) {
			*err = (struct hoy_err)HOY_ERR_INIT;
			return 0;
		}
		return res < 0 ? res : sigs_add_blob(ret, data, len, err) < 0 ? -err->code : 1;
	}
	if (strncmp(url, "http://", 7) && strncmp(url, "https://", 8))
		return hoy_fail(err, HOY_EUNSUPPORTED, "Unsupported scheme when reading signature from %s", url);
	res = registry_do(r, "GET", url, NULL, NULL, NULL, 0, SIG_MAX, &a, err);
	if (res < 0)
		return hoy_fail_prefix(err, "reading signature from %s", url);
	if (a.status == 404)
		return 0;
	if (a.status != 200)
		return hoy_fail(err, HOY_EREMOTE, "reading signature from %s: status %ld", url, a.status);
	if (a.type && !strncmp(a.type, "text/html", 9))
		hoy_warning("signature '%s' has Content-Type text/html, unexpected for a signature", url);
	res = sigs_add_blob(ret, hoy_buf_str(&a.body), a.body.len, err);
	return res < 0 ? hoy_fail_prefix(err, "parsing signature \"%s\"", url) : 1;
}

static int read_files(struct registry *r, const char *base, const struct hoy_ref *ref, const char *digest, struct sigs *ret, struct hoy_err *err)
{
	for (int i = 0;; i++) {
		cleanup_free char *url = address(base, ref, digest, i);
		int res;

		if (!url)
			return hoy_fail_oom(err);
		if (i >= SIGS_MAX)
			return hoy_fail(err, EFBIG, "server provided %d signatures, assuming that's unreasonable and a server error", i);
		res = read_one(r, url, ret, err);
		if (res <= 0)
			return res;
	}
}

/* The directory of the signatures of DIGEST below BASE, made if need be: a descriptor, and *RET_PATH for messages. */
static int open_files(const char *base, const struct hoy_ref *ref, const char *digest, char **ret_path, struct hoy_err *err)
{
	cleanup_free char *first = address(base, ref, digest, 0);
	int dir;

	if (!first)
		return hoy_fail_oom(err);
	if (strncmp(base, "file:///", 8))
		return hoy_fail(err, HOY_EUNSUPPORTED, "Writing directly to a %.*s lookaside is not supported. Configure a lookaside-staging: location",
				(int)strcspn(base, ":"), base);
	*strrchr(first, '/') = '\0';
	dir = hoy_open_dir_p(AT_FDCWD, first + 7, 0755);
	if (dir < 0)
		return hoy_fail_errno(err, -dir, "cannot make '%s'", first + 7);
	if (!(*ret_path = strdup(first + 7))) {
		hoy_close(dir);
		return hoy_fail_oom(err);
	}
	return dir;
}

static int write_files(const char *base, const struct hoy_ref *ref, const char *digest, const struct sigs *sigs, struct hoy_err *err)
{
	cleanup_free char *path = NULL;
	cleanup_fd int dir = open_files(base, ref, digest, &path, err);
	char name[32];
	int r = 0, n = 0;

	if (dir < 0)
		return dir;
	for (size_t i = 0; i < sigs->n && !r; i++) {
		if (sigs->v[i].kind != SIG_SIMPLE)
			continue;
		snprintf(name, sizeof(name), "signature-%d", ++n);
		r = hoy_replace_file(dir, name, sigs->v[i].data, sigs->v[i].len, 0644, false);
	}
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot write '%s' in '%s'", name, path);
	/* Those of before that have not been replaced. */
	do
		snprintf(name, sizeof(name), "signature-%d", ++n);
	while (!unlinkat(dir, name, 0));
	return 0;
}

/* ---- both ways ---- */

static int load(struct regsd *d, const char *dir, const struct hoy_ref *ref, struct hoy_strv *scopes, struct hoy_err *err)
{
	int r = regsd_load(d, dir, err);

	return r ? r : hoy_policy_scopes(ref, scopes) < 0 ? hoy_fail_oom(err) : 0;
}

static bool attachments_used(const struct regsd *d, const struct hoy_strv *scopes)
{
	const struct hoy_json *v = regsd_find(d, scopes, attach_keys);

	return hoy_json_is(v, HOY_JSON_BOOL) && v->boolean;
}

int registry_signatures(struct registry *r, const struct hoy_ref *ref, const char *digest, const char *registries_d, struct sigs *ret,
			struct hoy_err *err)
{
	cleanup_regsd struct regsd d = REGSD_INIT;
	cleanup_strv struct hoy_strv scopes = HOY_STRV_INIT;
	cleanup_free char *base = NULL;
	int res = load(&d, registries_d, ref, &scopes, err);

	if (!res)
		res = find_base(&d, &scopes, read_keys, &base, err);
	if (!res)
		res = read_files(r, base, ref, digest, ret, err);
	return res < 0 || !attachments_used(&d, &scopes) ? res : attach_read(r, digest, ret, err);
}

static size_t count(const struct sigs *s, enum sig_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->v[i].kind == kind;
	return n;
}

int registry_put_signatures(struct registry *r, const struct hoy_ref *ref, const char *digest, const char *registries_d,
			    const struct sigs *sigs, struct hoy_err *err)
{
	cleanup_regsd struct regsd d = REGSD_INIT;
	cleanup_strv struct hoy_strv scopes = HOY_STRV_INIT;
	cleanup_free char *base = NULL;
	int res = load(&d, registries_d, ref, &scopes, err);

	if (!res && count(sigs, SIG_SIMPLE)) {
		res = find_base(&d, &scopes, write_keys, &base, err);
		if (!res)
			res = write_files(base, ref, digest, sigs, err);
	}
	if (res < 0 || !count(sigs, SIG_SIGSTORE))
		return res;
	if (!attachments_used(&d, &scopes))
		return hoy_fail(err, HOY_EUNSUPPORTED, "writing sigstore attachments is disabled by configuration (use-sigstore-attachments in registries.d)");
	return attach_write(r, digest, sigs, err);
}

int lookaside_add(const struct hoy_ref *ref, const char *digest, const char *dir, const struct sig *sig, struct hoy_err *err)
{
	cleanup_regsd struct regsd d = REGSD_INIT;
	cleanup_strv struct hoy_strv scopes = HOY_STRV_INIT;
	cleanup_free char *base = NULL, *path = NULL, *real = NULL;
	cleanup_fd int fd = -1;
	char name[32];
	int r = 0, n = 1;

	if (dir) {
		r = hoy_mkdir_p(dir, 0755);
		real = r < 0 ? NULL : realpath(dir, NULL);
		if (!real)
			return hoy_fail_errno(err, r < 0 ? -r : errno, "cannot make '%s'", dir);
		base = hoy_asprintf("file://%s", real);
	} else {
		r = load(&d, NULL, ref, &scopes, err);
		if (!r)
			r = find_base(&d, &scopes, write_keys, &base, err);
	}
	if (!r && !base)
		r = hoy_fail_oom(err);
	if (!r)
		r = fd = open_files(base, ref, digest, &path, err);
	if (r < 0)
		return r;
	do
		snprintf(name, sizeof(name), "signature-%d", n++);
	while (hoy_exists(fd, name));
	r = hoy_replace_file(fd, name, sig->data, sig->len, 0644, false);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write '%s' in '%s'", name, path) : 0;
}
