#include "cmd-image/transfer/layer_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/beneath.h"
#include "common/base/err.h"
#include "common/data/digest.h"
#include "common/store/layers.h"

int layer_files_init(struct layer_files *ret, const struct hoy_store *st, const char *id, struct hoy_err *err)
{
	*ret = (struct layer_files){ .st = st, .id = strdup(id) };
	return ret->id ? hoy_layer_lowers(st, id, &ret->lowers, err) : hoy_fail_oom(err);
}

void layer_files_release(struct layer_files *f)
{
	for (int i = 0; i < f->n_diffs; i++)
		hoy_close(f->diffs[i]);
	hoy_strv_release(&f->lowers);
	free(f->id);
	*f = (struct layer_files){ 0 };
}

int layer_files_open(struct layer_files *f, const char *name)
{
	int fd = -ENOENT;

	/* A mapped copy of a layer has its files in the layers below. */
	for (size_t i = 0; i <= f->lowers.n && fd == -ENOENT; i++) {
		cleanup_fd int own = -1;
		int dir;

		if (i < ARRAY_SIZE(f->diffs) && (int)i < f->n_diffs) {
			dir = f->diffs[i];
		} else {
			dir = own = hoy_layer_open_diff(f->st, i ? f->lowers.v[i - 1] : f->id);
			if (dir >= 0 && i < ARRAY_SIZE(f->diffs) && (int)i == f->n_diffs)
				f->diffs[f->n_diffs++] = steal_fd(&own);
		}
		fd = dir < 0 ? dir : hoy_open_beneath(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, HOY_IN_ROOT);
	}
	return fd;
}

int layer_split_open(const struct hoy_store *st, const char *id)
{
	char name[HOY_ID_SIZE + 20];
	int fd;

	snprintf(name, sizeof(name), "%s.tar-split.gz", id);
	fd = -1;
	errno = ENOENT;
	HOY_PLACES_EACH(p, st)
		if (fd < 0 && errno == ENOENT)
			fd = openat(p->layersfd, name, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
