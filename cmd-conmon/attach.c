/*
 * cmd-conmon/attach.c: the attach socket, its clients, and what they type.
 *
 * A client gets packets: one byte for the stream (2 stdout, 3 stderr), then up to 8 KiB. What it sends goes to the
 * container's stdin. A client that reads slowly has a queue. When that is full, it depends: for who was there before
 * the first output (`run` in the foreground: its output may be somebody's input, and must be whole) the container waits
 * as long as it makes progress, at most ten seconds without any; who came later is dropped, nobody waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cmd-conmon/conmon.h"
#include "common/base/err.h"
#include "common/base/fd.h"

#define MAX_CLIENTS 64
#define PACKET 8192
#define QUEUE (256 * 1024)
#define PATIENCE 10 /* seconds */
#define TAG_LISTEN TAG_ATTACH
#define TAG_STDIN (TAG_ATTACH + 1)
#define TAG_CLIENT (TAG_ATTACH + 16)

struct client {
	int fd; /* -1: free */
	bool reading, first; /* first: there before any output */
	char *queue; /* packets, each with a 4 byte length in front; only while behind */
	size_t head, len;
	time_t progress;
};

static struct client clients[MAX_CLIENTS];
static int epfd = -1, listener = -1, bundle = -1;
static int in = -1;	    /* container's stdin, not blocking */
static char typed[PACKET]; /* what the container has not taken yet */
static size_t typed_at, typed_len;
static bool in_closing; /* close it when that is gone */
static int typist = -1;	/* client whose bytes those are */
static bool any_output;

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static int watch(int fd, uint32_t events, uint64_t tag, bool add)
{
	struct epoll_event ev = { .events = events, .data.u64 = tag };

	return epoll_ctl(epfd, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &ev) < 0 ? -errno : 0;
}

static char *dir_link; /* --socket-dir-path: DIR/UUID points to the bundle */

/* CRI-O looks in a directory of its own, where paths are short enough for a socket's address. */
static int link_bundle(struct hoy_err *err)
{
	const char *dir = opt.socket_dir ? opt.socket_dir : "/var/run/crio";

	if (opt.full_attach || (!opt.socket_dir && access(dir, F_OK) < 0))
		return 0;
	dir_link = hoy_path_join(dir, opt.cuuid ? opt.cuuid : opt.cid);
	if (!dir_link)
		return hoy_fail_oom(err);
	unlink(dir_link);
	return symlink(opt.bundle, dir_link) < 0 ? hoy_fail_errno(err, errno, "cannot make '%s'", dir_link) : 0;
}

/* <bundle>/attach, addressed through the directory's fd since a socket's path is short. */
static int bind_socket(int fd, struct hoy_err *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	bundle = open(opt.bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (bundle < 0)
		return hoy_fail_errno(err, errno, "cannot open bundle '%s'", opt.bundle);
	unlinkat(bundle, "attach", 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/attach", bundle);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || fchmodat(bundle, "attach", 0700, 0) < 0 || listen(fd, 10) < 0)
		return hoy_fail_errno(err, errno, "cannot listen on the attach socket in '%s'", opt.bundle);
	return 0;
}

int attach_open(int ep, struct hoy_err *err)
{
	int r;

	epfd = ep;
	for (int i = 0; i < MAX_CLIENTS; i++)
		clients[i].fd = -1;
	if (!opt.bundle || log_passthrough())
		return 0;
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener < 0)
		return hoy_fail_errno(err, errno, "cannot make the attach socket");
	r = link_bundle(err);
	if (!r)
		r = bind_socket(listener, err);
	return r ? r : watch(listener, EPOLLIN, TAG_LISTEN, true);
}

static void close_stdin(void)
{
	if (in >= 0 && !opt.terminal) /* a terminal's end is the container's business */
		close(in);
	in = -1;
	typed_len = 0;
}

static void drop(struct client *c)
{
	if (typist == c - clients)
		typist = -1;
	close(c->fd);
	c->fd = -1;
	free(c->queue);
	c->queue = NULL;
	c->len = c->head = 0;
}

static bool accept_client(void)
{
	int fd = listener < 0 ? -1 : accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), i;

	if (fd < 0)
		return false;
	for (i = 0; i < MAX_CLIENTS && clients[i].fd >= 0; i++)
		;
	if (i == MAX_CLIENTS) {
		close(fd);
		return true;
	}
	clients[i] = (struct client){ .fd = fd, .reading = true, .first = !any_output };
	if (watch(fd, EPOLLIN, TAG_CLIENT + (uint64_t)i, true) < 0)
		drop(&clients[i]);
	return true;
}

void attach_accept(void)
{
	while (accept_client())
		;
}

/* Input is taken from a client only while none is waiting for the container. */
static void rewatch(struct client *c)
{
	uint32_t ev = (c->reading && !typed_len ? EPOLLIN : 0) | (c->len ? EPOLLOUT : 0);

	watch(c->fd, ev, TAG_CLIENT + (uint64_t)(c - clients), false);
}

static void rewatch_all(void)
{
	for (int i = 0; i < MAX_CLIENTS; i++)
		if (clients[i].fd >= 0)
			rewatch(&clients[i]);
}

