/*
 * cmd-image/transfer/commit.c: `commit`: what a container wrote becomes a layer, and with the container's settings an image.
 * The heavy half of `hoy commit`, which says what is to be in the config.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/changes.h"
#include "cmd-image/transfer/extra.h"
#include "cmd-image/transfer/layer.h"
#include "cmd-image/transfer/layer_diff.h"
#include "cmd-image/transfer/override.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/time.h"
#include "common/store/images.h"
#include "common/store/layers.h"

struct commit_opts {
	struct hoy_strv changes;
	const char *author, *config, *message, *format, *spec;
	bool quiet, squash;
};
#define O(field) offsetof(struct commit_opts, field)
static const struct hoy_opt commit_opts[] = {
	{ 'a', "author", HOY_OPT_STRING, O(author), "TEXT", "who made the image" },
	{ 'c', "change", HOY_OPT_LIST, O(changes), "INSTRUCTION", CHANGES_HELP },
	{ 0, "config", HOY_OPT_STRING, O(config), "FILE", "JSON with settings for the image, as docker has them in its config" },
	{ 'f', "format", HOY_OPT_STRING, O(format), "FORMAT", "oci (default) or docker" },
	{ 'm', "message", HOY_OPT_STRING, O(message), "TEXT", "comment of the image (docker)" },
	{ 'q', "quiet", HOY_OPT_FLAG, O(quiet), NULL, "no progress" },
	{ 's', "squash", HOY_OPT_FLAG, O(squash), NULL, "one layer with all there is" },
	{ 0, "spec", HOY_OPT_STRING, O(spec), "FILE", "what is committed: JSON with container, layer, image, imageName, config and build" },
	HOY_OPTS_END,
};

struct commit {
	struct hoy_store *s;
	const struct commit_opts *o;
	bool docker;
	struct hoy_json_doc spec, base; /* of the command; config of the image that the container was made of */
	struct hoy_json *config; /* what the image gets, in SPEC's document */
	struct changes ch;	 /* of it: from a file, and by instructions */
	struct hoy_strv below; /* layers of that image, the lowest first */
	struct hoy_strv mounted; /* layers that were mounted for this */
	struct hoy_idmaps maps;	 /* of the container: its files have shifted ids */
	struct diff_time mtime;	 /* of all files of the layer, if it is asked for */
	bool take;		 /* the container's files become the layer's: nobody needs it any more */
};

static const char *spec(const struct commit *c, const char *key) { return hoy_json_str(c->spec.root, key) ?: ""; }

/*
 * hoy-build commits steps: history and annotations are its own, a step may have no layer ("empty"), or that of another image
 * ("again": its id), or one that has nothing to do with those below ("linked"); the times may be given ("created", and "mtime" for
 * the files, with "clamp" for those that are younger); platform and version of the system; "bare": no history; "undated": no
 * annotation with the time; "files": files from outside for extra_tar(), which are a layer ("empty": the only one, and the history
 * tells of it) or in front of the squashed one.
 */
static const struct hoy_json *build(const struct commit *c) { return hoy_json_get(c->spec.root, "build"); }
static const char *again(const struct commit *c) { return hoy_json_str(build(c), "again"); }
/* Is no container's layer committed? */
static bool layerless(const struct commit *c) { return hoy_json_bool(build(c), "empty", false) || again(c); }
static const struct hoy_json *files(const struct commit *c) { return hoy_json_get(build(c), "files"); }

static const struct diff_time *mtime(struct commit *c)
{
	c->mtime.latest = hoy_json_bool(build(c), "clamp", false);
	return hoy_json_int64(hoy_json_get(build(c), "mtime"), &c->mtime.seconds) ? &c->mtime : NULL;
}

/* ---- config and manifest ---- */

/* As buildah's reads, with all its characters: the same bits are to be the same image. */
static void put_added(struct hoy_jw *w, const char *now, const char *diff_id)
{
	cleanup_free char *by = hoy_asprintf("/bin/sh -c #(nop) ADD dir:%s in /\",", diff_id + 7);

	hoy_jw_object(w, NULL);
	hoy_jw_string(w, "created", now);
	hoy_jw_string(w, "created_by", by);
	hoy_jw_end_object(w);
}

