/* cmd-run/commit.c: `commit`: an image of what a container wrote and of its settings. The layer is made by hoy-transfer. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmd-run/run.h"
#include "common/base/fd.h"
#include "common/cli/call.h"
#include "common/data/digest.h"
#include "common/data/ref.h"
#include "common/store/images.h"

struct commit_opts {
	bool volumes, pause, quiet, squash;
	const char *author, *config, *format, *iidfile, *message;
	struct hoy_strv changes;
};
#define O(field) offsetof(struct commit_opts, field)
static const struct hoy_opt commit_opts[] = {
	{ 'a', "author", HOY_OPT_STRING, O(author), "TEXT", "who made the image" },
	{ 'c', "change", HOY_OPT_LIST, O(changes), "INSTRUCTION", "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR" },
	{ 0, "config", HOY_OPT_STRING, O(config), "FILE", "JSON with settings for the image, as docker has them in its config" },
	{ 'f', "format", HOY_OPT_STRING, O(format), "FORMAT", "oci (default) or docker" },
	{ 0, "iidfile", HOY_OPT_STRING, O(iidfile), "FILE", "write the id to a file" },
	{ 0, "include-volumes", HOY_OPT_FLAG, O(volumes), NULL, "the image declares all volumes of the container, not only nameless ones" },
	{ 'm', "message", HOY_OPT_STRING, O(message), "TEXT", "comment of the image (docker)" },
	{ 'p', "pause", HOY_OPT_FLAG, O(pause), NULL, "freeze the container meanwhile" },
	{ 'q', "quiet", HOY_OPT_FLAG, O(quiet), NULL, "no progress" },
	{ 's', "squash", HOY_OPT_FLAG, O(squash), NULL, "one layer with all there is" },
	HOY_OPTS_END,
};

/* ---- the image's config ---- */

/* Member KEY of the config becomes what FROM is; nothing if that is empty. */
static int set(struct hoy_json_doc *d, struct hoy_json *cfg, const char *key, const struct hoy_json *from)
{
	hoy_json_unset(cfg, key);
	if (!from || (!from->child && !(hoy_json_text(from) && *from->str)))
		return 0;
	return hoy_json_put(d, cfg, key, hoy_json_copy(d, from)) ? 0 : -ENOMEM;
}

static int add_keys(struct hoy_json_doc *d, struct hoy_json *cfg, const char *key, const struct hoy_json *set_of)
{
	struct hoy_json *obj = set_of && set_of->child ? hoy_json_need(d, cfg, key, HOY_JSON_OBJECT) : NULL;

	HOY_JSON_EACH(it, obj ? set_of : NULL)
		if (!hoy_json_put(d, obj, it->key, hoy_json_new(d, HOY_JSON_OBJECT)))
			return -ENOMEM;
	return 0;
}

static int add_volumes(const struct ctr *c, struct hoy_json_doc *d, struct hoy_json *cfg, bool all)
{
	HOY_JSON_EACH(m, hoy_json_get(c->def.root, "mounts")) {
		const char *at = hoy_json_str(m, "destination");
		struct hoy_json *vols;

		if (!at || (!all && !hoy_json_bool(m, "anonymous", false)))
			continue;
		vols = hoy_json_need(d, cfg, "Volumes", HOY_JSON_OBJECT);
		if (!vols || !hoy_json_put(d, vols, at, hoy_json_new(d, HOY_JSON_OBJECT)))
			return -ENOMEM;
	}
	return 0;
}

/* The image's config with what the container has otherwise, as podman commits it. */
static int make_config(const struct ctr *c, const struct commit_opts *o, struct hoy_json_doc *d, struct hoy_json *root, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc base = HOY_JSON_DOC_INIT;
	static const char *const members[][2] = { { "User", "user" }, { "Env", "env" }, { "Entrypoint", "entrypoint" }, { "Cmd", "cmd" },
						  { "WorkingDir", "cwd" }, { "Labels", "labels" } };
	const struct hoy_json *rec = hoy_image_get(c->s, hoy_json_str(c->def.root, "image") ?: "");
	struct hoy_json *cfg;
	int r = rec ? hoy_image_config(c->s, rec, &base, err) : 0;

	if (r < 0)
		return r;
	if (hoy_json_is(hoy_json_get(base.root, "config"), HOY_JSON_OBJECT))
		hoy_json_put(d, root, "config", hoy_json_copy(d, hoy_json_get(base.root, "config")));
	cfg = hoy_json_need(d, root, "config", HOY_JSON_OBJECT);
	if (!cfg)
		return hoy_fail_oom(err);
	for (size_t i = 0; i < ARRAY_SIZE(members) && !r; i++)
		r = set(d, cfg, members[i][0], hoy_json_get(c->def.root, members[i][1]));
	if (!r)
		r = add_keys(d, cfg, "ExposedPorts", hoy_json_get(c->def.root, "expose"));
	if (!r)
		r = add_volumes(c, d, cfg, o->volumes);
	return r < 0 ? hoy_fail_oom(err) : 0;
}

