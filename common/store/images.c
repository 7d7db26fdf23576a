#include "common/store/images.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/conf/registries.h"
#include "common/data/digest.h"
#include "common/data/ref.h"
#include "common/data/time.h"
#include "common/store/layers.h"
#include "common/store/pending.h"

static bool same(const char *a, const char *b) { return a && b && !strcmp(a, b); }

/* Prepend VALUE to the array KEY of REC, once. */
static int prepend(struct hoy_table *t, struct hoy_json *rec, const char *key, const char *value)
{
	struct hoy_json *old = hoy_json_get(rec, key), *neu = hoy_json_new(&t->doc, HOY_JSON_ARRAY), *next;

	if (!neu || !hoy_json_set_string(&t->doc, neu, NULL, value))
		return -ENOMEM;
	for (struct hoy_json *it = old ? old->child : NULL; it; it = next) {
		next = it->next;
		if (!same(hoy_json_text(it), value))
			hoy_json_put(&t->doc, neu, NULL, it);
	}
	return hoy_json_put(&t->doc, rec, key, neu) ? 0 : -ENOMEM;
}

static void drop(struct hoy_json *rec, const char *key, const char *value)
{
	struct hoy_json *arr = hoy_json_get(rec, key), *next;

	for (struct hoy_json *it = arr ? arr->child : NULL; it; it = next) {
		next = it->next;
		if (same(hoy_json_text(it), value))
			hoy_json_remove(arr, it);
	}
	if (arr && !arr->child)
		hoy_json_unset(rec, key);
}

static int note_item(struct hoy_table *t, struct hoy_json *rec, const struct hoy_item *item)
{
	struct hoy_json *names = hoy_json_need(&t->doc, rec, "big-data-names", HOY_JSON_ARRAY);
	struct hoy_json *sizes = hoy_json_need(&t->doc, rec, "big-data-sizes", HOY_JSON_OBJECT);
	struct hoy_json *digests = hoy_json_need(&t->doc, rec, "big-data-digests", HOY_JSON_OBJECT);

	if (!names || !sizes || !digests)
		return -ENOMEM;
	if (!hoy_record_has(rec, "big-data-names", item->key) && !hoy_json_set_string(&t->doc, names, NULL, item->key))
		return -ENOMEM;
	return hoy_json_set_int(&t->doc, sizes, item->key, (int64_t)item->len) &&
	       hoy_json_set_string(&t->doc, digests, item->key, item->digest) ? 0 : -ENOMEM;
}

static const char *primary_digest(const struct hoy_image_new *n)
{
	if (n->digest)
		return n->digest;
	for (size_t i = 0; i < n->n_items; i++)
		if (!strncmp(n->items[i].key, "manifest", 8))
			return n->items[i].digest;
	return NULL;
}

static int new_record(struct hoy_table *t, const struct hoy_image_new *n, struct hoy_json **ret)
{
	struct hoy_json_doc *d = &t->doc;
	struct hoy_json *rec = hoy_json_put(d, d->root, NULL, hoy_json_new(d, HOY_JSON_OBJECT));
	const char *digest = primary_digest(n);
	char buf[HOY_TIME_SIZE];

	if (!rec || !hoy_json_set_string(d, rec, "id", n->id) || (digest && !hoy_json_set_string(d, rec, "digest", digest)) ||
	    (n->layer && !hoy_json_set_string(d, rec, "layer", n->layer)) ||
	    !hoy_json_set_string(d, rec, "created", hoy_time_format(n->created, buf)))
		return -ENOMEM;
	*ret = rec;
	return 0;
}

static int check_new(const struct hoy_store *s, const struct hoy_image_new *n, const struct hoy_json *rec, struct hoy_err *err)
{
	if (!hoy_is_id(n->id) || (n->digest && !hoy_is_digest(n->digest)))
		return hoy_fail(err, EINVAL, "image id or digest is malformed");
	if (n->layer && !hoy_layer_get(s, n->layer))
		return hoy_fail(err, ENOENT, "layer '%s' of a new image is not in the store", n->layer);
	if (rec && !(same(hoy_json_str(rec, "layer"), n->layer) || (!hoy_json_str(rec, "layer") && !n->layer)))
		return hoy_fail(err, EEXIST, "image '%.12s' exists with another top layer", n->id);
	return 0;
}

