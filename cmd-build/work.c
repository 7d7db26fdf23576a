/* cmd-build/work.c: working containers: a layer on what a stage stands on, mounted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "cmd-build/build.h"
#include "cmd-build/lease.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"
#include "common/cli/call.h"
#include "common/store/containers.h"
#include "common/store/images.h"
#include "common/store/layers.h"

/* ---- life ---- */

int work_settings(struct build *b, const char *id, const struct hoy_buf *text)
{
	char path[HOY_ID_SIZE + 16];
	cleanup_fd int own = -1, dir = -1;
	int r;

	if (text->error)
		return hoy_fail_oom(&b->err);
	snprintf(path, sizeof(path), "%s/userdata", id);
	own = hoy_open_dir_p(b->s->ctrsfd, id, 0700);
	dir = own < 0 ? own : hoy_open_dir_p(own, "userdata", 0700);
	r = dir < 0 ? dir : hoy_replace_file(dir, "buildah.json", text->data, text->len, 0600, false);
	return r < 0 ? hoy_fail_errno(&b->err, -r, "cannot write '%s'", path) : 0;
}

/* What W stands on, whose files are as its user namespace needs them, into PARENT. */
static int find_parent(const struct state *s, struct work *w, char parent[HOY_ID_SIZE])
{
	struct build *b = s->b;
	struct hoy_json *image = *s->image ? hoy_image_get(b->s, s->image) : NULL;
	int r = 0;

	snprintf(parent, HOY_ID_SIZE, "%s", s->layer);
	if (*s->image && !image)
		return hoy_fail(&b->err, ENOENT, "image %.12s was removed meanwhile", s->image);
	if (w->ns.automatic)
		r = hoy_auto_ids(b->s, image, &w->ns.want, &w->ns.maps, &b->err);
	w->ns.automatic = false;
	if (!r && image && !hoy_idmaps_empty(&w->ns.maps))
		r = hoy_shift_parent(b->s, image, &w->ns.maps, parent, &b->err);
	return r < 0 ? hoy_fail_prefix(&b->err, "creating container") : 0;
}

/* Layer, settings and record: the store is locked. */
static int make_records(const struct state *s, struct work *w, work_text *text)
{
	struct build *b = s->b;
	cleanup_free char *lname = hoy_asprintf("%s-layer", w->name);
	cleanup_buf struct hoy_buf settings = HOY_BUF_INIT((size_t)32 << 20);
	char parent[HOY_ID_SIZE];
	int r = lname ? find_parent(s, w, parent) : hoy_fail_oom(&b->err);
	const struct hoy_idmaps *maps = hoy_idmaps_empty(&w->ns.maps) ? NULL : &w->ns.maps;
	struct hoy_layer_rw rw = { .id = w->layer, .parent = *parent ? parent : NULL, .name = lname, .vol = true, .maps = maps };
	struct hoy_container_new n = { .id = w->id, .name = w->name, .image = s->image, .layer = w->layer, .metadata = "", .vol = true, .maps = maps };

	if (!r && text)
		r = text(w, &settings);
	if (!r)
		r = hoy_layer_create_rw(b->s, &rw, &b->err);
	if (r < 0)
		return r;
	/* Before there is a record: whoever sees the container, sees what it is. */
	r = text ? work_settings(b, w->id, &settings) : 0;
	if (!r)
		r = hoy_container_create(b->s, &n, &b->err);
	if (r < 0)
		(void)hoy_layer_delete(b->s, w->layer, NULL);
	if (r < 0 && text)
		(void)hoy_remove_tree(b->s->ctrsfd, w->id);
	return r;
}

