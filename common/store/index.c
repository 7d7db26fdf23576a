#include "common/store/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int by_id(const void *a, const void *b)
{
	const struct hoy_indexed *x = a, *y = b;

	return strcmp(x->id, y->id);
}

/* Of equal ids the earlier one first. */
static int by_id_and_place(const void *a, const void *b)
{
	const struct hoy_indexed *x = a, *y = b;
	int r = strcmp(x->id, y->id);

	return r ? r : x->place < y->place ? -1 : x->place > y->place;
}

static size_t count(const struct hoy_table *tables, size_t n)
{
	size_t all = 0;

	for (size_t i = 0; i < n; i++)
		all += tables[i].doc.root ? tables[i].doc.root->count : 0;
	return all;
}

int hoy_index_make(struct hoy_index *x, const struct hoy_table *tables, size_t n)
{
	size_t all = count(tables, n), w = 0;

	*x = (struct hoy_index){ .v = calloc(all + 1, sizeof(*x->v)) };
	if (!x->v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		for (struct hoy_json *r = tables[i].doc.root ? tables[i].doc.root->child : NULL; r; r = r->next)
			if (hoy_json_str(r, "id") && x->n < all)
				x->v[x->n] = (struct hoy_indexed){ hoy_json_str(r, "id"), r, x->n }, x->n++;
	if (x->n)
		qsort(x->v, x->n, sizeof(*x->v), by_id_and_place);
	for (size_t i = 0; i < x->n; i++)
		if (!w || strcmp(x->v[w - 1].id, x->v[i].id))
			x->v[w++] = x->v[i];
	x->n = w;
	return 0;
}

struct hoy_json *hoy_index_get(const struct hoy_index *x, const char *id)
{
	struct hoy_indexed key = { .id = id }, *found;

	found = id && x->n ? bsearch(&key, x->v, x->n, sizeof(key), by_id) : NULL;
	return found ? found->rec : NULL;
}

void hoy_index_release(struct hoy_index *x)
{
	free(x->v);
	*x = (struct hoy_index){ 0 };
}
