/* cmd-run/hooks.c: OCI hooks that are to run with a container, from directories of files as oci-hooks(5) has them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "cmd-run/run.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/cli/opts.h"

#define HOOK_MAX ((size_t)1 << 20)
static const char *const stages[] = { "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop" };

/* Files by their names: of two by one name the last one counts. */
struct hook {
	char *name, *dir;
};
struct hooks {
	struct hook *v;
	size_t n;
};

static void hooks_release(struct hooks *h)
{
	for (size_t i = 0; i < h->n; i++) {
		free(h->v[i].name);
		free(h->v[i].dir);
	}
	free(h->v);
}

/* ---- where they are ---- */

static int add_file(struct hooks *h, const char *dir, const char *name)
{
	cleanup_free char *d = strdup(dir), *n = strdup(name);
	struct hook *v;

	if (!d || !n)
		return -ENOMEM;
	for (size_t i = 0; i < h->n; i++)
		if (!strcmp(h->v[i].name, name)) {
			free(h->v[i].dir);
			h->v[i].dir = steal_ptr(&d);
			return 0;
		}
	v = realloc(h->v, (h->n + 1) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	h->v = v;
	v[h->n++] = (struct hook){ steal_ptr(&n), steal_ptr(&d) };
	return 0;
}

/* WANTED: somebody named it. */
static int add_dir(struct hooks *h, const char *dir, bool wanted, struct hoy_err *err)
{
	cleanup_dir DIR *d = opendir(dir);
	struct dirent *e;
	int r = 0;

	if (!d && errno != ENOENT)
		return hoy_fail_errno(err, errno, "cannot read the directory of hooks '%s'", dir);
	if (!d && wanted)
		hoy_warning("the directory of hooks '%s' does not exist, ignoring", dir);
	while (d && !r && (e = readdir(d))) {
		size_t len = strlen(e->d_name);

		if (len > 5 && !strcmp(e->d_name + len - 5, ".json"))
			r = add_file(h, dir, e->d_name);
	}
	return r < 0 ? hoy_fail_oom(err) : 0;
}

static int by_name(const void *a, const void *b) { return strcmp(((const struct hook *)a)->name, ((const struct hook *)b)->name); }

/* The command line's, else containers.conf's, else for root the usual places. */
static int find_all(const struct ctr *c, struct hooks *h, struct hoy_err *err)
{
	static const char *const usual[] = { "/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d" };
	const struct hoy_strv *given = &hoy_globals.hooks_dirs;
	const struct hoy_json *conf_dirs = hoy_json_path(conf(), "engine", "hooks_dir", NULL);
	int r = 0;

	for (size_t i = 0; i < given->n && !r; i++)
		r = add_dir(h, given->v[i], true, err);
	HOY_JSON_EACH(d, given->n ? NULL : conf_dirs)
		if (!r && hoy_json_text(d))
			r = add_dir(h, d->str, true, err);
	for (size_t i = 0; i < ARRAY_SIZE(usual) && !r && !given->n && !(conf_dirs && conf_dirs->count) && !c->s->rootless; i++)
		r = add_dir(h, usual[i], false, err);
	if (h->n)
		qsort(h->v, h->n, sizeof(*h->v), by_name);
	return r;
}

/* ---- when they run ---- */

/* 1: TEXT matches the regular expression PATTERN; 0; or an error. */
static int matches(const char *pattern, const char *text, struct hoy_err *err)
{
	regex_t re;
	int r = regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB);

	if (r)
		return hoy_fail(err, EINVAL, "'%s' is no regular expression", pattern);
	r = regexec(&re, text, 0, NULL, 0);
	regfree(&re);
	return !r;
}

/* Is there an annotation whose key and value match? */
static int annotated(const struct ctr *c, const struct hoy_json *want, struct hoy_err *err)
{
	HOY_JSON_EACH(a, hoy_json_get(c->def.root, "annotations")) {
		int r = matches(want->key, a->key, err);

		if (r > 0)
			r = matches(hoy_json_text(want) ?: "", hoy_json_text(a) ?: "", err);
		if (r)
			return r;
	}
	return 0;
}

static int commanded(const struct ctr *c, const struct hoy_json *list, struct hoy_err *err)
{
	const struct hoy_json *args = hoy_json_get(c->def.root, "args");
	const char *command = hoy_json_str(c->def.root, "init") ? "/run/podman-init" : args && args->child ? hoy_json_text(args->child) : NULL;

	HOY_JSON_EACH(p, list) {
		int r = matches(hoy_json_text(p) ?: "", command ?: "", err);

		if (r)
			return r;
	}
	return 0;
}

