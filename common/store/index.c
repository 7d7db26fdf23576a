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

static int add(struct hoy_index *x, const struct hoy_table *t)
{
	size_t n = t->doc.root ? t->doc.root->count : 0;
	struct hoy_indexed *p = reallocarray(x->v, x->n + n + 1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	x->v = p;
	for (struct hoy_json *r = n ? t->doc.root->child : NULL; r; r = r->next)
		if (hoy_json_str(r, "id"))
			x->v[x->n] = (struct hoy_indexed){ hoy_json_str(r, "id"), r, x->n }, x->n++;
	return 0;
}

static int sort(struct hoy_index *x, int r)
{
	size_t w = 0;

	if (r < 0)
		hoy_index_release(x);
	if (x->n)
		qsort(x->v, x->n, sizeof(*x->v), by_id_and_place);
	for (size_t i = 0; i < x->n; i++)
		if (!w || strcmp(x->v[w - 1].id, x->v[i].id))
			x->v[w++] = x->v[i];
	x->n = w;
	return r;
}

int hoy_index_make(struct hoy_index *x, const struct hoy_table *tables, size_t n)
{
	int r = 0;

	*x = (struct hoy_index){ 0 };
	for (size_t i = 0; i < n && !r; i++)
		r = add(x, &tables[i]);
	return sort(x, r);
}

int hoy_index_layers(struct hoy_index *x, const struct hoy_store *s)
{
	int r = 0;

	*x = (struct hoy_index){ 0 };
	HOY_PLACES_EACH(p, s)
		for (int i = 0; i < 2 && !r; i++)
			r = add(x, &p->layers[i]);
	return sort(x, r);
}

int hoy_index_images(struct hoy_index *x, const struct hoy_store *s)
{
	int r = 0;

	*x = (struct hoy_index){ 0 };
	HOY_PLACES_EACH(p, s)
		if (!r)
			r = add(x, &p->images);
	return sort(x, r);
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
