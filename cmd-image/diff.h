/* cmd-image/diff.h: what a layer changes, or one tree of files beside another, as `diff` tells it. */
#pragma once
#include "common/base/strv.h"

/* Kind ('A' added, 'C' changed, 'D' deleted) and path ("/etc/passwd") as one string: "A/etc/passwd". */
struct diff_list {
	struct hoy_strv v;
};

/*
 * What the overlay's upper directory DIR changes in the N directories BELOW, the uppermost first. Descriptors are borrowed.
 * 0 or -errno.
 */
int diff_upper(struct diff_list *l, int dir, const int *below, size_t n);
/* How the tree NEU differs from the tree OLD. */
int diff_trees(struct diff_list *l, int neu, int old);
