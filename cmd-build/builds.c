/* cmd-build/builds.c: one command line, an image for each platform: planned, built, named, put into a list. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/build.h"
#include "cmd-build/graph.h"
#include "cmd-build/lease.h"
#include "cmd-build/publish.h"
#include "cmd-build/signing.h"
#include "cmd-build/srcpolicy.h"
#include "common/base/fd.h"
#include "common/cli/call.h"
#include "common/store/images.h"

/* ---- platforms ---- */

struct builds {
	struct build *v;
	size_t n;
};

/* Another build of the same file with the same options, for P. */
static int add_build(struct builds *l, const struct build *b, const struct platform *p, bool given)
{
	struct build *v = realloc(l->v, (l->n + 1) * sizeof(*v)), *one;

	if (!v)
		return -ENOMEM;
	l->v = v;
	one = &v[l->n++];
	*one = *b;
	one->plat = *p;
	one->plat_given = given;
	one->used = (struct hoy_strv)HOY_STRV_INIT;
	return 0;
}

static bool has(const struct builds *l, const struct platform *p)
{
	for (size_t i = 0; i < l->n; i++)
		if (platform_same(&l->v[i].plat, p))
			return true;
	return false;
}

static int add_listed(struct builds *l, struct build *b)
{
	int r = 0;

	for (size_t i = 0; i < b->o->platforms.n && !r; i++) {
		struct platform p;

		r = platform_parse(&p, b->o->platforms.v[i], &b->err);
		if (!r && !has(l, &p))
			r = add_build(l, b, &p, true) < 0 ? hoy_fail_oom(&b->err) : 0;
	}
	return r;
}

/* An image that came from nowhere: no registry knows more of it. */
static bool is_ours(const struct hoy_json *rec)
{
	HOY_JSON_EACH(n, hoy_json_get(rec, "names"))
		if (strncmp(hoy_json_text(n) ?: "", "localhost/", 10))
			return false;
	return true;
}

/* The list NAME, of the store or a registry; in the store, an image that is none names what it is for. */
static int platforms_of(struct build *b, const char *name, struct hoy_json_doc *ret)
{
	cleanup_free char *other = NULL;
	int r = srcpolicy_image(b, name, &other) ?: hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err);
	const char *words[] = { "manifest", "inspect", name = other ?: name, b->o->tls_verify == 0 ? "--tls-verify=false" : NULL, NULL };
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(16 << 20);
	struct hoy_json *rec = NULL;

	if (r < 0)
		return r;
	if (!hoy_image_find(b->s, name, &rec, NULL, NULL) && !hoy_image_manifest(b->s, rec, ret, NULL)) {
		if (hoy_json_get(ret->root, "manifests"))
			return 0;
		hoy_json_release(ret);
		if (is_ours(rec))
			return hoy_image_config(b->s, rec, ret, &b->err);
	}
	r = hoy_call_tool("hoy-image", words, &out);
	return r ? -HOY_EREMOTE : hoy_json_parse(ret, out.data, out.len, name, &b->err);
}

/* Is P among those that MAN (a list, or an image's config) is for? */
static bool offers(const struct hoy_json *man, const struct platform *p)
{
	const struct hoy_json *list = hoy_json_get(man, "manifests");

	HOY_JSON_EACH(m, list)
		if (platform_fits(p, hoy_json_get(m, "platform")) && hoy_json_get(m, "platform"))
			return true;
	return !list && platform_fits(p, man);
}

static int begin_with(struct builds *l, struct build *b, const struct hoy_json *o)
{
	const char *os = hoy_json_str(o, "os"), *arch = hoy_json_str(o, "architecture");
	struct platform p;

	/* (Attestations are for "unknown/unknown".) */
	if (!os || !arch || !strcmp(os, "unknown") || platform_of(&p, os, arch, hoy_json_str(o, "variant"), NULL) < 0 || has(l, &p))
		return 0;
	return add_build(l, b, &p, true) < 0 ? hoy_fail_oom(&b->err) : 0;
}

/* What one base offers: the first one's all are tried, those that another one has not are not. */
static int meet(struct builds *l, struct build *b, const char *name, bool first)
{
	cleanup_json struct hoy_json_doc man = HOY_JSON_DOC_INIT;
	const struct hoy_json *list;
	int r = platforms_of(b, name, &man);
	size_t n = 0;

	list = r ? NULL : hoy_json_get(man.root, "manifests");
	if (!r && first && !list)
		r = begin_with(l, b, man.root);
	HOY_JSON_EACH(m, list)
		if (!r && first)
			r = begin_with(l, b, hoy_json_get(m, "platform"));
	for (size_t i = 0; i < l->n && !r; i++)
		if (offers(man.root, &l->v[i].plat))
			l->v[n++] = l->v[i];
	if (!r)
		l->n = n;
	return r;
}

