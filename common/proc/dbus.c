/* The D-Bus wire protocol, version 1, little endian both ways: who answers us is this machine's bus. */
#include "common/proc/dbus.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fd.h"


#define TIMEOUT_MS 25000
#define MESSAGE_MAX ((size_t)1 << 20)
enum { CALL = 1, RETURN, ERROR, SIGNAL };
enum { F_PATH = 1, F_INTERFACE, F_MEMBER, F_ERROR, F_REPLY, F_TO, F_SENDER, F_SIGNATURE };

/* ---- writing */

static void pad(struct hoy_buf *b, size_t align)
{
	while (b->len % align && !b->error)
		hoy_buf_putc(b, '\0');
}

static void put_u32(struct hoy_buf *b, uint32_t v)
{
	pad(b, 4);
	hoy_buf_add(b, &v, sizeof(v));
}

static void put_string(struct hoy_buf *b, const char *s)
{
	put_u32(b, (uint32_t)strlen(s));
	hoy_buf_add(b, s, strlen(s) + 1);
}

static void put_signature(struct hoy_buf *b, const char *s)
{
	hoy_buf_putc(b, (char)strlen(s));
	hoy_buf_add(b, s, strlen(s) + 1);
}

void hoy_dbus_u32(struct hoy_dbus_out *m, uint32_t v) { put_u32(&m->body, v); }
void hoy_dbus_string(struct hoy_dbus_out *m, const char *s) { put_string(&m->body, s); }
void hoy_dbus_signature(struct hoy_dbus_out *m, const char *s) { put_signature(&m->body, s); }
void hoy_dbus_align(struct hoy_dbus_out *m, size_t align) { pad(&m->body, align); }

void hoy_dbus_u64(struct hoy_dbus_out *m, uint64_t v)
{
	pad(&m->body, 8);
	hoy_buf_add(&m->body, &v, sizeof(v));
}

size_t hoy_dbus_array(struct hoy_dbus_out *m, size_t align)
{
	size_t mark;

	put_u32(&m->body, 0);
	mark = m->body.len - 4;
	pad(&m->body, align);
	return mark;
}

void hoy_dbus_end_array(struct hoy_dbus_out *m, size_t mark, size_t align)
{
	size_t start = (mark + 4 + align - 1) / align * align;
	uint32_t len = (uint32_t)(m->body.len - start);

	if (!m->body.error)
		memcpy(m->body.data + mark, &len, sizeof(len));
}

static void put_field(struct hoy_buf *b, int code, const char *type, const char *value)
{
	if (!value)
		return;
	pad(b, 8);
	hoy_buf_putc(b, (char)code);
	put_signature(b, type);
	if (*type == 'g')
		put_signature(b, value);
	else
		put_string(b, value);
}

static void put_header(struct hoy_buf *b, const struct hoy_dbus_out *m, uint32_t serial)
{
	uint32_t len;

	hoy_buf_add(b, "l\1\0\1", 4);
	put_u32(b, (uint32_t)m->body.len);
	put_u32(b, serial);
	put_u32(b, 0);
	put_field(b, F_PATH, "o", m->path);
	put_field(b, F_INTERFACE, "s", m->interface);
	put_field(b, F_MEMBER, "s", m->member);
	put_field(b, F_TO, "s", m->to);
	put_field(b, F_SIGNATURE, "g", m->signature);
	len = (uint32_t)(b->len - 16);
	if (!b->error)
		memcpy(b->data + 12, &len, sizeof(len));
	pad(b, 8);
}

/* ---- reading: offsets into a whole message, which is checked to hold what is read */

struct message {
	const char *p;
	size_t len, body;
	int type;
	uint32_t reply;
	const char *member, *error;
};

static bool get_u32(const struct message *m, size_t *at, uint32_t *ret)
{
	*at = (*at + 3) & ~(size_t)3;
	if (*at + 4 > m->len)
		return false;
	memcpy(ret, m->p + *at, 4);
	*at += 4;
	return true;
}

static const char *get_string(const struct message *m, size_t *at)
{
	uint32_t n;
	const char *s;

	if (!get_u32(m, at, &n) || n >= m->len || *at + n + 1 > m->len || m->p[*at + n])
		return NULL;
	s = m->p + *at;
	*at += n + 1;
	return strlen(s) == n ? s : NULL;
}

