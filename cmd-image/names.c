/* cmd-image/names.c: tag, untag, exists, rmi, mount and unmount. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/image.h"
#include "common/base/err.h"
#include "common/base/msg.h"
#include "common/cli/call.h"
#include "common/data/digest.h"
#include "common/data/ref.h"
#include "common/store/layers.h"

static const struct hoy_opt no_opts[] = { HOY_OPTS_END };

struct hoy_store *open_writer(void)
{
	struct hoy_err err = HOY_ERR_INIT;
	struct hoy_store *s = NULL;

	if (!hoy_store_open(&s, &hoy_globals.storage, 0, &err))
		return s;
	hoy_report(&err, 125);
	return NULL;
}

/* A name to give: short ones become localhost/NAME, a missing tag "latest", as podman tag does. */
static int full_name(const char *name, char **ret, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	int r = hoy_ref_parse(&ref, name, err);

	if (r < 0)
		return r;
	if (ref.digest)
		return hoy_fail(err, EINVAL, "tag by digest not supported: '%s'", name);
	if (!ref.domain)
		ref.domain = strdup("localhost");
	if (!ref.domain || hoy_ref_normalize(&ref) < 0 || !(*ret = hoy_ref_string(&ref)))
		return hoy_fail_oom(err);
	return 0;
}

/* The store for writing, under its locks, and image NAME of it; an exit status. */
static int open_image(const char *name, struct hoy_store **ret, struct hoy_json **ret_rec)
{
	struct hoy_err err = HOY_ERR_INIT;
	int r;

	*ret = open_writer();
	if (!*ret)
		return 125;
	r = hoy_store_lock(*ret, HOY_LAYERS, HOY_IMAGES, &err);
	if (!r)
		r = hoy_image_find(*ret, name, ret_rec, NULL, &err);
	return r < 0 ? hoy_report(&err, 125) : 0;
}

static int run_tag(const struct hoy_verb *v, int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	struct hoy_json *rec;
	int status, r = 0, n = hoy_verb_args(v, argc, argv, NULL, 2, -1, &status);

	if (n < 0)
		return status;
	status = open_image(argv[1], &s, &rec);
	if (status)
		return status;
	for (int i = 2; i <= n && !r; i++) {
		cleanup_free char *name = NULL;

		r = full_name(argv[i], &name, &err);
		if (!r)
			r = hoy_image_add_name(s, &rec, name, &err);
	}
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_tag = { "tag", "IMAGE NAME [NAME...]", "Give an image more names", no_opts, run_tag, false };
const struct hoy_verb verb_image_tag = { "image tag", "IMAGE NAME [NAME...]", NULL, no_opts, run_tag, false };

static int untag_one(struct hoy_store *s, struct hoy_json *rec, const char *arg, struct hoy_err *err)
{
	cleanup_free char *name = NULL;
	int r = full_name(arg, &name, err);

	if (r < 0)
		return r;
	if (!hoy_record_has(rec, "names", name)) {
		struct hoy_json *other;
		const char *matched = NULL;

		if (hoy_image_find(s, arg, &other, &matched, NULL) < 0 || other != rec || !matched)
			return hoy_fail(err, ENOENT, "%s: tag not known", arg);
		free(name);
		name = strdup(matched);
	}
	return name ? hoy_image_remove_name(s, rec, name, err) : hoy_fail_oom(err);
}

static int run_untag(const struct hoy_verb *v, int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	struct hoy_json *rec, *names;
	int status, r = 0, n = hoy_verb_args(v, argc, argv, NULL, 1, -1, &status);

	if (n < 0)
		return status;
	status = open_image(argv[1], &s, &rec);
	if (status)
		return status;
	for (int i = 2; i <= n && !r; i++)
		r = untag_one(s, rec, argv[i], &err);
	while (!r && n == 1 && (names = hoy_json_get(rec, "names")) && names->child)
		r = hoy_image_remove_name(s, rec, names->child->str, &err);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_untag = { "untag", "IMAGE [NAME...]", "Take names from an image", no_opts, run_untag, false };
const struct hoy_verb verb_image_untag = { "image untag", "IMAGE [NAME...]", NULL, no_opts, run_untag, false };

static int run_exists(const struct hoy_verb *v, int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	struct hoy_json *rec;
	int status;

	if (hoy_verb_args(v, argc, argv, NULL, 1, 1, &status) < 0)
		return status;
	s = open_reader(HOY_LAYERS | HOY_IMAGES);
	if (!s)
		return 125;
	return hoy_image_find(s, argv[1], &rec, NULL, &err) < 0;
}
const struct hoy_verb verb_exists = { "image exists", "IMAGE", "Is an image in the store? Exit status 0 or 1", no_opts, run_exists,
				      false };

/* ---- rmi ---- */

struct rmi_opts {
	bool all, force, ignore, no_prune;
};
static const struct hoy_opt rmi_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, offsetof(struct rmi_opts, all), NULL, "remove all images" },
	{ 'f', "force", HOY_OPT_FLAG, offsetof(struct rmi_opts, force), NULL, "remove names and containers that are in the way" },
	{ 'i', "ignore", HOY_OPT_FLAG, offsetof(struct rmi_opts, ignore), NULL, "images that are not there are no error" },
	{ 0, "no-prune", HOY_OPT_FLAG, offsetof(struct rmi_opts, no_prune), NULL, "keep untagged parents" },
	HOY_OPTS_END,
};

