#include "common/proc/sibling.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/proc/spawn.h"

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
	char *own = argv[0];
	pid_t pid;
	int out[2], r;

	if (!path)
		return -ENOMEM;
	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	argv[0] = (char *)name;
	r = hoy_spawn(path, argv, (int[]){ HOY_STREAM_SAME, out[1], HOY_STREAM_SAME }, false, &pid);
	argv[0] = own;
	hoy_close(out[1]);
	if (r) {
		hoy_close(out[0]);
		return r;
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
	status = hoy_wait(pid);
	return out && out->error ? -out->error : status;
}