static int copy_items(struct hoy_store *s, const struct hoy_place *from, const struct hoy_json *rec, struct hoy_err *err)
{
	const char *id = hoy_json_str(rec, "id");
	int r = 0;

	HOY_JSON_EACH(key, hoy_json_get(rec, "big-data-names")) {
		struct hoy_item item = { .key = hoy_json_text(key) ?: "" };
		cleanup_free char *data = NULL;

		if (!r)
			r = hoy_item_read(from->imagesfd, id, item.key, &data, &item.len, err);
		item.data = data;
		if (!r)
			r = hoy_item_write(s->dest->imagesfd, id, &item, err);
	}
	return r;
}

static int copy_record(struct hoy_store *s, struct hoy_json **rec, struct hoy_err *err)
{
	struct hoy_table *t = &s->dest->images;
	struct hoy_json *copy = hoy_json_copy(&t->doc, *rec);
	int r;

	if (!copy || !hoy_json_put(&t->doc, t->doc.root, NULL, copy))
		return hoy_fail_oom(err);
	t->dirty = true;
	r = hoy_store_save(s, err);
	if (!r)
		*rec = copy;
	return r;
}

/* An image of an additional store that is to be changed: its record and items, not its layers, become ours. */
static int make_own(struct hoy_store *s, struct hoy_json **rec, struct hoy_err *err)
{
	const struct hoy_place *p = hoy_image_place(s, *rec);
	const char *id = hoy_json_str(*rec, "id");
	int r;

	if (!p->rdonly)
		return 0;
	if (!id || !hoy_is_id(id))
		return hoy_fail(err, HOY_EFORMAT, "the additional image store '%s' has an image with a malformed id", p->root);
	r = hoy_pending_begin(s, id, NULL, false, err);
	if (r < 0)
		return r;
	r = copy_items(s, p, *rec, err);
	if (!r)
		r = copy_record(s, rec, err);
	if (r < 0)
		hoy_remove_tree(s->dest->imagesfd, id);
	hoy_pending_end(s);
	return r;
}

/* Items, then the record, *REC if it is there already. */
static int put_image(struct hoy_store *s, struct hoy_place *p, const struct hoy_image_new *n, struct hoy_json **rec, struct hoy_err *err)
{
	struct hoy_table *t = &p->images;
	const char *meta;
	int r = 0;

	for (size_t i = 0; i < n->n_items && !r; i++)
		r = hoy_item_write(p->imagesfd, n->id, &n->items[i], err);
	if (r < 0)
		return r;
	t->dirty = true;
	r = *rec ? 0 : new_record(t, n, rec);
	for (size_t i = 0; i < n->n_items && !r; i++)
		r = note_item(t, *rec, &n->items[i]);
	meta = n->metadata ? n->metadata : hoy_json_get(*rec, "metadata") ? "" : "{}";
	if (!r && *meta && !hoy_json_set_string(&t->doc, *rec, "metadata", meta))
		r = -ENOMEM;
	return r < 0 ? hoy_fail_oom(err) : hoy_store_save(s, err);
}

int hoy_image_create(struct hoy_store *s, const struct hoy_image_new *n, struct hoy_json **ret, struct hoy_err *err)
{
	struct hoy_json *rec = hoy_image_get(s, n->id);
	bool is_new = !rec;
	struct hoy_place *p;
	int r = check_new(s, n, rec, err);

	if (!r && rec)
		r = make_own(s, &rec, err);
	p = rec ? hoy_image_place(s, rec) : s->dest;
	if (!r && is_new)
		r = hoy_pending_begin(s, n->id, NULL, false, err);
	if (r < 0)
		return r;
	r = put_image(s, p, n, &rec, err);
	if (r < 0 && is_new)
		hoy_remove_tree(p->imagesfd, n->id);
	hoy_pending_end(s);
	if (!r && ret)
		*ret = rec;
	return r;
}