/* What hoy-transfer is told, in a file without a name; its descriptor. */
static int make_spec(const struct ctr *c, const struct commit_opts *o, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 20);
	struct hoy_json *root = hoy_json_new(&d, HOY_JSON_OBJECT);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	int fd, r;

	if (!root || !hoy_json_set_string(&d, root, "container", c->id) ||
	    !hoy_json_set_string(&d, root, "layer", hoy_json_str(c->def.root, "layer") ?: "") ||
	    !hoy_json_set_string(&d, root, "image", hoy_json_str(c->def.root, "image") ?: "") ||
	    !hoy_json_set_string(&d, root, "imageName", hoy_json_str(c->def.root, "imageName") ?: ""))
		return hoy_fail_oom(err);
	r = make_config(c, o, &d, root, err);
	if (r < 0)
		return r;
	hoy_jw_value(&w, NULL, root);
	if (b.error)
		return hoy_fail_oom(err);
	fd = memfd_create("hoy-commit", 0);
	r = fd < 0 ? -errno : hoy_write_full(fd, b.data, b.len);
	if (!r)
		return fd;
	hoy_close(fd);
	return hoy_fail_errno(err, -r, "cannot write what is committed");
}

/* ---- the command ---- */

static int transfer(const struct commit_opts *o, int spec, const char *name, char id[HOY_ID_SIZE], struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);
	const char *const opts[][2] = { { "author", o->author }, { "config", o->config }, { "message", o->message }, { "format", o->format } };
	int status;

	hoy_strv_push(&argv, "commit");
	hoy_strv_pushf(&argv, "--spec=/dev/fd/%d", spec);
	for (size_t i = 0; i < ARRAY_SIZE(opts); i++)
		if (opts[i][1])
			hoy_strv_pushf(&argv, "--%s=%s", opts[i][0], opts[i][1]);
	for (size_t i = 0; i < o->changes.n; i++)
		hoy_strv_pushf(&argv, "--change=%s", o->changes.v[i]);
	if (o->quiet)
		hoy_strv_push(&argv, "--quiet");
	if (o->squash)
		hoy_strv_push(&argv, "--squash");
	if (name)
		hoy_strv_push(&argv, name);
	if (argv.error)
		return hoy_fail_oom(err);
	status = hoy_call_tool("hoy-transfer", (const char *const *)argv.v, &out);
	if (status < 0)
		return hoy_fail_errno(err, -status, "cannot run hoy-transfer");
	if (status)
		return -HOY_EREMOTE; /* it has told the user why */
	if (out.len < HOY_ID_LEN || !hoy_is_hex(out.data, HOY_ID_LEN))
		return hoy_fail(err, HOY_EFORMAT, "hoy-transfer did not print an image id");
	memcpy(id, out.data, HOY_ID_LEN);
	id[HOY_ID_LEN] = '\0';
	return 0;
}

static int commit(struct ctr *c, const struct commit_opts *o, const char *name, char id[HOY_ID_SIZE], struct hoy_err *err)
{
	bool frozen = false;
	cleanup_fd int spec = -1;
	int r;

	if (!hoy_json_str(c->def.root, "layer"))
		return hoy_fail(err, HOY_EUNSUPPORTED, "cannot commit a container that uses an exploded rootfs");
	r = hoy_store_peek(c->s, HOY_LAYERS | HOY_IMAGES, err);
	spec = r ? r : make_spec(c, o, err);
	if (spec < 0)
		return spec;
	if (o->pause && ctr_status(c) == ST_RUNNING) {
		r = ctr_freeze(c, true, err);
		frozen = !r;
	}
	if (!r)
		r = transfer(o, spec, name, id, err);
	if (frozen) {
		struct hoy_err thaw = HOY_ERR_INIT;

		if (ctr_freeze(c, false, &thaw) < 0)
			hoy_report(&thaw, 0);
	}
	return r;
}

static int check_name(const char *name, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;

	return name ? hoy_ref_parse(&ref, name, err) : 0;
}

static int run_commit(const struct hoy_verb *v, int argc, char **argv)
{
	struct commit_opts o = { 0 };
	cleanup_store struct hoy_store *s = NULL;
	cleanup_ctr struct ctr c = CTR_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	char id[HOY_ID_SIZE];
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 1, 2, &status);
	const char *name = n == 2 ? argv[2] : NULL;

	if (n < 0)
		return status;
	s = open_store(0);
	if (!s)
		return 125;
	r = ctr_open(&c, s, argv[1], &err);
	if (!r)
		r = check_name(name, &err);
	/* Not to be removed or started meanwhile. */
	if (!r)
		r = ctr_lock(&c, &err);
	if (!r)
		r = ctr_load_def(&c, &err);
	if (!r)
		r = ctr_load_live(&c, &err);
	if (!r)
		r = commit(&c, &o, name, id, &err);
	if (!r && o.iidfile && (r = hoy_replace_file(AT_FDCWD, o.iidfile, id, HOY_ID_LEN, 0644, false)) < 0)
		hoy_fail_errno(&err, -r, "cannot write '%s'", o.iidfile);
	if (!r) {
		event(&c, "commit", -1);
		puts(id);
	}
	hoy_strv_release(&o.changes);
	return r < 0 ? (err.code ? hoy_report(&err, 125) : 125) : 0;
}
const struct hoy_verb verb_commit = { "commit", "[options] CONTAINER [IMAGE]", "Make an image of a container", commit_opts, run_commit, false };
