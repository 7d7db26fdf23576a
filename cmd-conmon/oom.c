/* cmd-conmon/oom.c: was something in the container's cgroup killed for want of memory? Both cgroup versions. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cmd-conmon/conmon.h"
#include "common/base/buf.h"
#include "common/base/fd.h"

static bool v2; /* what is watched is memory.events itself */

/* The path behind ":memory:" (v1) or "0::" (v2) in /proc/PID/cgroup. */
static bool cgroup_of(pid_t pid, const char *controller, char *ret, size_t size)
{
	cleanup_free char *data = NULL, *path = hoy_asprintf("/proc/%d/cgroup", (int)pid);
	cleanup_strv struct hoy_strv lines = HOY_STRV_INIT;

	if (!path || hoy_read_file(AT_FDCWD, path, 1 << 16, &data, NULL, NULL) < 0)
		return false;
	hoy_strv_split(&lines, data, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		char *a = strchr(lines.v[i], ':'), *b = a ? strchr(a + 1, ':') : NULL;

		if (!b)
			continue;
		*b = '\0';
		if (!strcmp(a + 1, controller)) {
			snprintf(ret, size, "%s", b + 1);
			return true;
		}
	}
	return false;
}

static int watch_v1(const char *group)
{
	cleanup_free char *dir = hoy_asprintf("/sys/fs/cgroup/memory%s", group), *ctl = dir ? hoy_path_join(dir, "memory.oom_control") : NULL;
	cleanup_free char *reg = dir ? hoy_path_join(dir, "cgroup.event_control") : NULL;
	cleanup_fd int oom = ctl ? open(ctl, O_RDONLY | O_CLOEXEC) : -1;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	char line[48];

	snprintf(line, sizeof(line), "%d %d", fd, oom);
	if (fd < 0 || oom < 0 || hoy_write_small(AT_FDCWD, reg, line) < 0) {
		hoy_close(fd);
		return -1;
	}
	return fd;
}

/* kernfs tells by POLLPRI that the file has changed since it was read. (Not inotify: who closes that waits for 12 ms.) */
static int watch_v2(const char *group)
{
	cleanup_free char *path = hoy_asprintf("/sys/fs/cgroup%s/memory.events", group);
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	v2 = fd >= 0;
	if (v2)
		(void)oom_happened(fd);
	return fd;
}

int oom_watch(pid_t pid, uint32_t *ret_events)
{
	char group[3900];

	*ret_events = EPOLLIN;
	if (opt.exec)
		return -1;
	if (cgroup_of(pid, "memory", group, sizeof(group)))
		return watch_v1(group);
	*ret_events = EPOLLPRI;
	return cgroup_of(pid, "", group, sizeof(group)) ? watch_v2(group) : -1;
}

int oom_happened(int fd)
{
	char buf[4096], *p;
	ssize_t n = v2 ? pread(fd, buf, sizeof(buf) - 1, 0) : read(fd, buf, sizeof(buf));

	if (n < 0)
		return -errno;
	if (!v2)
		return n == 8; /* the eventfd also fires when the cgroup goes away; then nobody looks any more */
	buf[n] = '\0';
	p = strstr(buf, "oom_kill ");
	return p && atoll(p + 9) > 0;
}
