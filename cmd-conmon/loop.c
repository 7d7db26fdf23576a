/* cmd-conmon/loop.c: everything that happens to a container between its creation and its end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd-conmon/conmon.h"
#include "common/base/buf.h"
#include "common/base/fd.h"

#define CHUNK 65536

struct loop {
	struct child *c;
	int epfd, sig, timer, ctl, winsz, oom;
	int out, err; /* descriptors that we read: -1 when they have ended */
	bool paused;  /* output waits for a slow client */
	bool ended, timed_out, oom_killed;
	int status;
	char ctl_buf[256], winsz_buf[256];
	size_t ctl_len, winsz_len;
};

static void watch_events(struct loop *l, int fd, uint64_t tag, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.u64 = tag };

	if (fd >= 0)
		epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev);
}

static void watch(struct loop *l, int fd, uint64_t tag) { watch_events(l, fd, tag, EPOLLIN); }

/* Held open for writing by ourselves too, so that it never reads as ended. */
static int open_fifo(const char *name)
{
	cleanup_free char *path = hoy_path_join(opt.bundle, name);

	if (!path)
		return -1;
	unlink(path);
	if (mkfifo(path, 0660) < 0)
		return -1;
	return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
}

static int fifos[2] = { -1, -1 };

void loop_fifos(void)
{
	if (!opt.bundle || log_passthrough())
		return;
	fifos[0] = open_fifo("ctl");
	fifos[1] = open_fifo("winsz");
}

/* One read of a stream; false at its end. A pty ends with EIO. */
static bool take(struct loop *l, int fd, int stream)
{
	static char buf[CHUNK];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0) {
		log_eof(stream);
		return false;
	}
	log_write(stream, buf, (size_t)n);
	attach_write(stream, buf, (size_t)n);
	(void)l;
	return true;
}

static void end_stream(struct loop *l, int *fd)
{
	if (*fd < 0)
		return;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, *fd, NULL);
	close(*fd);
	*fd = -1;
}

/* Stop or go on reading the container's output. */
static void set_paused(struct loop *l, bool on)
{
	struct epoll_event o = { .events = on ? 0 : EPOLLIN, .data.u64 = TAG_OUT }, e = { .events = on ? 0 : EPOLLIN, .data.u64 = TAG_ERR };

	if (on == l->paused)
		return;
	l->paused = on;
	if (l->out >= 0)
		epoll_ctl(l->epfd, EPOLL_CTL_MOD, l->out, &o);
	if (l->err >= 0)
		epoll_ctl(l->epfd, EPOLL_CTL_MOD, l->err, &e);
}

static void resize(struct loop *l, int rows, int columns)
{
	struct winsize ws = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };

	if (l->c->tty >= 0 && rows >= 0 && columns >= 0 && rows <= 1000 && columns <= 1000)
		ioctl(l->c->tty, TIOCSWINSZ, &ws);
}

/* "1 ROWS COLUMNS" resizes, "2 0 0" opens the log anew. */
static void control(struct loop *l, const char *line)
{
	int what, a, b;

	if (sscanf(line, "%d %d %d", &what, &a, &b) != 3)
		return;
	if (what == 1)
		resize(l, a, b);
	else if (what == 2)
		log_reopen();
}

static void window(struct loop *l, const char *line)
{
	int rows, columns;

	if (sscanf(line, "%d %d", &rows, &columns) == 2)
		resize(l, rows, columns);
}

static void fifo_lines(struct loop *l, int fd, char buf[256], size_t *len, void (*fn)(struct loop *, const char *))
{
	ssize_t n = read(fd, buf + *len, 255 - *len);
	char *nl;

	if (n <= 0)
		return;
	*len += n;
	buf[*len] = '\0';
	while ((nl = strchr(buf, '\n'))) {
		*nl = '\0';
		fn(l, buf);
		*len -= nl + 1 - buf;
		memmove(buf, nl + 1, *len + 1);
	}
	if (*len >= 250) /* a line that long is none of ours */
		*len = 0;
}

static void reap(struct loop *l)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == l->c->pid) {
			l->ended = true;
			l->status = status;
		} else if (!session_reaped(pid, status)) {
			control_reaped(pid);
		}
}

