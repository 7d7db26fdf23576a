#include "cmd-build/linked.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-build/ctr.h"
#include "cmd-build/makeimage.h"
#include "common/base/copytree.h"
#include "common/base/fd.h"
#include "common/data/time.h"
#include "common/store/images.h"
#include "common/store/layers.h"

/* ---- what copy --link leaves ---- */

int linked_stage(struct ctr *c, char **ret)
{
	char at[HOY_ID_SIZE + 64], id[HOY_ID_SIZE];
	cleanup_fd int dir = -1;

	if (hoy_random_id(id) < 0)
		return hoy_fail(&c->b.err, EIO, "cannot draw a random number");
	snprintf(at, sizeof(at), "%s/userdata/link-stage-%.12s", c->w.id, id);
	dir = hoy_open_dir_p(c->b.s->ctrsfd, at, 0755);
	if (dir < 0)
		return hoy_fail_errno(&c->b.err, -dir, "cannot create '%s'", at);
	*ret = hoy_asprintf("%s/%s-containers/%s", c->b.s->conf.graphroot, c->b.s->own.driver, at);
	return *ret ? 0 : hoy_fail_oom(&c->b.err);
}

int linked_note(struct ctr *c, const char *dir, const char *by, int64_t at)
{
	struct hoy_json *list = hoy_json_need(&c->d, c->d.root, "AppendedLinkedLayers", HOY_JSON_ARRAY), *l, *h;
	char when[HOY_TIME_SIZE];

	l = list ? hoy_json_put(&c->d, list, NULL, hoy_json_new(&c->d, HOY_JSON_OBJECT)) : NULL;
	h = l ? hoy_json_need(&c->d, l, "History", HOY_JSON_OBJECT) : NULL;
	hoy_time_format(at, when);
	return h && hoy_json_set_string(&c->d, h, "created", when) && hoy_json_set_string(&c->d, h, "created_by", by) &&
	       hoy_json_set_string(&c->d, l, "BlobPath", dir) ? 0 : hoy_fail_oom(&c->b.err);
}

/* ---- into an image ---- */

/* The files of the directory PATH become W's, which nobody has mounted. */
static int fill(struct build *b, struct work *w, const char *path)
{
	cleanup_fd int from = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), to = hoy_layer_open_diff(b->s, w->layer);
	struct stat st;
	int r;

	if (from < 0)
		return hoy_fail_errno(&b->err, errno, "cannot open the linked layer '%s'", path);
	r = to < 0 ? to : fstat(to, &st) < 0 ? -errno : hoy_copy_tree(from, to, true);
	/* The root itself is none of its files. */
	if (!r && (fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0))
		r = -errno;
	w->plain = true;
	return r < 0 ? hoy_fail_errno(&b->err, -r, "cannot copy the linked layer '%s'", path) : 0;
}

struct before {
	struct hoy_json_doc manifest;
	bool docker;
};

/* All is as in the image that S stands on, and the layer L comes on top. */
static bool describe(const struct state *s, const struct before *v, const struct hoy_json *l, const struct linked_how *how, struct hoy_json_doc *d)
{
	struct hoy_json *root = d->root = hoy_json_new(d, HOY_JSON_OBJECT), *build = root ? hoy_json_need(d, root, "build", HOY_JSON_OBJECT) : NULL;
	struct hoy_json *list = build ? hoy_json_need(d, build, "history", HOY_JSON_ARRAY) : NULL, *h;
	const struct hoy_json *base = s->base.root, *config = hoy_json_get(base, "config"), *notes = hoy_json_get(v->manifest.root, "annotations");

	h = list ? hoy_json_put(d, list, NULL, hoy_json_copy(d, hoy_json_get(l, "History"))) : NULL;
	if (h && how->when && !hoy_json_set_string(d, h, "created", how->when))
		return false;
	if (h && how->mtime >= 0 && (!hoy_json_set_int(d, build, "mtime", how->mtime) || !hoy_json_set_bool(d, build, "clamp", how->clamp)))
		return false;
	return h && hoy_json_set_string(d, root, "container", hoy_json_str(base, "container") ?: "") && hoy_json_set_string(d, root, "image", s->image) &&
	       hoy_json_set_string(d, root, "layer", s->work->layer) &&
	       hoy_json_put(d, root, "config", config ? hoy_json_copy(d, config) : hoy_json_new(d, HOY_JSON_OBJECT)) &&
	       hoy_json_put(d, root, "annotations", notes ? hoy_json_copy(d, notes) : hoy_json_new(d, HOY_JSON_OBJECT)) &&
	       hoy_json_set_string(d, build, "created", hoy_json_str(base, "created") ?: "") && hoy_json_set_bool(d, build, "take", true) &&
	       hoy_json_set_bool(d, build, "plain", true) && hoy_json_set_bool(d, build, "bare", !hoy_json_get(base, "history")) &&
	       hoy_json_set_bool(d, build, "undated", !hoy_json_get(notes, "org.opencontainers.image.created"));
}

static int commit(struct state *s, const struct before *v, const struct hoy_json *l, const struct linked_how *how, char id[HOY_ID_SIZE])
{
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	const char *author = hoy_json_str(s->base.root, "author"), *comment = hoy_json_str(s->base.root, "comment");

	if (!describe(s, v, l, how, &d))
		return hoy_fail_oom(&s->b->err);
	hoy_strv_push(&words, v->docker ? "--format=docker" : "--format=oci");
	hoy_strv_push(&words, "--quiet");
	if (author && *author)
		hoy_strv_pushf(&words, "--author=%s", author);
	if (v->docker && comment && *comment)
		hoy_strv_pushf(&words, "--message=%s", comment);
	return make_image_of(d.root, &words, id, &s->b->err);
}

int linked_add(struct build *b, char id[HOY_ID_SIZE], const struct hoy_json *l, const struct linked_how *how)
{
	const struct userns none = { .own = false };
	struct stage st = { .base_stage = -1 };
	struct state s = { .b = b, .st = &st };
	struct before v = { HOY_JSON_DOC_INIT, false };
	int r = image_use(&s, id);

	if (!r)
		r = hoy_image_manifest(b->s, hoy_image_get(b->s, id), &v.manifest, &b->err);
	v.docker = strstr(hoy_json_str(v.manifest.root, "mediaType") ?: "", "docker");
	if (!r)
		r = work_new_like(&s, &none);
	if (!r)
		r = fill(b, s.work, hoy_json_str(l, "BlobPath") ?: "");
	if (!r)
		r = commit(&s, &v, l, how, id);
	hoy_json_release(&v.manifest);
	state_release(&s);
	return r;
}
