/* cmd-run/attach.c: our terminal or pipes at one end, the monitor's attach socket at the other. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "cmd-run/session.h"
#include "common/base/fd.h"
#include "common/proc/pidfd.h"

#define PACKET 32768 /* conmon sends at most 8 KiB and one byte at a time */

int attach_connect(const struct ctr *c)
{
	cleanup_fd int dir = open(c->rundir, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (dir < 0)
		return -errno;
	/* A socket's path holds 107 bytes, a store's may be longer. */
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/attach", dir);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	return steal_fd(&fd);
}

static struct termios saved;
static bool raw;

int attach_raw(bool on)
{
	struct termios t;

	if (on == raw)
		return 0;
	if (!on) {
		raw = false;
		return tcsetattr(STDIN_FILENO, TCSANOW, &saved) < 0 ? -errno : 0;
	}
	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return -errno;
	t = saved;
	cfmakeraw(&t);
	raw = true;
	return tcsetattr(STDIN_FILENO, TCSANOW, &t) < 0 ? -errno : 0;
}

/* The monitor's ctl fifo takes "1 ROWS COLUMNS" for the container's terminal; an exec session (SID) has words for that. */
static void send_size(const struct ctr *c, const char *sid)
{
	cleanup_free char *path = sid ? NULL : hoy_path_join(c->rundir, "ctl");
	cleanup_fd int fd = path ? open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC) : -1;
	struct winsize ws;
	char line[48];

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) < 0)
		return;
	if (sid)
		session_resize(c, sid, ws.ws_row, ws.ws_col);
	if (fd < 0)
		return;
	snprintf(line, sizeof(line), "1 %u %u\n", ws.ws_row, ws.ws_col);
	(void)hoy_write_full(fd, line, strlen(line));
}

int parse_detach_keys(const char *text, unsigned char keys[16])
{
	cleanup_strv struct hoy_strv parts = HOY_STRV_INIT;
	int n = 0;

	hoy_strv_split(&parts, text ?: hoy_json_str(hoy_json_get(conf(), "engine"), "detach_keys") ?: "ctrl-p,ctrl-q", ',');
	for (size_t i = 0; i < parts.n && n < 16; i++) {
		const char *p = parts.v[i];

		if (!strncmp(p, "ctrl-", 5) && p[5] && !p[6] && p[5] >= '@' && p[5] <= 'z')
			keys[n++] = p[5] & 0x1f;
		else if (p[0] && !p[1])
			keys[n++] = (unsigned char)p[0];
		else
			return -EINVAL;
	}
	return n;
}

struct attach {
	struct ctr *c;
	const char *sid; /* of an exec session, else NULL */
	int sock, sig, code; /* code: the session's; -1 until it has ended */
	bool stdin_open, tty, sig_proxy;
	unsigned char keys[16];
	int n_keys, matched;
};

/* One packet from the container; 0 at its end. */
static int from_container(struct attach *a)
{
	static unsigned char buf[PACKET];
	ssize_t n = recv(a->sock, buf, sizeof(buf), 0);
	int r;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : errno == ECONNRESET ? 0 : -errno;
	if (!n)
		return 0;
	if (a->sid && buf[0] == SESSION_ENDED) {
		buf[n < PACKET ? n : PACKET - 1] = '\0';
		a->code = atoi((char *)buf + 1);
		return 0;
	}
	r = hoy_write_full(buf[0] == SESSION_ERR ? STDERR_FILENO : STDOUT_FILENO, buf + 1, n - 1);
	/* A closed pipe behind us is no reason to leave: the container's own output goes on into its log. */
	return r < 0 && r != -EPIPE ? r : 1;
}

