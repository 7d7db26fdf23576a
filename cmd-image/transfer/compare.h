/*
 * cmd-image/transfer/compare.h: is a layer's tree on disk what its tar says? Type, mode, owner, times, size, targets of
 * links, whiteouts; nothing missing and nothing that the tar doesn't know.
 */
#pragma once
#include "cmd-image/transfer/posmap.h"
#include "cmd-image/transfer/tar.h"
#include "common/base/strv.h"

struct compare {
	int rootfd; /* borrowed: the layer's diff */
	bool userns, any_owner;
	bool files_times_only; /* podman, pulling a layer in part, leaves links and directories with the time they were made at */
	struct posmap linked; /* inode with several names to the index of its fault + 1 */
	struct posmap known;  /* inodes that the tar accounts for */
	struct posmap faults; /* (directory, name) to the index of its fault + 1: a later entry of that name decides */
	struct hoy_strv found; /* "" where a later entry has put it right */
	char parent[TAR_NAME_MAX + 1];
	int parentfd;
	uint64_t parent_ino;
	long last; /* index of the fault of the last entry, -1: none */
};
void compare_init(struct compare *c, int rootfd, bool userns, bool any_owner);
void compare_release(struct compare *c);
/* The next entry of the tar. */
int compare_entry(struct compare *c, const struct tar_entry *e);
/* The content of the last entry has been told of already: say nothing more of it. */
void compare_forget_last(struct compare *c);
/* After the last entry: what is there beside. Then c->found has all faults, as podman's check words them. */
int compare_end(struct compare *c);
