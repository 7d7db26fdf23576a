#include "cmd-image/transfer/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/fd.h"

extern char **environ;

static int read_all(int fd, struct hoy_buf *ret)
{
	char part[4096];
	ssize_t n;

	while ((n = read(fd, part, sizeof(part))) > 0 || (n < 0 && errno == EINTR))
		hoy_buf_add(ret, part, n > 0 ? n : 0);
	return n < 0 ? -errno : -ret->error;
}

static int start(char **argv, int in, int out, pid_t *ret)
{
	posix_spawn_file_actions_t fa;
	int r;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in, 0);
	posix_spawn_file_actions_adddup2(&fa, out, 1);
	r = -posix_spawnp(ret, argv[0], &fa, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	return r;
}

int helper_ask(char **argv, const void *input, size_t len, struct hoy_buf *ret)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, status = 1, r;
	pid_t pid;

	r = pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 ? -errno : start(argv, in[0], out[1], &pid);
	hoy_close(in[0]);
	hoy_close(out[1]);
	if (!r) {
		hoy_write_full(in[1], input, len);
		hoy_close(in[1]);
		in[1] = -1;
		r = read_all(out[0], ret);
		hoy_close(out[0]);
		out[0] = -1;
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	hoy_close(in[1]);
	hoy_close(out[0]);
	return r < 0 ? r : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
