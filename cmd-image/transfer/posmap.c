#include "cmd-image/transfer/posmap.h"

#include <errno.h>
#include <stdlib.h>

#define FREE UINT64_MAX
#define GONE (UINT64_MAX - 1)

struct posmap_slot {
	uint64_t key, pos; /* pos FREE: never used, GONE: taken out */
};

static size_t start(const struct posmap *m, uint64_t key)
{
	return (key * 0x9e3779b97f4a7c15) >> 20 & (m->cap - 1);
}

static struct posmap_slot *find(const struct posmap *m, uint64_t key)
{
	if (!m->cap)
		return NULL;
	for (size_t i = start(m, key); m->slots[i].pos != FREE; i = (i + 1) & (m->cap - 1))
		if (m->slots[i].key == key && m->slots[i].pos != GONE)
			return &m->slots[i];
	return NULL;
}

bool posmap_get(const struct posmap *m, uint64_t key, uint64_t *ret)
{
	const struct posmap_slot *s = find(m, key);

	if (s)
		*ret = s->pos;
	return s;
}

static void insert(struct posmap *m, uint64_t key, uint64_t pos)
{
	size_t i = start(m, key);

	while (m->slots[i].pos != FREE)
		i = (i + 1) & (m->cap - 1);
	m->slots[i] = (struct posmap_slot){ key, pos };
	m->n++;
}

static int grow(struct posmap *m)
{
	struct posmap to = { NULL, 0, m->cap ? 2 * m->cap : 1024 };

	to.slots = malloc(to.cap * sizeof(*to.slots));
	if (!to.slots)
		return -ENOMEM;
	for (size_t i = 0; i < to.cap; i++)
		to.slots[i].pos = FREE;
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].pos < GONE)
			insert(&to, m->slots[i].key, m->slots[i].pos);
	free(m->slots);
	*m = to;
	return 0;
}

int posmap_put(struct posmap *m, uint64_t key, uint64_t pos)
{
	struct posmap_slot *s = find(m, key);

	if (s) {
		s->pos = pos;
		return 0;
	}
	if (m->n >= m->cap / 4 * 3 && grow(m) < 0)
		return -ENOMEM;
	insert(m, key, pos);
	return 0;
}

void posmap_del(struct posmap *m, uint64_t key)
{
	struct posmap_slot *s = find(m, key);

	if (s)
		s->pos = GONE;
}

void posmap_release(struct posmap *m)
{
	free(m->slots);
	*m = (struct posmap){ NULL, 0, 0 };
}
