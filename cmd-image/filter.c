/* cmd-image/filter.c: --filter of `images` and `image prune`, and the questions about an image that it asks. */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/image.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/data/time.h"
#include "common/store/containers.h"

/* Are the first N elements of both arrays the same JSON? */
static bool same_start(const struct hoy_json *a, const struct hoy_json *b, unsigned n)
{
	const struct hoy_json *x = a ? a->child : NULL, *y = b ? b->child : NULL;

	for (; n; n--, x = x->next, y = y->next) {
		cleanup_buf struct hoy_buf p = HOY_BUF_INIT(1 << 20), q = HOY_BUF_INIT(1 << 20);
		struct hoy_jw v = hoy_jw_on(&p, NULL), w = hoy_jw_on(&q, NULL);

		if (!x || !y)
			return false;
		hoy_jw_value(&v, NULL, x);
		hoy_jw_value(&w, NULL, y);
		if (p.error || q.error || strcmp(hoy_buf_str(&p), hoy_buf_str(&q)))
			return false;
	}
	return true;
}

/* By their configs: CHILD has all that PARENT has, and one step of a build more. */
static bool one_step(const struct hoy_json *parent, const struct hoy_json *child)
{
	const struct hoy_json *ph = hoy_json_get(parent, "history"), *ch = hoy_json_get(child, "history");
	const struct hoy_json *pd = hoy_json_path(parent, "rootfs", "diff_ids", NULL), *cd = hoy_json_path(child, "rootfs", "diff_ids", NULL);
	unsigned steps = ph ? ph->count : 0, layers = pd ? pd->count : 0;

	return ch && ch->count == steps + 1 && same_start(ph, ch, steps) && cd && same_start(pd, cd, layers);
}

bool image_is_child(const struct hoy_store *s, const struct hoy_json *parent, const struct hoy_json *child)
{
	cleanup_json struct hoy_json_doc pc = HOY_JSON_DOC_INIT, cc = HOY_JSON_DOC_INIT;

	return parent != child && !hoy_image_config(s, parent, &pc, NULL) && !hoy_image_config(s, child, &cc, NULL) &&
	       one_step(pc.root, cc.root);
}

struct hoy_json *image_parent(const struct hoy_store *s, const struct hoy_json *rec)
{
	const char *top = hoy_json_str(rec, "layer"), *below = top ? hoy_json_str(hoy_layer_get(s, top), "parent") : NULL;

	for (struct hoy_json *i = hoy_image_first(s); i && top; i = hoy_image_next(s, i)) {
		const char *layer = hoy_json_str(i, "layer");

		if (layer && (!strcmp(layer, top) || (below && !strcmp(layer, below))) && image_is_child(s, i, rec))
			return i;
	}
	return NULL;
}

/* The top layers that what was built from an image with the layer TOP can have: that one, and those on it. */
static void child_layers(const struct hoy_store *s, const char *top, struct hoy_strv *ret)
{
	hoy_strv_push(ret, top);
	HOY_PLACES_EACH(p, s)
		for (struct hoy_json *l = hoy_first(p->layers); l; l = hoy_next(p->layers, l))
			if (!strcmp(hoy_json_str(l, "parent") ?: "", top))
				hoy_strv_push(ret, hoy_json_str(l, "id") ?: "");
}

bool image_has_children(const struct hoy_store *s, const struct hoy_json *rec)
{
	cleanup_strv struct hoy_strv layers = HOY_STRV_INIT;
	const char *top = hoy_json_str(rec, "layer"), *layer;

	if (!top)
		return false;
	child_layers(s, top, &layers);
	for (struct hoy_json *i = hoy_image_first(s); i; i = hoy_image_next(s, i))
		if ((layer = hoy_json_str(i, "layer")) && hoy_strv_has(&layers, layer) && image_is_child(s, rec, i))
			return true;
	return false;
}

bool image_intermediate(const struct hoy_store *s, const struct hoy_json *rec)
{
	return image_nameless(rec) && image_has_children(s, rec);
}

static bool reference_match(const struct hoy_json *rec, const char *pattern)
{
	HOY_JSON_EACH(n, hoy_json_get(rec, "names")) {
		cleanup_free char *repo = NULL, *tag = NULL, *tail = hoy_asprintf("*/%s", pattern);
		const char *name = hoy_json_text(n);

		if (!name)
			continue;
		split_name(name, &repo, &tag);
		if (!fnmatch(pattern, name, 0) || (repo && !fnmatch(pattern, repo, 0)) || (tail && repo && !fnmatch(tail, repo, 0)) ||
		    (tail && !fnmatch(tail, name, 0)))
			return true;
	}
	return false;
}

static bool label_match(const struct hoy_store *s, const struct hoy_json *rec, const char *want)
{
	cleanup_json struct hoy_json_doc cfg = HOY_JSON_DOC_INIT;

	return !hoy_image_config(s, rec, &cfg, NULL) && hoy_label_match(hoy_json_path(cfg.root, "config", "Labels", NULL), want);
}

/* Containers use it, and all of them are a build's. */
static bool builds_only(const struct hoy_store *s, const char *id)
{
	unsigned builds, n = hoy_image_users(s, id, &builds);

	return n && n == builds;
}

bool image_nameless(const struct hoy_json *rec)
{
	const struct hoy_json *names = hoy_json_get(rec, "names");

	return !names || !names->child;
}

enum key { DANGLING, INTERMEDIATE, READONLY, MANIFEST, CONTAINERS, REFERENCE, ID, DIGEST, LABEL, BEFORE, SINCE, AFTER, UNTIL };
static const char *const keys[] = { "dangling", "intermediate", "readonly", "manifest", "containers", "reference", "id", "digest",
				    "label", "before", "since", "after", "until" };

