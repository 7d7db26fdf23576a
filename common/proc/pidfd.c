#include "common/proc/pidfd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"

int hoy_pid_start_time(pid_t pid, uint64_t *ret_ticks, char *ret_state)
{
	char path[32], stat[1024], *p;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	n = hoy_read_small(AT_FDCWD, path, stat, sizeof(stat));
	if (n < 0)
		return n == -ENOENT ? -ESRCH : (int)n;
	/* The command's name may hold anything, brackets and blanks too: count from the last one. */
	p = strrchr(stat, ')');
	if (!p || p[1] != ' ' || !p[2])
		return -EIO;
	if (ret_state)
		*ret_state = p[2];
	p += 2;
	for (int field = 3; field < 22; field++) {
		p = strchr(p, ' ');
		if (!p)
			return -EIO;
		p++;
	}
	*ret_ticks = strtoull(p, NULL, 10);
	return 0;
}

bool hoy_pid_alive(pid_t pid, uint64_t ticks)
{
	uint64_t now;
	char state;

	return pid > 0 && !hoy_pid_start_time(pid, &now, &state) && now == ticks && state != 'Z' && state != 'X';
}

int hoy_pidfd_open(pid_t pid, uint64_t ticks)
{
	cleanup_fd int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	uint64_t now;

	if (fd < 0)
		return -errno;
	/* Looked at after the pidfd exists: from here on the number cannot move to another process unnoticed. */
	if (ticks && (hoy_pid_start_time(pid, &now, NULL) < 0 || now != ticks))
		return -ESRCH;
	return steal_fd(&fd);
}

int hoy_pidfd_kill(int pidfd, int sig)
{
	return syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) < 0 ? -errno : 0;
}

int hoy_pidfd_wait(int pidfd, int ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int r;

	do
		r = poll(&p, 1, ms);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r ? 0 : -ETIMEDOUT;
}