static void put_history(const struct commit *c, struct hoy_jw *w, const char *now, const char *diff_id)
{
	cleanup_free char *from = *spec(c, "imageName") ? hoy_asprintf("FROM %s", spec(c, "imageName")) : NULL;

	hoy_jw_array(w, "history");
	if (!c->o->squash)
		HOY_JSON_EACH(h, hoy_json_get(c->base.root, "history"))
			hoy_jw_value(w, NULL, h);
	if (build(c)) {
		HOY_JSON_EACH(h, hoy_json_get(build(c), "history"))
			hoy_jw_value(w, NULL, h);
		if (layerless(c) && files(c) && diff_id)
			put_added(w, now, diff_id);
		hoy_jw_end_array(w);
		return;
	}
	hoy_jw_object(w, NULL);
	hoy_jw_string(w, "created", now);
	hoy_jw_string_opt(w, "author", c->o->author);
	hoy_jw_string(w, "created_by", "/bin/sh");
	hoy_jw_string_opt(w, "comment", from);
	hoy_jw_end_object(w);
	hoy_jw_end_array(w);
}

static void put_rootfs(const struct commit *c, struct hoy_jw *w, const char *diff_id)
{
	const struct hoy_json *below = c->o->squash ? NULL : hoy_json_path(c->base.root, "rootfs", "diff_ids", NULL);

	hoy_jw_object(w, "rootfs");
	hoy_jw_string(w, "type", "layers");
	/* Of docker's format, Go leaves out what is empty. */
	if (c->docker && !diff_id && (!below || !below->count)) {
		hoy_jw_end_object(w);
		return;
	}
	hoy_jw_array(w, "diff_ids");
	HOY_JSON_EACH(d, below)
		hoy_jw_string(w, NULL, hoy_json_text(d));
	if (diff_id)
		hoy_jw_string(w, NULL, diff_id);
	hoy_jw_end_array(w);
	hoy_jw_end_object(w);
}

static void put_given(struct hoy_jw *w, const struct hoy_json *v, const char *key)
{
	if (hoy_json_get(v, key))
		hoy_jw_value(w, key, hoy_json_get(v, key));
}

/* Docker's config object, with all that Go writes without being asked. */
static void put_docker_config(struct hoy_jw *w, const char *name, const struct hoy_json *v)
{
	static const char *const first[] = { "AttachStdin", "AttachStdout", "AttachStderr" }, *const last[] = { "Tty", "OpenStdin", "StdinOnce" };

	hoy_jw_object(w, name);
	hoy_jw_string(w, "Hostname", hoy_json_str(v, "Hostname"));
	hoy_jw_string(w, "Domainname", hoy_json_str(v, "Domainname"));
	hoy_jw_string(w, "User", hoy_json_str(v, "User"));
	for (size_t i = 0; i < ARRAY_SIZE(first); i++)
		hoy_jw_bool(w, first[i], hoy_json_bool(v, first[i], false));
	if (hoy_json_get(v, "ExposedPorts"))
		changes_put_map(w, "ExposedPorts", hoy_json_get(v, "ExposedPorts"));
	for (size_t i = 0; i < ARRAY_SIZE(last); i++)
		hoy_jw_bool(w, last[i], hoy_json_bool(v, last[i], false));
	hoy_jw_value(w, "Env", hoy_json_get(v, "Env"));
	hoy_jw_value(w, "Cmd", hoy_json_get(v, "Cmd"));
	put_given(w, v, "Healthcheck");
	put_given(w, v, "ArgsEscaped");
	hoy_jw_string(w, "Image", hoy_json_str(v, "Image"));
	changes_put_map(w, "Volumes", hoy_json_get(v, "Volumes"));
	hoy_jw_string(w, "WorkingDir", hoy_json_str(v, "WorkingDir"));
	hoy_jw_value(w, "Entrypoint", hoy_json_get(v, "Entrypoint"));
	put_given(w, v, "NetworkDisabled");
	put_given(w, v, "MacAddress");
	hoy_jw_value(w, "OnBuild", hoy_json_get(v, "OnBuild"));
	changes_put_map(w, "Labels", hoy_json_get(v, "Labels"));
	hoy_jw_string_opt(w, "StopSignal", hoy_json_str(v, "StopSignal"));
	put_given(w, v, "StopTimeout");
	put_given(w, v, "Shell");
	hoy_jw_end_object(w);
}

