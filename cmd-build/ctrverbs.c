/* cmd-build/ctrverbs.c: `rm`, `rename`, `mount` and `umount`: what is done with working containers as a whole. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/ctr.h"
#include "cmd-build/lease.h"
#include "cmd-build/verbs.h"
#include "common/base/msg.h"
#include "common/proc/userns.h"
#include "common/store/containers.h"
#include "common/store/layers.h"

/* ---- rm ---- */

struct all_opts {
	bool all;
};
static const struct hoy_opt rm_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, offsetof(struct all_opts, all), NULL, "all working containers" },
	HOY_OPTS_END,
};

/* The names of all working containers. */
static int all_of(struct ctr *c, struct hoy_strv *ret)
{
	int r = ctr_open_store(c);

	if (!r)
		r = hoy_store_peek(c->b.s, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, &c->b.err);
	for (struct hoy_json *rec = r ? NULL : hoy_first(c->b.s->ctrs); rec; rec = hoy_next(c->b.s->ctrs, rec))
		if (hoy_container_builds(c->b.s, hoy_json_str(rec, "id") ?: ""))
			hoy_strv_push(ret, hoy_json_str(rec, "id"));
	return ret->error ? hoy_fail_oom(&c->b.err) : r;
}

/* The names at ARGV[1] and behind, or those of --all. */
static int which(struct ctr *c, bool all, int n, char **argv, struct hoy_strv *ret)
{
	int r = options_first(n, argv, "container name", &c->b.err);

	if (r < 0)
		return r;
	if (all && n)
		return hoy_fail(&c->b.err, EINVAL, "when using the --all switch, you may not pass any containers names or IDs");
	if (!all && !n)
		return hoy_fail(&c->b.err, EINVAL, "container ID must be specified");
	for (int i = 1; i <= n; i++)
		hoy_strv_push(ret, argv[i]);
	return all ? all_of(c, ret) : 0;
}

int ctr_remove(struct ctr *c)
{
	int r = hoy_store_lock(c->b.s, 0, HOY_GRAPH | HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, &c->b.err);

	if (!r)
		r = hoy_layer_unmount(c->b.s, c->w.layer, true, &c->b.err);
	if (!r)
		r = hoy_container_delete(c->b.s, c->w.id, &c->b.err);
	hoy_store_unlock(c->b.s);
	return r;
}

static int remove_one(struct ctr *c, const char *name)
{
	struct hoy_json *rec = NULL;
	int r = hoy_store_peek(c->b.s, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, &c->b.err);

	if (r < 0)
		return r;
	r = hoy_container_find(c->b.s, name, &rec, &c->b.err);
	if (r == -ENOENT)
		return hoy_fail(&c->b.err, ENOENT, "removing container \"%s\": container not known", name);
	if (!r)
		r = ctr_load(c, rec);
	if (r == -ENOENT)
		return hoy_fail(&c->b.err, ENOENT, "removing container \"%s\": it is not one of a build", name);
	/* Settings that cannot be read don't keep it here. */
	r = r == -HOY_EFORMAT || !r ? ctr_remove(c) : r;
	if (!r)
		puts(c->w.id);
	return r;
}

/* EACH of the names; the first error is told at the end, those of the others at once. */
static int for_each(struct ctr *c, const struct hoy_strv *names, int (*each)(struct ctr *c, const char *name))
{
	struct hoy_err first = HOY_ERR_INIT;
	int r = ctr_open_store(c), failed = 0;

	if (r < 0)
		return r;
	for (size_t i = 0; i < names->n; i++) {
		r = each(c, names->v[i]);
		if (r < 0 && failed)
			hoy_report(&c->b.err, 0);
		else if (r < 0)
			first = c->b.err;
		failed = failed ?: r;
		c->b.err = (struct hoy_err)HOY_ERR_INIT;
	}
	c->b.err = first;
	return failed;
}

