#include "cmd-runtime/criu.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { NOTIFY = 6 };
enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static void put_varint(struct hoy_buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		hoy_buf_putc(b, (char)(v | 0x80));
	hoy_buf_putc(b, (char)v);
}

static void put_bytes(struct hoy_buf *b, unsigned field, const void *data, size_t len)
{
	put_varint(b, (uint64_t)field << 3 | BYTES);
	put_varint(b, len);
	hoy_buf_add(b, data, len);
}

void criu_number(struct hoy_buf *b, unsigned field, uint64_t v)
{
	put_varint(b, (uint64_t)field << 3 | VARINT);
	put_varint(b, v);
}

void criu_flag(struct hoy_buf *b, unsigned field, bool v)
{
	if (v)
		criu_number(b, field, 1);
}

void criu_text(struct hoy_buf *b, unsigned field, const char *s)
{
	if (s)
		put_bytes(b, field, s, strlen(s));
}

void criu_message(struct hoy_buf *b, unsigned field, const struct hoy_buf *m)
{
	if (m->error)
		b->error = m->error;
	put_bytes(b, field, m->data, m->len);
}

void criu_pair(struct hoy_buf *b, unsigned field, const char *one, const char *two)
{
	struct hoy_buf m = HOY_BUF_INIT(1 << 16);

	criu_text(&m, 1, one);
	criu_text(&m, 2, two);
	criu_message(b, field, &m);
	hoy_buf_release(&m);
}

int criu_inherit(struct criu *c, int fd, const char *key, struct hoy_err *err)
{
	struct hoy_buf m = HOY_BUF_INIT(4096);

	if (c->ninherit == ARRAY_SIZE(c->inherit))
		return hoy_fail(err, E2BIG, "too many descriptors for CRIU");
	c->inherit[c->ninherit++] = fd;
	criu_text(&m, 1, key);
	criu_number(&m, 2, (uint64_t)fd);
	criu_message(&c->opts, CRIU_INHERIT_FD, &m);
	hoy_buf_release(&m);
	return 0;
}

/* One field of a message. */
struct field {
	unsigned number;
	uint64_t value;
	struct { const unsigned char *p, *end; } bytes;
};
struct reader {
	const unsigned char *p, *end;
};

static bool get_varint(struct reader *r, uint64_t *ret)
{
	*ret = 0;
	for (int shift = 0; shift < 64 && r->p < r->end; shift += 7) {
		*ret |= (uint64_t)(*r->p & 0x7f) << shift;
		if (!(*r->p++ & 0x80))
			return true;
	}
	return false;
}

static bool next_field(struct reader *r, struct field *f)
{
	uint64_t tag, len;

	*f = (struct field){ .number = 0 };
	if (!get_varint(r, &tag))
		return false;
	f->number = (unsigned)(tag >> 3);
	switch (tag & 7) {
	case VARINT:
		return get_varint(r, &f->value);
	case BYTES:
		if (!get_varint(r, &len) || len > (uint64_t)(r->end - r->p))
			return false;
		break;
	case FIXED64:
	case FIXED32:
		len = (tag & 7) == FIXED64 ? 8 : 4;
		if ((uint64_t)(r->end - r->p) < len)
			return false;
		break;
	default:
		return false;
	}
	f->bytes.p = r->p;
	f->bytes.end = r->p += len;
	return true;
}

struct answer {
	uint64_t type, success, pid, cr_errno, mem_track;
	char message[256], script[64];
};

static void copy_text(const struct field *f, char *ret, size_t size)
{
	const char *text = (const char *)f->bytes.p;
	int len = (int)(f->bytes.end - f->bytes.p);

	while (len > 0 && text[len - 1] == '\n')
		len--;
	snprintf(ret, size, "%.*s", len, text);
}

/* What matters of a message of type criu_resp; of its parts "restore", "notify" and "features" the first field. */
static bool parse(const unsigned char *data, size_t len, struct answer *a)
{
	struct reader r = { data, data + len };
	struct field f, g;

	memset(a, 0, sizeof(*a));
	while (r.p < r.end) {
		struct reader part;

		if (!next_field(&r, &f))
			return false;
		part = (struct reader){ f.bytes.p, f.bytes.end };
		switch (f.number) {
		case 1: a->type = f.value; break;
		case 2: a->success = f.value; break;
		case 4:
		case 5:
		case 8:
			if (!f.bytes.p)
				return false;
			while (part.p < part.end && next_field(&part, &g)) {
				if (g.number != 1)
					continue;
				if (f.number == 5 && g.bytes.p)
					copy_text(&g, a->script, sizeof(a->script));
				*(f.number == 4 ? &a->pid : &a->mem_track) = g.value;
			}
			break;
		case 7: a->cr_errno = f.value; break;
		case 9:
			if (f.bytes.p)
				copy_text(&f, a->message, sizeof(a->message));
			break;
		default: break;
		}
	}
	return true;
}

