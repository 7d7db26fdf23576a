/*
 * cmd-run/session.c: exec sessions: their files, <run>/hoy/ID/exec/SID*, and the words that have the monitor carry them
 * (hoy-conmon(1), EXEC SESSIONS).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd-run/session.h"
#include "common/base/fd.h"
#include "common/data/digest.h"
#include "common/data/time.h"
#include "common/proc/sibling.h"

#define KEPT (5 * 60 * HOY_NS) /* after its end a session can still be asked for */

char *session_path(const struct ctr *c, const char *sid, const char *suffix)
{
	return hoy_asprintf("%s/exec/%s%s", c->rundir, sid, suffix);
}

void session_remove(const struct ctr *c, const char *sid)
{
	static const char *const parts[] = { ".process", ".pid", ".exit", "" };

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		cleanup_free char *path = session_path(c, sid, parts[i]);

		if (path)
			unlink(path);
	}
}

int session_exit_code(const struct ctr *c, const char *sid, int *ret, int64_t *ret_when)
{
	cleanup_free char *path = session_path(c, sid, ".exit");
	char text[16];
	struct stat st;

	if (!path || hoy_read_small(AT_FDCWD, path, text, sizeof(text)) <= 0 || stat(path, &st) < 0)
		return -ENOENT;
	*ret = atoi(text);
	if (ret_when)
		*ret_when = st.st_mtim.tv_sec * HOY_NS + st.st_mtim.tv_nsec;
	return 0;
}

/* Is it to be seen still? It has an owner that waits for its end, or is the monitor's and has not ended long ago. */
static bool current(const struct ctr *c, const char *sid)
{
	cleanup_free char *path = session_path(c, sid, "");
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	int64_t when;
	pid_t owner;
	int code;

	if (!path || hoy_json_load(&doc, AT_FDCWD, path, 1 << 20, NULL) < 0)
		return false;
	owner = (pid_t)hoy_json_int(doc.root, "owner", 0);
	if (owner)
		return start_time(owner) == (unsigned long long)hoy_json_int(doc.root, "ownerStart", -1);
	return session_exit_code(c, sid, &code, &when) < 0 || hoy_now() - when < KEPT;
}

void session_list(const struct ctr *c, struct hoy_strv *ret)
{
	cleanup_free char *dir = hoy_path_join(c->rundir, "exec");
	cleanup_dir DIR *d = dir ? opendir(dir) : NULL;
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (hoy_is_id(e->d_name) && current(c, e->d_name))
			hoy_strv_push(ret, e->d_name);
	if (ret->n)
		hoy_strv_sort(ret);
}

/* Those that nobody can ask for any more go when a new one comes. */
static void sweep(const struct ctr *c, int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (hoy_is_id(e->d_name) && !current(c, e->d_name))
			session_remove(c, e->d_name);
}

int session_new(const struct ctr *c, char **words, bool tty, bool owned, char sid[HOY_ID_SIZE], struct hoy_err *err)
{
	cleanup_free char *dir = hoy_path_join(c->rundir, "exec");
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(4 << 20);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	cleanup_fd int dirfd = dir ? hoy_open_dir_p(AT_FDCWD, dir, 0700) : -ENOMEM, fd = -1;

	if (dirfd < 0)
		return hoy_fail_errno(err, -dirfd, "cannot make '%s'", dir);
	sweep(c, dirfd);
	if (hoy_random_id(sid) < 0)
		return hoy_fail_errno(err, errno, "cannot draw an id");
	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "id", sid);
	hoy_jw_array(&w, "command");
	for (; *words; words++)
		hoy_jw_string(&w, NULL, *words);
	hoy_jw_end_array(&w);
	hoy_jw_bool(&w, "tty", tty);
	if (owned) {
		hoy_jw_int(&w, "owner", getpid());
		hoy_jw_int(&w, "ownerStart", (int64_t)start_time(getpid()));
	}
	hoy_jw_end_object(&w);
	if (b.error)
		return hoy_fail_oom(err);
	fd = openat(dirfd, sid, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || hoy_write_full(fd, b.data, b.len) < 0)
		return hoy_fail_errno(err, errno, "cannot write '%s/%s'", dir, sid);
	return 0;
}

/* ---- the monitor's control socket ---- */

