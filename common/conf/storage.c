#include "common/conf/storage.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/conf/dirs.h"
#include "common/conf/dropins.h"
#include "common/conf/toml.h"

void hoy_storage_conf_release(struct hoy_storage_conf *c)
{
	free(c->graphroot);
	free(c->runroot);
	free(c->driver);
	free(c->imagestore);
	free(c->mountopt);
	free(c->mount_program);
	free(c->file);
	free(c->auto_user);
	hoy_strv_release(&c->stores);
	memset(c, 0, sizeof(*c));
}

static void set(char **field, const char *value)
{
	free(*field);
	*field = value && *value ? strdup(value) : NULL;
}

static void set_path(char **field, const char *value)
{
	free(*field);
	*field = value && *value ? hoy_expand_path(value) : NULL;
}

/* "true"/true: older files quote booleans. */
static bool truth(const struct hoy_json *table, const char *key, bool absent)
{
	const char *s = hoy_json_str(table, key);

	return s ? !strcmp(s, "true") : hoy_json_bool(table, key, absent);
}

static void take_stores(struct hoy_storage_conf *c, const struct hoy_json *list)
{
	if (!list)
		return;
	hoy_strv_release(&c->stores);
	HOY_JSON_EACH(it, list)
		if (hoy_json_text(it) && *it->str)
			hoy_strv_take(&c->stores, hoy_expand_path(it->str));
}

/* What we do not do must not look as if it were done. */
static int refuse(const struct hoy_json *table, const char *key, const char *file, struct hoy_err *err)
{
	const char *v = hoy_json_str(table, key);

	if ((v && *v && strcmp(v, "false")) || hoy_json_bool(table, key, false))
		return hoy_fail(err, HOY_EUNSUPPORTED, "%s: storage option '%s' is not supported", file, key);
	return 0;
}

/* Sizes of automatic user namespaces; older files quote numbers. */
static void apply_auto(struct hoy_storage_conf *c, const struct hoy_json *o)
{
	const struct { const char *key; unsigned *to; } sizes[] = { { "auto-userns-min-size", &c->auto_min }, { "auto-userns-max-size", &c->auto_max } };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const char *text = hoy_json_str(o, sizes[i].key);
		int64_t v = text ? atoll(text) : hoy_json_int(o, sizes[i].key, 0);

		if (v > 0 && v <= UINT_MAX)
			*sizes[i].to = (unsigned)v;
	}
	if (hoy_json_str(o, "root-auto-userns-user"))
		set(&c->auto_user, hoy_json_str(o, "root-auto-userns-user"));
}

static void apply_places(struct hoy_storage_conf *c, const struct hoy_json *s, bool paths)
{
	const char *v;

	if ((v = hoy_json_str(s, "rootless_storage_path")) && hoy_rootless())
		set_path(&c->graphroot, v);
	if (paths && (v = hoy_json_str(s, "graphroot")) && *v)
		set_path(&c->graphroot, v);
	if (paths && (v = hoy_json_str(s, "runroot")) && *v)
		set_path(&c->runroot, v);
	if (paths && (v = hoy_json_str(s, "imagestore")))
		set_path(&c->imagestore, v);
}

/* A file's [storage]; PATHS false skips its paths (a system file read by an ordinary user). */
static int apply(struct hoy_storage_conf *c, const struct hoy_json *root, bool paths, const char *file, struct hoy_err *err)
{
	static const char *const foreign[] = { "force_mask", "size", "inodes", "use_composefs" };
	/* A whole store of shifted layers, which the library itself has declared obsolete. */
	static const char *const remap[] = { "remap-uids", "remap-gids", "remap-user", "remap-group" };
	const struct hoy_json *s = hoy_json_get(root, "storage"), *o = hoy_json_get(s, "options");
	const struct hoy_json *ov = hoy_json_get(o, "overlay");
	const char *v;
	int r = 0;

	if ((v = hoy_json_str(s, "driver")))
		set(&c->driver, !strcmp(v, "overlay2") ? "overlay" : v);
	apply_places(c, s, paths);
	c->transient = truth(s, "transient_store", c->transient);
	take_stores(c, hoy_json_get(o, "additionalimagestores"));
	c->disable_volatile = truth(o, "disable-volatile", c->disable_volatile);
	if ((v = hoy_json_str(ov, "mountopt")) || (v = hoy_json_str(o, "mountopt")))
		set(&c->mountopt, v);
	if ((v = hoy_json_str(ov, "mount_program")) || (v = hoy_json_str(o, "mount_program")))
		set(&c->mount_program, v);
	c->skip_mount_home = truth(ov, "skip_mount_home", c->skip_mount_home);
	c->ignore_chown_errors = truth(ov, "ignore_chown_errors", truth(o, "ignore_chown_errors", c->ignore_chown_errors));
	for (size_t i = 0; i < ARRAY_SIZE(foreign) && !r; i++)
		r = refuse(ov, foreign[i], file, err);
	for (size_t i = 0; i < ARRAY_SIZE(remap) && !r; i++)
		r = refuse(o, remap[i], file, err);
	apply_auto(c, o);
	return r;
}