static void run(const struct criu *c, int sock)
{
	char fd[16];

	signals_reset();
	fcntl(sock, F_SETFD, 0);
	for (size_t i = 0; i < c->ninherit; i++)
		fcntl(c->inherit[i], F_SETFD, 0);
	snprintf(fd, sizeof(fd), "%d", sock);
	execlp("criu", "criu", "swrk", fd, NULL);
	_exit(errno == ENOENT ? 127 : 126);
}

static int receive(int sock, unsigned char *data, size_t size, int *ret_fd)
{
	char space[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov = { data, size };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space) };
	struct cmsghdr *cm;
	ssize_t n;

	do
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	cm = n >= 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (cm && cm->cmsg_type == SCM_RIGHTS && cm->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(cm), sizeof(int));
	return n < 0 ? -errno : (int)n;
}

static int request(int sock, unsigned type, const struct hoy_buf *opts)
{
	struct hoy_buf m = HOY_BUF_INIT(2 << 20), features = HOY_BUF_INIT(64);
	int r = 0;

	criu_number(&m, 1, type);
	if (type == CRIU_FEATURES) {
		criu_flag(&features, 1, true);
		put_bytes(&m, 5, features.data, features.len);
	} else if (type == NOTIFY) {
		criu_flag(&m, 3, true);
	} else {
		put_bytes(&m, 2, opts->data, opts->len);
	}
	if (m.error || (opts && opts->error))
		r = -ENOMEM;
	else if (send(sock, m.data, m.len, MSG_NOSIGNAL) < 0)
		r = -errno;
	hoy_buf_release(&features);
	hoy_buf_release(&m);
	return r;
}

/* Until it is no notification, which asks us to agree, and brings the terminal along where there is one. */
static int converse(struct criu *c, int sock, unsigned type, struct answer *a)
{
	unsigned char data[16384];
	int r = request(sock, type, &c->opts);

	while (!r) {
		int fd = -1, n = receive(sock, data, sizeof(data), &fd);

		if (n <= 0 || !parse(data, (size_t)n, a)) {
			hoy_close(fd);
			return n < 0 ? n : !n ? -EPIPE : -EPROTO;
		}
		if (a->type != NOTIFY || strcmp(a->script, "orphan-pts-master"))
			hoy_close(fd);
		else
			hoy_close(c->master), c->master = fd;
		if (a->type != NOTIFY)
			return a->type == type ? 0 : -EPROTO;
		r = request(sock, NOTIFY, NULL);
	}
	return r;
}

int criu_call(struct criu *c, enum criu_type type, struct hoy_err *err)
{
	struct answer a;
	int sock[2], status = 0, r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) < 0)
		return hoy_fail_errno(err, errno, "cannot make a socket pair");
	pid = fork();
	if (!pid)
		run(c, sock[1]);
	hoy_close(sock[1]);
	r = pid < 0 ? -errno : converse(c, sock[0], type, &a);
	hoy_close(sock[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return hoy_fail(err, ENOENT, "there is no criu, which checkpoints take (run: apt-get install criu)");
	if (r < 0)
		return hoy_fail_errno(err, r == -EPIPE ? EPROTO : -r, "criu did not answer");
	if (!a.success)
		return hoy_fail(err, a.cr_errno && a.cr_errno < 4096 ? (int)a.cr_errno : EIO, "criu failed%s%s%s%s", *a.message ? ": " : "", a.message,
				a.cr_errno ? ": " : "", a.cr_errno && a.cr_errno < 4096 ? strerror((int)a.cr_errno) : "");
	c->pid = (pid_t)a.pid;
	c->mem_track = a.mem_track;
	return 0;
}

void criu_release(struct criu *c)
{
	hoy_buf_release(&c->opts);
	hoy_close(c->master);
	c->master = -1;
}
