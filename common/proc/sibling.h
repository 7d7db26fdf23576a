/* common/proc/sibling.h: the other tools of the suite: beside our own executable first, then in PATH. */
#pragma once

/* Path of tool NAME, in new memory; NAME itself if it is not beside us. NULL without memory. */
char *hoy_sibling(const char *name);
/* Replace this process by tool NAME with ARGV (argv[0] is set to NAME); returns -errno. */
int hoy_exec_sibling(const char *name, char **argv);
struct hoy_buf;
/*
 * Run tool NAME with ARGV (as above) and our stdin and stderr; what it prints is appended to OUT, or thrown away if that is
 * NULL. Its exit status (128 + N for signal N) or -errno.
 */
int hoy_sibling_run(const char *name, char **argv, struct hoy_buf *out);
