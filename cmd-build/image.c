/* cmd-build/image.c: images that a build stands on, finds in its cache, and makes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "cmd-build/build.h"
#include "cmd-build/makeimage.h"
#include "cmd-build/srcpolicy.h"
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
static int pull(struct build *b, const char *name, const char *policy, const struct platform *p, char id[HOY_ID_SIZE])
{
	const struct build_opts *o = b->o;
	const char *const opts[][2] = { { "authfile", o->authfile }, { "creds", o->creds }, { "cert-dir", o->cert_dir },
					{ "policy", policy }, { "retry-delay", o->retry_delay } };
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);
	char text[PLATFORM_SIZE];
	int status;

	hoy_strv_push(&argv, "pull");
	if (p)
		hoy_strv_pushf(&argv, "--platform=%s", platform_text(p, text));
	for (size_t i = 0; i < ARRAY_SIZE(opts); i++)
		if (opts[i][1])
			hoy_strv_pushf(&argv, "--%s=%s", opts[i][0], opts[i][1]);
	if (o->tls_verify >= 0)
		hoy_strv_pushf(&argv, "--tls-verify=%s", o->tls_verify ? "true" : "false");
	if (o->retry >= 0)
		hoy_strv_pushf(&argv, "--retry=%lld", (long long)o->retry);
	for (size_t i = 0; i < o->decryption_keys.n; i++)
		hoy_strv_pushf(&argv, "--decryption-key=%s", o->decryption_keys.v[i]);
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

/* The image of the list MAN that is for P, if the store has it. */
static struct hoy_json *instance(const struct build *b, const struct hoy_json *man, const struct platform *p)
{
	HOY_JSON_EACH(m, hoy_json_get(man, "manifests"))
		for (struct hoy_json *rec = platform_fits(p, hoy_json_get(m, "platform")) ? hoy_image_first(b->s) : NULL; rec;
		     rec = hoy_image_next(b->s, rec))
			if (hoy_json_str(m, "digest") && !strcmp(hoy_json_str(rec, "digest") ?: "", hoy_json_str(m, "digest")))
				return rec;
	return NULL;
}

/* Is the image *REC, or one of the list that it is, for P (NULL: any; of a list, one for us)? Then that's it. */
static bool is_for(const struct build *b, struct hoy_json **rec, const struct platform *p)
{
	cleanup_json struct hoy_json_doc man = HOY_JSON_DOC_INIT, cfg = HOY_JSON_DOC_INIT;
	struct platform here;
	struct hoy_json *of;

	if (hoy_image_manifest(b->s, *rec, &man, NULL) < 0)
		return !p;
	platform_here(&here);
	if (hoy_json_get(man.root, "manifests")) {
		of = instance(b, man.root, p ?: &here);
		*rec = of ?: *rec;
		return of;
	}
	return !p || (!hoy_image_config(b->s, *rec, &cfg, NULL) && platform_fits(p, cfg.root));
}

/* The record of NAME for P (or NULL) by the policy; *RET_NAME is what the store calls it, or NULL (an id). */
static int resolve(struct build *b, const char *name, const struct platform *p, struct hoy_json **ret, const char **ret_name)
{
	const char *policy = policy_of(b->o);
	struct hoy_err ignored = HOY_ERR_INIT;
	char id[HOY_ID_SIZE], text[PLATFORM_SIZE];
	bool fits;
	int r = hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err);

	if (r < 0)
		return r;
	r = hoy_image_find(b->s, name, ret, ret_name, &ignored);
	fits = !r && is_for(b, ret, p);
	/* What has no name, nobody can pull. */
	if (fits && (!*ret_name || !strcmp(policy, "missing") || !strcmp(policy, "never") || !strcmp(policy, "ifnotpresent")))
		return 0;
	if (!r && !fits && (!*ret_name || !strcmp(policy, "never")))
		return hoy_fail(&b->err, ENOENT, "%s: image not known: the one that is here is not for %s", name, p ? platform_text(p, text) : "this machine");
	if (r && !strcmp(policy, "never"))
		return hoy_fail(&b->err, ignored.code, "%s", ignored.msg);
	r = pull(b, name, r || fits ? policy : "always", p, id);
	if (r < 0)
		return r;
	*ret = hoy_image_get(b->s, id);
	if (!*ret)
		return hoy_fail(&b->err, ENOENT, "image %.12s was removed meanwhile", id);
	if (hoy_image_find(b->s, name, ret, ret_name, &ignored) < 0)
		*ret_name = NULL;
	/* (The name may be another platform's by now, which is built beside us.) */
	*ret = hoy_image_get(b->s, id) ?: *ret;
	return 0;
}

