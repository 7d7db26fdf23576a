/* cmd-image/transfer/layout.c: an image leaves an OCI layout, with the blobs that only it has. */
#include "common/oci/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "cmd-image/transfer/transport.h"

int layout_delete(const char *rest, const struct reg_opts *o, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc index = HOY_JSON_DOC_INIT;
	cleanup_free char *path = NULL;
	cleanup_fd int dir = -1;
	const struct hoy_json *d = NULL;
	const char *tag;
	int r;

	layout_split(rest, &path, &tag);
	if (!path)
		return hoy_fail_oom(err);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return hoy_fail_errno(err, errno, "cannot open '%s'", path);
	r = hoy_json_load(&index, dir, "index.json", MANIFEST_MAX, err);
	if (!r)
		r = layout_pick(index.root, path, tag, &d, err);
	/* Blobs that layouts share stay: others may need them. */
	return r ? r : hoy_layout_drop(dir, index.root, d, !o->shared_blobs, err);
}
