/*
 * cmd-image/transfer/progress.h: what is going on, on stderr: bars on a terminal, lines elsewhere, or JSON. State is the
 * process's; all of it may be called by several threads.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "common/base/cleanup.h"

struct hoy_err;
struct stream;

#define PROGRESS_OPT(at) \
	{ 0, "progress", HOY_OPT_STRING, at, "HOW", "plain, json or none (default: bars on a terminal, else plain)" }
/* The value of that option (NULL: not given); *QUIET is set by none, and beats all others. */
int progress_choose(const char *how, bool *quiet, struct hoy_err *err);

/* One line, unless QUIET. */
void progress(bool quiet, const char *fmt, ...) HOY_PRINTF(2, 3);

/* One blob on its way. NULL stands for one that nobody looks at, and is fine in all of these. */
struct meter;
/* KIND: "blob" or "config"; SIZE -1: unknown. */
struct meter *meter_begin(bool quiet, const char *kind, const char *digest, int64_t size);
/* A stream of IN, which it owns, that counts, from the beginning, what is taken of it. It must be freed before the meter ends. */
struct stream *meter_stream(struct meter *m, struct stream *in);
/* Frees. Bars of what has failed vanish. */
void meter_end(struct meter *m, bool done);
/* There is nothing to do: the destination has it. */
void meter_skip(bool quiet, const char *kind, const char *digest, int64_t size);
