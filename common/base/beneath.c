#include "common/base/beneath.h"

#include <errno.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/fd.h"

int hoy_open_beneath(int rootfd, const char *path, int flags, mode_t mode, enum hoy_how how)
{
	struct open_how oh = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? mode : 0,
		.resolve = (how == HOY_IN_ROOT ? RESOLVE_IN_ROOT : RESOLVE_BENEATH) | RESOLVE_NO_MAGICLINKS,
	};
	int fd, tries = 32;

	/* EAGAIN: a rename raced with a "..". The tree's owner can cause that for ever: count. */
	do
		fd = (int)syscall(SYS_openat2, rootfd, path, &oh, sizeof(oh));
	while (fd < 0 && (errno == EAGAIN || errno == EINTR) && --tries > 0);
	return fd < 0 ? -errno : fd;
}

int hoy_read_beneath(int rootfd, const char *path, size_t max, char **ret_data, size_t *ret_len,
		     struct hoy_err *err)
{
	cleanup_fd int fd = -1;

	/* O_NONBLOCK: a FIFO planted in a build context must not hang us in open(). */
	fd = hoy_open_beneath(rootfd, path, O_RDONLY | O_NONBLOCK, 0, HOY_BENEATH);
	if (fd == -EXDEV)
		return hoy_fail(err, EXDEV, "'%s' leads outside of its directory", path);
	if (fd < 0)
		return hoy_fail_errno(err, -fd, "cannot open '%s'", path);
	return hoy_read_fd(fd, path, max, ret_data, ret_len, err);
}

int hoy_mkdir_in_root(int rootfd, const char *path, mode_t mode)
{
	cleanup_free char *copy = strdup(path);
	char *p, saved;
	int fd, dirfd;

	if (!copy)
		return -ENOMEM;
	fd = hoy_open_beneath(rootfd, *path ? path : ".", O_PATH | O_DIRECTORY, 0, HOY_IN_ROOT);
	if (fd != -ENOENT)
		return fd;
	for (p = copy + strlen(copy); p > copy && p[-1] == '/'; p--)
		p[-1] = '\0';
	for (; p > copy && p[-1] != '/'; p--)
		;
	saved = *p;
	*p = '\0';
	dirfd = hoy_mkdir_in_root(rootfd, *copy ? copy : ".", mode);
	*p = saved;
	if (dirfd < 0)
		return dirfd;
	if (mkdirat(dirfd, p, mode) < 0 && errno != EEXIST) {
		int r = -errno;

		hoy_close(dirfd);
		return r;
	}
	hoy_close(dirfd);
	return hoy_open_beneath(rootfd, copy, O_PATH | O_DIRECTORY, 0, HOY_IN_ROOT);
}
