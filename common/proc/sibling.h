/* common/proc/sibling.h: the other tools of the suite: beside our own executable first, then in PATH. */
#pragma once

/* Path of tool NAME, in new memory; NAME itself if it is not beside us. NULL without memory. */
char *hoy_sibling(const char *name);
/* Replace this process by tool NAME with ARGV (argv[0] is set to NAME); returns -errno. */
int hoy_exec_sibling(const char *name, char **argv);
/*
 * Start tool NAME with ARGV (as above) and our stdin and stderr; *RET_OUT is the reading end of its stdout. Its pid or
 * -errno. hoy_sibling_wait() then returns its exit status (128 + N for signal N).
 */
int hoy_sibling_spawn(const char *name, char **argv, int *ret_out);
int hoy_sibling_wait(int pid);
