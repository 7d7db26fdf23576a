/*
 * cmd-conmon/notify.c: --sdnotify-socket: what the container says to notify/notify.sock in its bundle goes on to the
 * host's socket, without MAINPID: that is a pid of the container's own namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd-conmon/conmon.h"
#include "common/base/err.h"
#include "common/base/fd.h"

static int inner = -1, outer = -1;

static int connect_host(struct hoy_err *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t len = strlen(opt.sdnotify);

	if (!len || len >= sizeof(sa.sun_path))
		return hoy_fail(err, EINVAL, "the address of a socket is no longer than %zu bytes: '%s'", sizeof(sa.sun_path) - 1, opt.sdnotify);
	memcpy(sa.sun_path, opt.sdnotify, len + 1);
	if (*sa.sun_path == '@') /* an abstract one */
		*sa.sun_path = '\0';
	outer = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (outer < 0 || connect(outer, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		return hoy_fail_errno(err, errno, "cannot connect to the notify socket '%s'", opt.sdnotify);
	return 0;
}

int notify_open(int epfd, struct hoy_err *err)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = TAG_NOTIFY };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	cleanup_free char *path = NULL;
	cleanup_fd int dir = -1;
	int r;

	if (!opt.sdnotify || !opt.bundle)
		return 0;
	r = connect_host(err);
	if (r < 0)
		return r;
	path = hoy_path_join(opt.bundle, "notify");
	dir = path ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	if (dir < 0)
		return hoy_fail_errno(err, errno, "cannot open the directory 'notify' in the bundle");
	unlinkat(dir, "notify.sock", 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/notify.sock", dir);
	inner = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* 0777: the container's user is not ours. */
	if (inner < 0 || bind(inner, (struct sockaddr *)&sa, sizeof(sa)) < 0 || fchmodat(dir, "notify.sock", 0777, 0) < 0 ||
	    epoll_ctl(epfd, EPOLL_CTL_ADD, inner, &ev) < 0)
		return hoy_fail_errno(err, errno, "cannot listen on notify/notify.sock in the bundle");
	return 0;
}

/* Take the lines that begin with MAINPID= out of the LEN bytes at TEXT; what is left. */
static size_t without_mainpid(char *text, size_t len)
{
	size_t out = 0;

	for (size_t at = 0; at < len;) {
		char *nl = memchr(text + at, '\n', len - at);
		size_t n = nl ? (size_t)(nl + 1 - (text + at)) : len - at;

		if (n < 8 || memcmp(text + at, "MAINPID=", 8)) {
			memmove(text + out, text + at, n);
			out += n;
		}
		at += n;
	}
	return out;
}

void notify_relay(void)
{
	char text[4096];
	ssize_t n = recv(inner, text, sizeof(text), 0);
	size_t len = n > 0 ? without_mainpid(text, (size_t)n) : 0;

	if (len && send(outer, text, len, MSG_NOSIGNAL) < 0)
		warn("cannot pass a message on to '%s': %s", opt.sdnotify, strerror(errno));
}