/* --all-platforms: those that all bases have. */
static int add_all(struct builds *l, struct build *b)
{
	struct build probe = *b;
	bool first = true;
	int r;

	platform_here(&probe.plat);
	r = plan(&probe);
	b->err = probe.err;
	for (size_t i = 0; i < probe.n && !r; i++) {
		const struct stage *st = &probe.stages[i];

		if (!st->needed || st->base_stage >= 0 || !strcmp(st->base, "scratch") || cf_flag(&b->f.v[st->first - 1], "platform"))
			continue;
		r = meet(l, b, st->base, first);
		first = false;
	}
	build_forget(&probe);
	if (!r && first)
		r = hoy_fail(&b->err, EINVAL, "build uses no non-scratch base images");
	return !r && !l->n ? hoy_fail(&b->err, EINVAL, "there is no platform that all base images are for") : r;
}

static int add_builds(struct builds *l, struct build *b)
{
	const struct build_opts *o = b->o;
	bool given = o->os || o->arch || o->variant;
	struct platform p;

	if (o->all_platforms)
		return add_all(l, b);
	if (o->platforms.n && given)
		return hoy_fail(&b->err, EINVAL, "invalid --platform may not be used with --os, --arch, or --variant");
	if (o->platforms.n)
		return add_listed(l, b);
	if (platform_of(&p, o->os, o->arch, o->variant, &b->err) < 0)
		return -b->err.code;
	return add_build(l, b, &p, given) < 0 ? hoy_fail_oom(&b->err) : 0;
}

/* ---- what becomes of them ---- */

/* Several images that leave the store by one name do so as a list. */
static bool one_for_all(const struct builds *l, const struct build *b) { return l->n > 1 && publish_needs_list(b); }

/* By its first name. */
static int sign_it(struct build *b, const char *id)
{
	cleanup_free char *name = b->o->tags.n ? full_name(b->o->tags.v[0], &b->err) : NULL;

	if (!b->o->sign_by)
		return 0;
	return b->o->tags.n && !name ? -b->err.code : sign_stored(id, name, b->o->sign_by, &b->err);
}

/* The new image's names are told, with those that it has had. */
static int name_it(struct build *b, const char *id)
{
	int r = 0;

	if (!publish_names(b))
		return 0;
	for (size_t i = b->o->tags.n; i && !r; i--) {
		cleanup_free char *name = full_name(b->o->tags.v[i - 1], &b->err);

		r = name ? image_tag(b, id, name) : -b->err.code;
	}
	if (!r)
		r = hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err);
	if (!r && !b->o->quiet && b->o->tags.n)
		HOY_JSON_EACH(n, hoy_json_get(hoy_image_get(b->s, id), "names"))
			fprintf(b->log ?: stdout, "Successfully tagged %s\n", hoy_json_text(n) ?: "");
	return r;
}

static int call_image(struct build *b, struct hoy_strv *argv)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 20);
	int r = argv->error ? -ENOMEM : hoy_call_tool("hoy-image", (const char *const *)argv->v, &out);

	/* What it has to say, it has said. */
	return r < 0 ? hoy_fail_errno(&b->err, -r, "cannot run hoy-image") : r ? -HOY_EREMOTE : 0;
}

static int add_to(struct build *one, const char *list)
{
	cleanup_strv struct hoy_strv add = HOY_STRV_INIT;
	const struct platform *p = &one->plat;

	hoy_strv_push(&add, "manifest");
	hoy_strv_push(&add, "add");
	hoy_strv_pushf(&add, "--os=%s", p->os);
	hoy_strv_pushf(&add, "--arch=%s", p->arch);
	if (*p->variant)
		hoy_strv_pushf(&add, "--variant=%s", p->variant);
	hoy_strv_push(&add, list);
	hoy_strv_pushf(&add, "containers-storage:%s", build_image(one));
	return call_image(one, &add);
}

/* A list NAME with all of them, made if there is none; ID becomes its id. */
static int list_them(struct builds *l, struct build *b, const char *name, char id[HOY_ID_SIZE])
{
	cleanup_strv struct hoy_strv make = HOY_STRV_INIT;
	struct hoy_json *rec = NULL;
	int r;

	hoy_strv_push(&make, "manifest");
	hoy_strv_push(&make, "create");
	hoy_strv_push(&make, name);
	r = hoy_image_find(b->s, name, &rec, NULL, NULL) ? call_image(b, &make) : 0;
	for (size_t i = 0; i < l->n && !r; i++) {
		r = add_to(&l->v[i], name);
		if (r < 0)
			b->err = l->v[i].err;
	}
	if (!r)
		r = hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err);
	if (!r)
		r = hoy_image_find(b->s, name, &rec, NULL, &b->err);
	if (!r)
		snprintf(id, HOY_ID_SIZE, "%s", hoy_json_str(rec, "id") ?: "");
	return r;
}

