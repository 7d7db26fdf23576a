#include "cmd-image/transfer/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/stream.h"
#include "common/base/err.h"
#include "common/data/digest.h"
#include "common/data/time.h"

#define INSTANCES "instances.json"
#define ARTIFACTS "artifacts.json"
/* As podman writes a list that was just made; its digest stays the record's. */
#define EMPTY "{\"schemaVersion\":2,\"mediaType\":\"" T_V2S2_LIST "\",\"manifests\":null}"

void index_release(struct index *x)
{
	hoy_json_release(&x->doc);
	hoy_json_release(&x->from);
	hoy_json_release(&x->artifacts);
}

int index_facts_check(const struct index_facts *f, struct hoy_err *err)
{
	for (size_t i = 0; i < f->annotations.n; i++)
		if (!strchr(f->annotations.v[i], '='))
			return hoy_fail(err, EINVAL, "no value given for annotation \"%s\"", f->annotations.v[i]);
	return 0;
}

int index_init(struct index *x)
{
	int r = hoy_json_parse(&x->doc, EMPTY, strlen(EMPTY), "list", NULL);

	if (!r)
		r = hoy_json_parse(&x->from, "{}", 2, "instances", NULL);
	return r ? r : hoy_json_parse(&x->artifacts, "{}", 2, "artifacts", NULL);
}

/* Item KEY of the list, "{}" if it has none: of a list that was pulled nobody said where its images are. */
static int load_item(struct index *x, const struct hoy_store *s, const struct hoy_json *rec, const char *key, struct hoy_json_doc *ret,
		     struct hoy_err *err)
{
	cleanup_free char *data = NULL;
	size_t len = 0;
	int r = hoy_record_has(rec, "big-data-names", key) ? hoy_image_item(s, x->id, key, &data, &len, err) : 0;

	return r ? r : hoy_json_parse(ret, data ? data : "{}", data ? len : 2, key, err);
}

int index_load(struct index *x, const struct hoy_store *s, const char *name, struct hoy_err *err)
{
	cleanup_manifest struct manifest m = { 0 };
	cleanup_free char *data = NULL;
	const char *full = NULL;
	struct hoy_json *rec;
	size_t len = 0;
	int r = hoy_image_find(s, name, &rec, &full, err);

	if (r < 0)
		return hoy_fail(err, -r, "%s: image not known", name);
	snprintf(x->id, sizeof(x->id), "%s", hoy_json_str(rec, "id"));
	r = hoy_image_item(s, x->id, "manifest", &data, &len, err);
	if (!r)
		r = manifest_parse(&m, data, len, NULL, err);
	if (!r && !manifest_is_list(&m))
		r = hoy_fail(err, HOY_EUNSUPPORTED, "%s: image is not a manifest list", full ? full : x->id);
	if (!r)
		r = hoy_json_parse(&x->doc, data, len, "manifest", err);
	if (!r)
		r = load_item(x, s, rec, INSTANCES, &x->from, err);
	return r ? r : load_item(x, s, rec, ARTIFACTS, &x->artifacts, err);
}

/* ---- entries ---- */

static struct hoy_json *entries(const struct index *x) { return hoy_json_get(x->doc.root, "manifests"); }

struct hoy_json *index_find(const struct index *x, const char *digest)
{
	for (struct hoy_json *e = entries(x) ? entries(x)->child : NULL; e; e = e->next) {
		const char *have = hoy_json_str(e, "digest");

		if (have && !strcmp(have, digest))
			return e;
	}
	return NULL;
}

const char *index_from(const struct index *x, const char *digest) { return hoy_json_str(x->from.root, digest); }

static bool set(struct index *x, struct hoy_json *obj, const char *key, const char *value)
{
	return !value || !*value || hoy_json_set_string(&x->doc, obj, key, value);
}

static int set_all(struct index *x, struct hoy_json *obj, const char *key, const struct hoy_strv *v)
{
	struct hoy_json *arr = v->n ? hoy_json_put(&x->doc, obj, key, hoy_json_new(&x->doc, HOY_JSON_ARRAY)) : NULL;

	for (size_t i = 0; i < v->n; i++)
		if (!arr || !hoy_json_set_string(&x->doc, arr, NULL, v->v[i]))
			return -ENOMEM;
	return 0;
}

