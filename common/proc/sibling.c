#include "common/proc/sibling.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"

extern char **environ;

char *hoy_sibling(const char *name)
{
	char exe[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *path;

	if (n <= 0)
		return strdup(name);
	exe[n] = '\0';
	slash = strrchr(exe, '/');
	path = slash ? hoy_asprintf("%.*s/%s", (int)(slash - exe), exe, name) : NULL;
	if (path && !access(path, X_OK))
		return path;
	free(path);
	return strdup(name);
}

int hoy_exec_sibling(const char *name, char **argv)
{
	cleanup_free char *path = hoy_sibling(name);
	char *own = argv[0];

	if (!path)
		return -ENOMEM;
	argv[0] = (char *)name;
	execvp(path, argv);
	argv[0] = own; /* the caller may own it */
	return -errno;
}

static int spawn(const char *name, char **argv, int *ret_out)
{
	cleanup_free char *path = hoy_sibling(name);
	posix_spawn_file_actions_t fa;
	char *own = argv[0];
	pid_t pid;
	int out[2], r;

	if (!path)
		return -ENOMEM;
	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, out[1], 1);
	argv[0] = (char *)name;
	r = posix_spawnp(&pid, path, &fa, NULL, argv, environ);
	argv[0] = own;
	posix_spawn_file_actions_destroy(&fa);
	hoy_close(out[1]);
	if (r) {
		hoy_close(out[0]);
		return -r;
	}
	*ret_out = out[0];
	return pid;
}

int hoy_sibling_run(const char *name, char **argv, struct hoy_buf *out)
{
	int fd = -1, status, pid = spawn(name, argv, &fd);
	char piece[4096];
	ssize_t n;

	if (pid < 0)
		return pid;
	while ((n = read(fd, piece, sizeof(piece))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0 && out)
			hoy_buf_add(out, piece, n);
	hoy_close(fd);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (out && out->error)
		return -out->error;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
