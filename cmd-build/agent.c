/*
 * cmd-build/agent.c: a socket in a container that leads to an ssh agent outside. The agent's own socket isn't mounted: it has one
 * owner, and an agent looks who asks; here it is always us.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "cmd-build/mounts.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/proc/spawn.h"

#define PAIRS 64 /* conversations at once */

static int to_address(struct sockaddr_un *a, const char *path)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(a->sun_path))
		return -ENAMETOOLONG;
	strcpy(a->sun_path, path);
	return 0;
}

static int dial(const char *path)
{
	struct sockaddr_un a;
	int fd, r = to_address(&a, path);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		r = -errno;
		hoy_close(fd);
		return r;
	}
	return fd < 0 ? -errno : fd;
}

/* One read, all of it written; false at the end of a conversation. */
static bool hand_on(int from, int to)
{
	char piece[65536];
	ssize_t n = read(from, piece, sizeof(piece));

	return n > 0 && hoy_write_full(to, piece, n) == 0;
}

static void relay(int listener, const char *to)
{
	struct pollfd p[1 + 2 * PAIRS];
	size_t n = 1;

	p[0] = (struct pollfd){ listener, POLLIN, 0 };
	for (;;) {
		if (poll(p, n, -1) < 0 && errno != EINTR)
			return;
		for (size_t i = 1; i < n; i += 2) {
			bool over = (p[i].revents && !hand_on(p[i].fd, p[i + 1].fd)) || (p[i + 1].revents && !hand_on(p[i + 1].fd, p[i].fd));

			if (!over)
				continue;
			hoy_close(p[i].fd);
			hoy_close(p[i + 1].fd);
			p[i] = p[n - 2];
			p[i + 1] = p[n - 1];
			p[i].revents = p[i + 1].revents = 0;
			n -= 2;
			i -= 2;
		}
		if (p[0].revents) {
			int in = accept4(listener, NULL, NULL, SOCK_CLOEXEC), out = in < 0 || n + 2 > ARRAY_SIZE(p) ? -1 : dial(to);

			if (out < 0) {
				hoy_close(in);
				continue;
			}
			p[n++] = (struct pollfd){ in, POLLIN, 0 };
			p[n++] = (struct pollfd){ out, POLLIN, 0 };
		}
	}
}

static int listen_at(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;
	int r = to_address(&a, path);

	if (r < 0)
		return r;
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || chown(path, uid, gid) < 0 || chmod(path, mode) < 0 || listen(fd, 16) < 0)
		return -errno;
	return steal_fd(&fd);
}

pid_t agent_start(const char *path, const char *to, uid_t uid, gid_t gid, mode_t mode, struct hoy_err *err)
{
	cleanup_fd int fd = listen_at(path, uid, gid, mode);
	pid_t pid = fd < 0 ? -1 : fork();

	if (fd < 0)
		return hoy_fail_errno(err, -fd, "cannot listen at '%s'", path);
	if (pid < 0)
		return hoy_fail_errno(err, errno, "cannot start a process");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0); /* a terminal's Ctrl-C is for hoy-build */
		signal(SIGPIPE, SIG_IGN);
		relay(fd, to);
		_exit(1);
	}
	return pid;
}

/* Nobody is asked anything, and a terminal's Ctrl-C is for hoy-build. */
static int spawn(const char *const *argv, bool quiet, pid_t *ret)
{
	return hoy_spawn(argv[0], (char *const *)argv, (int[]){ HOY_STREAM_NULL, HOY_STREAM_NULL, quiet ? HOY_STREAM_NULL : HOY_STREAM_SAME }, true, ret);
}

static int add_keys(const char *path, const struct hoy_strv *keys, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	pid_t pid;
	int r;

	hoy_strv_push(&argv, "env");
	hoy_strv_pushf(&argv, "SSH_AUTH_SOCK=%s", path);
	hoy_strv_push(&argv, "ssh-add");
	hoy_strv_push(&argv, "-q");
	hoy_strv_push(&argv, "--");
	for (size_t i = 0; i < keys->n; i++)
		hoy_strv_push(&argv, keys->v[i]);
	r = argv.error ? -ENOMEM : spawn((const char *const *)argv.v, false, &pid);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot run ssh-add");
	return hoy_wait(pid) ? hoy_fail(err, HOY_EREMOTE, "ssh-add did not take the keys of --ssh") : 0;
}

pid_t agent_with_keys(const char *path, const struct hoy_strv *keys, struct hoy_err *err)
{
	const char *const argv[] = { "ssh-agent", "-D", "-a", path, NULL };
	const struct timespec pause = { .tv_nsec = 5000000 };
	pid_t pid;
	int r = spawn(argv, true, &pid);

	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot run ssh-agent, which keeps the keys of --ssh");
	for (int i = 0; i < 1000; i++) {
		int fd = dial(path);

		if (fd >= 0) {
			hoy_close(fd);
			r = add_keys(path, keys, err);
			break;
		}
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return hoy_fail(err, EIO, "ssh-agent did not start");
		nanosleep(&pause, NULL);
	}
	if (r < 0)
		agent_stop(pid);
	return r < 0 ? r : pid;
}

void agent_stop(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}