int hoy_image_add_name(struct hoy_store *s, struct hoy_json **rec, const char *name, struct hoy_err *err)
{
	struct hoy_place *p;
	int r = make_own(s, rec, err);

	if (r < 0)
		return r;
	HOY_PLACES_EACH(o, s)
		for (struct hoy_json *i = o->rdonly ? NULL : o->images.doc.root->child; i; i = i->next)
			if (i != *rec && hoy_record_has(i, "names", name)) {
				drop(i, "names", name);
				o->images.dirty = true;
			}
	p = hoy_image_place(s, *rec);
	p->images.dirty = true;
	if (prepend(&p->images, *rec, "names", name) < 0 || prepend(&p->images, *rec, "names-history", name) < 0)
		return hoy_fail_oom(err);
	return hoy_store_save(s, err);
}

static int read_only(const struct hoy_json *rec, const char *what, struct hoy_err *err)
{
	return hoy_fail(err, EROFS, "cannot %s read-only image \"%s\"", what, hoy_json_str(rec, "id"));
}

int hoy_image_remove_name(struct hoy_store *s, struct hoy_json *rec, const char *name, struct hoy_err *err)
{
	struct hoy_place *p = hoy_image_place(s, rec);

	if (p->rdonly)
		return read_only(rec, "untag", err);
	drop(rec, "names", name);
	p->images.dirty = true;
	return hoy_store_save(s, err);
}

int hoy_image_delete_layers(struct hoy_store *s, const char *top, struct hoy_strv *removed, struct hoy_err *err)
{
	struct hoy_json *rec;

	while (top && (rec = hoy_layer_get(s, top)) && !hoy_layer_place(s, rec)->rdonly && !hoy_layer_used(s, top)) {
		const char *parent = hoy_json_str(rec, "parent");
		char old[HOY_PENDING_SIZE] = "";
		int r;

		if (parent)
			hoy_pending_next(s, parent, old);
		r = hoy_layer_delete(s, top, err);
		if (r < 0)
			return r;
		hoy_pending_passed(s, old);
		if (removed)
			hoy_strv_push(removed, top);
		top = parent;
	}
	return 0;
}

/* The disk is full: the record, taken out of its list, can be saved once something of the image is gone. */
static int make_room(struct hoy_store *s, const struct hoy_place *p, const struct hoy_json *rec, struct hoy_err *err)
{
	const char *id = hoy_json_str(rec, "id"), *top = hoy_json_str(rec, "layer");
	int r;

	if (hoy_is_id(id))
		hoy_remove_tree(p->imagesfd, id);
	r = hoy_store_save(s, err);
	if (hoy_is_full(r) && top && hoy_layer_get(s, top) && hoy_is_id(top) && !hoy_layer_place(s, hoy_layer_get(s, top))->rdonly &&
	    !hoy_layer_used(s, top))
		r = hoy_layer_make_room(s, top, err);
	return r;
}

int hoy_image_delete(struct hoy_store *s, const char *id, struct hoy_strv *removed, struct hoy_err *err)
{
	struct hoy_json *rec = hoy_image_get(s, id);
	struct hoy_place *p;
	int r, left = 0;

	if (!rec)
		return hoy_fail(err, ENOENT, "image '%s' is not in the store", id);
	p = hoy_image_place(s, rec);
	if (p->rdonly)
		return read_only(rec, "remove", err);
	for (struct hoy_json *c = hoy_first(s->ctrs); c; c = hoy_next(s->ctrs, c))
		if (same(hoy_json_str(c, "image"), id))
			return hoy_fail(err, HOY_EBUSY, "image used by %s: image is in use by a container",
					hoy_json_str(c, "id"));
	/* On a full disk there is no room for the note; that must not keep anybody from making some. */
	if (hoy_is_id(id))
		(void)hoy_pending_begin(s, id, hoy_json_str(rec, "layer"), true, NULL);
	hoy_json_remove(p->images.doc.root, rec);
	p->images.dirty = true;
	r = hoy_store_save(s, err);
	if (hoy_is_full(r))
		r = make_room(s, p, rec, err);
	if (!r && hoy_is_id(id))
		left = hoy_remove_tree(p->imagesfd, id);
	for (const struct hoy_json *m = hoy_json_get(rec, "mapped-layers") ? hoy_json_get(rec, "mapped-layers")->child : NULL;
	     m && !r; m = m->next)
		if (hoy_json_text(m) && hoy_layer_get(s, m->str) && !hoy_layer_used(s, m->str))
			r = hoy_layer_delete(s, m->str, err);
	if (!r)
		r = hoy_image_delete_layers(s, hoy_json_str(rec, "layer"), removed, err);
	/* After an error, also one that does not stop us, the note stays: the next writer goes on. */
	if (!r && !left)
		hoy_pending_end(s);
	s->pending[0] = '\0';
	return r;
}

