/* cmd-image/leftovers.c: files beside the records that no record names: what processes left that died. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/check.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/data/digest.h"
#include "common/store/layers.h"

static int add(struct report *r, const char *dir, const char *name)
{
	cleanup_free char *path = hoy_path_join(dir, name);

	return path && report_add(r, LEFTOVER, path) ? 0 : -ENOMEM;
}

/* "ID" or "ID.tar-split.gz": the id into RET. */
static bool names_id(const char *name, char ret[HOY_ID_SIZE])
{
	size_t len = strlen(name);

	if (len != HOY_ID_LEN && (len < HOY_ID_LEN || strcmp(name + HOY_ID_LEN, ".tar-split.gz")))
		return false;
	memcpy(ret, name, HOY_ID_LEN);
	ret[HOY_ID_LEN] = '\0';
	return hoy_is_id(ret);
}

typedef struct hoy_json *get_record(const struct hoy_store *s, const char *id);

/* NAME in the place P, as a report says it: below the graphroot, or with its whole path in an imagestore. */
static char *path_in(const struct hoy_store *s, const struct hoy_place *p, const char *suffix)
{
	return p == &s->own ? hoy_asprintf("%s%s", p->driver, suffix) : hoy_asprintf("%s/%s%s", p->root, p->driver, suffix);
}

/* Ids without a record and half-written files in P's DRIVER-WHAT, and half-written items in the ids' directories. */
static int scan(const struct hoy_store *s, const struct hoy_place *p, const char *what, get_record *known, struct report *ret)
{
	cleanup_free char *dir = path_in(s, p, what);
	int fd = s->graphfd < 0 || !dir ? -1 : openat(s->graphfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = dir ? 0 : -ENOMEM;
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char id[HOY_ID_SIZE];
	struct dirent *e;

	while (d && !r && (e = readdir(d))) {
		if (!strncmp(e->d_name, ".tmp-", 5))
			r = add(ret, dir, e->d_name);
		else if (names_id(e->d_name, id) && !known(s, id))
			r = add(ret, dir, e->d_name);
		else if (hoy_is_id(e->d_name)) {
			int sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			cleanup_dir DIR *items = sub < 0 ? NULL : fdopendir(sub);
			cleanup_free char *path = hoy_path_join(dir, e->d_name);
			struct dirent *i;

			while (items && path && !r && (i = readdir(items)))
				if (!strncmp(i->d_name, ".tmp-", 5))
					r = add(ret, path, i->d_name);
		}
	}
	return r;
}

/* Short links that lead to no directory, of layers that have no record either. */
static int scan_links(const struct hoy_store *s, const struct hoy_place *p, struct report *ret)
{
	cleanup_free char *dir = path_in(s, p, "/l");
	int fd = p->homefd < 0 || s->vfs ? -1 : openat(p->homefd, "l", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = dir ? 0 : -ENOMEM;
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && !r && (e = readdir(d))) {
		char to[128], id[HOY_ID_SIZE];
		ssize_t n = readlinkat(dirfd(d), e->d_name, to, sizeof(to) - 1);

		if (n <= 0)
			continue;
		to[n] = '\0';
		if (n != 3 + HOY_ID_LEN + 5 || strncmp(to, "../", 3) || strcmp(to + 3 + HOY_ID_LEN, "/diff"))
			continue;
		memcpy(id, to + 3, HOY_ID_LEN);
		id[HOY_ID_LEN] = '\0';
		if (!hoy_layer_get(s, id) && !hoy_exists(p->homefd, id))
			r = add(ret, dir, e->d_name);
	}
	return r;
}

static int scan_tempdirs(const char *dir, int dirfd, const char *root, struct report *ret)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	cleanup_free char *path = hoy_path_join(dir, root);
	int r = dirfd < 0 ? 0 : hoy_tempdir_dead(dirfd, root, &names);

	for (size_t i = 0; i < names.n && !r; i++)
		r = path ? add(ret, path, names.v[i]) : -ENOMEM;
	return r;
}

static int scan_place(const struct hoy_store *s, const struct hoy_place *p, struct report *ret)
{
	cleanup_free char *meta = path_in(s, p, "-layers"), *home = path_in(s, p, "");
	int r = meta && home ? scan(s, p, "-layers", hoy_layer_get, ret) : -ENOMEM;

	if (!r)
		r = scan(s, p, "-images", hoy_image_get, ret);
	if (!r && p == &s->own)
		r = scan(s, p, "-containers", hoy_container_get, ret);
	if (!r)
		r = scan_links(s, p, ret);
	/* Whoever keeps all others waiting removes them when giving the lock back; telling the dead from the living takes a while. */
	if (r || (p->layers_lock.held && p->layers_lock.write))
		return r;
	r = scan_tempdirs(meta, p->layersfd, "tmp", ret);
	return r ? r : scan_tempdirs(home, p->driverfd, "tempdirs", ret);
}

int find_leftovers(const struct hoy_store *s, struct report *ret, struct hoy_err *err)
{
	int r = 0;

	HOY_PLACES_EACH(p, s)
		if (!r && !p->rdonly)
			r = scan_place(s, p, ret);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot look through the store '%s'", s->conf.graphroot) : 0;
}

int drop_leftover(struct hoy_store *s, const char *path, struct hoy_err *err)
{
	const char *name = strrchr(path, '/') + 1;
	int r;

	/* In an imagestore a directory of the layer's was told apart. */
	if (*path != '/' && strstr(path, "-layers/") && hoy_is_id(name))
		r = hoy_layer_discard(s, name);
	else
		r = hoy_remove_tree(s->graphfd, path);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot remove '%s' of the store '%s'", path, s->conf.graphroot) : 0;
}
