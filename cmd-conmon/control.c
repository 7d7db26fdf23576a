/*
 * cmd-conmon/control.c: --control: what hoy-run has us do. A datagram on the bundle's socket `control` is words that end
 * with NUL (hoy-conmon(1)): exec sessions, or what is to be done on a schedule. We decide when; what is done and what it
 * means is the command's business.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd-conmon/conmon.h"
#include "common/base/err.h"
#include "common/base/fd.h"

#define MAX_WORDS 256
#define MAX_FDS 65
#define LONGEST 65536

static int epoll = -1, sock = -1, timer = -1;
static int64_t interval; /* ms; 0: nothing to do */
static char words[8192]; /* the command's */
static char *argv[MAX_WORDS + 1];
static pid_t running = -1;

int control_open(int epfd, struct hoy_err *err)
{
	struct epoll_event s = { .events = EPOLLIN, .data.u64 = TAG_CONTROL }, t = { .events = EPOLLIN, .data.u64 = TAG_DUE };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	cleanup_fd int dir = -1;
	int one = 1;

	if (!opt.control || !opt.bundle)
		return 0;
	epoll = epfd;
	dir = open(opt.bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return hoy_fail_errno(err, errno, "cannot open bundle '%s'", opt.bundle);
	unlinkat(dir, "control", 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/control", dir);
	sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (sock < 0 || timer < 0 || bind(sock, (struct sockaddr *)&sa, sizeof(sa)) < 0 || fchmodat(dir, "control", 0600, 0) < 0 ||
	    setsockopt(sock, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, sock, &s) < 0 ||
	    epoll_ctl(epfd, EPOLL_CTL_ADD, timer, &t) < 0)
		return hoy_fail_errno(err, errno, "cannot listen on the socket 'control' in the bundle");
	return 0;
}

static void arm(int64_t ms)
{
	struct itimerspec it = { .it_value = { ms / 1000, ms % 1000 * 1000000 } };

	timerfd_settime(timer, 0, &it, NULL);
}

/* Who runs commands by us is root or we ourselves. */
static bool trusted(struct msghdr *m)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h))
		if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_CREDENTIALS) {
			struct ucred u;

			memcpy(&u, CMSG_DATA(h), sizeof(u));
			return u.uid == 0 || u.uid == geteuid();
		}
	return false;
}

/* "health", the interval in ms, the command. */
static void health(const char *text, size_t len)
{
	size_t n = 0;
	char *end;

	if (len > sizeof(words))
		return;
	memcpy(words, text, len);
	interval = strtoll(words + 7, &end, 10);
	if (*end || interval < 0 || interval > INT64_C(1000) * 60 * 60 * 24 * 366)
		interval = 0;
	for (char *p = end + 1; p < words + len && n < MAX_WORDS; p += strlen(p) + 1)
		argv[n++] = p;
	argv[n] = NULL;
	if (!n)
		interval = 0;
	/* The first one at once. */
	arm(interval && running < 0 ? 1 : 0);
}

static void session(char **w, size_t n, const int *fds, size_t n_fds)
{
	if (n == 4 && !strcmp(w[0], "resize"))
		session_resize(w[1], atoi(w[2]), atoi(w[3]));
	else if (n > 1 && !strcmp(w[0], "exec"))
		(void)session_start(epoll, w + 1, n - 1, fds, n_fds);
}

/* The descriptors that came with a message. */
static size_t received(struct msghdr *m, int fds[MAX_FDS])
{
	size_t n = 0;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h))
		if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
			n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(fds, CMSG_DATA(h), n * sizeof(int));
		}
	return n;
}

void control_event(void)
{
	static char text[LONGEST];
	char ctl[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(MAX_FDS * sizeof(int))];
	struct iovec v = { text, sizeof(text) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = ctl, .msg_controllen = sizeof(ctl) };
	ssize_t len = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	size_t n = 0, n_fds;
	int fds[MAX_FDS];
	char *w[MAX_WORDS];

	if (len < 0)
		return;
	n_fds = received(&m, fds);
	if (len > 7 && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && !text[len - 1] && trusted(&m)) {
		for (char *p = text; p < text + len && n < MAX_WORDS; p += strlen(p) + 1)
			w[n++] = p;
		if (!strcmp(text, "health"))
			health(text, (size_t)len);
		else
			session(w, n, fds, n_fds);
	}
	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
}

void control_due(void)
{
	uint64_t n;

	if (read(timer, &n, sizeof(n)) != sizeof(n) || !interval || running >= 0)
		return;
	running = vfork();
	if (!running)
		become(argv);
	if (running < 0) {
		warn("cannot run '%s': %s", argv[0], strerror(errno));
		arm(interval);
	}
}

void control_reaped(pid_t pid)
{
	if (pid != running)
		return;
	running = -1;
	if (interval)
		arm(interval);
}
