/*
 * common/base/msg.h: what the tools say on stderr. common/ itself returns errors and prints nothing; main() and
 * the command functions call these. Each message is one line and one write(2).
 */
#pragma once
#include <stddef.h>

#include "common/base/cleanup.h"

struct hoy_err;

/* Levels of --log-level, as podman names them. */
enum hoy_level { HOY_LOG_DEBUG, HOY_LOG_INFO, HOY_LOG_WARN, HOY_LOG_ERROR, HOY_LOG_FATAL };
/* Set the level by name ("debug", "info", "warn", "warning", "error", "fatal", "panic"); 0 or -EINVAL. */
int hoy_log_set(const char *name);
enum hoy_level hoy_log_level(void);

/* "Error: ..." */
void hoy_error(const char *fmt, ...) HOY_PRINTF(1, 2);
/* "Warning: ..." */
void hoy_warning(const char *fmt, ...) HOY_PRINTF(1, 2);
/* "debug: ...", only at that level. */
void hoy_debug(const char *fmt, ...) HOY_PRINTF(1, 2);
/* "Error: " with ERR's sentence; returns STATUS, so that a command can end with it. */
int hoy_report(const struct hoy_err *err, int status);
/* Flush stdout; returns STATUS, or 125 with a message if what was printed did not arrive. */
int hoy_finish_stdout(int status);
/*
 * From now on messages are given to WRITE, with their newline, instead of to stderr: whoever draws there has to make room for
 * them. NULL: no more.
 */
void hoy_msg_writer(void (*write)(const char *line, size_t n));