/* Image REC with its names, in one step, and the nameless images that only it was built from. */
static int delete_chain(struct hoy_store *s, struct hoy_json *rec, bool prune, struct hoy_err *err)
{
	struct hoy_json *parent = prune ? image_parent(s, rec) : NULL;
	const char *id = hoy_json_str(rec, "id");
	int r = hoy_image_delete(s, id, NULL, err);

	if (r < 0)
		return r;
	HOY_JSON_EACH(n, hoy_json_get(rec, "names"))
		printf("Untagged: %s\n", hoy_json_text(n) ?: "");
	/* Of an additional store's image only our names have gone: it is there as before. */
	if (!hoy_image_get(s, id))
		printf("Deleted: %s\n", id);
	if (!parent || !image_nameless(parent) || hoy_image_place(s, parent)->rdonly || image_has_children(s, parent))
		return 0;
	/* Still needed by something else? A container. */
	r = delete_chain(s, parent, prune, err);
	return r == -HOY_EBUSY ? 0 : r;
}

static void containers_of(const struct hoy_store *s, const char *image, struct hoy_strv *ret)
{
	for (struct hoy_json *c = hoy_first(s->ctrs); c; c = hoy_next(s->ctrs, c))
		if (!strcmp(hoy_json_str(c, "image") ?: "", image) && hoy_is_id(hoy_json_str(c, "id")))
			hoy_strv_push(ret, hoy_json_str(c, "id"));
}

/* The containers IDS go, whoever made them: hoy-run knows how to stop ours. No lock may be held. */
static int drop_containers(const struct hoy_strv *ids, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	int r;

	hoy_strv_push(&words, "rm");
	hoy_strv_push(&words, "--force");
	hoy_strv_push(&words, "--volumes");
	for (size_t i = 0; i < ids->n; i++)
		hoy_strv_push(&words, ids->v[i]);
	if (words.error)
		return hoy_fail_oom(err);
	r = hoy_call_tool("hoy-run", (const char *const *)words.v, NULL);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot run hoy-run") : r ? hoy_fail(err, HOY_EBUSY, "containers of the image could not be removed") : 0;
}

static bool by_id(const char *arg, const char *id)
{
	const char *p = strncmp(arg, "sha256:", 7) ? arg : arg + 7;

	return !strncmp(p, id, strlen(p));
}

/* -EAGAIN: the containers in USERS have to go first. */
static int rmi_one(struct hoy_store *s, const char *arg, const struct rmi_opts *o, struct hoy_strv *users, struct hoy_err *err)
{
	const char *matched = NULL, *id;
	struct hoy_json *rec, *names;
	unsigned count;
	int r = hoy_image_find(s, arg, &rec, &matched, err);

	if (r < 0)
		return r;
	id = hoy_json_str(rec, "id");
	if (hoy_image_place(s, rec)->rdonly)
		return hoy_fail(err, EROFS, "cannot remove read-only image \"%s\"", id);
	names = hoy_json_get(rec, "names");
	count = names ? names->count : 0;
	if (matched && count > 1 && !by_id(arg, id)) {
		cleanup_free char *name = strdup(matched);

		r = name ? hoy_image_remove_name(s, rec, name, err) : hoy_fail_oom(err);
		if (!r)
			printf("Untagged: %s\n", name);
		return r;
	}
	if (!matched && count > 1 && !o->force && !o->all)
		return hoy_fail(err, HOY_EBUSY, "unable to delete image \"%s\" by ID with more than one tag (%u tags): please force removal",
				id, count);
	containers_of(s, id, users);
	if (users->n && o->force)
		return -EAGAIN;
	if (users->n)
		return hoy_fail(err, HOY_EBUSY, "image used by %s: image is in use by a container: consider listing external "
				"containers and force-removing image", users->v[0]);
	/* The names go with the record, in one save: on a full disk there is no room for more. */
	return delete_chain(s, rec, !o->no_prune, err);
}

static int rmi_locked(struct hoy_store *s, const char *name, const struct rmi_opts *o, struct hoy_strv *users, struct hoy_err *err)
{
	int r = hoy_store_lock(s, 0, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, err);

	if (!r)
		r = rmi_one(s, name, o, users, err);
	hoy_store_unlock(s);
	return r;
}