static bool get_field(struct message *m, size_t *at)
{
	unsigned char code, n;
	const char *s = NULL;
	uint32_t u = 0;
	char type;

	*at = (*at + 7) & ~(size_t)7;
	if (*at + 4 > m->len)
		return false;
	code = (unsigned char)m->p[*at];
	n = (unsigned char)m->p[*at + 1];
	type = m->p[*at + 2];
	if (n != 1 || m->p[*at + 3])
		return false;
	*at += 4;
	if (type == 'u') {
		if (!get_u32(m, at, &u))
			return false;
	} else if (type == 's' || type == 'o') {
		s = get_string(m, at);
		if (!s)
			return false;
	} else if (type == 'g') {
		if (*at >= m->len)
			return false;
		*at += (unsigned char)m->p[*at] + 2;
	} else {
		return false;
	}
	if (code == F_REPLY)
		m->reply = u;
	else if (code == F_MEMBER)
		m->member = s;
	else if (code == F_ERROR)
		m->error = s;
	return true;
}

/* The message at the beginning of IN: its size, 0 if it is not there as a whole, -EPROTO. */
static ssize_t parse(const struct hoy_buf *in, struct message *m)
{
	uint32_t body, fields;
	size_t at = 16, end;

	*m = (struct message){ .p = in->data, .len = in->len };
	if (in->len < 16)
		return 0;
	memcpy(&body, in->data + 4, 4);
	memcpy(&fields, in->data + 12, 4);
	if (in->data[0] != 'l' || body > MESSAGE_MAX || fields > MESSAGE_MAX)
		return -EPROTO;
	m->type = in->data[1];
	m->body = (16 + fields + 7) & ~(size_t)7;
	if (in->len < m->body + body)
		return 0;
	end = 16 + fields;
	m->len = end;
	while (at < end)
		if (!get_field(m, &at))
			return -EPROTO;
	m->len = m->body + body;
	return (ssize_t)m->len;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int fill(struct hoy_dbus *d, int64_t deadline)
{
	struct pollfd p = { d->fd, POLLIN, 0 };
	int64_t left = deadline - now_ms();
	char *space = hoy_buf_reserve(&d->in, 4096);
	ssize_t n;

	if (!space)
		return -ENOMEM;
	if (left <= 0 || poll(&p, 1, (int)left) == 0)
		return -ETIMEDOUT;
	n = read(d->fd, space, 4096);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	d->in.len += (size_t)n;
	return n ? 0 : -ECONNRESET;
}

static void drop(struct hoy_dbus *d, size_t n)
{
	memmove(d->in.data, d->in.data + n, d->in.len - n);
	d->in.len -= n;
}

/* Wait for a whole message; it stays in the buffer until drop() of what is returned. */
static ssize_t next(struct hoy_dbus *d, struct message *m, int64_t deadline)
{
	for (;;) {
		ssize_t n = d->in.len ? parse(&d->in, m) : 0;
		int r;

		if (n)
			return n;
		r = fill(d, deadline);
		if (r < 0)
			return r;
	}
}

/* ---- talking */

/* Who we are to the bus, which is outside of our user namespace. */
static unsigned outer_uid(void)
{
	cleanup_free char *map = NULL;
	unsigned inside, outside, n, own = (unsigned)geteuid();

	if (hoy_read_file(AT_FDCWD, "/proc/self/uid_map", 1 << 16, &map, NULL, NULL) < 0)
		return own;
	for (const char *p = map; sscanf(p, "%u %u %u", &inside, &outside, &n) == 3; p += strcspn(p, "\n"), p += *p == '\n')
		if (own >= inside && own - inside < n)
			return outside + (own - inside);
	return own;
}

static int authenticate(struct hoy_dbus *d, struct hoy_err *err)
{
	int64_t deadline = now_ms() + TIMEOUT_MS;
	char uid[16], line[64] = "";
	size_t n = 0;
	char *end;

	snprintf(uid, sizeof(uid), "%u", outer_uid());
	for (const char *p = uid; *p; p++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%02x", *p);
	dprintf(d->fd, "%cAUTH EXTERNAL %s\r\n", 0, line);
	while (!d->in.len || !(end = memmem(d->in.data, d->in.len, "\r\n", 2))) {
		int r = d->in.len > 4096 ? -EPROTO : fill(d, deadline);

		if (r < 0)
			return hoy_fail_errno(err, -r, "cannot talk to D-Bus");
	}
	if (strncmp(d->in.data, "OK ", 3))
		return hoy_fail(err, EACCES, "D-Bus does not take us for user %s", uid);
	drop(d, (size_t)(end + 2 - d->in.data));
	return dprintf(d->fd, "BEGIN\r\n") < 0 ? hoy_fail_errno(err, errno, "cannot talk to D-Bus") : 0;
}

/* The first "unix:path=" of the address, with its %XX undone. */
static bool socket_path(const char *address, char *ret, size_t size)
{
	const char *p = strstr(address, "unix:path=");
	size_t n = 0;

	if (!p)
		return false;
	for (p += 10; *p && *p != ',' && *p != ';' && n + 1 < size; p++) {
		unsigned c = (unsigned char)*p;

		if (c == '%' && sscanf(p + 1, "%2x", &c) == 1)
			p += 2;
		ret[n++] = (char)c;
	}
	ret[n] = '\0';
	return n > 0;
}

int hoy_dbus_connect(struct hoy_dbus *d, const char *address, struct hoy_err *err)
{
	struct hoy_dbus_out hello = HOY_DBUS_OUT_INIT;
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	if (!socket_path(address, to.sun_path, sizeof(to.sun_path)))
		return hoy_fail(err, EINVAL, "cannot use the D-Bus address '%s'", address);
	d->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (d->fd < 0 || connect(d->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return hoy_fail_errno(err, errno, "cannot connect to '%s'", to.sun_path);
	if (authenticate(d, err) < 0)
		return -err->code;
	if (d->direct)
		return 0;
	hello.path = "/org/freedesktop/DBus";
	hello.to = hello.interface = "org.freedesktop.DBus";
	hello.member = "Hello";
	return hoy_dbus_call(d, &hello, NULL, NULL, err);
}

static int refused(const struct message *m, const struct hoy_dbus_out *call, char *errname, struct hoy_err *err)
{
	size_t at = m->body;
	const char *text = get_string(m, &at);

	if (errname)
		snprintf(errname, 128, "%s", m->error ? m->error : "");
	return hoy_fail(err, EREMOTEIO, "%s: %s", call->member, text ? text : m->error ? m->error : "refused");
}

int hoy_dbus_call(struct hoy_dbus *d, struct hoy_dbus_out *call, char **ret, char *errname, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(2 << 20);
	int64_t deadline = now_ms() + TIMEOUT_MS;
	uint32_t serial = ++d->serial;
	ssize_t n;
	int r;

	put_header(&b, call, serial);
	hoy_buf_add(&b, call->body.data, call->body.len);
	r = b.error || call->body.error ? -ENOMEM : hoy_write_full(d->fd, b.data, b.len);
	hoy_buf_release(&call->body);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot talk to D-Bus");
	for (;;) {
		struct message m;
		size_t at;

		n = next(d, &m, deadline);
		if (n < 0)
			return hoy_fail_errno(err, (int)-n, "D-Bus: no answer to %s", call->member);
		/* Signals that come before the answer are of no use to anyone: jobs are waited for after it. */
		if (m.reply != serial || (m.type != RETURN && m.type != ERROR)) {
			drop(d, (size_t)n);
			continue;
		}
		r = m.type == ERROR ? refused(&m, call, errname, err) : 0;
		at = m.body;
		if (!r && ret && !(*ret = get_string(&m, &at) ? strdup(m.p + m.body + 4) : NULL))
			r = hoy_fail(err, EPROTO, "D-Bus: bad answer to %s", call->member);
		drop(d, (size_t)n);
		return r;
	}
}

int hoy_dbus_wait_job(struct hoy_dbus *d, const char *job, struct hoy_err *err)
{
	int64_t deadline = now_ms() + TIMEOUT_MS;

	for (;;) {
		const char *which = NULL, *unit = NULL, *result = NULL;
		struct message m;
		ssize_t n = next(d, &m, deadline);
		size_t at = m.body;
		uint32_t id;
		int r = 0;

		if (n < 0)
			return hoy_fail_errno(err, (int)-n, "systemd does not end job '%s'", job);
		if (m.type == SIGNAL && m.member && !strcmp(m.member, "JobRemoved") && get_u32(&m, &at, &id) &&
		    (which = get_string(&m, &at)) && (unit = get_string(&m, &at)) && (result = get_string(&m, &at)) &&
		    !strcmp(which, job))
			r = strcmp(result, "done") ? hoy_fail(err, EREMOTEIO, "systemd could not start '%s': %s", unit, result) : 1;
		drop(d, (size_t)n);
		if (r)
			return r < 0 ? r : 0;
	}
}

void hoy_dbus_release(struct hoy_dbus *d)
{
	hoy_close(d->fd);
	d->fd = -1;
	hoy_buf_release(&d->in);
}

/* ---- systemd ---- */

#define MANAGER "org.freedesktop.systemd1.Manager"

struct hoy_dbus_out hoy_systemd_message(const char *member, const char *signature)
{
	struct hoy_dbus_out m = HOY_DBUS_OUT_INIT;

	m.path = "/org/freedesktop/systemd1";
	m.to = "org.freedesktop.systemd1";
	m.interface = MANAGER;
	m.member = member;
	m.signature = signature;
	return m;
}

static int subscribe(struct hoy_dbus *d, struct hoy_err *err)
{
	struct hoy_dbus_out match = HOY_DBUS_OUT_INIT, sub = hoy_systemd_message("Subscribe", NULL);

	match.path = "/org/freedesktop/DBus";
	match.to = match.interface = "org.freedesktop.DBus";
	match.member = "AddMatch";
	match.signature = "s";
	hoy_dbus_string(&match, "type='signal',sender='org.freedesktop.systemd1',interface='" MANAGER "',member='JobRemoved'");
	/* Without a bus all signals come, and there is nobody to ask for them. */
	if (d->direct)
		hoy_buf_release(&match.body);
	else if (hoy_dbus_call(d, &match, NULL, NULL, err) < 0)
		return -err->code;
	return hoy_dbus_call(d, &sub, NULL, NULL, err);
}

/* Where systemd itself listens, if there is no socket of a bus at ADDRESS: its own address in B. */
static const char *without_bus(const char *address, const char *dir, char *b, size_t size)
{
	char bus[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int n = snprintf(b, size, "unix:path=%s/systemd/private", dir);

	if (n >= (int)size || !socket_path(address, bus, sizeof(bus)) || !access(bus, F_OK) || access(b + strlen("unix:path="), F_OK) < 0)
		return NULL;
	return b;
}

int hoy_systemd_connect(struct hoy_dbus *d, struct hoy_err *err)
{
	bool user = outer_uid() != 0;
	const char *address = getenv(user ? "DBUS_SESSION_BUS_ADDRESS" : "DBUS_SYSTEM_BUS_ADDRESS"), *run = getenv("XDG_RUNTIME_DIR");
	char own[4096], private[4096];
	const char *direct;

	if (!address && !user)
		address = "unix:path=/run/dbus/system_bus_socket";
	if (!address && run && snprintf(own, sizeof(own), "unix:path=%s/bus", run) < (int)sizeof(own))
		address = own;
	if (!address)
		return hoy_fail(err, ENOENT, "the systemd cgroup manager needs DBUS_SESSION_BUS_ADDRESS or XDG_RUNTIME_DIR "
					     "(use: --cgroup-manager=cgroupfs)");
	direct = without_bus(address, user ? run ?: "" : "/run", private, sizeof(private));
	d->direct = direct != NULL;
	return hoy_dbus_connect(d, direct ?: address, err) < 0 ? -err->code : subscribe(d, err);
}

void hoy_systemd_property(struct hoy_dbus_out *m, const char *name, const char *type)
{
	hoy_dbus_align(m, 8);
	hoy_dbus_string(m, name);
	hoy_dbus_signature(m, type);
}

void hoy_systemd_property_string(struct hoy_dbus_out *m, const char *name, const char *value)
{
	hoy_systemd_property(m, name, "s");
	hoy_dbus_string(m, value);
}

void hoy_systemd_property_bool(struct hoy_dbus_out *m, const char *name, bool value)
{
	hoy_systemd_property(m, name, "b");
	hoy_dbus_u32(m, value);
}

void hoy_systemd_property_pid(struct hoy_dbus_out *m, int pid)
{
	size_t pids;

	hoy_systemd_property(m, "PIDs", "au");
	pids = hoy_dbus_array(m, 4);
	hoy_dbus_u32(m, (uint32_t)pid);
	hoy_dbus_end_array(m, pids, 4);
}

int hoy_systemd_adopt(const char *slice, const char *unit, int pid, struct hoy_err *err)
{
	struct hoy_dbus_out start = hoy_systemd_message("StartTransientUnit", "ssa(sv)a(sa(sv))");
	cleanup_free char *job = NULL;
	struct hoy_dbus d = HOY_DBUS_INIT;
	int r = hoy_systemd_connect(&d, err);

	if (!r) {
		size_t all;

		hoy_dbus_string(&start, unit);
		hoy_dbus_string(&start, "replace");
		all = hoy_dbus_array(&start, 8);
		hoy_systemd_property_string(&start, "Slice", slice);
		hoy_systemd_property_pid(&start, pid);
		hoy_systemd_property_bool(&start, "Delegate", true);
		hoy_systemd_property_bool(&start, "DefaultDependencies", false);
		hoy_dbus_end_array(&start, all, 8);
		hoy_dbus_end_array(&start, hoy_dbus_array(&start, 8), 8); /* no other units */
		r = hoy_dbus_call(&d, &start, &job, NULL, err);
	}
	if (!r)
		r = hoy_dbus_wait_job(&d, job, err);
	hoy_buf_release(&start.body);
	hoy_dbus_release(&d);
	return r;
}
