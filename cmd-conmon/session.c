/*
 * cmd-conmon/session.c: exec sessions. A message on the socket `control` starts a process in the container by the
 * runtime; we are its parent, hold its streams or its terminal, and keep its exit code. hoy-conmon(1), EXEC SESSIONS.
 *
 * A session has one client at most, on the socket that came with the message: packets that begin with a byte (enum
 * say), as on the attach socket. While the client does not read, the process waits, as it would for a pipe; when the client
 * has gone, what the process writes is thrown away.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd-conmon/conmon.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/data/digest.h"

#define MAX_SESSIONS 512
#define MAX_FDS 64
#define PACKET 8192

enum say { SAY_STARTED = 1, SAY_OUT = 2, SAY_ERR = 3, SAY_ENDED = 4, SAY_FAILED = 5 };
/* What an event of a session is about: the tag is TAG_SESSION + 4 * its number + this. */
enum what { ON_OUT, ON_ERR, ON_CLIENT, ON_IN };

struct session {
	char sid[HOY_ID_SIZE];
	bool tty, in_open, reading; /* reading: the client may still type */
	bool detach;		    /* the client wants to know that it has started, no more */
	bool ended, told;	    /* told: the client knows */
	pid_t runtime, pid;
	int code;
	struct console console;
	int out, err, in, client;
	char held[PACKET + 1]; /* a packet that the client has not taken yet */
	size_t held_len;
	char typed[PACKET]; /* what the process has not taken yet */
	size_t typed_at, typed_len;
	struct hoy_strv after; /* the command for the end of a session without a client */
};

static struct session *all[MAX_SESSIONS];
static int epfd = -1;

static void watch(const struct session *s, int fd, enum what w, uint32_t events, int op)
{
	uint64_t n = 0;
	struct epoll_event ev = { .events = events };

	while (all[n] != s)
		n++;
	ev.data.u64 = TAG_SESSION + 4 * n + w;
	if (fd >= 0)
		epoll_ctl(epfd, op, fd, &ev);
}

static void shut(int *fd)
{
	/* A terminal is both streams. */
	if (*fd >= 0) {
		epoll_ctl(epfd, EPOLL_CTL_DEL, *fd, NULL);
		close(*fd);
	}
	*fd = -1;
}

/* ---- towards the client ---- */

/* Nothing is read of the process while a packet waits for its client. */
static void rewatch(struct session *s)
{
	watch(s, s->out, ON_OUT, s->held_len ? 0 : EPOLLIN, EPOLL_CTL_MOD);
	if (!s->tty)
		watch(s, s->err, ON_ERR, s->held_len ? 0 : EPOLLIN, EPOLL_CTL_MOD);
	watch(s, s->client, ON_CLIENT, (s->held_len ? EPOLLOUT : 0) | (s->reading && !s->typed_len ? EPOLLIN : 0), EPOLL_CTL_MOD);
}

static void drop_client(struct session *s)
{
	shut(&s->client);
	s->held_len = 0;
	if (!s->tty)
		shut(&s->in);
	rewatch(s);
}

static void flush(struct session *s)
{
	if (s->client < 0 || !s->held_len)
		return;
	if (send(s->client, s->held, s->held_len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			drop_client(s);
		return;
	}
	s->told = s->held[0] == SAY_ENDED;
	s->held_len = 0;
	rewatch(s);
}

static void tell(struct session *s, enum say what, const char *data, size_t len)
{
	s->held[0] = (char)what;
	memmove(s->held + 1, data, len);
	s->held_len = len + 1;
	flush(s);
	if (s->held_len)
		rewatch(s);
}

static void tell_text(struct session *s, enum say what, const char *text)
{
	if (s->client >= 0)
		tell(s, what, text, strlen(text));
}

/* One read of a stream; false at its end. */
static bool take(struct session *s, int fd, enum say what)
{
	char buf[PACKET];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0)
		return false;
	if (s->client >= 0)
		tell(s, what, buf, (size_t)n);
	return true;
}

/* ---- towards the process ---- */

static void end_input(struct session *s)
{
	s->in_open = false;
	if (!s->typed_len && !s->tty)
		shut(&s->in);
}

