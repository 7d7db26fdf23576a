/* common/base/fd.h: whole reads and writes, files that appear at once or not at all, trees that go away. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/base/cleanup.h"

struct hoy_err;

/* Read until LEN bytes or end of file; returns the count or -errno. */
ssize_t hoy_read_full(int fd, void *buf, size_t len);
/* Write all of it; 0 or -errno. */
int hoy_write_full(int fd, const void *buf, size_t len);

/*
 * Read the open regular file FD (named NAME in messages) of at most MAX bytes; *RET_DATA is NUL-terminated
 * and the caller's. Files of /proc and /sys, which have no size, are read up to MAX too.
 */
int hoy_read_fd(int fd, const char *name, size_t max, char **ret_data, size_t *ret_len, struct hoy_err *err);
/* The same for PATH at DIRFD, whose names we trust. -ENOENT is returned like any other, with its sentence. */
int hoy_read_file(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_len, struct hoy_err *err);
/* Read at most SIZE-1 bytes of a small file into BUF, NUL-terminate, strip trailing newlines; length or -errno. */
ssize_t hoy_read_small(int dirfd, const char *path, char *buf, size_t size);
/* Write STR into the existing file PATH in one write (cgroup, sysctl, procfs files); 0 or -errno. */
int hoy_write_small(int dirfd, const char *path, const char *str);

/*
 * Replace or create the file NAME in DIRFD: temporary name ".tmp-NAME<random>" there, write, fdatasync if SYNC,
 * chmod MODE, rename. Readers see the old or the new content, never a part. 0 or -errno, nothing left behind.
 */
int hoy_replace_file(int dirfd, const char *name, const void *data, size_t len, mode_t mode, bool sync);
/*
 * The same for a NAME that has one writer at a time, because a lock is held. The temporary name is always ".tmp-NAME":
 * what a writer left that was killed is taken away by the next one.
 */
int hoy_replace_locked(int dirfd, const char *name, const void *data, size_t len, mode_t mode, bool sync);

/* mkdir -p of PATH with MODE for what is created (exactly, whatever the umask); 0 or -errno. */
int hoy_mkdir_p(const char *path, mode_t mode);
/* mkdir -p relative to DIRFD, then open it O_RDONLY|O_DIRECTORY; the fd or -errno. */
int hoy_open_dir_p(int dirfd, const char *path, mode_t mode);
/*
 * Remove PATH at DIRFD and all beneath it, following no symlink and crossing into no mount (-EBUSY);
 * 0 (also if it was not there) or the first -errno, after having removed all that could be.
 */
int hoy_remove_tree(int dirfd, const char *path);
/* Copy all of IN from its position to OUT (splice/copy_file_range where it helps); bytes or -errno. */
ssize_t hoy_copy_fd(int in, int out);
/* Is PATH (not followed) there? */
bool hoy_exists(int dirfd, const char *path);
/* Set or clear FD_CLOEXEC. */
int hoy_set_cloexec(int fd, bool on);
/* Join DIR and NAME with one slash, in new memory; NULL without memory. */
char *hoy_path_join(const char *dir, const char *name);