/* A verb that does DEED to each container that is named, or to all. */
static int run_for_each(const struct hoy_verb *v, int argc, char **argv, int (*deed)(struct ctr *c, const char *name))
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	struct all_opts o = { 0 };
	struct ctr c;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	ctr_init(&c);
	r = which(&c, o.all, n, argv, &names);
	if (!r)
		r = for_each(&c, &names, deed);
	return ctr_finish(&c, r);
}

static int run_rm(const struct hoy_verb *v, int argc, char **argv) { return run_for_each(v, argc, argv, remove_one); }
const struct hoy_verb verb_rm = { "rm", "[options] CONTAINER...", "Remove working containers", rm_opts, run_rm, HOY_VERB_COMMAND };
const struct hoy_verb verb_delete = { "delete", "[options] CONTAINER...", NULL, rm_opts, run_rm, HOY_VERB_COMMAND };

/* ---- rename ---- */

static int rename_it(struct ctr *c, const char *name)
{
	struct hoy_json *other = NULL;
	int r;

	if (!strcmp(c->w.name, name))
		return hoy_fail(&c->b.err, EINVAL, "renaming a container with the same name as its current name");
	r = hoy_store_lock(c->b.s, 0, HOY_LAYERS | HOY_CONTAINERS, &c->b.err);
	if (r < 0)
		return r;
	if (!hoy_container_find(c->b.s, name, &other, NULL))
		r = hoy_fail(&c->b.err, EEXIST, "the container name \"%s\" is already in use by container \"%s\"", name, hoy_json_str(other, "id"));
	else
		r = hoy_container_rename(c->b.s, c->w.id, name, &c->b.err);
	hoy_store_unlock(c->b.s);
	if (r < 0)
		return r;
	return hoy_json_set_string(&c->d, c->d.root, "container-name", name) ? ctr_save(c) : hoy_fail_oom(&c->b.err);
}

static const struct hoy_opt no_opts[] = { HOY_OPTS_END };

static int run_rename(const struct hoy_verb *v, int argc, char **argv)
{
	struct ctr c;
	int status, r = 0, n = hoy_verb_args(v, argc, argv, NULL, 0, -1, &status);

	if (n < 0)
		return status;
	ctr_init(&c);
	if (n != 2)
		r = hoy_fail(&c.b.err, EINVAL, "accepts 2 arg(s), received %d", n);
	if (!r)
		r = ctr_open(&c, argv[1]);
	if (!r)
		r = rename_it(&c, argv[2]);
	return ctr_finish(&c, r);
}
const struct hoy_verb verb_rename = { "rename", "CONTAINER NAME", "Give a working container another name", no_opts, run_rename, HOY_VERB_COMMAND };

/* ---- mount and umount ---- */

struct mount_opts {
	bool json;
};
static const struct hoy_opt mount_opts[] = {
	{ 0, "json", HOY_OPT_FLAG, offsetof(struct mount_opts, json), NULL, "print JSON" },
	HOY_OPTS_END,
};

struct mounted {
	struct hoy_strv names, paths;
};

static int mount_one(struct ctr *c, const char *name, struct mounted *m)
{
	int r = ctr_open(c, name);

	free(c->w.root);
	c->w.root = NULL;
	if (!r)
		r = work_mount(&c->w);
	if (r < 0)
		return r;
	/* It's whoever asked for it that gives it back. */
	lease_drop(LEASE_LAYER, c->w.layer);
	hoy_strv_push(&m->names, name);
	hoy_strv_push(&m->paths, c->w.root);
	return hoy_json_set_string(&c->d, c->d.root, "mountpoint", c->w.root) ? ctr_save(c) : hoy_fail_oom(&c->b.err);
}

/* Working containers that are mounted, by name. */
static int find_mounted(struct ctr *c, struct mounted *m)
{
	struct hoy_store *s;
	int r = ctr_open_store(c);

	s = c->b.s;
	if (!r)
		r = hoy_store_lock(s, HOY_LAYERS | HOY_CONTAINERS, 0, &c->b.err);
	if (r < 0)
		return r;
	for (struct hoy_json *rec = hoy_first(s->ctrs); rec && r >= 0; rec = hoy_next(s->ctrs, rec)) {
		const char *layer = hoy_json_str(rec, "layer") ?: "";
		cleanup_free char *path = NULL;

		if (!hoy_container_builds(s, hoy_json_str(rec, "id") ?: ""))
			continue;
		r = hoy_layer_mounted(s, layer, &c->b.err);
		if (r <= 0)
			continue;
		path = hoy_layer_path(s, layer, "merged");
		hoy_strv_push(&m->names, ctr_first_name(rec));
		hoy_strv_push(&m->paths, path ?: "");
	}
	hoy_store_unlock(s);
	return r < 0 ? r : 0;
}

