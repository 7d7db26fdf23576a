/*
 * cmd-conmon/journal.c: the log driver journald. An entry is one datagram of fields to /run/systemd/journal/socket, in
 * the journal's native protocol: no library is needed, and nothing is allocated per line.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd-conmon/conmon.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"

#define LONGEST 8192 /* a longer line goes out in pieces */

static int sock = -1;
static struct hoy_buf fixed = HOY_BUF_INIT(64 << 10); /* the fields that every entry has */
static struct {
	char text[LONGEST];
	size_t len;
} waiting[3]; /* the beginning of a line, by stream */

/* NAME=VALUE, VALUE without control characters; hostile ones cannot add fields. */
static int field(const char *name, const char *value, size_t len, struct hoy_err *err)
{
	for (size_t i = 0; i < len; i++)
		if (value[i] == '\n')
			return hoy_fail(err, EINVAL, "the value of %s must not have line ends", name);
	hoy_buf_printf(&fixed, "%s=%.*s\n", name, (int)len, value);
	return 0;
}

/* A label is a field: its name must be one that the journal takes from anybody. */
static int label(const char *text, struct hoy_err *err)
{
	const char *eq = strchr(text, '=');
	char name[65];
	size_t n = eq ? (size_t)(eq - text) : 0;

	if (!eq || strchr(eq + 1, '='))
		return hoy_fail(err, EINVAL, "Container labels must be in format LABEL=VALUE (none or more than one '=' present in '%s')", text);
	if (!n || n >= sizeof(name) || strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") < n || *text == '_')
		return hoy_fail(err, EINVAL, "Container label names must contain only uppercase letters, numbers and underscore (in '%s')", text);
	memcpy(name, text, n);
	name[n] = '\0';
	return field(name, eq + 1, strlen(eq + 1), err);
}

int journal_open(struct hoy_err *err)
{
	const char *who = opt.log_tag ? opt.log_tag : opt.name ? opt.name : opt.cid;
	int r;

	if (strlen(opt.cid) <= 12)
		return hoy_fail(err, EINVAL, "Container ID must be longer than 12 characters");
	r = field("CONTAINER_ID_FULL", opt.cid, strlen(opt.cid), err);
	if (!r)
		r = field("CONTAINER_ID", opt.cid, 12, err);
	if (!r && opt.name)
		r = field("CONTAINER_NAME", opt.name, strlen(opt.name), err);
	if (!r && opt.log_tag)
		r = field("CONTAINER_TAG", opt.log_tag, strlen(opt.log_tag), err);
	if (!r)
		r = field("SYSLOG_IDENTIFIER", who, who == opt.cid ? 12 : strlen(who), err);
	for (size_t i = 0; i < opt.log_labels.n && !r; i++)
		r = label(opt.log_labels.v[i], err);
	if (!r && fixed.error)
		r = hoy_fail_oom(err);
	if (!r && (sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
		r = hoy_fail_errno(err, errno, "cannot make a socket for the journal");
	return r;
}

/* One entry, its text in two parts. The binary form of a field: NAME, '\n', 64 bits of length, the bytes, '\n'. */
static void entry(int stream, const char *a, size_t a_len, const char *b, size_t b_len, bool partial)
{
	static bool told;
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket" };
	int priority = stream == 2 ? 3 : 6;
	uint64_t size;
	char prio[16];
	struct iovec v[8];
	struct msghdr m = { .msg_name = &sa, .msg_namelen = sizeof(sa), .msg_iov = v };

	/* "<N>" in front of a line is systemd's way to say how bad it is. */
	if (!a_len && b_len > 3 && b[0] == '<' && b[1] >= '0' && b[1] <= '7' && b[2] == '>') {
		priority = b[1] - '0';
		b += 3;
		b_len -= 3;
	}
	size = htole64(a_len + b_len);
	v[m.msg_iovlen++] = (struct iovec){ (char *)"MESSAGE\n", 8 };
	v[m.msg_iovlen++] = (struct iovec){ &size, 8 };
	v[m.msg_iovlen++] = (struct iovec){ (char *)a, a_len };
	v[m.msg_iovlen++] = (struct iovec){ (char *)b, b_len };
	v[m.msg_iovlen++] = (struct iovec){ prio, (size_t)snprintf(prio, sizeof(prio), "\nPRIORITY=%d\n", priority) };
	v[m.msg_iovlen++] = (struct iovec){ fixed.data, fixed.len };
	if (partial && !opt.no_partial)
		v[m.msg_iovlen++] = (struct iovec){ (char *)"CONTAINER_PARTIAL_MESSAGE=true\n", 31 };
	while (sendmsg(sock, &m, MSG_NOSIGNAL) < 0) {
		if (errno == EINTR)
			continue;
		if (!told)
			warn("cannot write to the journal: %s", strerror(errno));
		told = true;
		return;
	}
	told = false;
}

void journal_write(int stream, const char *data, size_t len)
{
	while (len) {
		size_t room = LONGEST - waiting[stream].len;
		const char *nl = memchr(data, '\n', len < room ? len : room);
		size_t take = nl ? (size_t)(nl - data) + 1 : len < room ? len : room;

		if (!nl && len < room) {
			memcpy(waiting[stream].text + waiting[stream].len, data, len);
			waiting[stream].len += len;
			return;
		}
		entry(stream, waiting[stream].text, waiting[stream].len, data, take, !nl);
		waiting[stream].len = 0;
		data += take;
		len -= take;
	}
}

void journal_eof(int stream)
{
	if (waiting[stream].len)
		entry(stream, waiting[stream].text, waiting[stream].len, "", 0, true);
	waiting[stream].len = 0;
}