/* "KEY=VALUE" or "KEY!=VALUE"; complains about anything else. */
static int split_filter(const char *filter, enum key *ret_key, const char **ret_value, bool *ret_neg, struct hoy_err *err)
{
	const char *eq = strchr(filter, '=');
	size_t len = eq ? (size_t)(eq - filter) : strlen(filter);

	*ret_neg = eq > filter && eq[-1] == '!';
	len -= *ret_neg;
	for (size_t i = 0; eq && i < ARRAY_SIZE(keys); i++)
		if (strlen(keys[i]) == len && !strncmp(filter, keys[i], len)) {
			*ret_key = i;
			*ret_value = eq + 1;
			return 0;
		}
	return hoy_fail(err, EINVAL, "invalid image filter \"%.*s\": must be in the format \"filter=value or filter!=value\"", (int)len,
			filter);
}

static int check_value(const struct hoy_store *s, enum key key, const char *v, struct hoy_err *err)
{
	struct hoy_json *other;
	bool truth = !strcmp(v, "true") || !strcmp(v, "false");
	int64_t t;

	if (key <= MANIFEST && !truth && strcmp(v, "1") && strcmp(v, "0"))
		return hoy_fail(err, EINVAL, "non-boolean value \"%s\" for %s filter", v, keys[key]);
	if (key == CONTAINERS && !truth && strcmp(v, "external"))
		return hoy_fail(err, EINVAL, "unsupported value \"%s\" for containers filter", v);
	if (key == DIGEST && strncmp(v, "sha256:", 7))
		return hoy_fail(err, EINVAL, "invalid value \"%s\" for digest filter", v);
	if (key == UNTIL && !hoy_moment_parse(v, &t))
		return hoy_fail(err, EINVAL, "failed to parse value as time or duration: \"%s\"", v);
	if ((key == BEFORE || key == SINCE || key == AFTER) && hoy_image_find(s, v, &other, NULL, err) < 0)
		return hoy_fail_prefix(err, "could not find local image for filter \"%s\"=\"%s\"", keys[key], v);
	return 0;
}

int image_filters_check(const struct hoy_store *s, const struct hoy_strv *filters, struct hoy_err *err)
{
	const char *v;
	enum key key;
	bool neg;
	int r = 0;

	for (size_t i = 0; i < filters->n && !r; i++) {
		r = split_filter(filters->v[i], &key, &v, &neg, err);
		if (!r)
			r = check_value(s, key, v, err);
	}
	return r;
}

static bool is_list(const struct hoy_store *s, const struct hoy_json *rec)
{
	cleanup_json struct hoy_json_doc man = HOY_JSON_DOC_INIT;

	return !hoy_image_manifest(s, rec, &man, NULL) && hoy_json_is(hoy_json_get(man.root, "manifests"), HOY_JSON_ARRAY);
}

/* 1 keep, 0 leave out, negative error. */
static int filter_one(const struct hoy_store *s, const struct hoy_json *rec, const char *filter, struct hoy_err *err)
{
	struct hoy_json *other;
	const char *v;
	enum key key;
	bool neg, truth;
	int64_t t;
	int r = split_filter(filter, &key, &v, &neg, err);

	if (r < 0)
		return r;
	truth = !strcmp(v, "true") || !strcmp(v, "1");
	switch (key) {
	case DANGLING: r = (image_nameless(rec) && !image_has_children(s, rec)) == truth; break;
	case INTERMEDIATE: r = image_intermediate(s, rec) == truth; break;
	case READONLY: r = hoy_image_place(s, rec)->rdonly == truth; break;
	case MANIFEST: r = is_list(s, rec) == truth; break;
	case CONTAINERS:
		r = !strcmp(v, "external") ? builds_only(s, hoy_json_str(rec, "id")) :
					     (hoy_image_users(s, hoy_json_str(rec, "id"), NULL) > 0) == truth;
		break;
	case REFERENCE: r = reference_match(rec, v); break;
	case ID: r = !strncmp(hoy_json_str(rec, "id"), v, strlen(v)); break;
	case DIGEST: r = !strncmp(hoy_json_str(rec, "digest") ?: "", v, strlen(v)); break;
	case LABEL: r = label_match(s, rec, v); break;
	case BEFORE: case SINCE: case AFTER:
		r = hoy_image_find(s, v, &other, NULL, err);
		if (r < 0)
			return r;
		r = key == BEFORE ? hoy_json_time(rec, "created") < hoy_json_time(other, "created") : hoy_json_time(rec, "created") > hoy_json_time(other, "created");
		break;
	case UNTIL:
		if (!hoy_moment_parse(v, &t))
			return hoy_fail(err, EINVAL, "failed to parse value as time or duration: \"%s\"", v);
		r = hoy_json_time(rec, "created") < t;
		break;
	}
	return neg ? !r : r;
}

/* Filters of one key are alternatives (reference, id, ...), different keys must all hold; as podman, labels all. */
int image_wanted(const struct hoy_store *s, const struct hoy_strv *f, const struct hoy_json *rec, struct hoy_err *err)
{
	for (size_t i = 0; i < f->n; i++) {
		size_t key = strcspn(f->v[i], "=");
		bool any = false;

		for (size_t j = 0; j < f->n; j++) {
			int r;

			if (strncmp(f->v[j], f->v[i], key + 1))
				continue;
			r = filter_one(s, rec, f->v[j], err);
			if (r < 0)
				return r;
			if (!r && !strncmp(f->v[i], "label", 5))
				return 0;
			any = any || r;
		}
		if (!any)
			return 0;
	}
	return 1;
}
