/*
 * common/store/pending.h: what is known of an image whose maker or remover was killed.
 *
 * An image's files are there before its record and go after it, and its layers after those. So before the first of
 * these steps an empty file is made in graphroot/hoy/pending/, and removed after the last:
 *
 *	new-ID		the files of image ID are written; without a record they are garbage
 *	gone-ID.LAYER	image ID is removed (".LAYER": its top layer, if it has one); without a record its files are
 *			garbage, and so are that layer and those below it that nobody uses
 *
 * Who makes one holds images.lock for writing. So whoever has that lock next and finds one knows that its maker died.
 */
#pragma once
#include "common/store/store.h"

/* Note that image ID is about to be made (REMOVED: removed). HOY_IMAGES for writing. */
int hoy_pending_begin(struct hoy_store *s, const char *id, const char *layer, bool removed, struct hoy_err *err);
/*
 * Of the image being removed (or whose removal is being finished) the layers from LAYER down come next. The old note goes
 * with hoy_pending_passed(), once the layer above is gone: in between whoever comes after us needs both. OLD is "" without one.
 */
void hoy_pending_next(struct hoy_store *s, const char *layer, char old[HOY_PENDING_SIZE]);
void hoy_pending_passed(struct hoy_store *s, const char *old);
/* It is done, or undone. */
void hoy_pending_end(struct hoy_store *s);
/* Finish what dead processes left; called by hoy_store_lock(), with HOY_LAYERS and HOY_IMAGES for writing. */
void hoy_pending_finish(struct hoy_store *s);