static int read_conf(struct hoy_storage_conf *c, const char *path, bool paths, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	int r;

	if (access(path, F_OK) < 0)
		return -ENOENT;
	r = hoy_toml_load(&doc, path, err);
	if (!r)
		r = apply(c, doc.root, paths, path, err);
	if (!r && !c->file)
		set(&c->file, path);
	return r;
}

/* The directories of drop-ins, the least important first; those of the user last. */
static int drop_in_dirs(struct hoy_strv *dirs, const char *user)
{
	const char *places[] = { "/usr/share/containers", "/etc/containers", user };
	bool rootless = hoy_rootless();

	for (size_t i = 0; i < ARRAY_SIZE(places) && places[i]; i++) {
		hoy_strv_pushf(dirs, "%s/storage.conf.d", places[i]);
		hoy_strv_pushf(dirs, "%s/storage.%s.conf.d", places[i], rootless ? "rootless" : "rootful");
		if (rootless)
			hoy_strv_pushf(dirs, "%s/storage.rootless.conf.d/%u", places[i], (unsigned)hoy_rootless_uid());
	}
	return dirs->error ? -ENOMEM : 0;
}

static int read_drop_ins(struct hoy_storage_conf *c, const char *user, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv dirs = HOY_STRV_INIT, files = HOY_STRV_INIT;
	size_t len = user ? strlen(user) : 0;
	int r = drop_in_dirs(&dirs, user);

	if (!r)
		r = hoy_dropins((const char *const *)dirs.v, dirs.n, &files);
	if (r < 0)
		return hoy_fail_oom(err);
	for (size_t i = 0; i < files.n && !r; i++) {
		bool own = len && !strncmp(files.v[i], user, len) && files.v[i][len] == '/';

		r = read_conf(c, files.v[i], own || !hoy_rootless(), err);
	}
	return r;
}

/*
 * CONTAINERS_STORAGE_CONF alone; else the first of the user's, the machine's and the distribution's file, the drop-ins of all
 * three, and at last what CONTAINERS_STORAGE_CONF_OVERRIDE names.
 */
static int read_files(struct hoy_storage_conf *c, struct hoy_err *err)
{
	const char *env = getenv("CONTAINERS_STORAGE_CONF"), *over = getenv("CONTAINERS_STORAGE_CONF_OVERRIDE");
	cleanup_free char *home = NULL, *user = NULL, *user_d = NULL;
	int r = -ENOENT;

	if (env && *env)
		return read_conf(c, env, true, err);
	if (hoy_rootless()) {
		home = hoy_config_home();
		user_d = home ? hoy_path_join(home, "containers") : NULL;
		user = user_d ? hoy_path_join(user_d, "storage.conf") : NULL;
		r = user ? read_conf(c, user, true, err) : hoy_fail_oom(err);
	}
	if (r == -ENOENT)
		r = read_conf(c, "/etc/containers/storage.conf", !hoy_rootless(), err);
	if (r == -ENOENT)
		r = read_conf(c, "/usr/share/containers/storage.conf", !hoy_rootless(), err);
	if (!r || r == -ENOENT)
		r = read_drop_ins(c, user_d, err);
	if (!r && over && *over)
		r = read_conf(c, over, true, err);
	return r;
}

