#include "common/base/msg.h"

#include <stdarg.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/fd.h"

static enum hoy_level level = HOY_LOG_WARN;
static void (*writer)(const char *line, size_t n);

void hoy_msg_writer(void (*write)(const char *line, size_t n)) { writer = write; }

int hoy_log_set(const char *name)
{
	static const struct { const char *name; enum hoy_level level; } names[] = {
		{ "trace", HOY_LOG_DEBUG }, { "debug", HOY_LOG_DEBUG }, { "info", HOY_LOG_INFO },
		{ "warn", HOY_LOG_WARN }, { "warning", HOY_LOG_WARN }, { "error", HOY_LOG_ERROR },
		{ "fatal", HOY_LOG_FATAL }, { "panic", HOY_LOG_FATAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i].name)) {
			level = names[i].level;
			return 0;
		}
	return -EINVAL;
}

enum hoy_level hoy_log_level(void)
{
	return level;
}

static void say(const char *prefix, const char *fmt, va_list ap)
{
	char line[2048];
	int n = snprintf(line, sizeof(line), "%s", prefix);
	int m = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);

	if (m < 0)
		return;
	n += m < (int)sizeof(line) - n - 1 ? m : (int)sizeof(line) - n - 2;
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[n++] = '\n';
	if (writer)
		writer(line, n);
	else
		(void)hoy_write_full(STDERR_FILENO, line, n);
}

#define SAY(prefix, least)                  \
	do {                                \
		va_list ap;                 \
		if (level > (least))        \
			return;             \
		va_start(ap, fmt);          \
		say(prefix, fmt, ap);       \
		va_end(ap);                 \
	} while (0)

void hoy_error(const char *fmt, ...)
{
	SAY("Error: ", HOY_LOG_FATAL);
}

void hoy_warning(const char *fmt, ...)
{
	SAY("Warning: ", HOY_LOG_WARN);
}

void hoy_debug(const char *fmt, ...)
{
	SAY("debug: ", HOY_LOG_DEBUG);
}

int hoy_report(const struct hoy_err *err, int status)
{
	hoy_error("%s", err->msg[0] ? err->msg : "unknown error");
	return status;
}

int hoy_finish_stdout(int status)
{
	if (fflush(stdout) || ferror(stdout)) {
		hoy_error("cannot write to standard output: %s", strerror(errno));
		return 125;
	}
	return status;
}
