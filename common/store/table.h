/*
 * common/store/table.h: one JSON file of records, as the store keeps layers, images, containers and mounts in them
 * (formats/storage.md 2.5, 3). A record is the parsed object itself, so that members which we do not know are carried on.
 */
#pragma once
#include <stdbool.h>

#include "common/data/json.h"

struct hoy_err;

enum hoy_table_kind { HOY_TABLE_LAYERS, HOY_TABLE_IMAGES, HOY_TABLE_CONTAINERS, HOY_TABLE_MOUNTS };

struct hoy_table {
	struct hoy_json_doc doc; /* root is an array, never NULL once loaded */
	int dirfd;		 /* where the file is, not ours; -1: nowhere, and the table is empty */
	enum hoy_table_kind kind;
	bool vol; /* volatile: another file, that needs not outlast a power cut */
	bool dirty;
	bool zeros; /* what a power cut left of a volatile file, which podman cannot read; here it has no records */
	struct hoy_table_index { /* private: see hoy_table_get() */
		struct hoy_json **slots;
		unsigned mask, asked;
	} index;
};
static inline struct hoy_table hoy_table_of(enum hoy_table_kind kind, bool vol)
{
	return (struct hoy_table){ .dirfd = -1, .kind = kind, .vol = vol };
}
void hoy_table_release(struct hoy_table *t);

/* Read the file; a missing or empty one has no records. -HOY_EFORMAT if it is no list of objects. */
int hoy_table_load(struct hoy_table *t, struct hoy_err *err);
/*
 * Write it if it is dirty (ROOT is for messages): whole, on one line, members in the library's order, by a rename that the
 * directory must be synced for.
 * 1: written so that it must last, 0: it need not, negative: an error.
 */
int hoy_table_save(struct hoy_table *t, const char *root, struct hoy_err *err);

/* Is REC one of its records? */
bool hoy_table_has(const struct hoy_table *t, const struct hoy_json *rec);
/* Is somebody at making or deleting this layer, or has died at it? */
static inline bool hoy_layer_incomplete(const struct hoy_json *rec)
{
	return hoy_json_bool(hoy_json_get(rec, "flags"), "incomplete", false);
}
/*
 * The record with that id, of two the first; NULL if there is none, or ID is NULL. The first questions walk the list; who asks
 * more gets a hash table, made anew when records have come or gone.
 */
struct hoy_json *hoy_table_get(const struct hoy_table *t, const char *id);
