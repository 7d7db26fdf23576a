/*
 * cmd-conmon/log.c: the container's output in the CRI format: TIME STREAM F|P TEXT. One read of the container makes one
 * time stamp and one writev; nothing is allocated.
 */
#include <errno.h>
#include <fcntl.h>
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

static const char *path; /* NULL: no log file */
static int fd = -1;
static int64_t size;
static bool passthrough;
static bool mid_line[3]; /* the stream's last piece was a P */
static char zone[8];	 /* "+01:00", once: conmon's times are local */


bool log_passthrough(void)
{
	return passthrough;
}

static int open_file(void)
{
	struct stat st;

	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		return -errno;
	size = fstat(fd, &st) < 0 ? 0 : st.st_size;
	return 0;
}

static int driver(const char *text, struct hoy_err *err)
{
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);

#define IS(s) (len == strlen(s) && !strncmp(text, s, len))
	if (IS("none") || IS("off") || IS("null"))
		return 0;
	if (IS("passthrough")) {
		passthrough = true;
		return 0;
	}
	if (IS("journald"))
		return hoy_fail(err, HOY_EUNSUPPORTED, "log driver 'journald' is not supported");
	if (path)
		return hoy_fail(err, HOY_EUNSUPPORTED, "a second log file ('%s') is not supported", text);
	if ((IS("k8s-file") || IS("json-file")) && colon)
		path = colon + 1;
	else if (!colon && !IS("k8s-file") && !IS("json-file"))
		path = text;
	else
		return hoy_fail(err, EINVAL, "no such log driver: %s", text);
#undef IS
	return *path ? 0 : hoy_fail(err, EINVAL, "log path is empty in '%s'", text);
}

int log_open(struct hoy_err *err)
{
	time_t now = time(NULL);
	struct tm tm;
	int r = 0;

	localtime_r(&now, &tm);
	snprintf(zone, sizeof(zone), "%c%02ld:%02ld", tm.tm_gmtoff < 0 ? '-' : '+', labs(tm.tm_gmtoff) / 3600 % 100, labs(tm.tm_gmtoff) / 60 % 60);
	for (size_t i = 0; i < opt.log_paths.n && !r; i++)
		r = driver(opt.log_paths.v[i], err);
	if (!r && path && (r = open_file()) < 0)
		hoy_fail_errno(err, -r, "cannot open log file '%s'", path);
	return r;
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

/* Old files move up to PATH.1, PATH.2...; without rotation the file begins anew, as conmon's. */
static void rotate(void)
{
	char from[4200], to[4200];

	if (opt.log_rotate)
		for (int64_t i = opt.log_max_files - 1; i >= 0; i--) {
			snprintf(to, sizeof(to), "%.4000s.%lld", path, (long long)i + 1);
			if (i)
				snprintf(from, sizeof(from), "%.4000s.%lld", path, (long long)i);
			else
				snprintf(from, sizeof(from), "%.4000s", path);
			rename(from, to);
		}
	else
		unlink(path);
	log_reopen();
}

void log_reopen(void)
{
	int r;

	if (!path)
		return;
	hoy_close(fd);
	r = open_file();
	if (r < 0)
		warn("cannot open log file '%s' again: %s", path, strerror(-r));
}

/* A full disk loses log lines, never the container. */
static void put(struct iovec *v, int n, size_t bytes)
{
	static bool told;
	ssize_t w;

	if (opt.log_max > 0 && size && size + (int64_t)bytes > opt.log_max)
		rotate();
	if (fd < 0)
		return;
	while ((w = writev(fd, v, n)) < (ssize_t)bytes) {
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0) {
			if (!told)
				warn("cannot write to log file '%s': %s", path, strerror(errno));
			told = true;
			return;
		}
		bytes -= w;
		size += w;
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
	size += w;
}

#define MAX_IOV 120

void log_write(int stream, const char *data, size_t len)
{
	static char full[80], part[80];
	struct iovec v[MAX_IOV];
	size_t nf, np, bytes = 0;
	int n = 0;

	if (!path)
		return;
	nf = stamp(full, stream, 'F');
	np = stamp(part, stream, 'P');
	while (len) {
		const char *nl = memchr(data, '\n', len);
		size_t take = nl ? (size_t)(nl - data) + 1 : len;

		if (n + 3 > MAX_IOV) {
			put(v, n, bytes);
			n = 0;
			bytes = 0;
		}
		v[n++] = (struct iovec){ nl ? full : part, nl ? nf : np };
		v[n++] = (struct iovec){ (char *)data, take };
		bytes += v[n - 2].iov_len + take;
		if (!nl) {
			v[n++] = (struct iovec){ (char *)"\n", 1 };
			bytes++;
		}
		mid_line[stream] = !nl;
		data += take;
		len -= take;
	}
	if (n)
		put(v, n, bytes);
}

void log_eof(int stream)
{
	char buf[80];
	size_t n;

	/* An empty F closes a line whose last piece was a P. */
	if (path && mid_line[stream] && !opt.no_partial) {
		struct iovec v[2];

		n = stamp(buf, stream, 'F');
		v[0] = (struct iovec){ buf, n };
		v[1] = (struct iovec){ (char *)"\n", 1 };
		put(v, 2, n + 1);
	}
	mid_line[stream] = false;
}