static void print_mounted(const struct mounted *m, bool json, bool names)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&out, "    ");

	hoy_jw_array(&w, NULL);
	for (size_t i = 0; i < m->names.n; i++) {
		if (json) {
			hoy_jw_object(&w, NULL);
			hoy_jw_string(&w, "container", m->names.v[i]);
			hoy_jw_string(&w, "mountPoint", m->paths.v[i]);
			hoy_jw_end_object(&w);
		} else {
			printf("%s%s%s\n", names ? m->names.v[i] : "", names ? " " : "", m->paths.v[i]);
		}
	}
	hoy_jw_end_array(&w);
	if (json)
		puts(m->names.n ? hoy_buf_str(&out) : "null");
}

/* A mount in a namespace that we have only entered would be of no use to whoever asks for it. */
static int check_place(struct ctr *c, int n)
{
	bool outside = geteuid();
	int r = hoy_userns_enter(&c->b.err);

	if (!r)
		r = ctr_open_store(c);
	if (!r && outside && n && !c->b.s->vfs)
		r = hoy_fail(&c->b.err, EPERM, "cannot mount using driver overlay in rootless mode. You need to run it in a `%s unshare` session", hoy_tool_name);
	return r;
}

static int run_mount(const struct hoy_verb *v, int argc, char **argv)
{
	struct mounted m = { HOY_STRV_INIT, HOY_STRV_INIT };
	struct mount_opts o = { 0 };
	struct ctr c;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	ctr_init(&c);
	r = options_first(n, argv, "container name", &c.b.err);
	if (!r)
		r = check_place(&c, n);
	for (int i = 1; i <= n && !r; i++)
		r = mount_one(&c, argv[i], &m);
	if (!r && !n)
		r = find_mounted(&c, &m);
	if (!r || m.names.n)
		print_mounted(&m, o.json, !n || n > 1);
	hoy_strv_release(&m.names);
	hoy_strv_release(&m.paths);
	return ctr_finish(&c, r);
}
const struct hoy_verb verb_mount = { "mount", "[options] [CONTAINER...]", "Mount working containers, or list those that are", mount_opts, run_mount,
				     HOY_VERB_COMMAND | HOY_VERB_OUTSIDE };

static const struct hoy_opt umount_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, offsetof(struct all_opts, all), NULL, "all that are mounted" },
	HOY_OPTS_END,
};

static int umount_one(struct ctr *c, const char *name)
{
	int r = ctr_open(c, name), mounted = 0;

	if (!r)
		r = hoy_store_lock(c->b.s, 0, HOY_GRAPH | HOY_LAYERS, &c->b.err);
	if (r < 0)
		return r;
	mounted = hoy_layer_mounted(c->b.s, c->w.layer, &c->b.err);
	r = mounted > 0 ? hoy_layer_unmount(c->b.s, c->w.layer, false, &c->b.err) : mounted;
	hoy_store_unlock(c->b.s);
	if (!r && mounted)
		puts(c->w.id);
	hoy_json_unset(c->d.root, "mountpoint");
	return r || !mounted ? r : ctr_save(c);
}

static int run_umount(const struct hoy_verb *v, int argc, char **argv) { return run_for_each(v, argc, argv, umount_one); }
const struct hoy_verb verb_umount = { "umount", "[options] CONTAINER...", "Unmount working containers", umount_opts, run_umount, HOY_VERB_COMMAND };
const struct hoy_verb verb_unmount = { "unmount", "[options] CONTAINER...", NULL, umount_opts, run_umount, HOY_VERB_COMMAND };
