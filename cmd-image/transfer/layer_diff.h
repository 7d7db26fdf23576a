/*
 * cmd-image/transfer/layer_diff.h: the tar of what a layer changes, from its files (formats/storage.md 4.7), where there is
 * no tar-split: what a container wrote.
 */
#pragma once
#include "cmd-image/transfer/stream.h"
#include "common/proc/idmap.h"
#include "common/store/store.h"

enum diff_how {
	DIFF_UPPER,   /* DIR is an overlay's upper directory: whiteouts and opaque marks are in it */
	DIFF_COMPARE, /* DIR is a whole tree, BELOW[0] the one it was made of: what differs */
	DIFF_ALL,     /* all of DIR */
};

struct diff_time {
	int64_t seconds;
	bool latest; /* an entry that is older keeps its own time */
};

/*
 * A stream of the tar. DIR and the N descriptors BELOW (DIFF_UPPER: the diffs of the layers below) are the stream's from here
 * on. MAPS (copied): DIR's files have the ids that these give to those in the tar, and to those of BELOW. MTIME: what all
 * entries have instead of their own time, or NULL. NULL without memory; what cannot be read is an error of the stream.
 */
struct stream *layer_diff(enum diff_how how, int dir, const struct hoy_idmaps *maps, const struct diff_time *mtime, const int *below, size_t n);
/* Does the upper directory DIR hold directories that were renamed, or files without data: can only a mount tell what is in it? */
bool layer_needs_mount(int dir);
/*
 * Make the upper directory DIR what unpacking its tar would give: without sockets and what overlay has noted, all times as MTIME says
 * (unless that is NULL). PLAIN: no file was written through an overlay. 1 if only a mount can tell what is in it, 0, or -errno.
 */
int layer_tidy(int dir, const struct diff_time *mtime, bool plain);
