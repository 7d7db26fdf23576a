/* Errors go to stderr as crun prints them, and with --log to a file that engines read; journald and syslog by syslog(3). */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <syslog.h>

#include "cmd-runtime/runtime.h"
#include "common/data/time.h"

static int log_fd = -1;
static bool json, debug, to_syslog;

int log_open(const struct rt *rt, struct hoy_err *err)
{
	const char *path = rt->log;

	debug = rt->debug || (rt->log_level && !strcmp(rt->log_level, "debug"));
	if (rt->log_format && strcmp(rt->log_format, "json") && strcmp(rt->log_format, "text"))
		return hoy_fail(err, EINVAL, "unknown log format '%s' (use: text or json)", rt->log_format);
	json = rt->log_format && !strcmp(rt->log_format, "json");
	if (!path)
		return 0;
	if (!strncmp(path, "syslog:", 7) || !strncmp(path, "journald:", 9)) {
		openlog(strchr(path, ':') + 1, LOG_PID, LOG_USER);
		to_syslog = true;
		return 0;
	}
	if (!strncmp(path, "file:", 5))
		path += 5;
	log_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (log_fd < 0)
		return hoy_fail_errno(err, errno, "cannot open log file '%s'", path);
	return 0;
}

static void emit(const char *level, const char *msg)
{
	struct hoy_buf line = HOY_BUF_INIT(8192);
	char t[HOY_TIME_SIZE];

	if (to_syslog) {
		syslog(*level == 'e' ? LOG_ERR : LOG_WARNING, "%s", msg);
		return;
	}
	if (json) {
		struct hoy_jw w = hoy_jw_on(&line, NULL);

		w.html = false;
		hoy_jw_object(&w, NULL);
		hoy_jw_string(&w, "msg", msg);
		hoy_jw_string(&w, "level", level);
		hoy_jw_string(&w, "time", hoy_time_format(hoy_now(), t));
		hoy_jw_end_object(&w);
	} else if (log_fd >= 0) {
		hoy_buf_printf(&line, "%s: %s", hoy_time_format(hoy_now(), t), msg);
	} else {
		hoy_buf_puts(&line, msg);
	}
	hoy_buf_putc(&line, '\n');
	(void)hoy_write_full(log_fd >= 0 ? log_fd : STDERR_FILENO, hoy_buf_str(&line), line.len);
	hoy_buf_release(&line);
}

void log_error(const char *msg)
{
	emit("error", *msg ? msg : "unknown error");
}

#define EMIT(level)                                 \
	do {                                        \
		char msg[1024];                     \
		va_list ap;                         \
		va_start(ap, fmt);                  \
		vsnprintf(msg, sizeof(msg), fmt, ap); \
		va_end(ap);                         \
		emit(level, msg);                   \
	} while (0)

void log_warning(const char *fmt, ...)
{
	EMIT("warning");
}

void log_debug(const char *fmt, ...)
{
	if (debug)
		EMIT("debug");
}
