/* cmd-image/diff.c: `diff`: what a container or an image changes in what it stands on, or beside another one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd-image/diff.h"
#include "cmd-image/image.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/digest.h"
#include "common/store/layers.h"

struct diff_opts {
	const char *format;
};
static const struct hoy_opt opts[] = {
	{ 0, "format", HOY_OPT_STRING, offsetof(struct diff_opts, format), "FORMAT", "json" },
	HOY_OPTS_END,
};

/* What engines put into a container for its run is no change. */
static bool engines_own(const char *path)
{
	static const char *const own[] = { "/dev", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf", "/proc", "/run", "/run/.containerenv",
					   "/run/notify", "/run/podman-init", "/run/secrets", "/sys" };

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (!strcmp(path, own[i]))
			return true;
	return false;
}

/* ---- layers ---- */

enum of { CONTAINERS = 1, IMAGES = 2 };

/* The layer that NAME means: a container's, or the top one of an image, as far as OF allows. */
static int find_layer(struct hoy_store *s, const char *name, unsigned of, const char **ret, struct hoy_err *err)
{
	struct hoy_json *rec;
	int r = of & CONTAINERS ? hoy_container_find(s, name, &rec, of & IMAGES ? NULL : err) : -ENOENT;

	if (r < 0 && of & IMAGES)
		r = hoy_image_find(s, name, &rec, NULL, err);
	if (r < 0)
		return hoy_fail_prefix(err, "%s not found", name);
	*ret = hoy_json_str(rec, "layer");
	return *ret && hoy_layer_get(s, *ret) ? 0 : hoy_fail(err, ENOENT, "'%s' has no layers", name);
}

static void close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hoy_close(fds[i]);
	free(fds);
}

/* Against what the layer stands on, from its directory and those below. */
static int diff_parent(struct hoy_store *s, const char *layer, struct diff_list *l, struct hoy_err *err)
{
	cleanup_fd int dir = hoy_layer_open_diff(s, layer);
	int *below = NULL, r = dir < 0 ? dir : 0;
	size_t n = 0;

	for (const char *id = hoy_json_str(hoy_layer_get(s, layer), "parent"); !r && id && *id && n < 1000; n++) {
		int *more = reallocarray(below, n + 1, sizeof(*below));

		if (!more) {
			r = -ENOMEM;
			break;
		}
		below = more;
		below[n] = hoy_layer_open_diff(s, id);
		if (below[n] < 0) {
			r = below[n];
			break;
		}
		id = hoy_json_str(hoy_layer_get(s, id), "parent");
	}
	if (!r)
		r = s->vfs ? diff_trees(l, dir, n ? below[0] : -1) : diff_upper(l, dir, below, n);
	close_all(below, n);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot look through layer '%.12s'", layer) : 0;
}

/* The whole tree that LAYER shows, mounted if it must be; *RET_MOUNTED then. */
static int open_tree(struct hoy_store *s, const char *layer, bool *ret_mounted, struct hoy_err *err)
{
	static const struct hoy_mount_opts ro = { .rdonly = true };
	cleanup_free char *path = NULL;
	int fd = s->vfs ? hoy_layer_open_diff(s, layer) : hoy_layer_mount(s, layer, &ro, &path, err);

	if (fd < 0)
		return s->vfs ? hoy_fail_errno(err, -fd, "cannot open layer '%.12s'", layer) : fd;
	*ret_mounted = !s->vfs;
	if (*ret_mounted)
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? hoy_fail_errno(err, errno, "cannot open '%s'", path) : fd;
}