int work_create(const struct state *s, struct work *w, work_text *text)
{
	bool maps = w->ns.automatic || !hoy_idmaps_empty(&w->ns.maps);
	struct hoy_lock one = HOY_LOCK_INIT;
	struct build *b = s->b;
	int r = lease_take(b->s, LEASE_CONTAINER, w->id, &b->err);

	if (!r)
		r = lease_take(b->s, LEASE_NEW_LAYER, w->layer, &b->err);
	if (!r && maps)
		r = hoy_shift_lock(b->s, &one, &b->err);
	if (!r)
		r = hoy_store_lock(b->s, maps ? 0 : HOY_IMAGES, HOY_LAYERS | HOY_CONTAINERS | (maps ? HOY_IMAGES : 0), &b->err);
	if (!r) {
		r = make_records(s, w, text);
		hoy_store_unlock(b->s);
	}
	hoy_lock_close(&one);
	lease_drop(LEASE_NEW_LAYER, w->layer);
	/* One that has settings is there to stay. */
	if (r < 0 || text)
		lease_drop(LEASE_CONTAINER, w->id);
	return r;
}

int mount_layer(struct build *b, const char *layer, bool rdonly, char **ret)
{
	struct hoy_mount_opts o = { .rdonly = rdonly, .vol = !rdonly };
	int r = lease_take(b->s, LEASE_LAYER, layer, &b->err);

	if (!r)
		r = hoy_store_lock(b->s, 0, HOY_GRAPH | HOY_LAYERS, &b->err);
	if (!r)
		r = hoy_layer_mount(b->s, layer, &o, ret, &b->err);
	hoy_store_unlock(b->s);
	if (r < 0)
		lease_drop(LEASE_LAYER, layer);
	return r;
}

int unmount_layer(struct build *b, const char *layer, struct hoy_err *err)
{
	int r = hoy_store_lock(b->s, 0, HOY_GRAPH | HOY_LAYERS, err);

	if (!r)
		r = hoy_layer_unmount(b->s, layer, false, err);
	hoy_store_unlock(b->s);
	if (!r)
		lease_drop(LEASE_LAYER, layer);
	return r;
}

int work_mount(struct work *w)
{
	w->plain = false;
	return w->root ? 0 : mount_layer(w->b, w->layer, false, &w->root);
}

int work_open(struct state *s) { return work_new(s) ?: work_mount(s->work); }

int work_new(struct state *s) { return work_new_like(s, &s->b->ns); }

int work_new_like(struct state *s, const struct userns *ns)
{
	struct work *w;
	int r;

	if (s->work)
		return 0;
	w = calloc(1, sizeof(*w));
	if (!w)
		return hoy_fail_oom(&s->b->err);
	w->b = s->b;
	w->ns = *ns;
	if (hoy_random_id(w->id) < 0 || hoy_random_id(w->layer) < 0 ||
	    !(w->name = hoy_asprintf("%.12s-working-container-%.8s", *s->image ? s->image : "scratch", w->id))) {
		free(w);
		return hoy_fail(&s->b->err, EIO, "cannot draw a random number");
	}
	r = work_create(s, w, NULL);
	if (r < 0) {
		free(w->name);
		free(w);
		return r;
	}
	s->work = w;
	return 0;
}

void work_drop(struct work *w)
{
	struct hoy_err err = HOY_ERR_INIT;

	if (!w)
		return;
	(void)work_unmount(w, &err);
	if (!w->kept && !hoy_store_lock(w->b->s, 0, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, &err)) {
		if (!hoy_container_delete(w->b->s, w->id, &err))
			lease_drop(LEASE_CONTAINER, w->id);
		hoy_store_unlock(w->b->s);
	}
	hoy_strv_release(&w->stubs);
	hoy_strv_release(&w->parents);
	free(w->name);
	free(w->root);
	free(w);
}

int work_mkdir(struct state *s, const char *path)
{
	cleanup_fd int root = -1, fd = -1;
	int r = work_open(s);

	if (r < 0)
		return r;
	root = open(s->work->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root >= 0 && (r = userns_as_root(&s->work->ns, &s->b->err)) < 0)
		return r;
	fd = root < 0 ? -errno : hoy_mkdir_in_root(root, path, 0755);
	(void)userns_as_root(NULL, NULL);
	return fd < 0 ? hoy_fail_errno(&s->b->err, -fd, "cannot create the directory '%s'", path) : 0;
}

