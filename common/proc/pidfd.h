/* common/proc/pidfd.h: processes named so that a reused pid is never taken for the one that was meant. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The start time of PID in clock ticks since boot (field 22 of its stat file), and its state letter if RET_STATE; 0 or -errno. */
int hoy_pid_start_time(pid_t pid, uint64_t *ret_ticks, char *ret_state);
/* Is PID the process that started at TICKS, and no zombie? */
bool hoy_pid_alive(pid_t pid, uint64_t ticks);
/* A pidfd of PID; with TICKS other than 0, only of the process that started then (-ESRCH: it is gone). */
int hoy_pidfd_open(pid_t pid, uint64_t ticks);
/* Send SIG through PIDFD; 0 or -errno. */
int hoy_pidfd_kill(int pidfd, int sig);
/* Wait until the process of PIDFD has ended, at most MS milliseconds (-1: for ever); 0, -ETIMEDOUT or -errno. */
int hoy_pidfd_wait(int pidfd, int ms);