int monitor_tell(const struct ctr *c, const struct hoy_strv *words, const int *fds, size_t n_fds)
{
	cleanup_fd int dir = open(c->rundir, O_PATH | O_DIRECTORY | O_CLOEXEC), sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(65536);
	char ctl[CMSG_SPACE(65 * sizeof(int))] = "";
	struct iovec v;
	struct msghdr m = { .msg_name = &sa, .msg_namelen = sizeof(sa), .msg_iov = &v, .msg_iovlen = 1 };

	for (size_t i = 0; i < words->n; i++)
		hoy_buf_add(&b, words->v[i], strlen(words->v[i]) + 1);
	if (words->error || b.error)
		return words->error ? -ENOMEM : -b.error;
	if (dir < 0 || sock < 0)
		return -errno;
	v = (struct iovec){ b.data, b.len };
	if (n_fds > 65)
		return -E2BIG;
	if (n_fds) {
		struct cmsghdr *h = (struct cmsghdr *)ctl;

		m.msg_control = ctl;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(h), fds, n_fds * sizeof(int));
	}
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/control", dir);
	return sendmsg(sock, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int session_start(const struct ctr *c, const struct session_how *how, const struct hoy_strv *runtime, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf numbers = HOY_BUF_INIT(1024);
	cleanup_free char *self = hoy_sibling("hoy-run");
	int pair[2], fds[65], r;
	size_t n = 1;

	if (how->n_fds > 64)
		return hoy_fail(err, E2BIG, "a session gets 64 file descriptors at most");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return hoy_fail_errno(err, errno, "cannot make a socket");
	fds[0] = pair[1];
	for (size_t i = 0; i < how->n_fds; i++) {
		hoy_buf_printf(&numbers, "%s%d", i ? "," : "", how->fds[i]);
		fds[n++] = how->fds[i];
	}
	hoy_strv_push(&words, "exec");
	hoy_strv_push(&words, how->sid);
	hoy_strv_pushf(&words, "%s%s%s", how->detach ? "d" : "a", how->tty ? "t" : "", how->stdin_open ? "i" : "");
	hoy_strv_push(&words, hoy_buf_str(&numbers));
	hoy_strv_pushf(&words, "%zu", runtime->n);
	for (size_t i = 0; i < runtime->n; i++)
		hoy_strv_push(&words, runtime->v[i]);
	hoy_strv_push(&words, self ? self : "hoy-run");
	hoy_globals_argv(&words);
	hoy_strv_push(&words, "container");
	hoy_strv_push(&words, "cleanup");
	hoy_strv_push(&words, "--exec");
	hoy_strv_push(&words, how->sid);
	hoy_strv_push(&words, c->id);
	r = monitor_tell(c, &words, fds, n);
	hoy_close(pair[1]);
	if (!r)
		return pair[0];
	hoy_close(pair[0]);
	return hoy_fail_errno(err, -r, "the monitor of container %.12s takes no exec sessions", c->id);
}

void session_resize(const struct ctr *c, const char *sid, int rows, int columns)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;

	hoy_strv_push(&words, "resize");
	hoy_strv_push(&words, sid);
	hoy_strv_pushf(&words, "%d", rows);
	hoy_strv_pushf(&words, "%d", columns);
	(void)monitor_tell(c, &words, NULL, 0);
}

/* The monitor's first word. */
int session_await_start(int sock, struct hoy_buf *said)
{
	char packet[8300];
	ssize_t n;

	while ((n = recv(sock, packet, sizeof(packet), 0)) < 0 && errno == EINTR)
		;
	if (n <= 0)
		return n < 0 ? -errno : -ECONNRESET;
	if (packet[0] == SESSION_STARTED)
		return 0;
	while (n > 1 && packet[n - 1] == '\n')
		n--;
	hoy_buf_add(said, packet + 1, (size_t)n - 1);
	return -HOY_EREMOTE;
}

int session_died(struct ctr *c, const char *sid, struct hoy_err *err)
{
	int code = 255;

	if (!hoy_is_id(sid))
		return hoy_fail(err, EINVAL, "'%s' is no id of an exec session", sid);
	if (session_exit_code(c, sid, &code, NULL) < 0)
		return hoy_fail(err, ENOENT, "exec session %.12s of container %.12s has not ended", sid, c->id);
	event(c, "exec_died", code);
	return 0;
}