static const char *of_system(const struct commit *c, const char *key)
{
	return hoy_json_str(build(c), key) ?: hoy_json_str(c->base.root, key);
}

/* Version and features of the operating system, if there is something to say. */
static void put_system(const struct commit *c, struct hoy_jw *w)
{
	const struct hoy_json *features = hoy_json_get(build(c), "os.features") ?: hoy_json_get(c->base.root, "os.features");

	hoy_jw_string_opt(w, "os.version", of_system(c, "os.version"));
	if (features && features->count)
		hoy_jw_value(w, "os.features", features);
}

static void put_config(const struct commit *c, struct hoy_jw *w, const char *now, const char *diff_id)
{
	struct platform here = platform_here(&(struct platform){ hoy_json_str(build(c), "os") ?: hoy_json_str(c->base.root, "os"),
								 hoy_json_str(build(c), "architecture") ?: hoy_json_str(c->base.root, "architecture"), NULL });
	const char *author = c->o->author ?: hoy_json_str(c->base.root, "author");

	hoy_jw_object(w, NULL);
	if (c->docker)
		hoy_jw_string_opt(w, "comment", c->o->message);
	hoy_jw_string(w, "created", now);
	if (c->docker) {
		hoy_jw_string_opt(w, "container", spec(c, "container"));
		put_docker_config(w, "container_config", hoy_json_get(c->spec.root, "config"));
	}
	hoy_jw_string_opt(w, "author", author);
	if (c->docker)
		put_docker_config(w, "config", c->config);
	hoy_jw_string(w, "architecture", here.arch);
	if (c->docker)
		hoy_jw_string_opt(w, "variant", of_system(c, "variant"));
	hoy_jw_string(w, "os", here.os);
	if (!c->docker) {
		put_system(c, w);
		hoy_jw_string_opt(w, "variant", of_system(c, "variant"));
		changes_put(w, c->config);
	}
	if (c->docker && *spec(c, "image") && !build(c)) {
		cleanup_free char *parent = hoy_asprintf("sha256:%s", spec(c, "image"));

		hoy_jw_string(w, "parent", parent);
	}
	put_rootfs(c, w, diff_id);
	if (!hoy_json_bool(build(c), "bare", false))
		put_history(c, w, now, diff_id);
	if (c->docker)
		put_system(c, w);
	hoy_jw_end_object(w);
}

