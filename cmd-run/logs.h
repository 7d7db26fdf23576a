/* cmd-run/logs.h: what the readers of `logs` share. */
#pragma once
#include "cmd-run/run.h"

struct log_opts {
	bool follow, times, latest, names, color;
	const char *tail, *since, *until;
};

struct log_reader {
	const struct log_opts *o;
	const char *name;
	int fd;
	int64_t since, until;
	long tail;		   /* -1: all */
	struct hoy_buf rest;	   /* the beginning of a line that is still being written */
	bool mid[2];		   /* the last piece of stdout, stderr had no line end */
};

/* One line of a k8s-file log, "TIME STREAM TAG TEXT", without its '\n'. */
void log_print_line(struct log_reader *r, const char *line, size_t len);

/* ---- logjournal.c ---- */
/* What the journal has of the container, and with --follow what comes until its end. */
int log_print_journal(struct ctr *c, struct log_reader *r, struct hoy_err *err);