int index_add(struct index *x, const struct manifest *m, const char *from, const struct hoy_json *config, const struct hoy_json *platform)
{
	static const char *const keys[][2] = { { "architecture", "architecture" }, { "os", "os" }, { "os.version", "os.version" },
					       { "variant", "variant" } };
	struct hoy_json *list = hoy_json_need(&x->doc, x->doc.root, "manifests", HOY_JSON_ARRAY), *e = index_find(x, m->digest), *p;
	const struct hoy_json *features = hoy_json_get(config, "os.features");

	if (!e)
		e = list ? hoy_json_put(&x->doc, list, NULL, hoy_json_new(&x->doc, HOY_JSON_OBJECT)) : NULL;
	if (!e || !set(x, e, "mediaType", manifest_type(m->kind)) || !set(x, e, "digest", m->digest) ||
	    !hoy_json_set_int(&x->doc, e, "size", (int64_t)m->len))
		return -ENOMEM;
	p = hoy_json_put(&x->doc, e, "platform", platform ? hoy_json_copy(&x->doc, platform) : hoy_json_new(&x->doc, HOY_JSON_OBJECT));
	for (size_t i = 0; p && config && i < ARRAY_SIZE(keys); i++)
		if (!set(x, p, keys[i][0], hoy_json_str(config, keys[i][1])))
			return -ENOMEM;
	if (p && features && !hoy_json_put(&x->doc, p, "os.features", hoy_json_copy(&x->doc, features)))
		return -ENOMEM;
	if (!p || !hoy_json_set_string(&x->from, x->from.root, m->digest, from))
		return -ENOMEM;
	return 0;
}

bool index_drop(struct index *x, const char *digest)
{
	struct hoy_json *e = index_find(x, digest);

	if (!e)
		return false;
	hoy_json_remove(entries(x), e);
	hoy_json_unset(x->from.root, digest);
	return true;
}

static int add_annotations(struct index *x, struct hoy_json *obj, const struct hoy_strv *v)
{
	for (size_t i = 0; i < v->n; i++) {
		struct hoy_json *a = hoy_json_need(&x->doc, obj, "annotations", HOY_JSON_OBJECT);
		cleanup_free char *key = strndup(v->v[i], strcspn(v->v[i], "="));

		if (!a || !key || !hoy_json_set_string(&x->doc, a, key, strchr(v->v[i], '=') + 1))
			return -ENOMEM;
	}
	return 0;
}

static bool says_platform(const struct index_facts *f)
{
	const char *const texts[] = { f->arch, f->os, f->variant, f->os_version };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i] && *texts[i])
			return true;
	return f->os_features.n || f->features.n;
}

int index_annotate(struct index *x, struct hoy_json *entry, const struct index_facts *f)
{
	struct hoy_json *p;

	if (!entry)
		return add_annotations(x, x->doc.root, &f->annotations);
	/* An artifact may have none. */
	if (!says_platform(f))
		return add_annotations(x, entry, &f->annotations);
	p = hoy_json_need(&x->doc, entry, "platform", HOY_JSON_OBJECT);
	/* Another architecture has other variants. */
	if (p && f->arch && *f->arch && !f->variant)
		hoy_json_unset(p, "variant");
	if (!p || !set(x, p, "architecture", f->arch) || !set(x, p, "os", f->os) || !set(x, p, "variant", f->variant) ||
	    !set(x, p, "os.version", f->os_version) || set_all(x, p, "os.features", &f->os_features) < 0 ||
	    set_all(x, p, "features", &f->features) < 0)
		return -ENOMEM;
	return add_annotations(x, entry, &f->annotations);
}

/* ---- as text ---- */

static void put(struct hoy_jw *w, const struct hoy_json *obj, const char *key)
{
	const struct hoy_json *v = hoy_json_get(obj, key);

	if (!v || v->type == HOY_JSON_NULL || ((v->type == HOY_JSON_ARRAY || v->type == HOY_JSON_OBJECT) && !v->child) ||
	    (v->type == HOY_JSON_STRING && !v->len))
		return;
	if (v->type == HOY_JSON_OBJECT && !strcmp(key, "annotations"))
		hoy_jw_sorted(w, key, v);
	else
		hoy_jw_value(w, key, v);
}

static void put_platform(struct hoy_jw *w, const struct hoy_json *p, bool docker)
{
	hoy_jw_object(w, "platform");
	hoy_jw_string(w, "architecture", hoy_json_str(p, "architecture"));
	hoy_jw_string(w, "os", hoy_json_str(p, "os"));
	put(w, p, "os.version");
	put(w, p, "os.features");
	put(w, p, "variant");
	if (docker)
		put(w, p, "features");
	hoy_jw_end_object(w);
}

static void put_all(struct hoy_jw *w, const struct hoy_json *obj, const char *const *keys)
{
	for (; *keys; keys++)
		put(w, obj, *keys);
}

static void put_entry(struct hoy_jw *w, const struct hoy_json *e, bool docker)
{
	static const char *const docker_keys[] = { "mediaType", "size", "digest", "urls", NULL };
	static const char *const oci_keys[] = { "mediaType", "digest", "size", "urls", "annotations", "data", NULL };

	hoy_jw_object(w, NULL);
	put_all(w, e, docker ? docker_keys : oci_keys);
	if (docker || hoy_json_get(e, "platform"))
		put_platform(w, hoy_json_get(e, "platform"), docker);
	if (!docker)
		put(w, e, "artifactType");
	hoy_jw_end_object(w);
}

