#include "tests/faults/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SPACE (CALL_SPACE | CALL_DISK)
#define C(name, fd, path, flags) { SYS_##name, #name, fd, path, flags }

static const struct call calls[] = {
	C(write, 0, -1, SPACE), C(pwrite64, 0, -1, SPACE), C(writev, 0, -1, SPACE), C(pwritev, 0, -1, SPACE),
	C(sendfile, 0, -1, SPACE), C(copy_file_range, 2, -1, SPACE), C(splice, 2, -1, SPACE), C(fallocate, 0, -1, SPACE),
	C(ftruncate, 0, -1, SPACE), C(fsync, 0, -1, SPACE), C(fdatasync, 0, -1, SPACE), C(syncfs, 0, -1, SPACE),
	C(openat, 0, 1, SPACE | CALL_OPEN), C(mkdirat, 0, 1, SPACE), C(mknodat, 0, 1, SPACE), C(symlinkat, 1, 2, SPACE),
	C(linkat, 2, 3, SPACE), C(renameat2, 2, 3, SPACE), C(renameat, 2, 3, SPACE), C(unlinkat, 0, 1, CALL_DISK),
	C(fsetxattr, 0, -1, SPACE), C(setxattr, -1, 0, SPACE), C(lsetxattr, -1, 0, SPACE), C(utimensat, 0, 1, CALL_DISK),
	C(fchmod, 0, -1, CALL_DISK), C(fchmodat, 0, 1, CALL_DISK), C(fchown, 0, -1, CALL_DISK), C(fchownat, 0, 1, CALL_DISK),
	C(truncate, -1, 0, SPACE),
#ifdef SYS_open
	C(mkdir, -1, 0, SPACE), C(rename, -1, 1, SPACE), C(symlink, -1, 1, SPACE), C(link, -1, 1, SPACE), C(unlink, -1, 0, CALL_DISK),
	C(rmdir, -1, 0, CALL_DISK), C(chmod, -1, 0, CALL_DISK), C(chown, -1, 0, CALL_DISK), C(lchown, -1, 0, CALL_DISK),
	C(mknod, -1, 0, SPACE), C(fork, -1, -1, 0), C(vfork, -1, -1, 0),
#endif
	C(mount, -1, 1, 0), C(umount2, -1, 0, 0), C(move_mount, 2, 3, 0), C(open_tree, 0, 1, 0), C(fsconfig, 0, -1, 0),
	C(fsmount, 0, -1, 0), C(mount_setattr, 0, 1, 0), C(pivot_root, -1, 0, 0), C(chroot, -1, 0, 0), C(clone, -1, -1, 0),
	C(clone3, -1, -1, 0), C(execve, -1, 0, 0), C(execveat, 0, 1, 0), C(unshare, -1, -1, 0), C(setns, 0, -1, 0), C(kill, -1, -1, 0),
	C(pidfd_send_signal, 0, -1, 0), C(sendto, 0, -1, 0), C(sendmsg, 0, -1, 0), C(bind, 0, -1, 0), C(connect, 0, -1, 0),
	C(seccomp, -1, -1, 0), C(exit_group, -1, -1, 0),
};

/* openat2 has its flags in memory: its callers here only create where openat does too. */
static bool creates(uint64_t flags)
{
	return flags & (O_CREAT | O_TRUNC) || (flags & O_TMPFILE) == O_TMPFILE;
}

const struct call *call_find(uint64_t nr, const uint64_t args[6])
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if ((uint64_t)calls[i].nr == nr)
			return calls[i].flags & CALL_OPEN && !creates(args[2]) ? NULL : &calls[i];
	return NULL;
}

/* A path in the memory of TID; it ends with a page at the latest, so page by page. */
static bool read_path(pid_t tid, uint64_t at, char *ret, size_t size)
{
	size_t len = 0;

	while (len < size - 1) {
		size_t n = 4096 - (at + len) % 4096;
		struct iovec here = { ret + len, n < size - 1 - len ? n : size - 1 - len };
		struct iovec there = { (void *)(uintptr_t)(at + len), here.iov_len };
		ssize_t got = process_vm_readv(tid, &here, 1, &there, 1, 0);

		if (got <= 0)
			return false;
		if (memchr(ret + len, '\0', got))
			return true;
		len += got;
	}
	ret[len] = '\0';
	return true;
}

/* Where the call works, as seen from here; without the last part of a path, which may not be there yet. */
static bool place(const struct call *c, pid_t tid, const uint64_t args[6], char *ret, size_t size)
{
	char path[PATH_MAX] = "", *slash;
	int fd = c->fd < 0 ? AT_FDCWD : (int)args[c->fd];

	if (c->path < 0)
		return c->fd >= 0 && snprintf(ret, size, "/proc/%d/fd/%d", tid, fd) < (int)size;
	if (!read_path(tid, args[c->path], path, sizeof(path)))
		return false;
	slash = strrchr(path, '/');
	if (slash)
		slash[slash == path ? 1 : 0] = '\0';
	else
		path[0] = '\0';
	if (path[0] == '/')
		return snprintf(ret, size, "/proc/%d/root%s", tid, path) < (int)size;
	if (fd == AT_FDCWD)
		return snprintf(ret, size, "/proc/%d/cwd/%s", tid, path) < (int)size;
	return snprintf(ret, size, "/proc/%d/fd/%d/%s", tid, fd, path) < (int)size;
}

bool call_on(const struct call *c, pid_t tid, const uint64_t args[6], dev_t dev)
{
	char path[PATH_MAX + 64];
	struct stat st;

	return place(c, tid, args, path, sizeof(path)) && !stat(path, &st) && st.st_dev == dev &&
	       (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));
}

void call_target(const struct call *c, pid_t tid, const uint64_t args[6], char *ret, size_t size)
{
	char link[64];
	ssize_t n;

	*ret = '\0';
	if (c->path >= 0) {
		if (!read_path(tid, args[c->path], ret, size))
			*ret = '\0';
	} else if (c->fd >= 0) {
		snprintf(link, sizeof(link), "/proc/%d/fd/%d", tid, (int)args[c->fd]);
		n = readlink(link, ret, size - 1);
		ret[n < 0 ? 0 : n] = '\0';
	}
	for (char *p = ret; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = '?';
}