bool work_lacks_volumes(struct state *s)
{
	const struct hoy_json *volumes = hoy_json_path(s->base.root, "config", "Volumes", NULL);
	cleanup_free char *root = NULL;
	cleanup_fd int fd = -1;
	bool lacks = false;

	if (!volumes || !volumes->count)
		return false;
	if (!*s->layer || mount_layer(s->b, s->layer, true, &root) < 0)
		return true;
	fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	HOY_JSON_EACH(v, volumes) {
		cleanup_free char *path = join_clean("/", v->key);
		cleanup_fd int there = path ? hoy_open_beneath(fd, path, O_PATH, 0, HOY_IN_ROOT) : -ENOMEM;

		lacks = lacks || there < 0;
	}
	(void)unmount_layer(s->b, s->layer, NULL);
	return lacks;
}

int work_volume(struct state *s, const char *volume)
{
	cleanup_free char *path = join_clean("/", volume);
	cleanup_fd int root = -1, there = -1;
	int r = path ? work_open(s) : hoy_fail_oom(&s->b->err);

	if (r < 0)
		return r;
	root = open(s->work->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	there = hoy_open_beneath(root, path, O_PATH, 0, HOY_IN_ROOT);
	return there < 0 ? work_mkdir(s, path) : 0;
}

int work_volumes(struct state *s, const struct hoy_json *volumes)
{
	int r = 0;

	HOY_JSON_EACH(v, volumes)
		if (!r)
			r = work_volume(s, v->key);
	return r;
}

/* A directory that USER doesn't own already is made by hoy-builder, which knows the container's accounts. */
static int make_users(struct state *s, const char *dir, const char *user)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	int r;

	hoy_strv_push(&argv, "mkdir");
	hoy_strv_pushf(&argv, "--root=%s", s->work->root);
	hoy_strv_pushf(&argv, "--user=%s", user);
	userns_map_argv(&s->work->ns.maps, "", &argv);
	hoy_strv_push(&argv, "--");
	hoy_strv_push(&argv, dir);
	r = argv.error ? -ENOMEM : hoy_call_tool("hoy-builder", (const char *const *)argv.v, NULL);
	return r < 0 ? hoy_fail_errno(&s->b->err, -r, "cannot run hoy-builder") : r ? -HOY_EREMOTE : 0;
}

