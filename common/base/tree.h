/* common/base/tree.h: how much a tree of files holds. */
#pragma once
#include <stdint.h>

/*
 * The sizes of all files beneath PATH at DIRFD (or of the file PATH itself), in bytes, as they read: directories not
 * counted, a file with several names once, no symlink followed, no other file system entered. Missing things count nothing;
 * -ENOMEM is the only error.
 */
int64_t hoy_tree_size(int dirfd, const char *path);
