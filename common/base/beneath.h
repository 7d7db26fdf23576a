/* common/base/beneath.h: opening names that somebody else chose (a layer, a bundle, a context, a request). */
#pragma once
#include <fcntl.h>
#include <stddef.h>
#include <sys/types.h>

struct hoy_err;

/*
 * Open PATH beneath ROOTFD (borrowed) by openat2(2); O_CLOEXEC is added. HOW is where the resolution may go:
 * HOY_IN_ROOT treats ROOTFD as "/" (absolute symlinks and ".." stay inside: layers, containers);
 * HOY_BENEATH refuses whatever would leave, even if it would come back (store, bundle, build context).
 * Returns the fd or -errno (-EXDEV: it would leave).
 */
enum hoy_how { HOY_BENEATH, HOY_IN_ROOT };
int hoy_open_beneath(int rootfd, const char *path, int flags, mode_t mode, enum hoy_how how);

/*
 * Read the regular file PATH, of at most MAX bytes, beneath ROOTFD (borrowed).
 * Returns 0, and *RET_DATA is NUL-terminated and the caller's to free; or -errno.
 * A ".." or symlink that leaves ROOTFD is -EXDEV, even if it would come back.
 */
int hoy_read_beneath(int rootfd, const char *path, size_t max, char **ret_data, size_t *ret_len,
		     struct hoy_err *err);

/*
 * Make the directory PATH and its missing parents (mode MODE & ~umask) inside ROOTFD, which is taken as
 * "/": symlinks in PATH are followed inside it. Returns an O_PATH fd of the directory, or -errno.
 */
int hoy_mkdir_in_root(int rootfd, const char *path, mode_t mode);
