/*
 * cmd-conmon/log.c: the container's output in the CRI format: TIME STREAM F|P TEXT. One read of the container makes one
 * time stamp and one writev; nothing is allocated.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "cmd-conmon/conmon.h"
#include "common/base/err.h"
#include "common/base/fd.h"

#define MAX_FILES 8
#define MAX_IOV 120

struct file {
	const char *path;
	int fd;
	int64_t size, total; /* of this file; of all that was ever written */
	bool told;	     /* that it cannot be written */
};

static struct file files[MAX_FILES];
static int n_files;
static bool passthrough, on_terminal, journal; /* on_terminal: passthrough-tty */
static char zone[8]; /* "+01:00", once: conmon's times are local */

bool log_passthrough(void)
{
	return passthrough;
}

static int open_file(struct file *f)
{
	struct stat st;

	f->fd = open(f->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (f->fd < 0)
		return -errno;
	f->size = fstat(f->fd, &st) < 0 ? 0 : st.st_size;
	return 0;
}

/* --log-allowlist-dir: the directory that PATH leads to, symlinks and all, must be one of those or below it. */
static int check_allowed(const char *path, struct hoy_err *err)
{
	cleanup_free char *parent = strdup(path);
	char real[PATH_MAX], allowed[PATH_MAX], *slash = parent ? strrchr(parent, '/') : NULL;

	if (!opt.log_allow.n)
		return 0;
	if (slash)
		slash[slash == parent] = '\0';
	if (!parent || !realpath(slash ? parent : ".", real))
		return hoy_fail_errno(err, errno, "cannot find the directory of log file '%s'", path);
	for (size_t i = 0; i < opt.log_allow.n; i++) {
		size_t n = realpath(opt.log_allow.v[i], allowed) ? strlen(allowed) : 0;

		if (n && !strncmp(real, allowed, n) && (!real[n] || real[n] == '/' || n == 1))
			return 0;
	}
	return hoy_fail(err, EACCES, "log file '%s' is not below an allowed directory", path);
}

static int add_file(const char *path, const char *driver, struct hoy_err *err)
{
	if (!path || !*path)
		return hoy_fail(err, EINVAL, "%s requires a filename", driver);
	if (n_files == MAX_FILES)
		return hoy_fail(err, E2BIG, "more than %d log files", MAX_FILES);
	files[n_files++] = (struct file){ .path = path, .fd = -1 };
	return check_allowed(path, err);
}

/* DRIVER, DRIVER:PATH, PATH alone or :PATH. */
static int driver(const char *text, struct hoy_err *err)
{
	const char *colon = strchr(text, ':'), *path = colon ? colon + 1 : NULL;
	size_t len = colon ? (size_t)(colon - text) : strlen(text);

	if (!*text)
		return hoy_fail(err, EINVAL, "log-path must not be empty");
	if (colon == text)
		return add_file(path, "k8s-file", err);
#define IS(s) (len == strlen(s) && !strncmp(text, s, len))
	if (IS("none") || IS("off") || IS("null"))
		return 0;
	if (IS("passthrough") || IS("passthrough-tty")) {
		on_terminal = IS("passthrough-tty");
		return passthrough = true, 0;
	}
	if (IS("journald"))
		return journal = true, 0;
	if (IS("k8s-file") || IS("json-file"))
		return add_file(path, IS("k8s-file") ? "k8s-file" : "json-file", err);
#undef IS
	return colon ? hoy_fail(err, EINVAL, "No such log driver %.*s", (int)len, text) : add_file(text, "k8s-file", err);
}

/* What the drivers given do not do is refused. */
static int check_drivers(struct hoy_err *err)
{
	if (!journal && n_files && opt.log_tag)
		return hoy_fail(err, EINVAL, "k8s-file doesn't support --log-tag");
	if (!journal && n_files && opt.log_labels.n)
		return hoy_fail(err, EINVAL, "k8s-file doesn't support --log-label");
	if (opt.log_rotate && opt.log_max_files < 1)
		return hoy_fail(err, EINVAL, "--log-max-files must be at least 1");
	if (passthrough && !on_terminal && (isatty(0) || isatty(1) || isatty(2)))
		return hoy_fail(err, EINVAL, "cannot use a tty with passthrough logging mode to prevent attacks via TIOCSTI");
	return 0;
}

int log_open(struct hoy_err *err)
{
	time_t now = time(NULL);
	struct tm tm;
	int r = 0;

	if (!opt.log_paths.n)
		return hoy_fail(err, EINVAL, "Log driver not provided. Use --log-path");
	localtime_r(&now, &tm);
	snprintf(zone, sizeof(zone), "%c%02ld:%02ld", tm.tm_gmtoff < 0 ? '-' : '+', labs(tm.tm_gmtoff) / 3600 % 100, labs(tm.tm_gmtoff) / 60 % 60);
	for (size_t i = 0; i < opt.log_paths.n && !r; i++)
		r = driver(opt.log_paths.v[i], err);
	if (!r)
		r = check_drivers(err);
	for (int i = 0; i < n_files && !r; i++) {
		if ((r = open_file(&files[i])) < 0)
			hoy_fail_errno(err, -r, "cannot open log file '%s'", files[i].path);
		files[i].total = files[i].size;
	}
	return r || !journal ? r : journal_open(err);
}

/* "TIME STREAM X ": the seconds are formatted once a second. */
static size_t stamp(char *buf, int stream, char tag)
{
	static time_t last = -1;
	static char text[24];
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (ts.tv_sec != last) {
		last = ts.tv_sec;
		localtime_r(&last, &tm);
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	}
	return (size_t)snprintf(buf, 80, "%s.%09ld%s %s %c ", text, ts.tv_nsec, zone, stream == 2 ? "stderr" : "stdout", tag);
}

static void reopen(struct file *f)
{
	int r;

	hoy_close(f->fd);
	r = open_file(f);
	if (r < 0)
		warn("cannot open log file '%s' again: %s", f->path, strerror(-r));
}

void log_reopen(void)
{
	for (int i = 0; i < n_files; i++)
		reopen(&files[i]);
}

/*
 * Old files move up to PATH.1, PATH.2...: what is in them stays. Without rotation a new file takes the place of the old
 * one, as conmon's; a reader that has the old one open reads it to its end.
 */
static void rotate(struct file *f)
{
	char from[PATH_MAX + 24], to[PATH_MAX + 24];

	if (!opt.log_rotate) {
		unlink(f->path);
		reopen(f);
		return;
	}
	for (int64_t i = opt.log_max_files - 1; i >= 0; i--) {
		snprintf(to, sizeof(to), "%s.%lld", f->path, (long long)i + 1);
		if (i)
			snprintf(from, sizeof(from), "%s.%lld", f->path, (long long)i);
		else
			snprintf(from, sizeof(from), "%s", f->path);
		rename(from, to);
	}
	reopen(f);
}

/* A full disk loses log lines, never the container. */
static void put(struct file *f, struct iovec *v, int n, size_t bytes)
{
	while (n && f->fd >= 0) {
		ssize_t w = writev(f->fd, v, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0) {
			if (!f->told)
				warn("cannot write to log file '%s': %s", f->path, strerror(errno));
			f->told = true;
			return;
		}
		f->size += w;
		f->total += w;
		if ((size_t)w == bytes)
			return;
		bytes -= w;
		while (n && (size_t)w >= v->iov_len) {
			w -= v->iov_len;
			v++;
			n--;
		}
		if (n) {
			v->iov_base = (char *)v->iov_base + w;
			v->iov_len -= w;
		}
	}
}

/* Lines that wait for one writev. */
struct batch {
	struct iovec v[MAX_IOV];
	int n;
	size_t bytes;
};

static void flush(struct file *f, struct batch *b)
{
	if (b->n)
		put(f, b->v, b->n, b->bytes);
	b->n = 0;
	b->bytes = 0;
}

static void add(struct batch *b, const char *data, size_t len)
{
	b->v[b->n++] = (struct iovec){ (char *)data, len };
	b->bytes += len;
}

/* FULL and PART are what stands before a whole line and before a piece of one; both have HEAD bytes. */
static void write_lines(struct file *f, const char *full, const char *part, size_t head, const char *data, size_t len)
{
	struct batch b = { .n = 0 };

	while (len) {
		const char *nl = memchr(data, '\n', len);
		size_t take = nl ? (size_t)(nl - data) + 1 : len, bytes = head + take + !nl;

		if (opt.log_global_max > 0 && f->total + (int64_t)b.bytes >= opt.log_global_max)
			break;
		if (opt.log_max > 0 && f->size + (int64_t)(b.bytes + bytes) > opt.log_max && f->size + b.bytes) {
			flush(f, &b);
			rotate(f);
		}
		if (b.n + 3 > MAX_IOV)
			flush(f, &b);
		add(&b, nl ? full : part, head);
		add(&b, data, take);
		if (!nl)
			add(&b, "\n", 1);
		data += take;
		len -= take;
	}
	flush(f, &b);
}

void log_write(int stream, const char *data, size_t len)
{
	static char full[80], part[80];
	size_t head;

	if (journal)
		journal_write(stream, data, len);
	if (!n_files)
		return;
	head = stamp(full, stream, 'F');
	memcpy(part, full, sizeof(part));
	part[head - 2] = 'P';
	for (int i = 0; i < n_files; i++)
		write_lines(&files[i], full, part, head, data, len);
}

void log_eof(int stream)
{
	if (journal)
		journal_eof(stream);
}

void log_finish(void)
{
	for (int i = 0; i < n_files; i++)
		if (!opt.no_sync_log && files[i].fd >= 0)
			(void)fsync(files[i].fd);
}
