/* common/base/chowntree.h: other owners for all that a directory holds. */
#pragma once
#include <stdbool.h>
#include <sys/stat.h>

struct hoy_err;

struct hoy_chown {
	/* The new owner of what ST tells of; false: there is none, which is an error. */
	bool (*owner)(const void *arg, const struct stat *st, uid_t *ret_uid, gid_t *ret_gid);
	const void *arg;
	bool overlay; /* the tree is an overlay's, which makes several files of a file with several names: they become one again */
	bool keep;    /* set-id bits and file capabilities stay, though the kernel takes them away */
};
/* Beneath the directory DIR (not it itself), following no symlink. 0 or a negative error. */
int hoy_chown_tree(int dir, const struct hoy_chown *how, struct hoy_err *err);