static int defaults(struct hoy_storage_conf *c, struct hoy_err *err)
{
	cleanup_free char *data = hoy_data_home(), *run = hoy_runtime_dir();

	if (!data || !run)
		return hoy_fail_oom(err);
	c->graphroot = hoy_rootless() ? hoy_path_join(data, "containers/storage") : strdup("/var/lib/containers/storage");
	c->auto_min = 1024;
	c->auto_max = 65536;
	c->runroot = hoy_rootless() ? hoy_path_join(run, "containers") : strdup("/run/containers/storage");
	return c->graphroot && c->runroot ? 0 : hoy_fail_oom(err);
}

static int storage_opt(struct hoy_storage_conf *c, const char *opt, struct hoy_err *err)
{
	const char *eq = strchr(opt, '='), *name = opt, *dot;
	size_t len = eq ? (size_t)(eq - opt) : 0;

	if (!eq)
		return hoy_fail(err, EINVAL, "storage option '%s' has no value", opt);
	dot = memchr(opt, '.', len);
	if (dot) { /* driver prefix */
		len -= dot + 1 - opt;
		name = dot + 1;
	}
#define IS(s) (len == strlen(s) && !strncmp(name, s, len))
	if (IS("mountopt"))
		set(&c->mountopt, eq + 1);
	else if (IS("mount_program"))
		set(&c->mount_program, eq + 1);
	else if (IS("imagestore") || IS("additionalimagestore"))
		hoy_strv_split(&c->stores, eq + 1, ',');
	else if (IS("skip_mount_home"))
		c->skip_mount_home = !strcmp(eq + 1, "true");
	else if (IS("ignore_chown_errors"))
		c->ignore_chown_errors = !strcmp(eq + 1, "true");
	else if (IS("sync") && (!strcmp(eq + 1, "none") || !strcmp(eq + 1, "filesystem")))
		; /* what records name is on the disk before they are, in any case */
	else if (IS("use_composefs") && !strcmp(eq + 1, "false"))
		;
	else
		return hoy_fail(err, EINVAL, "storage option '%s' is not known", opt);
#undef IS
	return 0;
}

static int storage_opts(struct hoy_storage_conf *c, const struct hoy_storage_args *args, struct hoy_err *err)
{
	const char *env = getenv("STORAGE_OPTS");
	cleanup_strv struct hoy_strv list = HOY_STRV_INIT;
	int r = 0;

	if (env) {
		set(&c->mountopt, NULL);
		set(&c->mount_program, NULL);
		hoy_strv_split(&list, env, ',');
	}
	for (size_t i = 0; !r && i < list.n; i++)
		r = storage_opt(c, list.v[i], err);
	for (size_t i = 0; !r && args && i < args->opts.n; i++)
		r = storage_opt(c, args->opts.v[i], err);
	return r;
}

/* A store that was made with vfs goes on with it when nobody says otherwise. */
static bool only_vfs(const char *root)
{
	cleanup_free char *vfs = hoy_path_join(root, "vfs"), *overlay = hoy_path_join(root, "overlay");

	return vfs && overlay && !access(vfs, F_OK) && access(overlay, F_OK) < 0;
}

int hoy_storage_conf_load(struct hoy_storage_conf *c, const struct hoy_storage_args *args, struct hoy_err *err)
{
	const char *env = getenv("STORAGE_DRIVER");
	int r;

	memset(c, 0, sizeof(*c));
	r = defaults(c, err);
	if (!r)
		r = read_files(c, err);
	if (!r && env && *env)
		set(&c->driver, !strcmp(env, "overlay2") ? "overlay" : env);
	if (!r)
		r = storage_opts(c, args, err);
	if (r < 0)
		return r;
	if (args && args->root)
		set(&c->graphroot, args->root);
	if (args && args->runroot)
		set(&c->runroot, args->runroot);
	if (args && args->driver)
		set(&c->driver, args->driver);
	if (args && args->imagestore)
		set(&c->imagestore, args->imagestore);
	if (args && args->transient)
		c->transient = true;
	if (!c->driver)
		set(&c->driver, only_vfs(c->graphroot) ? "vfs" : "overlay");
	return c->graphroot && c->runroot && c->driver ? 0 : hoy_fail_oom(err);
}
