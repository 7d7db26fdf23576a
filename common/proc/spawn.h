/* common/proc/spawn.h: a child that runs another program, and its end. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

/* What a stream of the child may be, instead of a descriptor of ours. */
enum { HOY_STREAM_SAME = -1, HOY_STREAM_NULL = -2 };
/*
 * Start PATH (without a slash: as PATH has it) with ARGV. STREAMS are its stdin, stdout and stderr; all else that is close-on-exec
 * stays ours. GROUP: in a process group of its own, to which a terminal's Ctrl-C isn't sent. 0 or -errno.
 */
int hoy_spawn(const char *path, char *const *argv, const int streams[3], bool group, pid_t *ret);
/* Wait for PID: its exit status, 128 and the number of the signal that ended it, or -errno. */
int hoy_wait(pid_t pid);
