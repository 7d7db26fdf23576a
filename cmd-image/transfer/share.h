/*
 * cmd-image/transfer/share.h: equal files of different layers take their space on the disk once, where the file system can
 * share extents (btrfs, XFS). Elsewhere none of this does anything.
 *
 * A layer that is unpacked leaves a list of its larger files beside its tree, overlay/ID/hoy-files: size, CRC-64 and path, by
 * size and CRC. It goes when the layer goes, whoever removes that. The lists only say what to try: whether two files are equal
 * is for the kernel to find out (FIDEDUPERANGE), which compares and shares them while nobody can write to either. So a list
 * may be old, wrong or hostile, no lock is needed, and nothing can be lost at any moment.
 */
#pragma once
#include "common/base/buf.h"
#include "common/store/store.h"

#define SHARE_LEAST ((int64_t)16 << 10) /* smaller files are not worth two opens */

struct share_list {
	struct share_file {
		int64_t size;
		uint64_t crc;
		size_t path; /* in PATHS */
		bool done;
	} *v;
	size_t n, cap;
	struct hoy_buf paths;
};
/* Can files in the file system of FD be shared, as far as its type tells? */
bool share_possible(int fd);
/* 0 or -ENOMEM. */
int share_add(struct share_list *l, const char *path, int64_t size, uint64_t crc);
/*
 * Share the files L of the layer ID, which is in the store, with those of the layers that S has loaded, and leave its list. No
 * locks are held. What cannot be shared stays as it is.
 */
void share_layer(const struct hoy_store *s, const char *id, struct share_list *l);
void share_release(struct share_list *l);
