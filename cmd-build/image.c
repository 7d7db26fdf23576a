/* cmd-build/image.c: images that a build stands on, finds in its cache, and makes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "cmd-build/build.h"
#include "common/base/fd.h"
#include "common/cli/call.h"
#include "common/data/ref.h"
#include "common/data/time.h"
#include "common/store/images.h"

/* ---- found and pulled ---- */

static const char *policy_of(const struct build_opts *o)
{
	const char *p = o->pull;

	if (!p || !strcmp(p, "false"))
		return "missing";
	return !strcmp(p, "true") ? "always" : p;
}

/* hoy-image pull prints the id; what it has to say, it says itself. */
static int pull(struct build *b, const char *name, const char *policy, char id[HOY_ID_SIZE])
{
	const struct build_opts *o = b->o;
	const char *const opts[][2] = { { "authfile", o->authfile }, { "creds", o->creds }, { "cert-dir", o->cert_dir }, { "policy", policy } };
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);
	int status;

	hoy_strv_push(&argv, "pull");
	for (size_t i = 0; i < ARRAY_SIZE(opts); i++)
		if (opts[i][1])
			hoy_strv_pushf(&argv, "--%s=%s", opts[i][0], opts[i][1]);
	if (o->tls_verify >= 0)
		hoy_strv_pushf(&argv, "--tls-verify=%s", o->tls_verify ? "true" : "false");
	if (o->quiet)
		hoy_strv_push(&argv, "-q");
	hoy_strv_push(&argv, name);
	if (argv.error)
		return hoy_fail_oom(&b->err);
	status = hoy_call_tool("hoy-image", (const char *const *)argv.v, &out);
	if (status < 0)
		return hoy_fail_errno(&b->err, -status, "cannot run hoy-image");
	if (status)
		return -HOY_EREMOTE; /* it has told the user why */
	if (out.len < HOY_ID_LEN || !hoy_is_hex(out.data, HOY_ID_LEN))
		return hoy_fail(&b->err, HOY_EFORMAT, "hoy-image pull did not print an image id");
	memcpy(id, out.data, HOY_ID_LEN);
	id[HOY_ID_LEN] = '\0';
	return hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err);
}

/* The record of NAME by the policy; *RET_NAME is what the store calls it, or NULL (an id). */
static int resolve(struct build *b, const char *name, struct hoy_json **ret, const char **ret_name)
{
	const char *policy = policy_of(b->o);
	struct hoy_err ignored = HOY_ERR_INIT;
	char id[HOY_ID_SIZE];
	int r = hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err);

	if (r < 0)
		return r;
	r = hoy_image_find(b->s, name, ret, ret_name, &ignored);
	/* What has no name, nobody can pull. */
	if (!r && (!*ret_name || !strcmp(policy, "missing") || !strcmp(policy, "never") || !strcmp(policy, "ifnotpresent")))
		return 0;
	if (r && !strcmp(policy, "never"))
		return hoy_fail(&b->err, ignored.code, "%s", ignored.msg);
	r = pull(b, name, policy, id);
	if (r < 0)
		return r;
	*ret = hoy_image_get(b->s, id);
	if (!*ret)
		return hoy_fail(&b->err, ENOENT, "image %.12s was removed meanwhile", id);
	if (hoy_image_find(b->s, name, ret, ret_name, &ignored) < 0)
		*ret_name = NULL;
	return 0;
}

int image_use(struct state *s, const char *id)
{
	struct build *b = s->b;
	const struct hoy_json *rec = hoy_image_get(b->s, id);
	char copy[HOY_ID_SIZE];
	int r;

	snprintf(copy, sizeof(copy), "%s", id);
	if (!rec) {
		r = hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err);
		rec = r ? NULL : hoy_image_get(b->s, copy);
		if (!rec)
			return r ?: hoy_fail(&b->err, ENOENT, "image %.12s was removed meanwhile", copy);
	}
	hoy_json_release(&s->base);
	snprintf(s->image, sizeof(s->image), "%s", copy);
	snprintf(s->layer, sizeof(s->layer), "%s", hoy_json_str(rec, "layer") ?: "");
	return hoy_image_config(b->s, rec, &s->base, &b->err);
}

