/*
 * common/store/tempdir.h: the pairs lock-N and temp-dir-N of overlay/tempdirs and overlay-layers/tmp, in which layers
 * are built before and torn down after they are part of the store (formats/storage.md 2.7).
 */
#pragma once
#include "common/base/strv.h"
#include "common/store/lock.h"

struct hoy_tempdir {
	int rootfd; /* ours */
	int dirfd;  /* temp-dir-N; -1: none */
	struct hoy_lock lock;
	char num[24];
	int used; /* names handed out by hoy_tempdir_take() */
};
#define HOY_TEMPDIR_INIT { -1, -1, HOY_LOCK_INIT, "", 0 }

/* Make a pair below HOMEFD/ROOT ("tempdirs", "tmp"; made 0700 if missing) and hold its lock. 0 or -errno. */
int hoy_tempdir_new(struct hoy_tempdir *t, int homefd, const char *root);
/* Move NAME of DIRFD into it as K-NAME, to be deleted with it; a missing NAME is fine. */
int hoy_tempdir_take(struct hoy_tempdir *t, int dirfd, const char *name);
/* Remove it with all that is in it. Does nothing to one that was never made. */
void hoy_tempdir_free(struct hoy_tempdir *t);
/* Remove the pairs in HOMEFD/ROOT whose owners died. */
void hoy_tempdir_recover(int homefd, const char *root);
/* The names in HOMEFD/ROOT that belong to pairs whose owners died ("lock-N", "temp-dir-N"), appended to RET; changes nothing. If there seem to be any, it waits 30 ms. */
int hoy_tempdir_dead(int homefd, const char *root, struct hoy_strv *ret);