static void on_signal(struct loop *l)
{
	struct signalfd_siginfo si;

	while (read(l->sig, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			reap(l);
		else if (!l->ended && l->c->pid > 0)
			/* It is the container that somebody wants to end; we end after it. */
			kill(l->c->pid, (int)si.ssi_signo);
	}
}

static void on_timer(struct loop *l)
{
	uint64_t n;
	pid_t group;

	if (read(l->timer, &n, sizeof(n)) != sizeof(n))
		return;
	l->timed_out = true;
	if (l->ended || l->c->pid <= 0)
		return;
	/* Its process group, so that no child of an exec stays; never our own. */
	group = getpgid(l->c->pid);
	kill(group > 1 && group != getpgrp() ? -group : l->c->pid, SIGKILL);
}

static void look_at_oom(struct loop *l)
{
	int r = oom_happened(l->oom);

	if (r < 0)
		epoll_ctl(l->epfd, EPOLL_CTL_DEL, l->oom, NULL);
	if (r <= 0 || l->ended)
		return;
	l->oom_killed = true;
	note_oom();
}

static void dispatch(struct loop *l, const struct epoll_event *ev)
{
	switch (ev->data.u64) {
	case TAG_OUT:
		if (l->out >= 0 && !take(l, l->out, 1))
			end_stream(l, &l->out);
		break;
	case TAG_ERR:
		if (l->err >= 0 && !take(l, l->err, 2))
			end_stream(l, &l->err);
		break;
	case TAG_SIGNAL:
		on_signal(l);
		break;
	case TAG_TIMER:
		on_timer(l);
		break;
	case TAG_CTL:
		fifo_lines(l, l->ctl, l->ctl_buf, &l->ctl_len, control);
		break;
	case TAG_WINSZ:
		fifo_lines(l, l->winsz, l->winsz_buf, &l->winsz_len, window);
		break;
	case TAG_OOM:
		look_at_oom(l);
		break;
	case TAG_CONTROL:
		control_event();
		break;
	case TAG_DUE:
		control_due();
		break;
	case TAG_NOTIFY:
		notify_relay();
		break;
	default:
		if (ev->data.u64 >= TAG_SESSION)
			session_event(ev->data.u64, ev->events);
		else
			attach_event(ev->data.u64, ev->events);
	}
	set_paused(l, attach_full());
}

static void setup(struct loop *l)
{
	static const int caught[] = { SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP };
	struct itimerspec it = { .it_value.tv_sec = opt.timeout };
	uint32_t events;
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(caught); i++)
		sigaddset(&set, caught[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	l->sig = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	watch(l, l->sig, TAG_SIGNAL);
	l->timer = opt.timeout > 0 ? timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK) : -1;
	if (l->timer >= 0)
		timerfd_settime(l->timer, 0, &it, NULL);
	watch(l, l->timer, TAG_TIMER);
	l->ctl = fifos[0];
	watch(l, l->ctl, TAG_CTL);
	l->winsz = fifos[1];
	watch(l, l->winsz, TAG_WINSZ);
	l->oom = oom_watch(l->c->pid, &events);
	watch_events(l, l->oom, TAG_OOM, events);
	l->out = l->c->tty >= 0 ? dup(l->c->tty) : l->c->out;
	l->err = l->c->err;
	watch(l, l->out, TAG_OUT);
	watch(l, l->err, TAG_ERR);
	attach_stdin(l->c->tty >= 0 ? l->c->tty : l->c->in);
}

/* After the end, processes that hold our pipes (a daemon outside of the pid namespace) must not keep us for ever. */
static void drain(struct loop *l)
{
	int *fds[] = { &l->out, &l->err };

	attach_accept();
	for (int i = 0; i < 2; i++) {
		if (*fds[i] < 0)
			continue;
		fcntl(*fds[i], F_SETFL, fcntl(*fds[i], F_GETFL) | O_NONBLOCK);
		for (;;) {
			struct pollfd p = { *fds[i], POLLIN, 0 };

			if (poll(&p, 1, 0) <= 0 || !take(l, *fds[i], i + 1))
				break;
		}
		log_eof(i + 1);
		end_stream(l, fds[i]);
	}
}

int loop_run(struct child *c, int epfd)
{
	struct loop l = { .c = c, .epfd = epfd, .out = -1, .err = -1 };
	struct epoll_event ev[16];
	int code;

	setup(&l);
	reap(&l); /* it may have ended before SIGCHLD was ours */
	while (!l.ended) {
		int n = epoll_wait(epfd, ev, 16, l.paused ? 1000 : -1);

		/* A client that came before some output must get it: new clients first. */
		for (int i = 0; i < n; i++)
			if (ev[i].data.u64 == TAG_ATTACH)
				dispatch(&l, &ev[i]);
		for (int i = 0; i < n; i++)
			if (ev[i].data.u64 != TAG_ATTACH)
				dispatch(&l, &ev[i]);
		if (!n)
			set_paused(&l, attach_full());
	}
	drain(&l);
	session_end_all();
	if (l.oom >= 0 && !l.oom_killed && WIFSIGNALED(l.status) && oom_happened(l.oom) > 0) {
		l.oom_killed = true;
		note_oom();
	}
	log_finish();
	code = l.timed_out ? -1 : WIFEXITED(l.status) ? WEXITSTATUS(l.status) : 128 + WTERMSIG(l.status);
	attach_unlisten();
	write_exit_files(code, l.timed_out ? "command timed out" : l.oom_killed ? "OOM killed" : NULL);
	/* Last: a client may be slow. */
	attach_close();
	return code;
}
