/* cmd-image/transfer/layout.c: an image leaves an OCI layout, with the blobs that only it has. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd-image/transfer/transport.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"
#include "common/data/digest.h"

#define DEPTH 4

/* Blob DIGEST as a manifest; what is none, or isn't there, has nothing beneath. BLOBS is blobs/sha256. */
static int read_manifest(int blobs, const char *digest, struct manifest *ret)
{
	cleanup_free char *data = NULL;
	size_t len;
	int r = hoy_read_beneath(blobs, digest + 7, MANIFEST_MAX, &data, &len, NULL);

	return r < 0 ? r : manifest_parse(ret, data, len, NULL, NULL);
}

/* DIGEST and all that it stands for, into RET. */
static void collect(int blobs, const char *digest, int depth, struct hoy_strv *ret)
{
	cleanup_manifest struct manifest m = { 0 };

	if (strncmp(digest, "sha256:", 7) || !hoy_is_digest(digest))
		return;
	hoy_strv_push(ret, digest);
	if (depth == DEPTH || read_manifest(blobs, digest, &m) < 0)
		return;
	if (manifest_is_list(&m)) {
		for (size_t i = 0; i < m.n; i++)
			collect(blobs, m.v[i].digest, depth + 1, ret);
		return;
	}
	hoy_strv_push(ret, m.config.digest);
	for (size_t i = 0; i < m.n; i++)
		hoy_strv_push(ret, m.v[i].digest);
}

static int write_index(int dir, const struct hoy_json_doc *index, const struct hoy_json *without, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	int r;

	hoy_jw_object(&w, NULL);
	HOY_JSON_EACH(it, index->root) {
		if (strcmp(it->key, "manifests")) {
			hoy_jw_value(&w, it->key, it);
			continue;
		}
		hoy_jw_array(&w, "manifests");
		HOY_JSON_EACH(d, it)
			if (d != without)
				hoy_jw_value(&w, NULL, d);
		hoy_jw_end_array(&w);
	}
	hoy_jw_end_object(&w);
	r = b.error ? -b.error : hoy_replace_file(dir, "index.json", b.data, b.len, 0644, false);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write 'index.json'") : 0;
}

/* Remove the blobs of the image D that no other one of INDEX has. */
static void drop_blobs(int blobs, const struct hoy_json_doc *index, const struct hoy_json *d)
{
	cleanup_strv struct hoy_strv mine = HOY_STRV_INIT, others = HOY_STRV_INIT;

	HOY_JSON_EACH(it, hoy_json_get(index->root, "manifests"))
		collect(blobs, hoy_json_str(it, "digest") ?: "", 0, it == d ? &mine : &others);
	hoy_strv_sort(&others);
	if (others.error)
		return;
	for (size_t i = 0; i < mine.n; i++)
		if (!hoy_strv_has_sorted(&others, mine.v[i]))
			unlinkat(blobs, mine.v[i] + 7, 0);
}

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
	/* The index first: a blob that is left is garbage, an image whose blobs are gone is damage. */
	if (!r)
		r = write_index(dir, &index, d, err);
	/* Blobs that layouts share stay: others may need them. */
	if (!r && !o->shared_blobs) {
		cleanup_fd int blobs = hoy_open_beneath(dir, "blobs/sha256", O_RDONLY | O_DIRECTORY, 0, HOY_BENEATH);

		if (blobs >= 0)
			drop_blobs(blobs, &index, d);
	}
	return r;
}
