#include "common/conf/containers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/strv.h"
#include "common/conf/dirs.h"
#include "common/conf/dropins.h"
#include "common/conf/toml.h"

/* The {append=true} (or false) that an array of attributes may carry: 1, 0, or -1 if it has none. */
static int append_mark(const struct hoy_json *arr)
{
	HOY_JSON_EACH(it, arr)
		if (hoy_json_get(it, "append"))
			return hoy_json_bool(it, "append", false);
	return -1;
}

static int merge_array(struct hoy_json_doc *doc, struct hoy_json *into, const struct hoy_json *arr)
{
	struct hoy_json *old = hoy_json_get(into, arr->key), *neu;

	if (append_mark(arr) != 1 || !hoy_json_is(old, HOY_JSON_ARRAY)) {
		neu = hoy_json_put(doc, into, arr->key, hoy_json_new(doc, HOY_JSON_ARRAY));
		old = neu;
	}
	if (!old)
		return -ENOMEM;
	HOY_JSON_EACH(it, arr)
		if (!hoy_json_get(it, "append") && !hoy_json_put(doc, old, NULL, hoy_json_copy(doc, it)))
			return -ENOMEM;
	return 0;
}

static int merge(struct hoy_json_doc *doc, struct hoy_json *into, const struct hoy_json *from)
{
	HOY_JSON_EACH(it, from) {
		struct hoy_json *old = hoy_json_get(into, it->key);
		int r = 0;

		if (it->type == HOY_JSON_ARRAY)
			r = merge_array(doc, into, it);
		else if (it->type == HOY_JSON_OBJECT && hoy_json_is(old, HOY_JSON_OBJECT))
			r = merge(doc, old, it);
		else if (!hoy_json_put(doc, into, it->key, hoy_json_copy(doc, it)))
			r = -ENOMEM;
		if (r < 0)
			return r;
	}
	return 0;
}

static int merge_file(struct hoy_json_doc *doc, const char *path, bool must, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc one = HOY_JSON_DOC_INIT;
	int r;

	if (!must && access(path, F_OK) < 0)
		return 0;
	r = hoy_toml_load(&one, path, err);
	if (!r && merge(doc, doc->root, one.root) < 0)
		r = hoy_fail_oom(err);
	return r;
}

static int merge_dir(struct hoy_json_doc *doc, const char *dir, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv files = HOY_STRV_INIT;
	int r = hoy_dropins(&dir, 1, &files) < 0 ? hoy_fail_oom(err) : 0;

	for (size_t i = 0; i < files.n && !r; i++)
		r = merge_file(doc, files.v[i], false, err);
	return r;
}

static int merge_user(struct hoy_json_doc *doc, struct hoy_err *err)
{
	cleanup_free char *home = hoy_config_home(), *file = NULL, *dir = NULL;
	int r;

	if (!home || !(file = hoy_path_join(home, "containers/containers.conf")) ||
	    !(dir = hoy_path_join(home, "containers/containers.conf.d")))
		return hoy_fail_oom(err);
	r = merge_file(doc, file, false, err);
	return r ? r : merge_dir(doc, dir, err);
}

int hoy_containers_conf_load(struct hoy_json_doc *doc, struct hoy_err *err)
{
	const char *only = getenv("CONTAINERS_CONF"), *over = getenv("CONTAINERS_CONF_OVERRIDE");
	int r = 0;

	doc->root = hoy_json_new(doc, HOY_JSON_OBJECT);
	if (!doc->root)
		return hoy_fail_oom(err);
	if (only && *only) {
		r = merge_file(doc, only, true, err);
	} else {
		r = merge_file(doc, "/usr/share/containers/containers.conf", false, err);
		if (!r)
			r = merge_file(doc, "/etc/containers/containers.conf", false, err);
		if (!r)
			r = merge_dir(doc, "/etc/containers/containers.conf.d", err);
		if (!r && hoy_rootless())
			r = merge_user(doc, err);
	}
	if (!r && over && *over)
		r = merge_file(doc, over, true, err);
	return r;
}