/* ---- looking up ---- */

static struct hoy_json *by_name(const struct hoy_store *s, const char *name, const char **matched)
{
	for (struct hoy_json *r = hoy_image_first(s); r; r = hoy_image_next(s, r))
		HOY_JSON_EACH(n, hoy_json_get(r, "names"))
			if (same(hoy_json_text(n), name)) {
				*matched = n->str;
				return r;
			}
	return NULL;
}

static struct hoy_json *by_digest(const struct hoy_store *s, const char *digest)
{
	for (struct hoy_json *r = hoy_image_first(s); r; r = hoy_image_next(s, r)) {
		if (same(hoy_json_str(r, "digest"), digest))
			return r;
		HOY_JSON_EACH(d, hoy_json_get(r, "big-data-digests"))
			if (!strncmp(d->key, "manifest", 8) && same(hoy_json_text(d), digest))
				return r;
	}
	return NULL;
}

/* Repository@digest: an image with that digest whose names include the repository. */
static struct hoy_json *by_repo_digest(const struct hoy_store *s, const struct hoy_ref *ref)
{
	cleanup_free char *repo = hoy_ref_repo(ref);
	struct hoy_json *r = by_digest(s, ref->digest);
	size_t len = repo ? strlen(repo) : 0;

	HOY_JSON_EACH(n, hoy_json_get(r, "names-history") ? hoy_json_get(r, "names-history") : hoy_json_get(r, "names")) {
		const char *have = hoy_json_text(n), *at = have ? strstr(have, repo) : NULL;

		if (len && at && (at == have || (at[-1] == '/' && !ref->domain)) && (at[len] == ':' || at[len] == '@'))
			return r;
	}
	return NULL;
}

/* How many stored names end in "/PATH:TAG"; the first of them, and its image unless they are of several (NULL). */
static size_t by_suffix(const struct hoy_store *s, const char *tail, struct hoy_json **ret, const char **matched)
{
	size_t len = strlen(tail), found = 0;

	*ret = NULL;
	for (struct hoy_json *r = hoy_image_first(s); r; r = hoy_image_next(s, r))
		HOY_JSON_EACH(n, hoy_json_get(r, "names")) {
			if (!hoy_json_text(n) || n->len <= len || n->str[n->len - len - 1] != '/' ||
			    strcmp(n->str + n->len - len, tail))
				continue;
			*ret = !found || *ret == r ? r : NULL;
			if (!found++)
				*matched = n->str;
		}
	return found;
}

static int by_short_name(const struct hoy_store *s, const struct hoy_ref *ref, struct hoy_json **ret,
			 const char **matched, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	cleanup_free char *tail = hoy_asprintf("%s:%s", ref->path, ref->tag ? ref->tag : "latest");
	struct hoy_json *only, *first;
	size_t n;
	int r;

	if (!tail)
		return hoy_fail_oom(err);
	/* One name can be meant: no need to know in which order the registries would be asked. */
	n = by_suffix(s, tail, &only, matched);
	r = n > 1 ? hoy_short_name_local(ref, &names, err) : 0;
	if (r < 0)
		return r;
	for (size_t i = 0; i < names.n; i++)
		if ((first = by_name(s, names.v[i], matched))) {
			*ret = first;
			return 0;
		}
	*ret = only;
	return only ? 0 : -ENOENT;
}

static int by_prefix(const struct hoy_store *s, const char *prefix, struct hoy_json **ret, struct hoy_err *err)
{
	size_t len = strlen(prefix);

	*ret = NULL;
	if (!len || len > HOY_ID_LEN || !hoy_is_hex(prefix, len))
		return -ENOENT;
	for (struct hoy_json *r = hoy_image_first(s); r; r = hoy_image_next(s, r)) {
		const char *id = hoy_json_str(r, "id");

		if (!id || strncmp(id, prefix, len))
			continue;
		if (*ret)
			return hoy_fail(err, HOY_EAMBIGUOUS, "more than one image's id begins with '%s'", prefix);
		*ret = r;
	}
	return *ret ? 0 : -ENOENT;
}

