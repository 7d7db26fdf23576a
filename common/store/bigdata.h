/* common/store/bigdata.h: the named items of an image or container: manifests, configs, signatures (formats/storage.md 5). */
#pragma once
#include "common/store/store.h"

#define HOY_MANIFEST_MAX ((size_t)4 << 20) /* as containers/image limits manifests and configs */

struct hoy_item {
	const char *key;
	const char *data;
	size_t len;
	const char *digest; /* of the data: the manifest digest for "manifest*", else sha256 */
};

/* File name of KEY in new memory: KEY itself, or '=' and base64 if a byte is outside of ".0-9a-z". NULL without memory. */
char *hoy_item_file(const char *key);
/* Read item KEY of record ID from DIRFD (s->own.imagesfd, s->ctrsfd, s->own.layersfd); *RET_DATA is NUL-terminated, the caller's. */
int hoy_item_read(int dirfd, const char *id, const char *key, char **ret_data, size_t *ret_len, struct hoy_err *err);
/* Write ITEM of record ID atomically. */
int hoy_item_write(int dirfd, const char *id, const struct hoy_item *item, struct hoy_err *err);