/* A new list with all of them gets the names that -t gives, which other images may have had. *RET is the first of those, in new memory. */
static int name_list(struct builds *l, struct build *b, char id[HOY_ID_SIZE], char **ret)
{
	cleanup_free char *own = hoy_random_id(id) < 0 ? NULL : hoy_asprintf(LEASE_NAMES "%.12s", id);
	struct hoy_json *rec = NULL;
	int r = own ? lease_take(b->s, LEASE_NAME, own, &b->err) : hoy_fail_oom(&b->err);

	if (!r)
		r = list_them(l, b, own, id);
	if (!r)
		r = name_it(b, id);
	if (!r)
		r = hoy_store_lock(b->s, 0, HOY_GRAPH | HOY_LAYERS | HOY_IMAGES, &b->err);
	if (r < 0)
		return r;
	r = hoy_image_find(b->s, own, &rec, NULL, &b->err);
	if (!r)
		r = hoy_image_remove_name(b->s, rec, own, &b->err);
	hoy_store_unlock(b->s);
	if (r < 0)
		return r;
	lease_drop(LEASE_NAME, own);
	*ret = full_name(b->o->tags.v[0], &b->err);
	return *ret ? 0 : -b->err.code;
}

const char *build_image(const struct build *b) { return b->stages[b->target].image; }

/* Of stages that others stood on: where steps are no cache, nobody wants their images any more. */
static void drop_stages(struct build *b)
{
	for (size_t i = 0; i < b->n && !b->layers && !b->o->save_stages; i++)
		/* (The target may be one of them, if it adds nothing.) */
		if (b->stages[i].made && i != b->target && strcmp(b->stages[i].image, build_image(b)))
			cache_drop(b, b->stages[i].image);
}

void build_forget(struct build *b)
{
	for (size_t i = 0; i < b->n; i++)
		work_drop(b->stages[i].work);
	drop_stages(b);
	for (size_t i = 0; i < b->n; i++) {
		hoy_strv_release(&b->stages[i].args);
		free(b->stages[i].name);
		free(b->stages[i].base);
	}
	free(b->stages);
	free(b->deps);
	hoy_strv_release(&b->heading);
	hoy_strv_release(&b->warned);
	hoy_strv_release(&b->fetched);
	if (b->tmp)
		hoy_remove_tree(AT_FDCWD, b->tmp);
	free(b->tmp);
	if (b->log)
		fclose(b->log);
}

/* What is for all platforms at once: the list of the images, and what leaves the store. ID: of the image, or becomes that of the list. */
static int finish_all(struct builds *l, struct build *b, char id[HOY_ID_SIZE])
{
	cleanup_free char *list = NULL;
	int r = 0;

	if (b->o->manifest) {
		list = full_name(b->o->manifest, &b->err);
		r = list ? list_them(l, b, list, id) : -b->err.code;
	} else if (one_for_all(l, b)) {
		r = name_list(l, b, id, &list);
	}
	if (!r) {
		r = publish(l->v, id, list);
		b->pushed = l->v->pushed;
		l->v->pushed = NULL;
		if (r < 0)
			b->err = l->v->err;
	}
	return r;
}

static int finish(struct builds *l, struct build *b)
{
	char id[HOY_ID_SIZE];
	int r = 0;

	for (size_t i = 0; i < l->n && !r; i++) {
		r = sbom_of_build(&l->v[i]);
		if (r < 0)
			b->status = l->v[i].status;
		if (!r)
			r = sign_it(&l->v[i], build_image(&l->v[i]));
		if (!r && !one_for_all(l, b))
			r = name_it(&l->v[i], build_image(&l->v[i]));
		if (!r)
			r = outputs_write(&l->v[i]);
		if (r < 0)
			b->err = l->v[i].err;
		else
			fprintf(l->v[i].log ?: stdout, "%s\n", build_image(&l->v[i]));
	}
	fflush(stdout);
	snprintf(id, sizeof(id), "%s", r ? "" : build_image(&l->v[0]));
	if (!r)
		r = finish_all(l, b, id);
	if (!r)
		r = write_iid(b, id);
	return r ? r : write_metadata(b, id);
}

int build_all(struct build *b)
{
	struct builds l = { NULL, 0 };
	int r = cache_hold_begin(b);

	if (!r)
		r = add_builds(&l, b);

	for (size_t i = 0; i < l.n && !r; i++) {
		l.v[i].many = l.n > 1;
		r = plan(&l.v[i]);
		if (!r)
			r = log_split(&l.v[i]);
		if (r < 0)
			b->err = l.v[i].err;
	}
	if (!r) {
		r = graph_run(l.v, l.n, b->o->jobs, b->view);
		if (r < 0) {
			b->err = l.v->err;
			b->status = l.v->status;
		}
	}
	if (!r)
		r = finish(&l, b);
	for (size_t i = 0; i < l.n; i++) {
		for (size_t k = 0; k < l.v[i].used.n; k++)
			if (!hoy_strv_has(&b->used, l.v[i].used.v[k]))
				hoy_strv_push(&b->used, l.v[i].used.v[k]);
		hoy_strv_release(&l.v[i].used);
		build_forget(&l.v[i]);
	}
	free(l.v);
	return r;
}