int hoy_image_find(const struct hoy_store *s, const char *name, struct hoy_json **ret, const char **ret_name,
		   struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_free char *full = NULL;
	const char *id = strncmp(name, "sha256:", 7) ? name : name + 7, *matched = NULL;
	struct hoy_json *found = hoy_is_id(id) ? hoy_image_get(s, id) : NULL;
	int r = found ? 0 : -ENOENT;

	if (r && hoy_is_digest(name))
		r = (found = by_digest(s, name)) ? 0 : -ENOENT;
	if (r && (found = by_name(s, name, &matched)))
		r = 0;
	if (r && !hoy_ref_parse(&ref, name, NULL)) {
		if (ref.digest) {
			r = (found = by_repo_digest(s, &ref)) ? 0 : -ENOENT;
		} else if (!ref.domain) {
			r = by_short_name(s, &ref, &found, &matched, err);
		} else if (!hoy_ref_normalize(&ref) && (full = hoy_ref_string(&ref))) {
			r = (found = by_name(s, full, &matched)) ? 0 : -ENOENT;
		}
	}
	if (r == -ENOENT)
		r = by_prefix(s, id, &found, err);
	if (r == -ENOENT)
		return hoy_fail(err, ENOENT, "%s: image not known", name);
	if (r < 0)
		return r;
	*ret = found;
	if (ret_name)
		*ret_name = matched;
	return 0;
}

int hoy_image_item(const struct hoy_store *s, const char *id, const char *key, char **ret_data, size_t *ret_len, struct hoy_err *err)
{
	int r = -ENOENT;

	HOY_PLACES_EACH(p, s)
		if (r == -ENOENT && (!s->n_extra || hoy_table_get(&p->images, id)))
			r = hoy_item_read(p->imagesfd, id, key, ret_data, ret_len, err);
	return r;
}

int hoy_image_manifest(const struct hoy_store *s, const struct hoy_json *rec, struct hoy_json_doc *doc, struct hoy_err *err)
{
	const char *id = hoy_json_str(rec, "id");
	cleanup_free char *data = NULL;
	size_t len;
	int r = hoy_image_item(s, id, "manifest", &data, &len, err);

	return r < 0 ? r : hoy_json_parse(doc, data, len, "manifest", err);
}

int hoy_image_config(const struct hoy_store *s, const struct hoy_json *rec, struct hoy_json_doc *doc, struct hoy_err *err)
{
	const char *id = hoy_json_str(rec, "id");
	cleanup_json struct hoy_json_doc man = HOY_JSON_DOC_INIT;
	cleanup_free char *data = NULL, *guess = hoy_asprintf("sha256:%s", id);
	const char *key = guess;
	size_t len;
	int r;

	/* The id is the config's digest for all images that are not made of TOC layers: spares reading the manifest. */
	if (!guess)
		return hoy_fail_oom(err);
	if (!hoy_record_has(rec, "big-data-names", guess)) {
		r = hoy_image_manifest(s, rec, &man, err);
		if (r < 0)
			return r;
		key = hoy_json_str(hoy_json_get(man.root, "config"), "digest");
		if (!key)
			return hoy_fail(err, HOY_EFORMAT, "the manifest of image '%.12s' names no config", id);
	}
	r = hoy_image_item(s, id, key, &data, &len, err);
	return r < 0 ? r : hoy_json_parse(doc, data, len, "image config", err);
}

int64_t hoy_image_size(const struct hoy_store *s, const struct hoy_json *rec)
{
	int64_t sum = 0;
	int depth = 0;

	HOY_JSON_EACH(n, hoy_json_get(rec, "big-data-sizes")) {
		int64_t v;

		if (hoy_json_int64(n, &v))
			sum += v;
	}
	for (const char *id = hoy_json_str(rec, "layer"); id && depth++ < 1000;) {
		const struct hoy_json *l = hoy_layer_get(s, id);

		sum += hoy_json_int(l, "diff-size", 0);
		id = hoy_json_str(l, "parent");
	}
	HOY_JSON_EACH(m, hoy_json_get(rec, "mapped-layers"))
		sum += hoy_json_int(hoy_layer_get(s, hoy_json_text(m) ?: ""), "diff-size", 0);
	return sum;
}
