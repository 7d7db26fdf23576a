/*
 * The records of a store, of any types and in any order: layers, images, containers and mounts, each behind a zero byte.
 * Whoever lists, finds, changes names and saves must neither crash nor make a file that cannot be read again.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/store/containers.h"
#include "common/store/images.h"
#include "common/store/layers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/dev/shm/hoy-fuzz-XXXXXX";

static void remove_store(void) { hoy_remove_tree(AT_FDCWD, dir); }

static struct hoy_store *open_store(void)
{
	static char root[64], run[64];
	static struct hoy_storage_args args = { .root = root, .runroot = run };
	struct hoy_store *s = NULL;

	if (!*root) {
		if (!mkdtemp(dir) || atexit(remove_store))
			abort();
		snprintf(root, sizeof(root), "%s/root", dir);
		snprintf(run, sizeof(run), "%s/run", dir);
	}
	if (hoy_store_open(&s, &args, 0, NULL) < 0)
		abort();
	return s;
}

static void put(int dirfd, const char *name, const uint8_t **data, size_t *left)
{
	const uint8_t *end = memchr(*data, '\0', *left);
	size_t n = end ? (size_t)(end - *data) : *left;
	cleanup_fd int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || hoy_write_full(fd, *data, n) < 0)
		abort();
	*data += n + !!end;
	*left -= n + !!end;
}

static void look(struct hoy_store *s)
{
	for (struct hoy_json *r = hoy_image_first(s); r; r = hoy_image_next(s, r)) {
		struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
		const char *id = hoy_json_str(r, "id");
		struct hoy_json *found;

		(void)hoy_image_size(s, r);
		(void)hoy_image_users(s, id ?: "", NULL);
		if (!hoy_image_manifest(s, r, &doc, NULL))
			hoy_json_release(&doc);
		HOY_JSON_EACH(n, hoy_json_get(r, "names"))
			(void)hoy_image_find(s, hoy_json_text(n) ?: "", &found, NULL, NULL);
	}
	for (struct hoy_json *r = hoy_layer_first(s); r; r = hoy_layer_next(s, r)) {
		(void)hoy_layer_get(s, hoy_json_str(r, "parent"));
		(void)hoy_layer_used(s, hoy_json_str(r, "id") ?: "");
	}
	for (struct hoy_json *r = hoy_first(s->ctrs); r; r = hoy_next(s->ctrs, r)) {
		struct hoy_json *found;

		(void)hoy_container_builds(s, hoy_json_str(r, "id") ?: "");
		(void)hoy_container_find(s, hoy_json_str(r, "id") ?: "", &found, NULL);
	}
}

/* Everything is saved again, as it was read. */
static void change(struct hoy_store *s)
{
	struct hoy_json *r = hoy_image_first(s);
	struct hoy_err err = HOY_ERR_INIT;

	if (r && !hoy_image_add_name(s, &r, "localhost/x:1", &err))
		(void)hoy_image_remove_name(s, r, "localhost/x:1", &err);
	s->own.layers[0].dirty = s->ctrs[0].dirty = s->own.images.dirty = true;
	if (!hoy_store_load_mounts(s, &err))
		s->mounts.dirty = true;
	if (hoy_store_save(s, &err) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hoy_store *s = open_store();
	struct hoy_err err = HOY_ERR_INIT;
	const unsigned all = HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS;

	put(s->own.layersfd, "layers.json", &data, &size);
	put(s->own.imagesfd, "images.json", &data, &size);
	put(s->ctrsfd, "containers.json", &data, &size);
	put(s->mountsfd, "mountpoints.json", &data, &size);
	if (!hoy_store_peek(s, all, &err)) {
		look(s);
		/* It may fail: what is to be cleaned up needs the mounts. */
		if (!hoy_store_lock(s, 0, all, &err)) {
			change(s);
			hoy_store_unlock(s);
		} else if (!err.msg[0]) {
			abort();
		}
		if (hoy_store_peek(s, all, &err))
			abort();
	}
	hoy_store_free(s);
	return 0;
}
