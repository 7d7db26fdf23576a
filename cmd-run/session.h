/* cmd-run/session.h: exec sessions, and what is said to the monitor about them. */
#pragma once
#include "cmd-run/run.h"
#include "common/data/digest.h"

/* The first byte of the monitor's packets to the client of a session; the rest is the pid, output, the exit code, the runtime's words. */
enum { SESSION_STARTED = 1, SESSION_OUT, SESSION_ERR, SESSION_ENDED, SESSION_FAILED };

/* The file SID+SUFFIX of a session, in new memory. */
char *session_path(const struct ctr *c, const char *sid, const char *suffix);
/* Note a new session, whose id is drawn; OWNED: our own process waits for its end, and takes it away. */
int session_new(const struct ctr *c, char **words, bool tty, bool owned, char sid[HOY_ID_SIZE], struct hoy_err *err);
void session_remove(const struct ctr *c, const char *sid);
/* Those that run or have ended within the last five minutes, by id. */
void session_list(const struct ctr *c, struct hoy_strv *ret);
/* The code of one that has ended, and when that was (may be NULL); -ENOENT. */
int session_exit_code(const struct ctr *c, const char *sid, int *ret, int64_t *ret_when);

struct session_how {
	const char *sid;
	bool tty, stdin_open, detach; /* detach: the socket is of use until it has started */
	int fds[64]; /* passed on under their own numbers */
	size_t n_fds;
};
/* Have the monitor start it by the command RUNTIME: the client's socket, or -errno. */
int session_start(const struct ctr *c, const struct session_how *how, const struct hoy_strv *runtime, struct hoy_err *err);
/* Wait until it has started; -HOY_EREMOTE: it could not, SAID has the runtime's words. */
int session_await_start(int sock, struct hoy_buf *said);
void session_resize(const struct ctr *c, const char *sid, int rows, int columns);
/* One without a client has ended: what follows from that. */
int session_died(struct ctr *c, const char *sid, struct hoy_err *err);

/* Words, with the file descriptors FDS, to the monitor's control socket; -errno. */
int monitor_tell(const struct ctr *c, const struct hoy_strv *words, const int *fds, size_t n_fds);
