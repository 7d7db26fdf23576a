/* common/store/images.h: images of the store: found by any of their names, made, named, deleted. */
#pragma once
#include "common/store/bigdata.h"

struct hoy_image_new {
	const char *id;
	const char *digest;   /* of the manifest; NULL: of the first "manifest*" item */
	const char *layer;    /* top layer or NULL */
	const char *metadata; /* NULL: "{}"; "": none */
	int64_t created;      /* ns; from the config */
	const struct hoy_item *items; /* in the order of formats/storage.md 5 */
	size_t n_items;
};
/*
 * Add the image, or overwrite the items of the one that has this id and top layer. HOY_LAYERS is held, HOY_IMAGES for
 * writing. All items are written before the one save of the record. *RET is the record (may be NULL).
 */
int hoy_image_create(struct hoy_store *s, const struct hoy_image_new *n, struct hoy_json **ret, struct hoy_err *err);

/*
 * Give *REC the NAME, taking it from the image that has it; saved. HOY_IMAGES for writing. An image of an additional store
 * becomes one of ours first, with its items but without its layers: then *REC is the new record.
 */
int hoy_image_add_name(struct hoy_store *s, struct hoy_json **rec, const char *name, struct hoy_err *err);
/* Take NAME away; the image stays, if need be without a name. Saved. */
int hoy_image_remove_name(struct hoy_store *s, struct hoy_json *rec, const char *name, struct hoy_err *err);

/*
 * Delete image ID and the layers that only it used, whose ids are appended to REMOVED (may be NULL).
 * Layers, images and containers are held for writing. -HOY_EBUSY if a container uses it.
 */
int hoy_image_delete(struct hoy_store *s, const char *id, struct hoy_strv *removed, struct hoy_err *err);

/* Delete the layer TOP and those below it, as long as nobody uses them. The same locks. */
int hoy_image_delete_layers(struct hoy_store *s, const char *top, struct hoy_strv *removed, struct hoy_err *err);

/*
 * The image that NAME means, as podman resolves it locally: id, name, short name by the search registries, digest,
 * end of a name, unique id prefix. *RET_NAME, if wanted, is the stored name that matched (of the record) or NULL.
 * -ENOENT with podman's sentence, -HOY_EAMBIGUOUS.
 */
int hoy_image_find(const struct hoy_store *s, const char *name, struct hoy_json **ret, const char **ret_name,
		   struct hoy_err *err);
/* Read item KEY of image ID, see hoy_item_read(). */
int hoy_image_item(const struct hoy_store *s, const char *id, const char *key, char **ret_data, size_t *ret_len, struct hoy_err *err);
/* Manifest and config of an image, parsed; DOC is the caller's. The config's bytes are checked against nothing here. */
int hoy_image_manifest(const struct hoy_store *s, const struct hoy_json *rec, struct hoy_json_doc *doc, struct hoy_err *err);
int hoy_image_config(const struct hoy_store *s, const struct hoy_json *rec, struct hoy_json_doc *doc, struct hoy_err *err);
/* Sum of the uncompressed sizes of the image's layers (with versions of other ids) and of its items, in bytes, as podman's SIZE. */
int64_t hoy_image_size(const struct hoy_store *s, const struct hoy_json *rec);