static int take_notes(struct state *s, const struct hoy_json *rec, const char *name)
{
	cleanup_json struct hoy_json_doc man = HOY_JSON_DOC_INIT;
	int r = hoy_image_manifest(s->b->s, rec, &man, &s->b->err);

	if (r < 0)
		return r;
	HOY_JSON_EACH(a, hoy_json_get(man.root, "annotations"))
		if (hoy_json_text(a))
			hoy_json_set_string(&s->d, s->notes, a->key, a->str);
	if (!name)
		return 0;
	return hoy_json_set_string(&s->d, s->notes, "org.opencontainers.image.base.name", name) &&
	       hoy_json_set_string(&s->d, s->notes, "org.opencontainers.image.base.digest", hoy_json_str(rec, "digest") ?: "") ? 0 :
	       hoy_fail_oom(&s->b->err);
}

int image_base(struct state *s, const char *name, const char *platform)
{
	const char *known = NULL;
	struct hoy_json *rec = NULL;
	cleanup_free char *kept = NULL;
	int r = resolve(s->b, name, &rec, &known);

	if (r < 0)
		return r;
	kept = known ? strdup(known) : NULL;
	r = image_use(s, hoy_json_str(rec, "id") ?: "");
	if (!r)
		r = config_begin(s, s->base.root);
	if (!r)
		r = take_notes(s, rec, kept);
	s->name = steal_ptr(&kept);
	return r;
}

int image_source(struct build *b, const char *name, char id[HOY_ID_SIZE])
{
	const char *known = NULL;
	struct hoy_json *rec = NULL;
	int r = resolve(b, name, &rec, &known);

	if (!r)
		snprintf(id, HOY_ID_SIZE, "%s", hoy_json_str(rec, "id") ?: "");
	return r;
}

/* ---- the cache ---- */

static bool same_text(const struct hoy_json *a, const struct hoy_json *b, const char *key)
{
	return !strcmp(hoy_json_str(a, key) ?: "", hoy_json_str(b, key) ?: "");
}

static bool same_entry(const struct hoy_json *a, const struct hoy_json *b)
{
	return same_text(a, b, "created_by") && same_text(a, b, "comment") && same_text(a, b, "author") &&
	       hoy_json_bool(a, "empty_layer", false) == hoy_json_bool(b, "empty_layer", false) &&
	       hoy_json_time(a, "created") == hoy_json_time(b, "created");
}

/* Is the config DERIVED that of BASE with one step more, which is BY? */
static bool one_step(const struct hoy_json *base, const struct hoy_json *derived, const char *by, bool layer)
{
	const struct hoy_json *bh = hoy_json_get(base, "history"), *dh = hoy_json_get(derived, "history");
	const struct hoy_json *bd = hoy_json_path(base, "rootfs", "diff_ids", NULL), *dd = hoy_json_path(derived, "rootfs", "diff_ids", NULL);
	const struct hoy_json *d = dh ? dh->child : NULL, *id = dd ? dd->child : NULL;

	if (!dh || dh->count != (bh ? bh->count : 0) + 1 || (dd ? dd->count : 0) != (bd ? bd->count : 0) + layer)
		return false;
	HOY_JSON_EACH(h, bh) {
		if (!same_entry(h, d))
			return false;
		d = d->next;
	}
	HOY_JSON_EACH(h, bd) {
		if (!hoy_json_text(h) || !hoy_json_text(id) || strcmp(h->str, id->str))
			return false;
		id = id->next;
	}
	return !strcmp(hoy_json_str(d, "created_by") ?: "", by);
}

static bool kind_fits(const struct build *b, const struct hoy_json *rec)
{
	cleanup_json struct hoy_json_doc man = HOY_JSON_DOC_INIT;
	struct hoy_err ignored = HOY_ERR_INIT;

	if (hoy_image_manifest(b->s, rec, &man, &ignored) < 0)
		return false;
	return !strcmp(hoy_json_str(man.root, "mediaType") ?: "", b->docker ? "application/vnd.docker.distribution.manifest.v2+json" :
							 "application/vnd.oci.image.manifest.v1+json");
}

/* Can the record be of such an image, by its layer alone? */
static bool on_top(const struct state *s, const struct hoy_json *rec, bool layer)
{
	const char *top = hoy_json_str(rec, "layer") ?: "";

	if (layer)
		return *top && !strcmp(hoy_json_str(hoy_layer_get(s->b->s, top), "parent") ?: "", s->layer);
	return !strcmp(top, s->layer);
}

