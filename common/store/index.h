/* common/store/index.h: records by id, for those who ask about many: a sorted list, valid until the tables change. */
#pragma once
#include "common/store/store.h"

struct hoy_index {
	struct hoy_indexed {
		const char *id;
		struct hoy_json *rec;
		size_t place;
	} *v;
	size_t n;
};
/* Of the records of N tables (2 for a pair); of two with one id the first counts. 0 or -ENOMEM. */
int hoy_index_make(struct hoy_index *x, const struct hoy_table *tables, size_t n);
/* Of all places' layers, or images. */
int hoy_index_layers(struct hoy_index *x, const struct hoy_store *s);
int hoy_index_images(struct hoy_index *x, const struct hoy_store *s);
struct hoy_json *hoy_index_get(const struct hoy_index *x, const char *id);
void hoy_index_release(struct hoy_index *x);