static void feed(struct session *s)
{
	int to = s->tty ? s->out : s->in;

	while (s->typed_len && to >= 0) {
		ssize_t n = write(to, s->typed + s->typed_at, s->typed_len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			s->typed_len = 0;
			shut(&s->in);
			break;
		}
		s->typed_at += n;
		s->typed_len -= n;
	}
	if (to < 0)
		s->typed_len = 0;
	if (!s->typed_len && !s->in_open)
		end_input(s);
	if (s->tty)
		watch(s, s->out, ON_OUT, (s->held_len ? 0 : EPOLLIN) | (s->typed_len ? EPOLLOUT : 0), EPOLL_CTL_MOD);
	else
		watch(s, s->in, ON_IN, s->typed_len ? EPOLLOUT : 0, EPOLL_CTL_MOD);
	watch(s, s->client, ON_CLIENT, (s->held_len ? EPOLLOUT : 0) | (s->reading && !s->typed_len ? EPOLLIN : 0), EPOLL_CTL_MOD);
}

static void from_client(struct session *s)
{
	ssize_t n = s->typed_len ? -1 : recv(s->client, s->typed, sizeof(s->typed), MSG_DONTWAIT);

	if (s->typed_len || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	if (n < 0) {
		drop_client(s);
		return;
	}
	if (!n) {
		s->reading = false;
		end_input(s);
		rewatch(s);
		return;
	}
	s->typed_at = 0;
	s->typed_len = s->in_open ? (size_t)n : 0;
	feed(s);
}

/* ---- beginning and end ---- */

static struct session *find(const char *sid)
{
	for (size_t i = 0; i < MAX_SESSIONS; i++)
		if (all[i] && !strcmp(all[i]->sid, sid))
			return all[i];
	return NULL;
}

static void forget(struct session *s)
{
	size_t i = 0;

	shut(&s->client);
	shut(&s->out);
	shut(&s->err);
	shut(&s->in);
	console_close(&s->console);
	hoy_strv_release(&s->after);
	while (all[i] != s)
		i++;
	all[i] = NULL;
	free(s);
}

/* The code is kept in exec/SID.exit. */
static void keep_code(struct session *s, int status)
{
	cleanup_free char *path = hoy_asprintf("%s/exec/%s.exit", opt.bundle, s->sid);
	char text[16];
	int r;

	s->ended = true;
	s->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	snprintf(text, sizeof(text), "%d", s->code);
	r = path ? hoy_replace_file(AT_FDCWD, path, text, strlen(text), 0600, false) : -ENOMEM;
	if (r < 0)
		warn("cannot keep the exit code of exec session %.12s: %s", s->sid, strerror(-r));
}

/* More of STREAM for the client? What is not there when the process has ended never comes. */
static bool take_rest(struct session *s, int *fd, enum say what)
{
	struct pollfd p = { *fd, POLLIN, 0 };

	if (*fd < 0 || poll(&p, 1, 0) <= 0)
		return false;
	if (!take(s, *fd, what))
		shut(fd);
	return true;
}

/* The process has ended: the rest of its output, then its code, as fast as the client takes them. */
static void conclude(struct session *s)
{
	char text[16];

	while (!s->held_len) {
		if (take_rest(s, &s->out, SAY_OUT) || take_rest(s, &s->err, SAY_ERR))
			continue;
		/* It notes the beginning, then goes; the end comes after that. */
		if (s->client >= 0 && s->detach)
			return;
		if (s->client >= 0 && !s->told) {
			snprintf(text, sizeof(text), "%d", s->code);
			tell_text(s, SAY_ENDED, text);
			continue;
		}
		/* Nobody was there to be told: the command for that. */
		if (!s->told && s->after.n && !vfork())
			become(s->after.v);
		forget(s);
		return;
	}
}

/* The runtime could not: its own words. */
static void fail(struct session *s, int status)
{
	char text[PACKET] = "";
	struct pollfd p = { s->err, POLLIN, 0 };
	ssize_t n = s->err >= 0 && poll(&p, 1, 0) > 0 ? read(s->err, text, sizeof(text) - 1) : 0;

	if (n > 0)
		text[n] = '\0';
	else
		snprintf(text, sizeof(text), WIFSIGNALED(status) ? "the runtime was killed by signal %d" : "the runtime ended with exit status %d",
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	tell_text(s, SAY_FAILED, text);
	forget(s);
}

static pid_t read_pid(const struct session *s)
{
	cleanup_free char *path = hoy_asprintf("%s/exec/%s.pid", opt.bundle, s->sid);
	char text[32];

	return path && hoy_read_small(AT_FDCWD, path, text, sizeof(text)) > 0 ? (pid_t)atoi(text) : 0;
}

/* The runtime has done its part: from here on the process is our child. */
static void started(struct session *s, int status)
{
	char text[16];

	s->runtime = -1;
	s->pid = WIFEXITED(status) && !WEXITSTATUS(status) ? read_pid(s) : 0;
	if (s->pid > 0 && s->tty) {
		s->out = console_receive(&s->console);
		if (s->out >= 0)
			fcntl(s->out, F_SETFL, fcntl(s->out, F_GETFL) | O_NONBLOCK);
	}
	if (s->pid <= 0 || s->out < 0) {
		if (s->pid > 0)
			kill(s->pid, SIGKILL);
		fail(s, status);
		return;
	}
	console_close(&s->console);
	snprintf(text, sizeof(text), "%d", (int)s->pid);
	tell_text(s, SAY_STARTED, text);
	watch(s, s->out, ON_OUT, EPOLLIN, EPOLL_CTL_ADD);
	if (s->tty)
		shut(&s->err); /* the runtime's alone */
	else
		watch(s, s->err, ON_ERR, EPOLLIN, EPOLL_CTL_ADD);
	watch(s, s->in, ON_IN, 0, EPOLL_CTL_ADD);
	watch(s, s->client, ON_CLIENT, EPOLLIN, EPOLL_CTL_ADD);
	rewatch(s);
}

bool session_reaped(pid_t pid, int status)
{
	for (size_t i = 0; i < MAX_SESSIONS; i++) {
		struct session *s = all[i];

		if (!s || s->ended || (s->runtime != pid && s->pid != pid))
			continue;
		if (s->runtime == pid) {
			started(s, status);
		} else {
			keep_code(s, status);
			conclude(s);
		}
		return true;
	}
	return false;
}

void session_event(uint64_t tag, uint32_t events)
{
	struct session *s = all[(tag - TAG_SESSION) / 4 % MAX_SESSIONS];

	if (!s)
		return;
	switch ((enum what)((tag - TAG_SESSION) % 4)) {
	case ON_OUT:
		if (events & EPOLLOUT)
			feed(s);
		if (events & ~(uint32_t)EPOLLOUT && !s->held_len && s->out >= 0 && !take(s, s->out, SAY_OUT))
			shut(&s->out);
		break;
	case ON_ERR:
		if (!s->held_len && s->err >= 0 && !take(s, s->err, SAY_ERR))
			shut(&s->err);
		break;
	case ON_IN:
		if (events & (EPOLLERR | EPOLLHUP)) {
			shut(&s->in);
			s->typed_len = 0;
			rewatch(s);
		} else {
			feed(s);
		}
		break;
	case ON_CLIENT:
		if (events & EPOLLOUT)
			flush(s);
		if (s->client >= 0 && events & EPOLLIN)
			from_client(s);
		else if (s->client >= 0 && events & (EPOLLHUP | EPOLLERR))
			drop_client(s);
	}
	if (s->ended)
		conclude(s);
}

void session_resize(const char *sid, int rows, int columns)
{
	struct session *s = find(sid);
	struct winsize ws = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };

	if (s && s->tty && s->out >= 0 && rows >= 0 && columns >= 0 && rows <= 1000 && columns <= 1000)
		ioctl(s->out, TIOCSWINSZ, &ws);
}

/* The descriptors that the process gets beside its streams, and which numbers they have there. */
struct passed {
	int fds[MAX_FDS], at[MAX_FDS];
	size_t n;
};

struct pipes {
	int in[2], out[2], err[2];
};

/* Between vfork and exec. */
static void become_runtime(char *const *argv, const struct pipes *p, const struct passed *f)
{
	static sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), high[MAX_FDS];

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	unshield();
	dup2(p->in[0] >= 0 ? p->in[0] : null, 0);
	dup2(p->out[1] >= 0 ? p->out[1] : null, 1);
	dup2(p->err[1] >= 0 ? p->err[1] : null, 2);
	for (size_t i = 0; i < f->n; i++)
		high[i] = fcntl(f->fds[i], F_DUPFD_CLOEXEC, 1000);
	for (size_t i = 0; i < f->n; i++)
		dup2(high[i], f->at[i]);
	execv(argv[0], argv);
	/* As if the runtime had said it: whoever waits reads that. */
	dprintf(2, "cannot run '%s': %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* ARGV with the console's socket in front of its last word, the container's id. */
static int spawn(struct session *s, char **argv, size_t n, const struct passed *f)
{
	struct pipes p = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;

	for (size_t i = 0; i < n; i++) {
		if (i == n - 1 && s->tty) {
			hoy_strv_push(&words, "--console-socket");
			hoy_strv_push(&words, s->console.path);
		}
		hoy_strv_push(&words, argv[i]);
	}
	if (words.error || pipe2(p.err, O_CLOEXEC) < 0 || (!s->tty && (pipe2(p.out, O_CLOEXEC) < 0 || (s->in_open && pipe2(p.in, O_CLOEXEC) < 0))))
		return -errno;
	s->runtime = vfork();
	if (!s->runtime)
		become_runtime(words.v, &p, f);
	hoy_close(p.in[0]);
	hoy_close(p.out[1]);
	hoy_close(p.err[1]);
	s->in = p.in[1];
	s->out = p.out[0];
	s->err = p.err[0];
	for (size_t i = 0; i < 3; i++) {
		int fd = (int[]){ s->in, s->out, s->err }[i];

		if (fd >= 0)
			fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	}
	return s->runtime < 0 ? -errno : 0;
}

static struct session *new_session(const char *sid, const char *flags)
{
	size_t i = 0;

	while (i < MAX_SESSIONS && all[i])
		i++;
	if (!hoy_is_id(sid) || find(sid) || i == MAX_SESSIONS || !(all[i] = calloc(1, sizeof(struct session))))
		return NULL;
	memcpy(all[i]->sid, sid, sizeof(all[i]->sid));
	all[i]->tty = strchr(flags, 't');
	all[i]->detach = strchr(flags, 'd');
	all[i]->in_open = strchr(flags, 'i');
	all[i]->runtime = all[i]->pid = -1;
	all[i]->out = all[i]->err = all[i]->in = all[i]->client = all[i]->console.fd = -1;
	return all[i];
}

/* The numbers in TEXT ("3,5") are those that the descriptors behind the client's have in the process. */
static bool number(const char *text, const int *fds, size_t n, struct passed *ret)
{
	char *end = (char *)text;

	for (ret->n = 0; *end; ret->n++) {
		long at = strtol(end, &end, 10);

		if (ret->n >= n || ret->n == MAX_FDS || at < 3 || at > 900 || (*end && *end++ != ','))
			return false;
		ret->fds[ret->n] = fds[ret->n];
		ret->at[ret->n] = (int)at;
	}
	return ret->n == n;
}

bool session_start(int ep, char **words, size_t n, const int *fds, size_t n_fds)
{
	bool attached = n > 4 && strpbrk(words[1], "ad");
	long runtime = n > 4 ? strtol(words[3], NULL, 10) : 0;
	struct hoy_err err = HOY_ERR_INIT;
	struct passed f;
	struct session *s;
	int r;

	epfd = ep;
	if (runtime < 2 || (size_t)runtime > n - 4 || (attached && !n_fds) || !number(words[2], fds + attached, n_fds - attached, &f))
		return false;
	s = new_session(words[0], words[1]);
	if (!s)
		return false;
	if (attached)
		s->client = fcntl(fds[0], F_DUPFD_CLOEXEC, 3);
	s->reading = s->client >= 0;
	for (size_t i = 4 + (size_t)runtime; i < n; i++)
		hoy_strv_push(&s->after, words[i]);
	r = s->after.error ? -ENOMEM : s->tty ? console_open(&s->console, &err) : 0;
	if (!r)
		r = spawn(s, words + 4, (size_t)runtime, &f);
	if (r < 0) {
		warn("cannot start exec session %.12s: %s", s->sid, strerror(-r));
		tell_text(s, SAY_FAILED, strerror(-r));
		forget(s);
	}
	return true;
}

/* Without a process, or with one that ends now. */
static void end(struct session *s)
{
	int status = SIGKILL;

	if (s->pid <= 0) {
		if (s->runtime > 0)
			kill(s->runtime, SIGKILL);
		fail(s, status);
		return;
	}
	kill(s->pid, SIGKILL);
	while (!s->ended && waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!s->ended)
		keep_code(s, status);
	conclude(s);
}

void session_end_all(void)
{
	for (size_t i = 0; i < MAX_SESSIONS; i++) {
		struct pollfd p = { all[i] ? all[i]->client : -1, POLLOUT, 0 };

		if (all[i] && all[i]->detach)
			drop_client(all[i]);
		if (all[i])
			end(all[i]);
		/* A client may be slow, but not for ever. */
		while (all[i] && poll(&p, 1, 2000) > 0) {
			flush(all[i]);
			conclude(all[i]);
		}
		if (all[i])
			forget(all[i]);
	}
}
