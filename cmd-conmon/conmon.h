/* cmd-conmon/conmon.h: what the files of hoy-conmon share: one container, one process, one epoll loop. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/strv.h"

struct hoy_err;

struct options {
	int64_t exit_delay, log_max, log_global_max, log_max_files, timeout;
	const char *bundle, *cid, *cuuid, *name, *pidfile, *conmon_pidfile, *runtime, *exit_dir, *persist_dir, *exit_command, *log_level,
		*log_tag, *process_spec, *socket_dir, *restore, *sdnotify, *seccomp_socket, *seccomp_plugins, *watch;
	bool api_version, control, exec, exec_attach, full_attach, stdin_open, leave_stdin_open, terminal, systemd_cgroup, no_new_keyring, no_pivot, no_sync_log,
		sync, syslog, replace_listen_pid, version, log_rotate, no_partial;
	struct hoy_strv exit_args, runtime_args, runtime_opts, log_paths, log_labels, log_allow;
};
extern struct options opt;

/* ---- log.c ---- */
int log_open(struct hoy_err *err);
/* One read from the container: STREAM is 1 for stdout, 2 for stderr. */
void log_write(int stream, const char *data, size_t len);
void log_reopen(void);
/* The output of STREAM ended: what waits for the end of its line goes out. */
void log_eof(int stream);
/* The container has ended: the log is on the disk when this returns, unless --no-sync-log. */
void log_finish(void);
bool log_passthrough(void);

/* ---- journal.c ---- */
int journal_open(struct hoy_err *err);
void journal_write(int stream, const char *data, size_t len);
void journal_eof(int stream);

/* ---- control.c ---- */
/* With --control: listen for what hoy-run has us do. */
int control_open(int epfd, struct hoy_err *err);
/* A message is there; it is time; a child has ended. */
void control_event(void);
void control_due(void);
void control_reaped(pid_t pid);

/* ---- session.c ---- */
/*
 * Start an exec session: the words of the message behind "exec", and the descriptors that came with it (borrowed): the
 * client's socket, if it has one, and those for the process. False: the message is not well formed.
 */
bool session_start(int epfd, char **words, size_t n, const int *fds, size_t n_fds);
void session_resize(const char *sid, int rows, int columns);
void session_event(uint64_t tag, uint32_t events);
/* A child has ended: was it one of a session's? */
bool session_reaped(pid_t pid, int status);
/* The container has ended, and with it all that runs in it. */
void session_end_all(void);

/* ---- main.c ---- */
/* What we start may be chosen by the kernel when memory runs out, as whoever started us. Async-signal-safe. */
void unshield(void);
/* Between vfork and exec: ARGV, which nobody sees or hears. */
__attribute__((noreturn)) void become(char *const *argv);
/* Whoever started us may wait for the end of our stdio. */
void quiet_stdio(void);

/* ---- watch.c ---- */
/* --watch, to the container's end. */
int watch_container(struct hoy_err *err);

/* ---- notify.c ---- */
/* With --sdnotify-socket: listen on notify/notify.sock in the bundle. */
int notify_open(int epfd, struct hoy_err *err);
/* A message is there: it goes on to the host's socket. */
void notify_relay(void);

/* ---- attach.c ---- */
int attach_open(int epfd, struct hoy_err *err);
void attach_write(int stream, const char *data, size_t len);
/* Take in whoever has connected already. */
void attach_accept(void);
/* Something happened on a descriptor that the attach side registered. */
void attach_event(uint64_t tag, uint32_t events);
/* Is a client so far behind that the container's output has to wait for it? */
bool attach_full(void);
/* No more clients; the socket and the link to it go away. */
void attach_unlisten(void);
/* Tell all clients that it is over; what is queued for them is sent first (for a moment at most). */
void attach_close(void);
/* The container's stdin: fd that clients write to, -1 for none. */
void attach_stdin(int fd);

/* ---- child.c ---- */
struct child {
	pid_t runtime, pid; /* the runtime's process while it works; the container's */
	int out, err, in;   /* our ends; -1: none */
	int tty;	    /* pty master */
};
/* The socket by which a runtime gives us the master of a terminal that it has made. */
struct console {
	char dir[64], path[96];
	int fd; /* -1: none */
};
int console_open(struct console *k, struct hoy_err *err);
/* That master, or -errno. */
int console_receive(struct console *k);
void console_close(struct console *k);
/* Run the runtime's create, exec or restore; the streams are ours when it returns. */
int child_start(struct child *c, struct hoy_err *err);

/* ---- exit.c ---- */
void sync_open(void);
/* {"data": N, "message": "..."} on the sync pipe, once per call; a closed pipe is no error. */
void sync_send(int64_t data, const char *message);
/* MESSAGE: why it ended, for the parent of an exec; NULL: by itself. */
void write_exit_files(int code, const char *message);
void note_oom(void);
/* Run the exit command, if there is one, to its end. */
void run_exit_command(void);
/* --log-level: false if there is no level NAME; NULL is the default. */
bool log_level_set(const char *name);
void warn(const char *fmt, ...) HOY_PRINTF(1, 2);

/* ---- oom.c ---- */
/* A descriptor that has these epoll events when the container's cgroup runs out of memory, or -1. */
int oom_watch(pid_t pid, uint32_t *ret_events);
/* Read it: did something get killed? 1, 0, or -errno: the cgroup has gone, nothing more comes. */
int oom_happened(int fd);

/* ---- loop.c ---- */
enum tag { TAG_OUT = 1, TAG_ERR, TAG_SIGNAL, TAG_TIMER, TAG_CTL, TAG_WINSZ, TAG_OOM, TAG_NOTIFY, TAG_CONTROL, TAG_DUE, TAG_WATCHED, TAG_ATTACH = 16 /* the listener; the rest of attach.c's follow */, TAG_SESSION = 1 << 16 };
/* Make the ctl and winsz fifos: before the runtime runs, since clients open them as soon as it has. */
void loop_fifos(void);
/* Serve until the container has ended and its output is drained; its exit code. */
int loop_run(struct child *c, int epfd);