/* The layers as the store has them: plain tars, by their diffIDs. */
static int layers_of(const struct commit *c, const struct layer_got *g, struct hoy_strv *digests, struct desc **ret, size_t *ret_n)
{
	size_t n = 0, below = c->o->squash ? 0 : c->below.n;
	const char *type = layer_type(c->docker ? MAN_V2S2 : MAN_OCI, "");
	struct desc *v = calloc(below + 1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	if (!c->o->squash)
		HOY_JSON_EACH(d, hoy_json_path(c->base.root, "rootfs", "diff_ids", NULL))
			hoy_strv_push(digests, hoy_json_text(d) ?: "");
	if (g)
		hoy_strv_push(digests, g->diff_id);
	for (; n < below + !!g && n < digests->n; n++) {
		const struct hoy_json *rec = n < below ? hoy_layer_get(c->s, c->below.v[n]) : NULL;

		v[n] = (struct desc){ digests->v[n], (char *)type, n < below ? hoy_json_int(rec, "diff-size", 0) : g->diff_size, NULL };
	}
	*ret = v;
	*ret_n = n;
	return digests->error ? -ENOMEM : 0;
}

static int describe(void *arg, const struct layer_got *g, struct hoy_buf *config, struct hoy_buf *manifest, struct hoy_err *err)
{
	struct commit *c = arg;
	cleanup_strv struct hoy_strv digests = HOY_STRV_INIT;
	cleanup_json struct hoy_json_doc notes = HOY_JSON_DOC_INIT;
	cleanup_free struct desc *layers = NULL;
	struct hoy_jw w = hoy_jw_on(config, NULL);
	char now[HOY_TIME_SIZE], sum[SHA_DIGEST_SIZE];
	struct hoy_json *annotations;
	struct desc cd;
	size_t n = 0;

	hoy_time_format(hoy_now(), now);
	if (hoy_json_str(build(c), "created"))
		snprintf(now, sizeof(now), "%s", hoy_json_str(build(c), "created"));
	put_config(c, &w, now, g ? g->diff_id : NULL);
	notes.root = hoy_json_new(&notes, HOY_JSON_OBJECT);
	if (notes.root && build(c))
		hoy_json_put(&notes, notes.root, "annotations",
			     hoy_json_copy(&notes, hoy_json_need(&c->spec, c->spec.root, "annotations", HOY_JSON_OBJECT)));
	annotations = notes.root ? hoy_json_need(&notes, notes.root, "annotations", HOY_JSON_OBJECT) : NULL;
	if (annotations && !hoy_json_bool(build(c), "undated", false) &&
	    !hoy_json_set_string(&notes, annotations, "org.opencontainers.image.created", now))
		annotations = NULL;
	if (config->error || !annotations || layers_of(c, g, &digests, &layers, &n) < 0)
		return hoy_fail_oom(err);
	sha_of(config->data, config->len, sum);
	cd = (struct desc){ sum, (char *)(c->docker ? T_V2S2_CONFIG : T_OCI_CONFIG), (int64_t)config->len, NULL };
	return manifest_write(manifest, c->docker ? MAN_V2S2 : MAN_OCI, &cd, layers, n, notes.root) < 0 ? hoy_fail_oom(err) : 0;
}

/* ---- what is committed ---- */

/* The image's own top layer, where the container stands on a version of it that was chowned for its user namespace. */
static const char *canonical(const struct commit *c, const char *id)
{
	const struct hoy_json *image = hoy_image_get(c->s, spec(c, "image"));

	return id && hoy_record_has(image, "mapped-layers", id) ? hoy_json_str(image, "layer") : id;
}

static int load(struct commit *c, struct hoy_err *err)
{
	const char *image = spec(c, "image"), *top = NULL;
	const struct hoy_json *rec = NULL;
	int r = hoy_store_peek(c->s, HOY_LAYERS | HOY_IMAGES, err);

	if (r < 0)
		return r;
	if (*image) {
		rec = hoy_image_get(c->s, image);
		r = rec ? hoy_image_config(c->s, rec, &c->base, err) : hoy_fail(err, ENOENT, "image %.12s of the container is gone", image);
	}
	if (!r && layerless(c)) {
		top = hoy_json_str(hoy_image_get(c->s, image), "layer");
	} else if (!r) {
		rec = hoy_layer_get(c->s, spec(c, "layer"));
		top = canonical(c, hoy_json_str(rec, "parent"));
		if (!rec)
			r = hoy_fail(err, ENOENT, "the layer of the container is gone");
	}
	if (!r && !layerless(c) && hoy_idmaps_read(rec, &c->maps) < 0)
		r = hoy_fail(err, HOY_EFORMAT, "the container's layer has an invalid id map");
	for (const char *id = top; id && *id && c->below.n < 1000;
	     id = hoy_json_str(hoy_layer_get(c->s, id), "parent"))
		hoy_strv_insert(&c->below, 0, id);
	return c->below.error ? hoy_fail_oom(err) : r;
}

static int mount_layer(struct commit *c, const char *id, bool rdonly, struct hoy_err *err)
{
	struct hoy_mount_opts o = { .rdonly = rdonly };
	cleanup_free char *path = NULL;
	int fd, r = hoy_store_lock(c->s, 0, HOY_GRAPH | HOY_LAYERS, err);

	if (!r)
		r = hoy_layer_mount(c->s, id, &o, &path, err);
	hoy_store_unlock(c->s);
	if (r < 0)
		return r;
	hoy_strv_push(&c->mounted, id);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? hoy_fail_errno(err, errno, "cannot open '%s'", path) : fd;
}

static void unmount_layers(struct commit *c)
{
	if (!c->mounted.n || hoy_store_lock(c->s, 0, HOY_GRAPH | HOY_LAYERS, NULL) < 0)
		return;
	for (size_t i = 0; i < c->mounted.n; i++)
		(void)hoy_layer_unmount(c->s, c->mounted.v[i], false, NULL);
	hoy_store_unlock(c->s);
}

static struct stream *upper(struct commit *c, int dir, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv lowers = HOY_STRV_INIT;
	cleanup_free int *fds = NULL;
	size_t n = 0;
	int r = hoy_json_bool(build(c), "linked", false) ? 0 : hoy_layer_lowers(c->s, spec(c, "layer"), &lowers, err);

	fds = r ? NULL : calloc(lowers.n + 1, sizeof(*fds));
	for (size_t i = 0; fds && i < lowers.n; i++) {
		fds[n] = hoy_layer_open_diff(c->s, lowers.v[i]);
		n += fds[n] >= 0;
	}
	if (!r && fds)
		return layer_diff(DIFF_UPPER, dir, &c->maps, mtime(c), fds, n);
	hoy_close(dir);
	return NULL;
}

/* May the upper directory DIR become the layer? hoy-build says so of containers that it takes away afterwards. */
static int may_take(struct commit *c, int dir, struct hoy_err *err)
{
	int r;

	if (!hoy_json_bool(build(c), "take", false) || c->o->squash || c->s->vfs || c->maps.uid.n || c->maps.gid.n)
		return 0;
	r = layer_tidy(dir, mtime(c), hoy_json_bool(build(c), "plain", false));
	c->take = !r;
	return r < 0 ? hoy_fail_errno(err, -r, "cannot take what the container wrote") : 0;
}

/* The tar of what is committed, by the way that tells all: upper directory, whole trees, mounts. */
static struct stream *open_diff(struct commit *c, struct hoy_err *err)
{
	const char *layer = spec(c, "layer"), *parent = c->below.n ? c->below.v[c->below.n - 1] : NULL;
	cleanup_fd int dir = hoy_layer_open_diff(c->s, layer);
	struct stream *s = NULL;
	bool whole = c->o->squash || !parent, mount;
	int below = -1;

	if (dir < 0) {
		hoy_fail_errno(err, -dir, "cannot open the layer of the container");
		return NULL;
	}
	if (may_take(c, dir, err) < 0)
		return NULL;
	mount = !c->s->vfs && (c->o->squash || (parent && !c->take && layer_needs_mount(dir)));
	if (mount) {
		hoy_close(dir);
		dir = mount_layer(c, layer, false, err);
	}
	if (dir >= 0 && !whole && (c->s->vfs || mount)) {
		below = mount ? mount_layer(c, parent, true, err) : hoy_layer_open_diff(c->s, parent);
		if (below < 0)
			return NULL;
	}
	if (dir < 0)
		return NULL;
	if (whole)
		s = layer_diff(DIFF_ALL, steal_fd(&dir), &c->maps, mtime(c), NULL, 0);
	else
		s = below >= 0 ? layer_diff(DIFF_COMPARE, steal_fd(&dir), &c->maps, mtime(c), &below, 1) : upper(c, steal_fd(&dir), err);
	if (!s && !err->code)
		hoy_fail_oom(err);
	return s;
}

static int check_opts(struct commit *c, struct hoy_err *err)
{
	const char *f = c->o->format ?: "oci";

	c->docker = !strcmp(f, "docker");
	if (!c->docker && strcmp(f, "oci"))
		return hoy_fail(err, EINVAL, "unrecognized image format \"%s\"", f);
	if (!c->docker && c->o->message)
		return hoy_fail(err, EINVAL, "messages are only compatible with the docker image format (-f docker)");
	if (!c->o->spec)
		return hoy_fail(err, EINVAL, "--spec is needed");
	return hoy_json_load(&c->spec, AT_FDCWD, c->o->spec, 1 << 20, err);
}

/* The config of the image: the container's, and over it what a file and instructions say. */
static int make_config(struct commit *c, struct hoy_err *err)
{
	struct hoy_json *given = hoy_json_get(c->spec.root, "config");
	bool over = c->o->changes.n;
	int r = 0;

	if (!hoy_json_is(given, HOY_JSON_OBJECT))
		return hoy_fail(err, EINVAL, "the file of --spec has no config");
	c->config = hoy_json_copy(&c->spec, given);
	c->ch.doc.root = c->ch.c = hoy_json_new(&c->ch.doc, HOY_JSON_OBJECT);
	if (!c->config || !c->ch.c)
		return hoy_fail_oom(err);
	if (!build(c) && (!hoy_json_set_string(&c->spec, c->config, "Image", spec(c, "imageName")) ||
			  !hoy_json_set_string(&c->spec, given, "Image", spec(c, "imageName"))))
		return hoy_fail_oom(err);
	if (c->o->config) {
		r = override_load(&c->ch.doc, c->o->config, &over, err);
		over = over || c->o->changes.n;
	}
	for (size_t i = 0; !r && i < c->o->changes.n; i++)
		r = changes_apply(&c->ch, c->o->changes.v[i], err);
	if (r < 0 || !over)
		return r;
	changes_end(&c->ch);
	return override_apply(&c->spec, c->config, c->ch.c) < 0 ? hoy_fail_oom(err) : 0;
}

/* The layer, of what the container wrote or of FILES or of both. */
static int open_layer(struct commit *c, struct stream **ret, struct hoy_err *err)
{
	const struct diff_time *t = mtime(c);

	if (!layerless(c) && !(*ret = open_diff(c, err)))
		return -err->code;
	if (!files(c))
		return 0;
	return extra_tar(files(c), t ? t->seconds : hoy_now() / HOY_NS, steal_ptr(ret), ret, err);
}

static int commit_it(struct commit *c, const char *arg, char id[HOY_ID_SIZE], struct hoy_err *err)
{
	cleanup_free char *name = arg ? local_name(arg) : NULL;
	const char *names[2] = { name, NULL };
	struct store_in in = { .quiet = c->o->quiet, .names = names };
	struct stream *tar = NULL;
	int r = arg && !name ? hoy_fail(err, EINVAL, "'%s' is no image name", arg) : check_opts(c, err);

	if (!r)
		r = make_config(c, err);
	if (!r && !(c->s = open_store(err)))
		r = -err->code;
	if (!r)
		r = load(c, err);
	if (!r)
		r = open_layer(c, &tar, err);
	progress(c->o->quiet || r, "Getting image source signatures");
	in.take = c->take ? spec(c, "layer") : NULL;
	in.again = again(c);
	if (!r)
		r = store_import(c->s, tar, c->o->squash ? NULL : &c->below, describe, c, &in, id, err);
	if (tar)
		stream_free(tar);
	if (c->s)
		unmount_layers(c);
	return r;
}

static int run_commit(const struct hoy_verb *v, int argc, char **argv)
{
	struct commit_opts o = { .changes = HOY_STRV_INIT };
	struct commit c = { .o = &o };
	struct hoy_err err = HOY_ERR_INIT;
	char id[HOY_ID_SIZE];
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, 1, &status);

	if (n < 0)
		return status;
	r = commit_it(&c, n ? argv[1] : NULL, id, &err);
	if (!r)
		puts(id);
	hoy_store_free(c.s);
	hoy_json_release(&c.spec);
	hoy_json_release(&c.base);
	hoy_json_release(&c.ch.doc);
	hoy_strv_release(&c.below);
	hoy_strv_release(&c.mounted);
	hoy_strv_release(&o.changes);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_commit = { "commit", "--spec FILE [options] [NAME]", "Make an image of what a container wrote", commit_opts, run_commit,
				      false };
