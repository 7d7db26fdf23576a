#include "common/store/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/fd.h"

#define TABLE_MAX ((size_t)256 << 20)

/* Members in the order in which the library writes them; unknown ones follow. */
static const char *const layer_order[] = { "id", "names", "parent", "metadata", "mountlabel", "created",
	"compressed-diff-digest", "compressed-size", "diff-digest", "toc-digest", "diff-size", "compression", "uidset",
	"gidset", "flags", "uidmap", "gidmap", "readonly", "big-data-names", NULL };
static const char *const image_order[] = { "id", "digest", "names", "names-history", "layer", "mapped-layers", "metadata",
	"big-data-names", "big-data-sizes", "big-data-digests", "created", "flags", NULL };
static const char *const ctr_order[] = { "id", "names", "image", "layer", "metadata", "big-data-names", "big-data-sizes",
	"big-data-digests", "created", "uidmap", "gidmap", "flags", NULL };
static const char *const mount_order[] = { "id", "path", "count", NULL };

static const struct {
	const char *file, *vol;
	const char *const *order;
} kinds[] = {
	[HOY_TABLE_LAYERS] = { "layers.json", "volatile-layers.json", layer_order },
	[HOY_TABLE_IMAGES] = { "images.json", NULL, image_order },
	[HOY_TABLE_CONTAINERS] = { "containers.json", "volatile-containers.json", ctr_order },
	[HOY_TABLE_MOUNTS] = { NULL, "mountpoints.json", mount_order },
};

static const char *file_of(const struct hoy_table *t) { return t->vol ? kinds[t->kind].vol : kinds[t->kind].file; }

static void forget_index(struct hoy_table_index *x)
{
	free(x->slots);
	*x = (struct hoy_table_index){ 0 };
}

void hoy_table_release(struct hoy_table *t)
{
	forget_index(&t->index);
	hoy_json_release(&t->doc);
}

/* A volatile file may be so after a power cut: ext4 notes the size when it begins to write, the blocks when it has. */
static bool all_zeros(const char *data, size_t len)
{
	return !data[0] && !memcmp(data, data + 1, len - 1);
}

int hoy_table_load(struct hoy_table *t, struct hoy_err *err)
{
	cleanup_free char *data = NULL;
	size_t len = 0;
	int r = t->dirfd < 0 ? -ENOENT : hoy_read_file(t->dirfd, file_of(t), TABLE_MAX, &data, &len, err);

	hoy_table_release(t);
	t->dirty = false;
	t->zeros = !r && len && t->vol && all_zeros(data, len);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT || !len || t->zeros) {
		if (err)
			*err = (struct hoy_err)HOY_ERR_INIT;
		t->doc.root = hoy_json_new(&t->doc, HOY_JSON_ARRAY);
		return t->doc.root ? 0 : hoy_fail_oom(err);
	}
	r = hoy_json_adopt(&t->doc, steal_ptr(&data), len, file_of(t), err);
	if (r < 0)
		return r;
	if (t->doc.root->type == HOY_JSON_NULL) /* Go writes a nil slice so */
		t->doc.root->type = HOY_JSON_ARRAY;
	if (t->doc.root->type != HOY_JSON_ARRAY)
		return hoy_fail(err, HOY_EFORMAT, "'%s' of the store is no list", file_of(t));
	HOY_JSON_EACH(rec, t->doc.root)
		if (!hoy_json_is(rec, HOY_JSON_OBJECT))
			return hoy_fail(err, HOY_EFORMAT, "'%s' of the store has an entry that is no record", file_of(t));
	return 0;
}

static bool in_order(const char *const *order, const char *key)
{
	for (; *order; order++)
		if (!strcmp(*order, key))
			return true;
	return false;
}

static void write_record(struct hoy_jw *w, const struct hoy_json *rec, const char *const *order)
{
	hoy_jw_object(w, NULL);
	for (const char *const *k = order; *k; k++) {
		const struct hoy_json *m = hoy_json_get(rec, *k);

		if (m)
			hoy_jw_value(w, *k, m);
	}
	HOY_JSON_EACH(it, rec)
		if (!in_order(order, it->key))
			hoy_jw_value(w, it->key, it);
	hoy_jw_end_object(w);
}

int hoy_table_save(struct hoy_table *t, const char *root, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(TABLE_MAX);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	int r;

	if (!t->dirty)
		return 0;
	hoy_jw_array(&w, NULL);
	HOY_JSON_EACH(rec, t->doc.root)
		write_record(&w, rec, kinds[t->kind].order);
	hoy_jw_end_array(&w);
	r = b.error ? -b.error : hoy_replace_locked(t->dirfd, file_of(t), b.data, b.len, 0600, !t->vol);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot write '%s' of the store '%s'", file_of(t), root);
	t->dirty = t->zeros = false;
	return !t->vol;
}

bool hoy_table_has(const struct hoy_table *t, const struct hoy_json *rec)
{
	HOY_JSON_EACH(r, t->doc.root)
		if (r == rec)
			return true;
	return false;
}

static struct hoy_json *walk(const struct hoy_json *root, const char *id)
{
	for (struct hoy_json *r = root->child; r; r = r->next) {
		const char *have = hoy_json_str(r, "id");

		if (have && !strcmp(have, id))
			return r;
	}
	return NULL;
}

/* Where ID is, or the free place where it belongs. FNV-1a, since ids are whatever the file says. */
static struct hoy_json **slot(const struct hoy_table_index *x, const char *id)
{
	unsigned h = 2166136261u;

	for (const char *c = id; *c; c++)
		h = (h ^ (unsigned char)*c) * 16777619u;
	for (;; h++) {
		struct hoy_json **at = &x->slots[h & x->mask];

		if (!*at || !strcmp(hoy_json_str(*at, "id"), id))
			return at;
	}
}

#define WALKS 3 /* building the table costs about as much as two walks */

/* Is there an index that holds? Without memory there is none. */
static bool indexed(struct hoy_table_index *x, struct hoy_json *root)
{
	unsigned size = 64;

	if (root->changed) {
		forget_index(x);
		root->changed = false;
	}
	if (x->slots || ++x->asked < WALKS)
		return x->slots;
	while (size < 2 * root->count)
		size *= 2;
	x->slots = calloc(size, sizeof(*x->slots));
	x->mask = size - 1;
	for (struct hoy_json *r = x->slots ? root->child : NULL; r; r = r->next) {
		const char *id = hoy_json_str(r, "id");
		struct hoy_json **at = id ? slot(x, id) : NULL;

		if (at && !*at)
			*at = r;
	}
	return x->slots;
}

struct hoy_json *hoy_table_get(const struct hoy_table *t, const char *id)
{
	/* The index is what a reader may change of a table. */
	struct hoy_table_index *x = (struct hoy_table_index *)&t->index;

	if (!t->doc.root || !id)
		return NULL;
	return indexed(x, t->doc.root) ? *slot(x, id) : walk(t->doc.root, id);
}