int cache_find(struct state *s, const char *by, bool layer, char id[HOY_ID_SIZE])
{
	struct build *b = s->b;
	int64_t newest = INT64_MIN;
	int r = hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err);

	*id = '\0';
	for (struct hoy_json *rec = r ? NULL : hoy_image_first(b->s); rec; rec = hoy_image_next(b->s, rec)) {
		cleanup_json struct hoy_json_doc cfg = HOY_JSON_DOC_INIT;
		struct hoy_err ignored = HOY_ERR_INIT;
		int64_t created = hoy_json_time(rec, "created");

		if (!on_top(s, rec, layer) || created < newest || hoy_image_config(b->s, rec, &cfg, &ignored) < 0 ||
		    !one_step(s->base.root, cfg.root, by, layer) || !kind_fits(b, rec))
			continue;
		newest = created;
		snprintf(id, HOY_ID_SIZE, "%s", hoy_json_str(rec, "id") ?: "");
	}
	return r;
}

/* ---- names ---- */

char *full_name(const char *name, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;

	if (hoy_ref_parse(&ref, name, err) < 0)
		return NULL;
	if (!ref.domain)
		ref.domain = strdup("localhost");
	if (!ref.tag && !ref.digest)
		ref.tag = strdup("latest");
	return hoy_ref_string(&ref);
}

int image_tag(struct build *b, const char *id, const char *name)
{
	struct hoy_json *rec;
	int r = hoy_store_lock(b->s, 0, HOY_LAYERS | HOY_IMAGES, &b->err);

	if (r < 0)
		return r;
	rec = hoy_image_get(b->s, id);
	r = rec ? hoy_image_add_name(b->s, &rec, name, &b->err) : hoy_fail(&b->err, ENOENT, "image %.12s was removed meanwhile", id);
	hoy_store_unlock(b->s);
	return r;
}

/* ---- commits ---- */

static int add_entry(struct state *s, struct hoy_json_doc *d, struct hoy_json *list, int64_t at, const char *by, bool empty)
{
	struct hoy_json *h = hoy_json_put(d, list, NULL, hoy_json_new(d, HOY_JSON_OBJECT));
	cleanup_free char *from = s->name ? hoy_asprintf("FROM %s", s->name) : NULL;
	char when[HOY_TIME_SIZE];

	hoy_time_format(at, when);
	if (!h || !hoy_json_set_string(d, h, "created", when) || !hoy_json_set_string(d, h, "created_by", by) ||
	    (s->author && !hoy_json_set_string(d, h, "author", s->author)) || (from && !hoy_json_set_string(d, h, "comment", from)) ||
	    (empty && !hoy_json_set_bool(d, h, "empty_layer", true)))
		return hoy_fail_oom(&s->b->err);
	free(s->name);
	s->name = NULL;
	return 0;
}

static int64_t moment(const struct build *b) { return b->time >= 0 ? b->time * HOY_NS : hoy_now(); }

static int add_history(struct state *s, struct hoy_json_doc *d, struct hoy_json *build, const char *by, bool empty)
{
	struct hoy_json *list = hoy_json_need(d, build, "history", HOY_JSON_ARRAY);
	int r = list ? 0 : hoy_fail_oom(&s->b->err);

	for (size_t i = 0; i < s->pending.n && !r; i++) {
		char *end;
		int64_t at = strtoll(s->pending.v[i], &end, 10);

		r = add_entry(s, d, list, at, end + 1, true);
	}
	return r ? r : add_entry(s, d, list, moment(s->b), by, empty);
}

/* What docker's format has even if nothing is in it. */
static int complete_docker(struct state *s, struct hoy_json_doc *d, struct hoy_json *cfg)
{
	static const char *const lists[] = { "Cmd", "Entrypoint", "OnBuild" };
	const char *host = hoy_json_str(cfg, "Hostname");
	char id[HOY_ID_SIZE];

	if (!host || !*host) {
		if (hoy_random_id(id) < 0)
			return hoy_fail(&s->b->err, EIO, "cannot draw a random number");
		id[12] = '\0';
		hoy_json_set_string(d, cfg, "Hostname", id);
	}
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (!hoy_json_need(d, cfg, lists[i], HOY_JSON_ARRAY))
			return hoy_fail_oom(&s->b->err);
	return hoy_json_need(d, cfg, "Volumes", HOY_JSON_OBJECT) ? 0 : hoy_fail_oom(&s->b->err);
}