int work_workdir(struct state *s)
{
	cleanup_free char *dir = join_clean("/", config_str(s, "WorkingDir"));
	const char *user = config_str(s, "User");
	cleanup_fd int root = -1, fd = -1;
	int r = dir ? work_open(s) : hoy_fail_oom(&s->b->err);

	if (r < 0 || !strcmp(dir, "/"))
		return r;
	if (!*user || !strcmp(user, "0") || !strcmp(user, "root"))
		return work_mkdir(s, dir);
	root = open(s->work->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = root < 0 ? -1 : hoy_open_beneath(root, dir, O_PATH | O_DIRECTORY, 0, HOY_IN_ROOT);
	return fd >= 0 ? 0 : make_users(s, dir, user);
}

/* ---- what mounts leave ---- */

/* Where a container's mounts are, innermost first: a runtime makes them if they are missing. */
static const char *const stubs[] = { "etc/hostname", "etc/hosts", "etc/resolv.conf", "run/.containerenv", "run/secrets", "dev", "etc", "proc", "run", "sys" };

void work_note_stubs(struct work *w, int root)
{
	for (size_t i = 0; i < ARRAY_SIZE(stubs); i++)
		if (!hoy_exists(root, stubs[i]))
			hoy_strv_push(&w->stubs, stubs[i]);
}

/* Those that were not there before go, if nobody has put anything into them. */
void work_drop_stubs(struct work *w, int root)
{
	for (size_t i = 0; i < ARRAY_SIZE(stubs); i++) {
		struct stat st;

		if (!hoy_strv_has(&w->stubs, stubs[i]) || fstatat(root, stubs[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			(void)unlinkat(root, stubs[i], AT_REMOVEDIR);
		else if (S_ISREG(st.st_mode) && !st.st_size)
			(void)unlinkat(root, stubs[i], 0);
	}
	hoy_strv_release(&w->stubs);
}

/* Does LAYER have other ids on the disk than W shows? */
static bool shifts(const struct work *w, const char *layer)
{
	const struct hoy_json *rec = hoy_layer_get(w->b->s, layer);

	return !hoy_idmaps_empty(&w->ns.maps) && !hoy_json_get(rec, "uidmap") && !hoy_json_get(rec, "gidmap");
}

/* Is the directory NAME of a layer below as ST? */
static bool as_below(struct work *w, const char *name, const struct stat *st)
{
	cleanup_strv struct hoy_strv lowers = HOY_STRV_INIT;

	if (hoy_layer_lowers(w->b->s, w->layer, &lowers, NULL) < 0)
		return false;
	for (size_t i = 0; i < lowers.n; i++) {
		cleanup_fd int fd = hoy_layer_open_diff(w->b->s, lowers.v[i]);
		struct stat there;

		if (fd >= 0 && !fstatat(fd, name, &there, AT_SYMLINK_NOFOLLOW) &&
		    !(shifts(w, lowers.v[i]) && userns_outside(&w->ns, &there.st_uid, &there.st_gid, NULL) < 0))
			return S_ISDIR(there.st_mode) && there.st_mode == st->st_mode && there.st_uid == st->st_uid && there.st_gid == st->st_gid;
	}
	return false;
}

/*
 * A stub that came and went has left its directory in the upper layer, with a new time and nothing in it. It isn't mounted now: the
 * directory goes if it says nothing that those below don't.
 */
static void drop_if_as_below(struct work *w, int upper, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	cleanup_free char *above = slash ? strndup(path, slash - path) : strdup(".");
	cleanup_fd int dir = above ? hoy_open_beneath(upper, above, O_PATH | O_DIRECTORY, 0, HOY_BENEATH) : -1;
	cleanup_fd int fd = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || fgetxattr(fd, "trusted.overlay.opaque", NULL, 0) >= 0 ||
	    fgetxattr(fd, "user.overlay.opaque", NULL, 0) >= 0 || fgetxattr(fd, "trusted.overlay.redirect", NULL, 0) >= 0)
		return;
	if (as_below(w, path, &st))
		(void)unlinkat(dir, name, AT_REMOVEDIR);
}

static void drop_copied_up(struct work *w)
{
	cleanup_fd int upper = hoy_layer_open_diff(w->b->s, w->layer);

	for (size_t i = 0; upper >= 0 && i < w->parents.n; i++)
		drop_if_as_below(w, upper, w->parents.v[i]);
	for (size_t i = 0; upper >= 0 && i < ARRAY_SIZE(stubs); i++)
		if (!strchr(stubs[i], '/'))
			drop_if_as_below(w, upper, stubs[i]);
	hoy_strv_release(&w->parents);
}

bool work_mounted(struct work *w)
{
	int r = hoy_store_lock(w->b->s, HOY_LAYERS, 0, NULL);

	if (!r)
		r = hoy_layer_mounted(w->b->s, w->layer, NULL);
	hoy_store_unlock(w->b->s);
	return r != 0;
}

void work_tidy(struct work *w)
{
	if (!w->b->s->vfs && !work_mounted(w))
		drop_copied_up(w);
}

int work_unmount(struct work *w, struct hoy_err *err)
{
	int r;

	if (!w->root)
		return 0;
	r = unmount_layer(w->b, w->layer, err);
	free(w->root);
	w->root = NULL;
	if (!r)
		work_tidy(w);
	return r;
}
