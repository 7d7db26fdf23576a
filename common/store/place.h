/*
 * common/store/place.h: one graphroot as a place of images and their layers. A store has its own, may have a second one that
 * receives images (imagestore, formats/storage.md 1.4), and further ones that are only read (additional image stores, 4.8).
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "common/store/lock.h"
#include "common/store/table.h"
#include "common/store/tempdir.h"

struct hoy_place {
	char *root;
	const char *driver;			  /* "overlay" or "vfs", as directories begin */
	bool rdonly;				  /* an additional image store: read, locked for reading, never changed */
	int rootfd, layersfd, imagesfd;		  /* -1: not there */
	int driverfd;				  /* the driver's directory, which has tempdirs */
	int homefd;				  /* where the layers' directories are: the same one, or vfs/dir */
	struct hoy_lock layers_lock, images_lock; /* fd -1: not there, and nobody writes */
	struct hoy_stamp layers_stamp, images_stamp;
	struct hoy_stamp layers_mark, images_mark; /* of hoy_place_mark() */
	struct hoy_table layers[2], images;	   /* [0] stable, [1] volatile */
	struct hoy_tempdir trash;		   /* deferred deletion in overlay/tempdirs */
	bool unsynced_layers, unsynced_images;	   /* a file's rename may not be on the disk yet */
};

enum hoy_place_how {
	HOY_PLACE_MAKE,	    /* create what is missing */
	HOY_PLACE_LOOK,	    /* create nothing; what is missing is empty */
	HOY_PLACE_FOREIGN,  /* additional image store: the directory must be there, lock files are made if they can be */
};

void hoy_place_init(struct hoy_place *p);
/* Open ROOT (a path, copied) with the names of DRIVER (a constant); 0 or a negative error. */
int hoy_place_open(struct hoy_place *p, const char *root, const char *driver, enum hoy_place_how how, struct hoy_err *err);
void hoy_place_close(struct hoy_place *p);
void hoy_place_drop_locks(struct hoy_place *p);

/*
 * Open NAME in DIRFD, a directory or a lock file of the store that messages name by ROOT, as HOW says. 0 or a negative error;
 * *RET, or L's descriptor, is left alone where HOW allows for it to be missing, or DIRFD is -1: then so is what would be in it.
 */
int hoy_place_dir(const char *root, int dirfd, const char *name, mode_t mode, enum hoy_place_how how, int *ret, struct hoy_err *err);
int hoy_place_lock(const char *root, int dirfd, const char *name, enum hoy_place_how how, struct hoy_lock *l, struct hoy_err *err);
/* Load the tables, images only if their stamp is a new one. (layers.json may have been edited by hand: always.) */
int hoy_place_load_layers(struct hoy_place *p, struct hoy_err *err);
int hoy_place_load_images(struct hoy_place *p, struct hoy_err *err);
/* What is in memory is not to be trusted: the next lock reads it again. */
void hoy_place_forget(struct hoy_place *p);
/* Remember both stamps; false if one of them cannot be read, or (AGAIN) is not the one remembered. */
bool hoy_place_mark(struct hoy_place *p, bool again);
/* Make the renames of its files last. */
void hoy_place_sync(struct hoy_place *p);