static int add_config(struct state *s, struct hoy_json_doc *d, struct hoy_json *root)
{
	struct hoy_json *cfg = hoy_json_put(d, root, "config", hoy_json_copy(d, s->cfg)), *labels;

	if (!cfg)
		return hoy_fail_oom(&s->b->err);
	/* With a time given, the bits are to be the same whoever builds them. */
	if (s->b->o->identity_label > 0 || (s->b->o->identity_label < 0 && s->b->time < 0)) {
		labels = hoy_json_need(d, cfg, "Labels", HOY_JSON_OBJECT);
		if (!labels || !hoy_json_set_string(d, labels, "io.buildah.version", LIKE_BUILDAH))
			return hoy_fail_oom(&s->b->err);
	}
	return s->b->docker ? complete_docker(s, d, cfg) : 0;
}

static int add_notes(struct state *s, struct hoy_json_doc *d, struct hoy_json *root)
{
	struct hoy_json *notes = hoy_json_put(d, root, "annotations", hoy_json_copy(d, s->notes));
	const struct hoy_strv *own = &s->b->o->annotations;

	for (size_t i = 0; notes && i < own->n; i++) {
		const char *eq = strchr(own->v[i], '=');
		cleanup_free char *key = strndup(own->v[i], eq ? (size_t)(eq - own->v[i]) : strlen(own->v[i]));

		if (!key || !hoy_json_set_string(d, notes, key, eq ? eq + 1 : ""))
			return hoy_fail_oom(&s->b->err);
	}
	return notes ? 0 : hoy_fail_oom(&s->b->err);
}

/* What hoy-transfer is told, in a file without a name: its descriptor. */
static int make_spec(struct state *s, const char *by, bool empty)
{
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(16 << 20);
	struct hoy_jw w = hoy_jw_on(&out, NULL);
	struct hoy_json *root = hoy_json_new(&d, HOY_JSON_OBJECT), *build = root ? hoy_json_need(&d, root, "build", HOY_JSON_OBJECT) : NULL;
	char when[HOY_TIME_SIZE], id[HOY_ID_SIZE];
	int fd, r;

	if (hoy_random_id(id) < 0 || !build)
		return hoy_fail_oom(&s->b->err);
	hoy_time_format(moment(s->b), when);
	hoy_json_set_string(&d, root, "container", s->work ? s->work->id : id);
	hoy_json_set_string(&d, root, "layer", s->work && !empty ? s->work->layer : "");
	hoy_json_set_string(&d, root, "image", s->image);
	hoy_json_set_string(&d, build, "created", when);
	hoy_json_set_bool(&d, build, "empty", empty);
	hoy_json_set_bool(&d, build, "take", true);
	if (s->b->time >= 0)
		hoy_json_set_int(&d, build, "mtime", s->b->time);
	r = add_config(s, &d, root);
	if (!r)
		r = add_notes(s, &d, root);
	if (!r)
		r = add_history(s, &d, build, by, empty);
	if (r < 0)
		return r;
	hoy_jw_value(&w, NULL, root);
	if (out.error)
		return hoy_fail_oom(&s->b->err);
	fd = memfd_create("hoy-build", 0);
	r = fd < 0 ? -errno : hoy_write_full(fd, out.data, out.len);
	if (!r)
		return fd;
	hoy_close(fd);
	return hoy_fail_errno(&s->b->err, -r, "cannot write what is committed");
}

int image_commit(struct state *s, const char *by, bool empty)
{
	struct build *b = s->b;
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);
	cleanup_fd int spec = -1;
	int status, r = s->work ? work_unmount(s->work, &b->err) : 0;

	spec = r ? r : make_spec(s, by, empty);
	if (spec < 0)
		return spec;
	hoy_strv_push(&argv, "commit");
	hoy_strv_pushf(&argv, "--spec=/dev/fd/%d", spec);
	hoy_strv_push(&argv, b->docker ? "--format=docker" : "--format=oci");
	hoy_strv_push(&argv, "--quiet");
	if (s->author)
		hoy_strv_pushf(&argv, "--author=%s", s->author);
	if (b->squash && !empty)
		hoy_strv_push(&argv, "--squash");
	if (argv.error)
		return hoy_fail_oom(&b->err);
	status = hoy_call_tool("hoy-transfer", (const char *const *)argv.v, &out);
	if (status < 0)
		return hoy_fail_errno(&b->err, -status, "cannot run hoy-transfer");
	if (status)
		return -HOY_EREMOTE; /* it has told the user why */
	if (out.len < HOY_ID_LEN || !hoy_is_hex(out.data, HOY_ID_LEN))
		return hoy_fail(&b->err, HOY_EFORMAT, "hoy-transfer did not print an image id");
	out.data[HOY_ID_LEN] = '\0';
	return image_use(s, out.data);
}