/* All that WHEN says must hold, and it must say something. */
static int applies(const struct ctr *c, const struct hoy_json *when, struct hoy_err *err)
{
	const struct hoy_json *always = hoy_json_get(when, "always"), *binds = hoy_json_get(when, "hasBindMounts"), *mounts = hoy_json_get(c->def.root, "mounts"),
			      *commands = hoy_json_get(when, "commands");
	int said = 0, r;

	if (always && !hoy_json_bool(when, "always", false))
		return 0;
	if (binds && !(hoy_json_bool(when, "hasBindMounts", false) && mounts && mounts->count))
		return 0;
	said += always != NULL;
	said += binds != NULL;
	HOY_JSON_EACH(a, hoy_json_get(when, "annotations")) {
		r = annotated(c, a, err);
		if (r <= 0)
			return r;
		said++;
	}
	return commands && commands->count ? commanded(c, commands, err) : said > 0;
}

/* ---- what they are ---- */

static int check(const struct hoy_json *root, struct hoy_err *err)
{
	const struct hoy_json *list = hoy_json_get(root, "stages");
	const char *version = hoy_json_str(root, "version") ?: "", *path = hoy_json_str(hoy_json_get(root, "hook"), "path") ?: "";

	if (strcmp(version, "1.0.0"))
		return hoy_fail(err, HOY_EUNSUPPORTED, "unrecognized hook version: \"%s\"", version);
	if (!*path)
		return hoy_fail(err, EINVAL, "missing required property: hook.path");
	if (*path != '/' || !hoy_exists(AT_FDCWD, path))
		return hoy_fail(err, ENOENT, "stat %s: no such file or directory", path);
	if (!list || !list->count)
		return hoy_fail(err, EINVAL, "missing required property: stages");
	HOY_JSON_EACH(s, list) {
		bool known = false;

		for (size_t i = 0; i < ARRAY_SIZE(stages); i++)
			known = known || !strcmp(hoy_json_text(s) ?: "", stages[i]);
		if (!known)
			return hoy_fail(err, HOY_EUNSUPPORTED, "the stage \"%s\" is not supported", hoy_json_text(s) ?: "");
	}
	return 0;
}

static bool in_stage(const struct hoy_json *root, const char *stage)
{
	HOY_JSON_EACH(s, hoy_json_get(root, "stages"))
		if (!strcmp(hoy_json_text(s) ?: "", stage))
			return true;
	return false;
}

/* Of the files H, those that apply to C, into DOCS (as many as there are files; blank: it doesn't). */
static int load(const struct ctr *c, const struct hooks *h, struct hoy_json_doc *docs, struct hoy_err *err)
{
	for (size_t i = 0; i < h->n; i++) {
		cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
		cleanup_free char *path = hoy_path_join(h->v[i].dir, h->v[i].name);
		int r = path ? hoy_json_load(&d, AT_FDCWD, path, HOOK_MAX, err) : hoy_fail_oom(err);

		if (!r)
			r = check(d.root, err);
		if (!r)
			r = applies(c, hoy_json_get(d.root, "when"), err);
		if (r < 0)
			return hoy_fail_prefix(err, "parsing hook \"%s\"", path ?: "");
		if (r) {
			docs[i] = d;
			d = (struct hoy_json_doc)HOY_JSON_DOC_INIT;
		}
	}
	return 0;
}

static void write_stages(struct hoy_jw *w, const struct hoy_json_doc *docs, size_t n, bool *poststart)
{
	hoy_jw_object(w, "hooks");
	for (size_t k = 0; k < ARRAY_SIZE(stages); k++) {
		bool any = false;

		for (size_t i = 0; i < n; i++) {
			if (!docs[i].root || !in_stage(docs[i].root, stages[k]))
				continue;
			if (!any)
				hoy_jw_array(w, stages[k]);
			any = true;
			hoy_jw_value(w, NULL, hoy_json_get(docs[i].root, "hook"));
		}
		if (any)
			hoy_jw_end_array(w);
		*poststart = *poststart || (any && !strcmp(stages[k], "poststart"));
	}
	hoy_jw_end_object(w);
}

int write_hooks(struct ctr *c, struct hoy_jw *w, struct hoy_err *err)
{
	struct hooks h = { NULL, 0 };
	struct hoy_json_doc *docs = NULL;
	bool poststart = false;
	int r = find_all(c, &h, err);

	if (!r && h.n) {
		docs = calloc(h.n, sizeof(*docs));
		r = docs ? load(c, &h, docs, err) : hoy_fail_oom(err);
	}
	if (!r && h.n)
		write_stages(w, docs, h.n, &poststart);
	/* Then it isn't for us to start it: runtime_start(). */
	if (poststart)
		hoy_json_set_bool(&c->live, c->live.root, "poststart", true);
	for (size_t i = 0; docs && i < h.n; i++)
		hoy_json_release(&docs[i]);
	free(docs);
	hooks_release(&h);
	return r;
}
