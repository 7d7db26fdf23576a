/* common/base/copytree.h: a copy of a tree of files that is like it in all that a tar could tell. */
#pragma once
#include <stdbool.h>
#include <sys/stat.h>

/*
 * Copy what the directory FROM holds into the directory TO: content (by reflink where the file system can), owners, modes,
 * times, extended attributes, hard links between the files. TO's own attributes become FROM's. Directories that are there
 * already are filled, anything else in the way is -EEXIST. SPECIAL: devices, FIFOs and sockets too, else they are left out.
 * 0 or -errno; -ELOOP beyond 1,000 levels.
 */
int hoy_copy_tree(int from, int to, bool special);
/*
 * Owner, mode and times of ST, and the extended attributes of the open file FROM that the caller may set, for the open
 * file TO. 0 or -errno.
 */
int hoy_copy_attrs(int from, int to, const struct stat *st);
