#include "cmd-image/transfer/store_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/cli/opts.h"
#include "common/data/digest.h"
#include "common/store/images.h"

/* SPEC is "[driver@]root[+run][:options]" and is cut up. */
static int parse_place(struct store_name *n, char *spec, struct hoy_err *err)
{
	char *driver = NULL, *root = spec, *at = strchr(spec, '@'), *opts, *run;

	if (at) {
		*at = '\0';
		driver = spec;
		root = at + 1;
	}
	opts = strchr(root, ':');
	if (opts)
		*opts++ = '\0';
	run = strchr(root, '+');
	if (run)
		*run++ = '\0';
	if ((driver && !*driver) || *root != '/' || (run && *run != '/'))
		return hoy_fail(err, EINVAL, "a store is [driver@/graphroot+/runroot:options], with absolute paths");
	n->at = (struct hoy_storage_args){ .root = root, .runroot = run ? run : n->at.runroot, .driver = driver ? driver : n->at.driver };
	n->own_opts = true;
	if (opts)
		hoy_strv_split(&n->at.opts, opts, ',');
	return n->at.opts.error ? hoy_fail_oom(err) : 0;
}

int store_name_parse(struct store_name *n, const char *text, struct hoy_err *err)
{
	const char *name = text, *end = *text == '[' ? strchr(text, ']') : NULL, *at;
	int r;

	*n = (struct store_name){ .at = hoy_globals.storage };
	if (*text == '[' && !end)
		return hoy_fail(err, EINVAL, "'%s' has no ] behind its store", text);
	if (end) {
		n->hold = strndup(text + 1, end - text - 1);
		r = n->hold ? parse_place(n, n->hold, err) : hoy_fail_oom(err);
		if (r < 0)
			return r;
		name = end + 1;
	}
	at = strrchr(name, '@');
	if (at && hoy_is_id(at + 1)) {
		n->id = strdup(at + 1);
		n->name = at > name ? strndup(name, at - name) : NULL;
		return n->id && (n->name || at == name) ? 0 : hoy_fail_oom(err);
	}
	if (!*name)
		return hoy_fail(err, EINVAL, "'containers-storage:%s' names no image", text);
	n->name = strdup(name);
	return n->name ? 0 : hoy_fail_oom(err);
}

int store_name_find(const struct store_name *n, struct hoy_store *s, struct hoy_json **ret, struct hoy_err *err)
{
	struct hoy_json *named;
	int r = hoy_image_find(s, n->id ? n->id : n->name, ret, NULL, err);

	if (!r && n->id && n->name && (hoy_image_find(s, n->name, &named, NULL, NULL) < 0 || named != *ret))
		r = hoy_fail(err, ENOENT, "image %.12s has not the name '%s'", n->id, n->name);
	return r == -ENOENT ? -(err->code = HOY_ENOIMAGE) : r;
}

void store_name_release(struct store_name *n)
{
	if (n->own_opts)
		hoy_strv_release(&n->at.opts);
	free(n->name);
	free(n->id);
	free(n->hold);
	*n = (struct store_name){ 0 };
}