static void feed_stdin(void)
{
	bool waited = typed_len > 0;

	while (typed_len && in >= 0) {
		ssize_t n = write(in, typed + typed_at, typed_len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			close_stdin();
			break;
		}
		typed_at += n;
		typed_len -= n;
	}
	if (!typed_len && in_closing) {
		in_closing = false;
		close_stdin();
	}
	if (in >= 0 && !opt.terminal)
		watch(in, typed_len ? EPOLLOUT : 0, TAG_STDIN, false);
	if (waited && !typed_len)
		rewatch_all();
}

static void from_client(struct client *c)
{
	ssize_t n;

	if (typed_len)
		return;
	n = recv(c->fd, typed, sizeof(typed), 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		/* The end of what it types; it may go on reading. */
		c->reading = false;
		rewatch(c);
		if (!opt.leave_stdin_open && opt.stdin_open && in >= 0)
			close_stdin();
		if (n < 0)
			drop(c);
		return;
	}
	if (in < 0)
		return;
	typed_at = 0;
	typed_len = (size_t)n;
	typist = (int)(c - clients);
	feed_stdin();
	if (typed_len) {
		rewatch_all();
		if (opt.terminal) {
			/* A pty that does not take more: try again with the loop's next round. */
			struct pollfd p = { in, POLLOUT, 0 };

			if (poll(&p, 1, 1000) > 0)
				feed_stdin();
		}
	}
}

static bool enqueue(struct client *c, const char *head, const char *data, size_t len)
{
	uint32_t n = (uint32_t)len + 1;

	if (!c->queue) {
		c->queue = malloc(QUEUE);
		c->head = c->len = 0;
		c->progress = now();
	}
	if (!c->queue || c->len + n + 4 > QUEUE)
		return false;
	if (c->head) {
		memmove(c->queue, c->queue + c->head, c->len);
		c->head = 0;
	}
	memcpy(c->queue + c->len, &n, 4);
	c->queue[c->len + 4] = *head;
	memcpy(c->queue + c->len + 5, data, len);
	c->len += n + 4;
	return true;
}

static void send_packet(struct client *c, char head, const char *data, size_t len)
{
	struct iovec v[2] = { { &head, 1 }, { (char *)data, len } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
	bool first = !c->len;

	if (!c->len && sendmsg(c->fd, &m, MSG_NOSIGNAL) >= 0)
		return;
	if (!c->len && errno != EAGAIN && errno != EINTR) {
		drop(c);
		return;
	}
	if (!enqueue(c, &head, data, len)) {
		warn("an attached client reads too slowly, dropped");
		drop(c);
	} else if (first) {
		rewatch(c);
	}
}

static void flush(struct client *c)
{
	while (c->len) {
		uint32_t n;

		memcpy(&n, c->queue + c->head, 4);
		if (send(c->fd, c->queue + c->head + 4, n, MSG_NOSIGNAL) < 0) {
			if (errno != EAGAIN && errno != EINTR)
				drop(c);
			return;
		}
		c->head += n + 4;
		c->len -= n + 4;
		c->progress = now();
	}
	free(c->queue);
	c->queue = NULL;
	rewatch(c);
}

void attach_write(int stream, const char *data, size_t len)
{
	any_output = true;
	for (int i = 0; i < MAX_CLIENTS; i++)
		for (size_t at = 0; at < len && clients[i].fd >= 0; at += PACKET)
			send_packet(&clients[i], (char)(stream + 1), data + at, len - at < PACKET ? len - at : PACKET);
}

bool attach_full(void)
{
	bool full = false;

	for (int i = 0; i < MAX_CLIENTS; i++) {
		if (clients[i].fd < 0 || !clients[i].first || clients[i].len < QUEUE / 2)
			continue;
		if (now() - clients[i].progress > PATIENCE) {
			warn("an attached client does not read, dropped");
			drop(&clients[i]);
		} else {
			full = true;
		}
	}
	return full;
}

void attach_stdin(int fd)
{
	in = fd;
	if (fd >= 0) {
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		if (!opt.terminal)
			watch(fd, 0, TAG_STDIN, true);
	}
}

void attach_event(uint64_t tag, uint32_t events)
{
	struct client *c;

	if (tag == TAG_LISTEN) {
		attach_accept();
		return;
	}
	if (tag == TAG_STDIN) {
		if (events & (EPOLLERR | EPOLLHUP)) {
			epoll_ctl(epfd, EPOLL_CTL_DEL, in, NULL);
			close_stdin();
			rewatch_all();
			return;
		}
		feed_stdin();
		return;
	}
	c = &clients[(tag - TAG_CLIENT) % MAX_CLIENTS];
	if (c->fd >= 0 && events & EPOLLOUT)
		flush(c);
	if (c->fd >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		if (events & EPOLLIN || c->reading)
			from_client(c);
		if (c->fd >= 0 && events & (EPOLLHUP | EPOLLERR))
			drop(c);
	}
}

void attach_unlisten(void)
{
	if (listener < 0)
		return;
	hoy_close(listener);
	listener = -1;
	unlinkat(bundle, "attach", 0);
	if (dir_link)
		unlink(dir_link);
}

void attach_close(void)
{
	for (int i = 0; i < MAX_CLIENTS; i++) {
		time_t until = now() + PATIENCE;

		while (clients[i].fd >= 0 && clients[i].len && now() < until) {
			struct pollfd p = { clients[i].fd, POLLOUT, 0 };

			if (poll(&p, 1, 1000) > 0)
				flush(&clients[i]);
		}
		if (clients[i].fd >= 0)
			drop(&clients[i]);
	}
}