int index_write(struct hoy_buf *b, const struct index *x, enum man_kind kind)
{
	struct hoy_jw w = hoy_jw_on(b, NULL);
	bool docker = kind == MAN_V2S2_LIST;

	hoy_jw_object(&w, NULL);
	hoy_jw_int(&w, "schemaVersion", 2);
	hoy_jw_string(&w, "mediaType", manifest_type(kind));
	if (!docker)
		put(&w, x->doc.root, "artifactType");
	/* None yet, or none any more: Go tells these apart. */
	if (hoy_json_is(entries(x), HOY_JSON_ARRAY)) {
		hoy_jw_array(&w, "manifests");
		HOY_JSON_EACH(e, entries(x))
			put_entry(&w, e, docker);
		hoy_jw_end_array(&w);
	} else {
		hoy_jw_null(&w, "manifests");
	}
	if (!docker) {
		put(&w, x->doc.root, "subject");
		put(&w, x->doc.root, "annotations");
	}
	hoy_jw_end_object(&w);
	return b->error ? -b->error : 0;
}

/* A descriptor in a list, or the one that the list is about. */
static void show_desc(struct hoy_jw *w, const char *key, const struct hoy_json *d, const struct hoy_json *files)
{
	static const char *const first[] = { "mediaType", "size", "digest", "urls", NULL }, *const last[] = { "annotations", "artifactType", "data", NULL };
	const struct hoy_json *made_of = hoy_json_get(files, hoy_json_str(d, "digest") ?: "");

	hoy_jw_object(w, key);
	put_all(w, d, first);
	put_platform(w, hoy_json_get(d, "platform"), true);
	put_all(w, d, last);
	if (made_of && made_of->child)
		hoy_jw_value(w, "files", made_of);
	hoy_jw_end_object(w);
}

void index_show(struct hoy_jw *w, const struct hoy_json *list, const struct hoy_json *files)
{
	static const char *const head[] = { "schemaVersion", "mediaType", "artifactType", NULL };
	const struct hoy_json *all = hoy_json_get(list, "manifests");

	hoy_jw_object(w, NULL);
	put_all(w, list, head);
	if (all && all->child)
		hoy_jw_array(w, "manifests");
	else
		hoy_jw_null(w, "manifests");
	HOY_JSON_EACH(e, all)
		show_desc(w, NULL, e, files);
	if (all && all->child)
		hoy_jw_end_array(w);
	if (hoy_json_get(list, "subject"))
		show_desc(w, "subject", hoy_json_get(list, "subject"), NULL);
	put(w, list, "annotations");
	hoy_jw_end_object(w);
}

/* ---- in the store ---- */

/* Go's maps are sorted, and left out where they are empty. */
static void put_artifacts(struct hoy_jw *w, const struct hoy_json *root)
{
	static const char *const maps[] = { "manifests", "files", "config", "layers", "detached", "blobs" };

	hoy_jw_object(w, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		const struct hoy_json *m = hoy_json_get(root, maps[i]);

		if (m && m->child)
			hoy_jw_sorted(w, maps[i], m);
	}
	hoy_jw_end_object(w);
}

int index_save(struct index *x, struct hoy_store *s, const char *name, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf list = HOY_BUF_INIT(MANIFEST_MAX), from = HOY_BUF_INIT(MANIFEST_MAX), made = HOY_BUF_INIT(HOY_BUF_OURS);
	char digests[3][SHA_DIGEST_SIZE], empty[SHA_DIGEST_SIZE];
	struct hoy_item items[3];
	struct hoy_image_new n = { .id = x->id, .digest = empty, .metadata = "", .created = hoy_now(), .items = items, .n_items = 3 };
	struct hoy_jw w = hoy_jw_on(&from, NULL), aw = hoy_jw_on(&made, NULL);
	struct hoy_json *rec = NULL;
	bool fresh = !*x->id;
	int r = fresh ? hoy_random_id(x->id) : 0;

	/* podman notes the list's own id when it saves a list for the second time, which is as soon as there is an image in it. */
	if (!r && (!fresh || (entries(x) && entries(x)->child)) && !hoy_json_set_string(&x->from, x->from.root, "", x->id))
		r = -ENOMEM;
	if (!r && fresh && !(entries(x) && entries(x)->child) && !hoy_json_get(x->doc.root, "annotations"))
		hoy_buf_puts(&list, EMPTY);
	else if (!r)
		r = index_write(&list, x, MAN_OCI_INDEX);
	if (!r)
		hoy_jw_sorted(&w, NULL, x->from.root);
	put_artifacts(&aw, x->artifacts.root);
	if (r < 0 || list.error || from.error || made.error)
		return hoy_fail_oom(err);
	items[0] = (struct hoy_item){ "manifest", list.data, list.len, digests[0] };
	items[1] = (struct hoy_item){ INSTANCES, from.data, from.len, digests[1] };
	items[2] = (struct hoy_item){ ARTIFACTS, made.data, made.len, digests[2] };
	for (size_t i = 0; i < n.n_items; i++)
		sha_of(items[i].data, items[i].len, digests[i]);
	sha_of(EMPTY, strlen(EMPTY), empty);
	r = hoy_image_create(s, &n, &rec, err);
	return r || !name ? r : hoy_image_add_name(s, &rec, name, err);
}