/* Typed bytes, without the detach keys; 2 when those are complete. */
static int to_container(struct attach *a)
{
	unsigned char buf[8192], out[8192 + 16];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));
	size_t m = 0;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : -errno;
	if (!n) {
		shutdown(a->sock, SHUT_WR);
		a->stdin_open = false;
		return 1;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (a->tty && a->n_keys && buf[i] == a->keys[a->matched]) {
			if (++a->matched == a->n_keys)
				return 2;
			continue;
		}
		for (int k = 0; k < a->matched; k++)
			out[m++] = a->keys[k];
		a->matched = 0;
		out[m++] = buf[i];
	}
	for (size_t at = 0; at < m;) {
		ssize_t w = send(a->sock, out + at, m - at, MSG_NOSIGNAL);

		if (w < 0 && errno != EINTR)
			return errno == EPIPE || errno == ECONNRESET ? 1 : -errno;
		at += w > 0 ? w : 0;
	}
	return 1;
}

static void on_signal(struct attach *a)
{
	struct signalfd_siginfo si;

	if (read(a->sig, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGWINCH) {
		if (a->tty)
			send_size(a->c, a->sid);
		return;
	}
	if (a->sig_proxy && ctr_pid(a->c))
		kill(ctr_pid(a->c), (int)si.ssi_signo);
}

static int loop(struct attach *a)
{
	for (;;) {
		struct pollfd p[3] = { { a->sock, POLLIN, 0 }, { a->stdin_open ? STDIN_FILENO : -1, POLLIN, 0 }, { a->sig, POLLIN, 0 } };
		int r = 1;

		if (poll(p, 3, -1) < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (p[0].revents && (r = from_container(a)) <= 0)
			return r;
		if (p[1].revents && (r = to_container(a)) != 1)
			return r == 2 ? 1 : r;
		if (p[2].revents)
			on_signal(a);
	}
}

static int catch_signals(bool proxy)
{
	static const int all[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT, SIGTSTP };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	for (size_t i = 0; proxy && i < ARRAY_SIZE(all); i++)
		sigaddset(&set, all[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Until the other side ends or the keys are typed: 0, 1 for detached, -errno. */
static int run(struct attach *a, const struct start_how *how)
{
	cleanup_fd int owned = a->sock, sig = -1;
	int r;

	a->n_keys = parse_detach_keys(how->detach_keys, a->keys);
	if (a->n_keys < 0)
		return a->n_keys;
	a->sig = sig = catch_signals(how->sig_proxy);
	if (a->tty) {
		attach_raw(true);
		send_size(a->c, a->sid);
	}
	/* A reader behind us that goes away is no reason to leave the container alone. */
	signal(SIGPIPE, SIG_IGN);
	r = loop(a);
	signal(SIGPIPE, SIG_DFL);
	if (a->tty)
		attach_raw(false);
	(void)owned;
	return r;
}

int attach_run(struct ctr *c, int sock, const struct start_how *how, bool tty)
{
	struct attach a = { .c = c, .sock = sock, .stdin_open = how->stdin_open, .tty = tty && isatty(STDIN_FILENO),
			    .sig_proxy = how->sig_proxy };

	return run(&a, how);
}

int attach_wait(struct ctr *c, const struct start_how *how)
{
	cleanup_fd int end = hoy_pidfd_open(ctr_pid(c), 0), sig = catch_signals(how->sig_proxy);
	struct attach a = { .c = c, .sig = sig, .sig_proxy = how->sig_proxy };

	while (end >= 0) {
		struct pollfd p[2] = { { end, POLLIN, 0 }, { sig, POLLIN, 0 } };

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (p[0].revents)
			break;
		if (p[1].revents)
			on_signal(&a);
	}
	return 0;
}

int attach_session(struct ctr *c, int sock, const char *sid, const struct start_how *how, bool tty, int *ret_code)
{
	struct attach a = { .c = c, .sid = sid, .sock = sock, .code = -1, .stdin_open = how->stdin_open, .tty = tty && isatty(STDIN_FILENO) };
	int r = run(&a, how);

	if (!r && a.code < 0)
		return -ECONNRESET;
	*ret_code = r ? 0 : a.code;
	return r;
}
