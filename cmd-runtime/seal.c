/*
 * CVE-2019-5736: a container that gets hold of /proc/PID/exe of a process of ours could write to the host's executable.
 * So what runs is a read-only, detached clone of the mount it lies on: nothing can be opened for writing through it,
 * and being detached it cannot be remounted by anyone. This costs one exec, before anything else is done.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "cmd-runtime/runtime.h"
#include "common/proc/sys.h"

extern char **environ;

static int clone_readonly(void)
{
	struct sys_mount_attr attr = { .set = MOUNT_ATTR_RDONLY };
	cleanup_fd int fd = sys_open_tree(AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE);

	if (fd < 0 || sys_mount_setattr(fd, 0, &attr) < 0)
		return -1;
	return steal_fd(&fd);
}

/* Without the right to clone mounts: a sealed copy in memory. */
static int copy_to_memory(void)
{
	cleanup_fd int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	cleanup_fd int fd = memfd_create("hoy-runtime", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;

	if (in < 0 || fd < 0 || fstat(in, &st) < 0)
		return -1;
	while (st.st_size > 0) {
		ssize_t n = sendfile(fd, in, NULL, st.st_size);

		if (n <= 0)
			return -1;
		st.st_size -= n;
	}
	if (fchmod(fd, 0500) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -1;
	return steal_fd(&fd);
}

static bool is_sealed(void)
{
	cleanup_fd int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct statvfs fs;
	int seals;

	if (fd < 0)
		return false;
	if (!fstatvfs(fd, &fs) && fs.f_flag & ST_RDONLY)
		return true;
	seals = fcntl(fd, F_GET_SEALS);
	return seals >= 0 && seals & F_SEAL_WRITE;
}

void seal_self(char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	int fd;

	if (is_sealed())
		return;
	fd = clone_readonly();
	if (fd < 0)
		fd = copy_to_memory();
	if (fd >= 0)
		syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
	hoy_fail_errno(&err, errno, "cannot protect our own executable from the container");
	log_error(err.msg);
	exit(1);
}