int image_use(struct state *s, const char *id)
{
	struct build *b = s->b;
	const struct hoy_json *rec;
	char copy[HOY_ID_SIZE];
	cleanup_fd int gate = cache_gate(b);
	int r = gate < 0 ? gate : 0;

	snprintf(copy, sizeof(copy), "%s", id);
	if (!r)
		r = hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err);
	rec = r ? NULL : hoy_image_get(b->s, copy);
	if (!rec)
		return r ?: hoy_fail(&b->err, ENOENT, "image %.12s was removed meanwhile", copy);
	hoy_json_release(&s->base);
	snprintf(s->image, sizeof(s->image), "%s", copy);
	snprintf(s->layer, sizeof(s->layer), "%s", hoy_json_str(rec, "layer") ?: "");
	r = cache_hold(b, copy);
	return r ? r : hoy_image_config(b->s, rec, &s->base, &b->err);
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

int image_base(struct state *s, const char *name)
{
	const char *known = NULL;
	struct hoy_json *rec = NULL;
	cleanup_free char *kept = NULL;
	cleanup_free char *other = NULL;
	int r = s->st->base_stage >= 0 ? 0 : srcpolicy_image(s->b, name, &other);

	if (!r)
		r = resolve(s->b, other ?: name, s->st->plat_given ? &s->st->plat : NULL, &rec, &known);
	if (r < 0)
		return r;
	kept = known ? strdup(known) : NULL;
	r = image_use(s, hoy_json_str(rec, "id") ?: "");
	if (!r)
		r = config_begin(s, s->base.root);
	if (!r)
		r = take_notes(s, hoy_image_get(s->b->s, s->image), kept);
	s->name = steal_ptr(&kept);
	return r;
}

