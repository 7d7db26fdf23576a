#include "common/base/links.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

struct linked {
	dev_t dev;
	ino_t ino;
	char *name;
};

static int by_inode(const void *a, const void *b)
{
	const struct linked *x = a, *y = b;

	return x->ino != y->ino ? (x->ino < y->ino ? -1 : 1) : x->dev != y->dev ? (x->dev < y->dev ? -1 : 1) : 0;
}

static void free_linked(void *p)
{
	free(((struct linked *)p)->name);
	free(p);
}

int hoy_links_name(struct hoy_links *l, const struct stat *st, const char *name, const char **ret)
{
	struct linked key = { st->st_dev, st->st_ino, NULL }, *neu, **found;

	*ret = NULL;
	if (st->st_nlink < 2)
		return 0;
	found = tfind(&key, &l->root, by_inode);
	if (found) {
		*ret = (*found)->name;
		return 0;
	}
	neu = malloc(sizeof(*neu));
	if (!neu)
		return -ENOMEM;
	*neu = key;
	neu->name = strdup(name);
	if (neu->name && tsearch(neu, &l->root, by_inode))
		return 0;
	free_linked(neu);
	return -ENOMEM;
}

void hoy_links_release(struct hoy_links *l)
{
	tdestroy(l->root, free_linked);
	l->root = NULL;
}
