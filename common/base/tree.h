/* common/base/tree.h: how much a tree of files holds, and whether a file is as another. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/*
 * The sizes of all files beneath PATH at DIRFD (or of the file PATH itself), in bytes, as they read: directories not
 * counted, a file with several names once, no symlink followed, no other file system entered. Missing things count nothing;
 * -ENOMEM is the only error.
 */
int64_t hoy_tree_size(int dirfd, const char *path);
/* Are type, mode, owner, time to the nanosecond, and (of what is no directory) size and device the same? */
bool hoy_same_meta(const struct stat *a, const struct stat *b);
