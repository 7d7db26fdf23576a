#include "common/store/containers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/data/digest.h"
#include "common/data/time.h"
#include "common/store/layers.h"

static int set_flags(struct hoy_json_doc *d, struct hoy_json *rec, const struct hoy_container_new *n, bool vol)
{
	struct hoy_json *flags = hoy_json_need(d, rec, "flags", HOY_JSON_OBJECT), *opts;
	cleanup_strv struct hoy_strv list = HOY_STRV_INIT;

	if (!flags || !hoy_json_set_string(d, flags, "MountLabel", n->mount_label ? n->mount_label : ""))
		return -ENOMEM;
	if (n->mountopts) {
		opts = hoy_json_need(d, flags, "MountOpts", HOY_JSON_ARRAY);
		hoy_strv_split(&list, n->mountopts, ',');
		for (size_t i = 0; opts && i < list.n; i++)
			if (!hoy_json_set_string(d, opts, NULL, list.v[i]))
				return -ENOMEM;
	}
	if (!hoy_json_set_string(d, flags, "ProcessLabel", n->process_label ? n->process_label : ""))
		return -ENOMEM;
	return !vol || hoy_json_set_bool(d, flags, "Volatile", true) ? 0 : -ENOMEM;
}

int hoy_container_create(struct hoy_store *s, const struct hoy_container_new *n, struct hoy_err *err)
{
	struct hoy_table *t = &s->ctrs[n->vol || s->conf.transient];
	struct hoy_json_doc *d = &t->doc;
	struct hoy_json *rec, *names;
	char buf[HOY_TIME_SIZE];
	int r;

	for (rec = hoy_first(s->ctrs); rec; rec = hoy_next(s->ctrs, rec))
		if ((n->name && hoy_record_has(rec, "names", n->name)) || !strcmp(hoy_json_str(rec, "id") ?: "", n->id))
			return hoy_fail(err, EEXIST,
					"the container name \"%s\" is already in use by %s. You have to remove that container to "
					"be able to reuse that name: that name is already in use, or use --replace to instruct "
					"Podman to do so.", n->name ? n->name : n->id, hoy_json_str(rec, "id"));
	rec = hoy_json_put(d, d->root, NULL, hoy_json_new(d, HOY_JSON_OBJECT));
	if (!rec || !hoy_json_set_string(d, rec, "id", n->id))
		return hoy_fail_oom(err);
	names = n->name ? hoy_json_need(d, rec, "names", HOY_JSON_ARRAY) : NULL;
	if ((n->name && (!names || !hoy_json_set_string(d, names, NULL, n->name))) ||
	    !hoy_json_set_string(d, rec, "image", n->image) || !hoy_json_set_string(d, rec, "layer", n->layer) ||
	    (n->metadata && !hoy_json_set_string(d, rec, "metadata", n->metadata)) ||
	    !hoy_json_set_string(d, rec, "created", hoy_time_format(hoy_now(), buf)) ||
	    (n->maps && hoy_idmaps_put(d, rec, n->maps) < 0) || set_flags(d, rec, n, t == &s->ctrs[1]) < 0)
		return hoy_fail_oom(err);
	t->dirty = true;
	r = hoy_store_save(s, err);
	/* Or it would count as a user of its layer, which the caller is going to delete. */
	if (r < 0)
		hoy_json_remove(d->root, rec);
	return r;
}

static struct hoy_table *table_of(struct hoy_store *s, const struct hoy_json *rec)
{
	return hoy_table_has(&s->ctrs[0], rec) ? &s->ctrs[0] : &s->ctrs[1];
}

int hoy_container_delete(struct hoy_store *s, const char *id, struct hoy_err *err)
{
	struct hoy_json *rec = hoy_container_get(s, id), *link;
	cleanup_free char *layer = NULL, *run = NULL;
	struct hoy_table *t;
	int r;

	if (!rec)
		return hoy_fail(err, ENOENT, "container '%s' is not in the store", id);
	t = table_of(s, rec);
	layer = hoy_json_str(rec, "layer") ? strdup(hoy_json_str(rec, "layer")) : NULL;
	/* The record goes last; meanwhile it must not count as a user of its own layer. */
	link = hoy_json_get(rec, "layer");
	if (link)
		hoy_json_remove(rec, link);
	r = layer && hoy_layer_get(s, layer) ? hoy_layer_delete(s, layer, err) : 0;
	if (link)
		hoy_json_put(&t->doc, rec, "layer", link);
	if (r < 0)
		return r;
	if (hoy_is_id(id)) {
		run = hoy_asprintf("%s/%s-containers/%s", s->conf.runroot, s->own.driver, id);
		hoy_remove_tree(s->ctrsfd, id);
		if (run)
			hoy_remove_tree(AT_FDCWD, run);
	}
	hoy_json_remove(t->doc.root, rec);
	t->dirty = true;
	return hoy_store_save(s, err);
}

static int set_name(struct hoy_table *t, struct hoy_json *rec, const char *name)
{
	struct hoy_json *names = hoy_json_put(&t->doc, rec, "names", hoy_json_new(&t->doc, HOY_JSON_ARRAY));

	t->dirty = true;
	return names && hoy_json_set_string(&t->doc, names, NULL, name) ? 0 : -ENOMEM;
}

int hoy_container_rename(struct hoy_store *s, const char *id, const char *name, struct hoy_err *err)
{
	struct hoy_json *rec = hoy_container_get(s, id), *other, *layer;
	cleanup_free char *lname = hoy_asprintf("%s-layer", name);
	int r;

	if (!rec)
		return hoy_fail(err, ENOENT, "container '%s' is not in the store", id);
	for (other = hoy_first(s->ctrs); other; other = hoy_next(s->ctrs, other))
		if (other != rec && hoy_record_has(other, "names", name))
			return hoy_fail(err, EEXIST, "name \"%s\" is in use: container already exists", name);
	r = lname ? set_name(table_of(s, rec), rec, name) : -ENOMEM;
	layer = hoy_layer_get(s, hoy_json_str(rec, "layer") ?: "");
	if (!r && layer)
		r = set_name(hoy_layer_table(s, layer), layer, lname);
	return r < 0 ? hoy_fail_oom(err) : hoy_store_save(s, err);
}

bool hoy_container_builds(const struct hoy_store *s, const char *id)
{
	char path[HOY_ID_SIZE + 32];

	if (!hoy_is_id(id) || s->ctrsfd < 0)
		return false;
	snprintf(path, sizeof(path), "%s/userdata/buildah.json", id);
	return hoy_exists(s->ctrsfd, path);
}

unsigned hoy_image_users(const struct hoy_store *s, const char *id, unsigned *ret_builds)
{
	unsigned n = 0, builds = 0;

	for (struct hoy_json *c = hoy_first(s->ctrs); c; c = hoy_next(s->ctrs, c)) {
		if (strcmp(hoy_json_str(c, "image") ?: "", id))
			continue;
		n++;
		builds += hoy_container_builds(s, hoy_json_str(c, "id") ?: "");
	}
	if (ret_builds)
		*ret_builds = builds;
	return n;
}