int image_source(struct build *b, const char *name, char id[HOY_ID_SIZE])
{
	const char *known = NULL;
	struct hoy_json *rec = NULL;
	cleanup_free char *other = NULL;
	int r = srcpolicy_image(b, name, &other);

	if (!r)
		r = resolve(b, other ?: name, b->plat_given ? &b->plat : NULL, &rec, &known);
	if (!r)
		snprintf(id, HOY_ID_SIZE, "%s", hoy_json_str(rec, "id") ?: "");
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

static int add_entry(struct state *s, struct hoy_json_doc *d, struct hoy_json *list, int64_t at, const char *by, bool empty,
		     const char *author)
{
	struct hoy_json *h = hoy_json_put(d, list, NULL, hoy_json_new(d, HOY_JSON_OBJECT));
	cleanup_free char *from = s->name ? hoy_asprintf("FROM %s", s->name) : NULL;
	char when[HOY_TIME_SIZE];

	hoy_time_format(at, when);
	/* The two formats have their members in different orders. */
	if (!h || !hoy_json_set_string(d, h, "created", when) || (s->b->docker && author && !hoy_json_set_string(d, h, "author", author)) ||
	    !hoy_json_set_string(d, h, "created_by", by) || (!s->b->docker && author && !hoy_json_set_string(d, h, "author", author)) || (from && !hoy_json_set_string(d, h, "comment", from)) ||
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

		r = add_entry(s, d, list, at, end + 1, true, NULL);
	}
	/* (Of several steps in one image, buildah names the author of the last one alone.) */
	return r ? r : add_entry(s, d, list, s->linked && s->b->time < 0 ? s->linked_at : moment(s->b), by, empty, s->author);
}

/* What docker's format has even if nothing is in it. */
static int complete_docker(struct state *s, struct hoy_json_doc *d, struct hoy_json *cfg)
{
	static const char *const lists[] = { "Entrypoint", "OnBuild" }, *const maps[] = { "Volumes", "Labels" };
	const char *host = hoy_json_str(cfg, "Hostname");
	char id[HOY_ID_SIZE] = "sandbox";

	/* With a time given, nothing is left to chance. */
	if (s->b->time < 0 && hoy_random_id(id) < 0)
		return hoy_fail(&s->b->err, EIO, "cannot draw a random number");
	id[12] = '\0';
	if ((!host || !*host) && !hoy_json_set_string(d, cfg, "Hostname", id))
		return hoy_fail_oom(&s->b->err);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (!hoy_json_need(d, cfg, lists[i], HOY_JSON_ARRAY))
			return hoy_fail_oom(&s->b->err);
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
		if (!hoy_json_need(d, cfg, maps[i], HOY_JSON_OBJECT))
			return hoy_fail_oom(&s->b->err);
	return 0;
}

/* KEY=VALUE lists into the object O. */
static int set_pairs(struct hoy_json_doc *d, struct hoy_json *o, const struct hoy_strv *list)
{
	for (size_t i = 0; o && i < list->n; i++) {
		const char *eq = strchr(list->v[i], '=');
		cleanup_free char *key = strndup(list->v[i], eq ? (size_t)(eq - list->v[i]) : strlen(list->v[i]));

		if (!key || !hoy_json_set_string(d, o, key, eq ? eq + 1 : ""))
			return -ENOMEM;
	}
	return o ? 0 : -ENOMEM;
}

static void unset_keys(struct hoy_json *o, const struct hoy_strv *keys)
{
	for (size_t i = 0; i < keys->n; i++)
		hoy_json_unset(o, keys->v[i]);
}

/* Labels of steps go beneath the config's own; who made it, above. */
static int add_labels(struct state *s, struct hoy_json_doc *d, struct hoy_json *cfg)
{
	const struct build_opts *o = s->b->o;
	bool named = s->last && o->tags.n, known = o->identity_label > 0 || (o->identity_label < 0 && s->b->time < 0);
	struct hoy_json *old = hoy_json_get(cfg, "Labels"), *labels;

	if (!old && !known && (named || !o->layer_labels.n))
		return 0;
	labels = hoy_json_new(d, HOY_JSON_OBJECT);
	if (!labels || (!named && set_pairs(d, labels, &o->layer_labels) < 0))
		return hoy_fail_oom(&s->b->err);
	HOY_JSON_EACH(l, old)
		if (!hoy_json_set_string(d, labels, l->key, hoy_json_text(l) ?: ""))
			return hoy_fail_oom(&s->b->err);
	if (known && !hoy_json_set_string(d, labels, "io.buildah.version", LIKE_BUILDAH))
		return hoy_fail_oom(&s->b->err);
	unset_keys(labels, &o->unset_labels);
	if (!labels->count) {
		hoy_json_unset(cfg, "Labels");
		return 0;
	}
	return hoy_json_put(d, cfg, "Labels", labels) ? 0 : hoy_fail_oom(&s->b->err);
}

static void unset_envs(const struct state *s, struct hoy_json *cfg)
{
	struct hoy_json *env = hoy_json_get(cfg, "Env"), *next;

	for (struct hoy_json *e = env ? env->child : NULL; e; e = next) {
		const char *text = hoy_json_text(e) ?: "";
		cleanup_free char *key = strndup(text, strcspn(text, "="));

		next = e->next;
		if (key && hoy_strv_has(&s->b->o->unset_envs, key))
			hoy_json_remove(env, e);
	}
}

static int add_config(struct state *s, struct hoy_json_doc *d, struct hoy_json *root)
{
	struct hoy_json *cfg = hoy_json_put(d, root, "config", hoy_json_copy(d, s->cfg));
	int r = cfg ? add_labels(s, d, cfg) : hoy_fail_oom(&s->b->err);

	if (r < 0)
		return r;
	unset_envs(s, cfg);
	return s->b->docker ? complete_docker(s, d, cfg) : 0;
}

static int add_notes(struct state *s, struct hoy_json_doc *d, struct hoy_json *root)
{
	const struct build_opts *o = s->b->o;
	bool none = s->last && o->inherit_notes == 0;
	struct hoy_json *notes = hoy_json_put(d, root, "annotations", none ? hoy_json_new(d, HOY_JSON_OBJECT) : hoy_json_copy(d, s->notes));

	if (!notes || (s->last && set_pairs(d, notes, &o->annotations) < 0))
		return hoy_fail_oom(&s->b->err);
	if (s->last)
		unset_keys(notes, &o->unset_notes);
	return 0;
}

/* Features of the system: the base's, and with those that are given, "NAME-" takes one away. */
static bool add_features(struct state *s, struct hoy_json_doc *d, struct hoy_json *build)
{
	const struct hoy_strv *given = &s->b->o->os_features;
	struct hoy_json *list = hoy_json_need(d, build, "os.features", HOY_JSON_ARRAY);
	cleanup_strv struct hoy_strv all = HOY_STRV_INIT;

	HOY_JSON_EACH(f, hoy_json_get(s->base.root, "os.features"))
		hoy_strv_push(&all, hoy_json_text(f) ?: "");
	for (size_t i = 0; i < given->n; i++) {
		size_t len = strlen(given->v[i]);
		cleanup_free char *name = strndup(given->v[i], len - (len && given->v[i][len - 1] == '-'));
		long at = name ? hoy_strv_find(&all, name) : -1;

		if (name && strcmp(name, given->v[i]) && at >= 0)
			hoy_strv_remove(&all, at);
		else if (name && !strcmp(name, given->v[i]) && at < 0)
			hoy_strv_push(&all, name);
	}
	for (size_t i = 0; list && i < all.n; i++)
		if (!hoy_json_set_string(d, list, NULL, all.v[i]))
			return false;
	return list && !all.error;
}

/* What the config says beside: platform, the system's version, whether there is a history. */
static int add_system(struct state *s, struct hoy_json_doc *d, struct hoy_json *build)
{
	const struct build_opts *o = s->b->o;
	const struct platform *p = &s->st->plat;
	bool ok = !o->os_features.n || add_features(s, d, build);

	if (s->st->plat_given)
		ok = ok && hoy_json_set_string(d, build, "os", p->os) && hoy_json_set_string(d, build, "architecture", p->arch) &&
		     hoy_json_set_string(d, build, "variant", p->variant);
	if (o->os_version)
		ok = ok && hoy_json_set_string(d, build, "os.version", o->os_version);
	if (s->b->mtime)
		ok = ok && hoy_json_set_int(d, build, "mtime", s->b->time) && hoy_json_set_bool(d, build, "clamp", s->b->mtime == MTIME_CLAMP);
	ok = ok && hoy_json_set_bool(d, build, "bare", o->omit_history) && hoy_json_set_bool(d, build, "undated", o->created_note == 0);
	return ok ? 0 : hoy_fail_oom(&s->b->err);
}

/* What hoy-transfer is told: in D, which is blank. */
static int make_spec(struct state *s, const char *by, bool empty, struct hoy_json_doc *d)
{
	struct hoy_json *root = d->root = hoy_json_new(d, HOY_JSON_OBJECT), *build = root ? hoy_json_need(d, root, "build", HOY_JSON_OBJECT) : NULL;
	char when[HOY_TIME_SIZE], id[HOY_ID_SIZE];
	int r;

	if (hoy_random_id(id) < 0 || !build)
		return hoy_fail_oom(&s->b->err);
	hoy_time_format(moment(s->b), when);
	hoy_json_set_string(d, root, "container", s->b->time >= 0 ? "" : s->work ? s->work->id : id);
	hoy_json_set_string(d, root, "layer", s->work && !empty ? s->work->layer : "");
	hoy_json_set_string(d, root, "image", s->image);
	hoy_json_set_string(d, build, "created", when);
	hoy_json_set_bool(d, build, "empty", empty);
	hoy_json_set_bool(d, build, "take", !(s->work && s->work->kept));
	hoy_json_set_bool(d, build, "plain", s->work && s->work->plain);
	hoy_json_set_bool(d, build, "linked", s->linked && s->work && s->work->plain);
	if (*s->again)
		hoy_json_set_string(d, build, "again", s->again);
	r = add_system(s, d, build);
	if (!r)
		r = add_config(s, d, root);
	if (!r)
		r = add_notes(s, d, root);
	return r ? r : add_history(s, d, build, by, empty);
}

int image_commit(struct state *s, const char *by, bool empty)
{
	struct build *b = s->b;
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	cleanup_fd int gate = -1;
	char id[HOY_ID_SIZE];
	int r = s->work ? work_unmount(s->work, &b->err) : 0;

	if (!r)
		r = make_spec(s, by, empty, &d);
	if (r < 0)
		return r;
	hoy_strv_push(&words, b->docker ? "--format=docker" : "--format=oci");
	hoy_strv_push(&words, "--quiet");
	if (s->author)
		hoy_strv_pushf(&words, "--author=%s", s->author);
	if (b->squash && !empty)
		hoy_strv_push(&words, "--squash");
	gate = cache_gate(b);
	if (gate < 0)
		return gate;
	r = make_image_of(d.root, &words, id, &b->err);
	return r ? r : image_use(s, id);
}
