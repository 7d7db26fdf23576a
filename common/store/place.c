#include "common/store/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fd.h"

void hoy_place_init(struct hoy_place *p)
{
	*p = (struct hoy_place){
		.rootfd = -1, .driverfd = -1, .homefd = -1, .layersfd = -1, .imagesfd = -1,
		.layers_lock = HOY_LOCK_INIT, .images_lock = HOY_LOCK_INIT,
		.layers = { hoy_table_of(HOY_TABLE_LAYERS, false), hoy_table_of(HOY_TABLE_LAYERS, true) },
		.images = hoy_table_of(HOY_TABLE_IMAGES, false),
		.trash = HOY_TEMPDIR_INIT,
	};
	hoy_place_forget(p);
}

void hoy_place_close(struct hoy_place *p)
{
	hoy_tempdir_free(&p->trash);
	hoy_table_release(&p->layers[0]);
	hoy_table_release(&p->layers[1]);
	hoy_table_release(&p->images);
	hoy_lock_close(&p->layers_lock);
	hoy_lock_close(&p->images_lock);
	hoy_close(p->rootfd);
	if (p->homefd != p->driverfd)
		hoy_close(p->homefd);
	hoy_close(p->driverfd);
	hoy_close(p->layersfd);
	hoy_close(p->imagesfd);
	free(p->root);
}

int hoy_place_dir(const char *root, int dirfd, const char *name, mode_t mode, enum hoy_place_how how, int *ret, struct hoy_err *err)
{
	int fd;

	if (dirfd == -1)
		return 0;
	fd = how == HOY_PLACE_MAKE ? hoy_open_dir_p(dirfd, name, mode) : openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (how != HOY_PLACE_MAKE && fd < 0)
		fd = -errno;
	if (how != HOY_PLACE_MAKE && fd == -ENOENT)
		return 0;
	if (fd < 0)
		return hoy_fail_errno(err, -fd, "cannot open '%s' of the store '%s'", name, root);
	*ret = fd;
	return 0;
}

int hoy_place_lock(const char *root, int dirfd, const char *name, enum hoy_place_how how, struct hoy_lock *l, struct hoy_err *err)
{
	int r;

	if (dirfd == -1)
		return 0;
	if (how == HOY_PLACE_MAKE) {
		r = hoy_lock_open(l, dirfd, name, false);
	} else {
		/* Only to read the stamp, and to lock for reading if need be. */
		r = how == HOY_PLACE_FOREIGN ? hoy_lock_open(l, dirfd, name, true) : -EROFS;
		if (r == -EROFS || r == -EACCES || r == -EPERM)
			r = (l->fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC)) < 0 ? -errno : 0;
		if (r == -ENOENT)
			r = 0;
	}
	return r < 0 ? hoy_fail_errno(err, -r, "cannot open '%s' of the store '%s'", name, root) : 0;
}

static int open_home(struct hoy_place *p, enum hoy_place_how how, struct hoy_err *err)
{
	bool vfs = !strcmp(p->driver, "vfs");
	int r = hoy_place_dir(p->root, p->rootfd, p->driver, vfs ? 0700 : 0755, how, &p->driverfd, err);

	p->homefd = p->driverfd;
	if (!r && vfs)
		r = hoy_place_dir(p->root, p->driverfd, "dir", 0700, how, &p->homefd, err);
	return r;
}

/* "DRIVER-WHAT" */
static int open_named(struct hoy_place *p, int *ret, const char *what, enum hoy_place_how how, struct hoy_err *err)
{
	char name[64];

	snprintf(name, sizeof(name), "%s-%s", p->driver, what);
	return hoy_place_dir(p->root, p->rootfd, name, 0700, how, ret, err);
}

int hoy_place_open(struct hoy_place *p, const char *root, const char *driver, enum hoy_place_how how, struct hoy_err *err)
{
	int fd = how == HOY_PLACE_MAKE ? hoy_open_dir_p(AT_FDCWD, root, 0700) :
					 open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd >= 0 ? 0 : how == HOY_PLACE_MAKE ? fd : -errno;

	p->driver = driver;
	p->rdonly = how == HOY_PLACE_FOREIGN;
	p->rootfd = fd < 0 ? -1 : fd;
	p->root = strdup(root);
	if (!p->root)
		return hoy_fail_oom(err);
	if (r == -ENOENT && how == HOY_PLACE_LOOK)
		return 0;
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot open the %s '%s'", p->rdonly ? "additional image store" : "store", root);
	r = open_home(p, how, err);
	if (!r)
		r = open_named(p, &p->layersfd, "layers", how, err);
	if (!r)
		r = open_named(p, &p->imagesfd, "images", how, err);
	if (!r)
		r = hoy_place_lock(root, p->layersfd, "layers.lock", how, &p->layers_lock, err);
	if (!r)
		r = hoy_place_lock(root, p->imagesfd, "images.lock", how, &p->images_lock, err);
	p->layers[0].dirfd = p->layers[1].dirfd = p->layersfd;
	p->images.dirfd = p->imagesfd;
	return r;
}

void hoy_place_drop_locks(struct hoy_place *p)
{
	hoy_lock_drop(&p->images_lock);
	hoy_lock_drop(&p->layers_lock);
}

/* What another store's writer has not finished, or is deleting, is nothing to build on; and not ours to clean up. */
static void drop_incomplete(struct hoy_table *t)
{
	struct hoy_json *next;

	for (struct hoy_json *r = t->doc.root->child; r; r = next) {
		next = r->next;
		if (hoy_layer_incomplete(r))
			hoy_json_remove(t->doc.root, r);
	}
}

int hoy_place_load_layers(struct hoy_place *p, struct hoy_err *err)
{
	int r = 0;

	hoy_stamp_fresh(&p->layers_lock, &p->layers_stamp);
	for (int i = 0; i < 2 && !r; i++) {
		r = hoy_table_load(&p->layers[i], err);
		if (!r && p->rdonly)
			drop_incomplete(&p->layers[i]);
	}
	return r;
}

int hoy_place_load_images(struct hoy_place *p, struct hoy_err *err)
{
	int r = hoy_stamp_fresh(&p->images_lock, &p->images_stamp) ? 0 : hoy_table_load(&p->images, err);

	/* A stamp that a failed load remembered must not count. */
	if (r < 0)
		p->images_stamp.len = -1;
	return r;
}

void hoy_place_forget(struct hoy_place *p) { p->layers_stamp.len = p->images_stamp.len = -1; }

bool hoy_place_mark(struct hoy_place *p, bool again)
{
	struct hoy_stamp layers, images;

	if (hoy_stamp_read(&p->layers_lock, &layers) < 0 || hoy_stamp_read(&p->images_lock, &images) < 0)
		return false;
	if (again)
		return hoy_stamp_same(&layers, &p->layers_mark) && hoy_stamp_same(&images, &p->images_mark);
	p->layers_mark = layers;
	p->images_mark = images;
	return true;
}

void hoy_place_sync(struct hoy_place *p)
{
	if (p->unsynced_layers)
		(void)fsync(p->layersfd);
	if (p->unsynced_images)
		(void)fsync(p->imagesfd);
	p->unsynced_layers = p->unsynced_images = false;
}