static int diff_both(struct hoy_store *s, const char *to, const char *from, struct diff_list *l, struct hoy_err *err)
{
	char *ids[2] = { strdup(to), strdup(from) };
	bool mounted[2] = { false, false };
	int fds[2] = { -1, -1 }, r = hoy_store_lock(s, HOY_IMAGES, HOY_GRAPH | HOY_LAYERS, err);

	for (int i = 0; i < 2 && !r; i++) {
		fds[i] = ids[i] ? open_tree(s, ids[i], &mounted[i], err) : hoy_fail_oom(err);
		r = fds[i] < 0 ? fds[i] : 0;
	}
	hoy_store_unlock(s);
	if (!r && (r = diff_trees(l, fds[0], fds[1])) < 0)
		hoy_fail_errno(err, -r, "cannot compare the layers '%.12s' and '%.12s'", ids[0], ids[1]);
	hoy_close(fds[0]);
	hoy_close(fds[1]);
	if ((mounted[0] || mounted[1]) && !hoy_store_lock(s, HOY_IMAGES, HOY_GRAPH | HOY_LAYERS, NULL))
		for (int i = 0; i < 2; i++)
			if (mounted[i])
				(void)hoy_layer_unmount(s, ids[i], false, NULL);
	hoy_store_unlock(s);
	free(ids[0]);
	free(ids[1]);
	return r;
}

/* ---- output ---- */

static void put_json_list(struct hoy_jw *w, const struct diff_list *l, const char *key, char kind)
{
	bool open = false;

	for (size_t i = 0; i < l->v.n; i++) {
		if (*l->v.v[i] != kind || engines_own(l->v.v[i] + 1))
			continue;
		if (!open)
			hoy_jw_array(w, key);
		open = true;
		hoy_jw_string(w, NULL, l->v.v[i] + 1);
	}
	if (open)
		hoy_jw_end_array(w);
}

static int print(const struct diff_list *l, const char *format, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "     ");

	for (size_t i = 0; !format && i < l->v.n; i++)
		if (!engines_own(l->v.v[i] + 1))
			printf("%c %s\n", *l->v.v[i], l->v.v[i] + 1);
	if (!format)
		return 0;
	hoy_jw_object(&w, NULL);
	put_json_list(&w, l, "changed", 'C');
	put_json_list(&w, l, "added", 'A');
	put_json_list(&w, l, "deleted", 'D');
	hoy_jw_end_object(&w);
	return b.error ? hoy_fail_oom(err) : puts(hoy_buf_str(&b)) < 0 ? -EIO : 0;
}

static int run(const struct hoy_verb *v, int argc, char **argv, unsigned of)
{
	struct diff_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	struct diff_list l = { HOY_STRV_INIT };
	const char *to = NULL, *from = NULL, *parent;
	int status, r = 0, n = hoy_verb_args(v, argc, argv, &o, 1, 2, &status);

	if (n < 0)
		return status;
	if (o.format && strcmp(o.format, "json"))
		r = hoy_fail(&err, EINVAL, "only supported value for '--format' is 'json'");
	/* Two trees may have to be mounted, which is written down. */
	if (!r && !(s = n == 2 ? open_writer() : open_reader(HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS)))
		return 125;
	if (!r && n == 2)
		r = hoy_store_peek(s, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, &err);
	if (!r)
		r = find_layer(s, argv[1], of, &to, &err);
	if (!r && n == 2)
		r = find_layer(s, argv[2], CONTAINERS | IMAGES, &from, &err);
	parent = r ? NULL : hoy_json_str(hoy_layer_get(s, to), "parent");
	if (!r)
		r = from && strcmp(from, parent ?: "") ? diff_both(s, to, from, &l, &err) : diff_parent(s, to, &l, &err);
	if (!r)
		r = print(&l, o.format, &err);
	hoy_strv_release(&l.v);
	return r < 0 ? hoy_report(&err, 125) : 0;
}

static int run_diff(const struct hoy_verb *v, int argc, char **argv) { return run(v, argc, argv, CONTAINERS | IMAGES); }
static int run_image_diff(const struct hoy_verb *v, int argc, char **argv) { return run(v, argc, argv, IMAGES); }
static int run_container_diff(const struct hoy_verb *v, int argc, char **argv) { return run(v, argc, argv, CONTAINERS); }
const struct hoy_verb verb_diff = { "diff", "[options] CONTAINER|IMAGE [CONTAINER|IMAGE]", "Show what a container or an image changes in its files",
				    opts, run_diff, false };
const struct hoy_verb verb_image_diff = { "image diff", "[options] IMAGE [IMAGE]", NULL, opts, run_image_diff, false };
const struct hoy_verb verb_container_diff = { "container diff", "[options] CONTAINER [CONTAINER|IMAGE]", NULL, opts, run_container_diff, false };
