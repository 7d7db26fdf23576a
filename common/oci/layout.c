#include "common/oci/layout.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/base/beneath.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/strv.h"
#include "common/data/digest.h"

#define DEPTH 4

const char *hoy_layout_name(const struct hoy_json *entry) { return hoy_json_str(hoy_json_get(entry, "annotations"), HOY_REF_NAME); }

bool hoy_layout_digest(const char *digest) { return digest && !strncmp(digest, "sha256:", 7) && hoy_is_digest(digest); }

/* What the blob DIGEST stands for, itself included, into RET. What is no manifest, or isn't there, has nothing beneath. */
static void collect(int blobs, const char *digest, int depth, struct hoy_strv *ret)
{
	static const char *const lists[] = { "manifests", "layers" };
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_free char *data = NULL;
	const char *config;
	size_t len;

	if (!hoy_layout_digest(digest))
		return;
	hoy_strv_push(ret, digest);
	if (depth == DEPTH || hoy_read_beneath(blobs, digest + 7, HOY_LAYOUT_MAX, &data, &len, NULL) < 0 ||
	    hoy_json_parse(&doc, data, len, "manifest", NULL) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		HOY_JSON_EACH(it, hoy_json_get(doc.root, lists[i])) {
			const char *d = hoy_json_str(it, "digest");

			if (i == 0)
				collect(blobs, d, depth + 1, ret);
			else if (hoy_layout_digest(d))
				hoy_strv_push(ret, d);
		}
	config = hoy_json_str(hoy_json_get(doc.root, "config"), "digest");
	if (hoy_layout_digest(config))
		hoy_strv_push(ret, config);
}

static int write_index(int dir, const struct hoy_json *index, const struct hoy_json *without, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_LAYOUT_MAX);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	int r;

	hoy_jw_object(&w, NULL);
	HOY_JSON_EACH(it, index) {
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

int hoy_layout_sweep(int dir, const char *digest, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc index = HOY_JSON_DOC_INIT;
	cleanup_strv struct hoy_strv mine = HOY_STRV_INIT, others = HOY_STRV_INIT;
	cleanup_fd int blobs = hoy_open_beneath(dir, "blobs/sha256", O_RDONLY | O_DIRECTORY, 0, HOY_BENEATH);
	int r = blobs < 0 ? hoy_fail_errno(err, -blobs, "cannot open 'blobs/sha256'") : hoy_json_load(&index, dir, "index.json", HOY_LAYOUT_MAX, err);

	if (r < 0)
		return r;
	collect(blobs, digest, 0, &mine);
	HOY_JSON_EACH(it, hoy_json_get(index.root, "manifests"))
		collect(blobs, hoy_json_str(it, "digest"), 0, &others);
	hoy_strv_sort(&others);
	if (mine.error || others.error)
		return hoy_fail_oom(err);
	for (size_t i = 0; i < mine.n; i++)
		if (!hoy_strv_has_sorted(&others, mine.v[i]))
			unlinkat(blobs, mine.v[i] + 7, 0);
	return 0;
}

int hoy_layout_drop(int dir, const struct hoy_json *index, const struct hoy_json *entry, bool blobs, struct hoy_err *err)
{
	/* The index first: a blob that is left is garbage, an image whose blobs are gone is damage. */
	int r = write_index(dir, index, entry, err);

	return r || !blobs ? r : hoy_layout_sweep(dir, hoy_json_str(entry, "digest") ?: "", err);
}
