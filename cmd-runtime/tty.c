#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>

#include "cmd-runtime/runtime.h"
#include "common/base/beneath.h"
#include "common/proc/pidfd.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

int tty_open(int rootfd, const struct process *p, int *ret_master, int *ret_slave, struct hoy_err *err)
{
	struct winsize ws = { .ws_row = (unsigned short)p->rows, .ws_col = (unsigned short)p->cols };
	cleanup_fd int master = hoy_open_beneath(rootfd, "dev/pts/ptmx", O_RDWR | O_NOCTTY, 0, HOY_IN_ROOT);
	cleanup_fd int slave = -1;
	struct statfs fs;
	struct stat st;
	int zero = 0;

	if (master < 0)
		return hoy_fail_errno(err, -master, "cannot open '/dev/pts/ptmx' for a terminal");
	/* The image could have put anything there. */
	if (fstatfs(master, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC || fstat(master, &st) < 0 ||
	    !S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2))
		return hoy_fail(err, EPERM, "'/dev/pts/ptmx' in the container is no pseudo-terminal device");
	if (ioctl(master, TIOCSPTLCK, &zero) < 0)
		return hoy_fail_errno(err, errno, "cannot unlock the terminal");
	/* By the kernel, not by name: nobody can put another file between. */
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
	if (slave < 0 || fcntl(slave, F_SETFD, FD_CLOEXEC) < 0)
		return hoy_fail_errno(err, errno, "cannot open the terminal");
	if (p->rows || p->cols)
		ioctl(slave, TIOCSWINSZ, &ws);
	(void)!fchown(slave, p->uid, (gid_t)-1);
	*ret_master = steal_fd(&master);
	*ret_slave = steal_fd(&slave);
	return 0;
}

int tty_use(int slave, struct hoy_err *err)
{
	for (int i = 0; i < 3; i++)
		if (dup2(slave, i) < 0)
			return hoy_fail_errno(err, errno, "cannot use the terminal as stdio");
	if (ioctl(0, TIOCSCTTY, 0) < 0)
		return hoy_fail_errno(err, errno, "cannot make the terminal the controlling one");
	return 0;
}

int tty_connect(const char *path, struct hoy_err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), dir = -1;
	const char *slash = strrchr(path, '/');
	int n;

	if (fd < 0)
		return hoy_fail_errno(err, errno, "cannot make a socket");
	n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (n >= (int)sizeof(addr.sun_path)) {
		/* Longer than an address may be: by way of its directory. */
		cleanup_free char *parent = strndup(path, slash ? (size_t)(slash - path) : 0);

		dir = parent ? open(*parent ? parent : "/", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
		n = snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s", dir, slash ? slash + 1 : path);
	}
	if (n >= (int)sizeof(addr.sun_path))
		return hoy_fail_errno(err, ENAMETOOLONG, "cannot connect to '%s'", path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return hoy_fail_errno(err, errno, "cannot connect to '%s'", path);
	return steal_fd(&fd);
}

int tty_send(int sock, int fd, const char *text, size_t len)
{
	char space[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { (void *)(uintptr_t)text, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(sock, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int pidfd_send(const char *path, int pidfd, struct hoy_err *err)
{
	cleanup_fd int sock = path ? tty_connect(path, err) : -1;
	int r;

	if (!path)
		return 0;
	r = sock < 0 ? sock : tty_send(sock, pidfd, "pidfd", 5);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot send the pidfd to '%s'", path) : 0;
}

int tty_recv(int sock)
{
	char space[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))), text[64];
	struct iovec iov = { text, sizeof(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space) };
	struct cmsghdr *c;
	int fd;

	if (recvmsg(sock, &m, MSG_CMSG_CLOEXEC) <= 0)
		return -EPIPE;
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

void signals_block(sigset_t *old)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, old);
}

/* As a fresh process has them: nothing blocked, nothing ignored, whatever our caller did. */
void signals_reset(void)
{
	sigset_t none;

	for (int s = 1; s < NSIG; s++) {
		struct sigaction now;

		if (s != SIGKILL && s != SIGSTOP && !sigaction(s, NULL, &now) && now.sa_handler != SIG_DFL)
			signal(s, SIG_DFL);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* True once the process is gone and *STATUS holds how. */
static bool handle_signal(int sigfd, pid_t pid, int pidfd, int master, int *status)
{
	struct signalfd_siginfo si;
	struct winsize ws;

	if (read(sigfd, &si, sizeof(si)) != sizeof(si))
		return false;
	if (si.ssi_signo == SIGCHLD)
		return waitpid(pid, status, WNOHANG) == pid;
	if (si.ssi_signo == SIGWINCH && master >= 0) {
		if (!ioctl(STDIN_FILENO, TIOCGWINSZ, &ws))
			ioctl(master, TIOCSWINSZ, &ws);
		return false;
	}
	if (si.ssi_signo == SIGPIPE || si.ssi_signo == SIGTTOU || si.ssi_signo == SIGTTIN || si.ssi_signo == SIGURG)
		return false;
	(void)hoy_pidfd_kill(pidfd, (int)si.ssi_signo);
	return false;
}

static bool shuttle(int from, int to)
{
	char buf[8192];
	ssize_t n = read(from, buf, sizeof(buf));

	return n > 0 && !hoy_write_full(to, buf, n);
}

static int wait_loop(int sigfd, pid_t pid, int pidfd, int master)
{
	struct pollfd p[3] = { { sigfd, POLLIN, 0 }, { master, POLLIN, 0 }, { master < 0 ? -1 : 0, POLLIN, 0 } };
	int status = 0;

	for (;;) {
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			return 1;
		if (p[1].revents && !shuttle(master, STDOUT_FILENO))
			p[1].fd = -1;
		if (p[2].revents && !shuttle(STDIN_FILENO, master))
			p[2].fd = -1;
		if (p[0].revents && handle_signal(sigfd, pid, pidfd, master, &status))
			break;
	}
	/* What it wrote last. */
	while (p[1].fd >= 0 && poll(&p[1], 1, 0) > 0 && p[1].revents & POLLIN && shuttle(master, STDOUT_FILENO))
		;
	return child_status(status);
}

int wait_foreground(pid_t pid, int pidfd, int master)
{
	struct termios saved, raw;
	bool cooked = master >= 0 && !tcgetattr(STDIN_FILENO, &saved);
	cleanup_fd int sigfd = -1;
	struct winsize ws;
	sigset_t all;
	int status;

	sigfillset(&all);
	sigfd = signalfd(-1, &all, SFD_CLOEXEC);
	if (sigfd < 0)
		return 1;
	if (cooked) {
		raw = saved;
		cfmakeraw(&raw);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
		if (!ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) && (ws.ws_row || ws.ws_col))
			ioctl(master, TIOCSWINSZ, &ws);
	}
	/* It may have ended before the signals were blocked. */
	if (waitpid(pid, &status, WNOHANG) == pid && master < 0)
		status = child_status(status);
	else
		status = wait_loop(sigfd, pid, pidfd, master);
	if (cooked)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	return status;
}
