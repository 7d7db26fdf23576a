/*
 * cmd-conmon/watch.c: --watch: beside somebody else's conmon we do what that does not: exec sessions and timers, by the control
 * socket, and at the end the exit command once more, in case that conmon could not run it. hoy-conmon(1), WATCHING.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd-conmon/conmon.h"
#include "common/base/err.h"
#include "common/base/fd.h"

#define PATIENCE 30000 /* ms that conmon has for its part after the container's end */

static int pidfd_from(const char *file)
{
	char text[32];
	pid_t pid = file && hoy_read_small(AT_FDCWD, file, text, sizeof(text)) > 0 ? (pid_t)atoi(text) : 0;

	return pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

static int signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void reap(int sig)
{
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	while (read(sig, &si, sizeof(si)) == sizeof(si))
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (!session_reaped(pid, status))
			control_reaped(pid);
}

static bool add(int epfd, int fd, uint64_t tag)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = tag };

	return fd >= 0 && !epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);
}

/* Until the container's process has ended. */
static void serve(int epfd, int sig)
{
	for (struct epoll_event ev;;) {
		if (epoll_wait(epfd, &ev, 1, -1) < 1)
			continue;
		if (ev.data.u64 == TAG_WATCHED)
			return;
		if (ev.data.u64 == TAG_SIGNAL)
			reap(sig);
		else if (ev.data.u64 == TAG_CONTROL)
			control_event();
		else if (ev.data.u64 == TAG_DUE)
			control_due();
		else
			session_event(ev.data.u64, ev.events);
	}
}

int watch_container(struct hoy_err *err)
{
	cleanup_fd int epfd = epoll_create1(EPOLL_CLOEXEC), pid = -1, monitor = pidfd_from(opt.conmon_pidfile), sig = signals();
	struct pollfd p;
	int r;

	if (!opt.bundle || !opt.pidfile)
		return hoy_fail(err, EINVAL, "--watch needs --bundle and --container-pidfile");
	pid = pidfd_from(opt.pidfile);
	if (pid < 0)
		return hoy_fail(err, ESRCH, "there is no process as '%s' says", opt.pidfile);
	opt.control = true;
	opt.cid = opt.watch;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 || !add(epfd, pid, TAG_WATCHED) || !add(epfd, sig, TAG_SIGNAL))
		return hoy_fail_errno(err, errno, "cannot watch container %.12s", opt.watch);
	r = control_open(epfd, err);
	if (r < 0)
		return r;
	setsid();
	quiet_stdio();
	opt.api_version = true;
	sync_send(getpid(), NULL);
	serve(epfd, sig);
	session_end_all();
	p = (struct pollfd){ monitor, POLLIN, 0 };
	if (monitor >= 0)
		poll(&p, 1, PATIENCE);
	run_exit_command();
	return 0;
}