static int rmi_each(struct hoy_store *s, char **names, int n, const struct rmi_opts *o)
{
	int status = 0;

	for (int i = 0; i < n; i++) {
		struct hoy_err err = HOY_ERR_INIT;
		int r = -EAGAIN;

		/* Somebody may make another container meanwhile. */
		for (int tries = 5; r == -EAGAIN && tries; tries--) {
			cleanup_strv struct hoy_strv users = HOY_STRV_INIT;

			r = rmi_locked(s, names[i], o, &users, &err);
			if (r == -EAGAIN && drop_containers(&users, &err) < 0)
				r = -err.code;
		}
		if (r == -EAGAIN)
			r = hoy_fail(&err, HOY_EBUSY, "image '%s' is in use by containers, which are made faster than they are removed", names[i]);
		if (!r || (r == -ENOENT && o->ignore))
			continue;
		hoy_report(&err, 0);
		/* podman: 1 for an unknown image, 2 for one in use, 125 for the rest; the worst counts. */
		r = r == -ENOENT ? 1 : r == -HOY_EBUSY ? 2 : 125;
		status = r > status ? r : status;
	}
	return status;
}

static int run_rmi(const struct hoy_verb *v, int argc, char **argv)
{
	struct rmi_opts o = { 0 };
	cleanup_store struct hoy_store *s = NULL;
	cleanup_strv struct hoy_strv all = HOY_STRV_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	int status, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	if (o.force && n + o.all == 0)
		return 0;
	if (n + o.all == 0) {
		hoy_error("image name or ID must be specified");
		return 125;
	}
	s = open_writer();
	if (!s)
		return 125;
	if (!o.all)
		return rmi_each(s, argv + 1, n, &o);
	if (hoy_store_peek(s, HOY_IMAGES, &err) < 0)
		return hoy_report(&err, 125);
	for (struct hoy_json *rec = hoy_image_first(s); rec; rec = hoy_image_next(s, rec))
		if (hoy_json_str(rec, "id") && !hoy_image_place(s, rec)->rdonly)
			hoy_strv_insert(&all, 0, hoy_json_str(rec, "id")); /* children first */
	o.ignore = true;
	return rmi_each(s, all.v, (int)all.n, &o);
}
const struct hoy_verb verb_rmi = { "rmi", "[options] IMAGE [IMAGE...]", "Remove images", rmi_opts, run_rmi, false };
const struct hoy_verb verb_image_rm = { "image rm", "[options] IMAGE [IMAGE...]", NULL, rmi_opts, run_rmi, false };

/* ---- mount ---- */

static int run_mount(const struct hoy_verb *v, int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	int status, r, n = hoy_verb_args(v, argc, argv, NULL, 1, -1, &status);

	if (n < 0)
		return status;
	s = open_writer();
	if (!s)
		return 125;
	r = hoy_store_lock(s, HOY_IMAGES, HOY_GRAPH | HOY_LAYERS, &err);
	for (int i = 1; i <= n && !r; i++) {
		static const struct hoy_mount_opts ro = { .rdonly = true };
		cleanup_free char *path = NULL;
		struct hoy_json *rec;

		r = hoy_image_find(s, argv[i], &rec, NULL, &err);
		if (!r && !hoy_json_str(rec, "layer"))
			r = hoy_fail(&err, EINVAL, "image '%s' has no layers", argv[i]);
		if (!r)
			r = hoy_layer_mount(s, hoy_json_str(rec, "layer"), &ro, &path, &err);
		if (!r)
			puts(path);
	}
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_mount = { "image mount", "IMAGE [IMAGE...]", "Mount an image read-only", no_opts, run_mount, false };

struct unmount_opts {
	bool force;
};
static const struct hoy_opt unmount_opts[] = {
	{ 'f', "force", HOY_OPT_FLAG, offsetof(struct unmount_opts, force), NULL, "whatever the number of mounts" },
	HOY_OPTS_END,
};

static int run_unmount(const struct hoy_verb *v, int argc, char **argv)
{
	struct unmount_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 1, -1, &status);

	if (n < 0)
		return status;
	s = open_writer();
	if (!s)
		return 125;
	r = hoy_store_lock(s, HOY_IMAGES, HOY_GRAPH | HOY_LAYERS, &err);
	for (int i = 1; i <= n && !r; i++) {
		struct hoy_json *rec;

		r = hoy_image_find(s, argv[i], &rec, NULL, &err);
		if (!r && hoy_json_str(rec, "layer"))
			r = hoy_layer_unmount(s, hoy_json_str(rec, "layer"), o.force, &err);
		if (!r)
			puts(hoy_json_str(rec, "id"));
	}
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_unmount = { "image unmount", "[options] IMAGE [IMAGE...]", "Unmount an image", unmount_opts, run_unmount,
				       false };
const struct hoy_verb verb_umount = { "image umount", "[options] IMAGE [IMAGE...]", NULL, unmount_opts, run_unmount, false };
