#include "cmd-image/transfer/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/cli/opts.h"
#include "common/data/base64.h"
#include "common/data/json.h"

#define FILE_MAX ((size_t)64 << 20)

/* The record of NAME: a name counts more than the beginning of an id. */
static int find(const struct hoy_json *root, const char *name, const struct hoy_json **ret, struct hoy_err *err)
{
	const char *id = hoy_json_str(hoy_json_get(root, "nameToID"), name);
	const struct hoy_json *found = NULL;

	HOY_JSON_EACH(s, hoy_json_get(root, "secrets")) {
		if (id ? strcmp(s->key, id) : strncmp(s->key, name, strlen(name)))
			continue;
		if (found)
			return hoy_fail(err, EINVAL, "more than one result secret with prefix %s", name);
		found = s;
	}
	*ret = found;
	return found && *name ? 0 : hoy_fail(err, ENOENT, "no such secret: no secret with name or id \"%s\"", name);
}

int secret_read(const char *name, char **ret, struct hoy_err *err)
{
	struct hoy_storage_conf conf = { 0 };
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT, data = HOY_JSON_DOC_INIT;
	cleanup_free char *path = NULL, *file = NULL;
	const struct hoy_json *s = NULL;
	const char *driver, *dir;
	size_t len;
	int r = hoy_storage_conf_load(&conf, &hoy_globals.storage, err);

	if (r < 0)
		return r;
	path = hoy_path_join(conf.graphroot, "secrets/secrets.json");
	hoy_storage_conf_release(&conf);
	r = path ? hoy_json_load(&doc, AT_FDCWD, path, FILE_MAX, err) : hoy_fail_oom(err);
	if (r == -ENOENT)
		return hoy_fail(err, ENOENT, "no such secret: no secret with name or id \"%s\"", name);
	if (!r)
		r = find(doc.root, name, &s, err);
	if (r < 0)
		return r;
	driver = hoy_json_str(s, "driver") ?: "";
	dir = hoy_json_str(hoy_json_get(s, "driverOptions"), "path");
	if (strcmp(driver, "file") || !dir)
		return hoy_fail(err, HOY_EUNSUPPORTED, "the secret '%s' is kept by the driver '%s', which is not supported (file)", name, driver);
	file = hoy_path_join(dir, "secretsdata.json");
	r = file ? hoy_json_load(&data, AT_FDCWD, file, FILE_MAX, err) : hoy_fail_oom(err);
	if (!r && hoy_unbase64_new(hoy_json_str(data.root, s->key) ?: "", ret, &len) < 0)
		r = hoy_fail(err, HOY_EFORMAT, "the secret '%s' cannot be read in '%s'", name, file);
	return r;
}
