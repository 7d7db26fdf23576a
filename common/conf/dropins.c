#include "common/conf/dropins.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"

static const char *name_of(const char *path) { return strrchr(path, '/') + 1; }

static int by_name(const void *a, const void *b) { return strcmp(name_of(*(char *const *)a), name_of(*(char *const *)b)); }

static void add(struct hoy_strv *list, char *path)
{
	for (size_t i = 0; path && i < list->n; i++)
		if (!strcmp(name_of(list->v[i]), name_of(path))) {
			free(list->v[i]);
			list->v[i] = path;
			return;
		}
	hoy_strv_take(list, path);
}

int hoy_dropins(const char *const *dirs, size_t n, struct hoy_strv *ret)
{
	cleanup_strv struct hoy_strv found = HOY_STRV_INIT;

	for (size_t i = 0; i < n; i++) {
		cleanup_dir DIR *d = opendir(dirs[i]);
		struct dirent *e;

		while (d && (e = readdir(d))) {
			size_t len = strlen(e->d_name);

			if (len > 5 && !strcmp(e->d_name + len - 5, ".conf"))
				add(&found, hoy_path_join(dirs[i], e->d_name));
		}
	}
	if (found.n)
		qsort(found.v, found.n, sizeof(*found.v), by_name);
	for (size_t i = 0; i < found.n; i++)
		hoy_strv_push(ret, found.v[i]);
	return found.error || ret->error ? -ENOMEM : 0;
}
