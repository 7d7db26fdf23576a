#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cmd-runtime/runtime.h"
#include "common/proc/pidfd.h"

bool hooks_any(const struct spec *s, const char *kind)
{
	const struct hoy_json *list = hoy_json_get(s->hooks, kind);

	return list && list->count;
}

static void collect(struct hoy_strv *to, const struct hoy_json *list)
{
	HOY_JSON_EACH(s, list)
		if (hoy_json_text(s))
			hoy_strv_push(to, hoy_json_text(s));
}

static void redirect(const struct spec *s, const char *annotation, int to)
{
	const char *path = spec_annotation(s, annotation);
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0700) : -1;

	if (fd >= 0)
		dup2(fd, to);
}

static void exec_hook(const struct spec *s, const struct hoy_json *hook, int in)
{
	struct hoy_strv args = HOY_STRV_INIT, env = HOY_STRV_INIT;
	char *none[] = { NULL };
	const char *path = hoy_json_str(hook, "path");

	collect(&args, hoy_json_get(hook, "args"));
	collect(&env, hoy_json_get(hook, "env"));
	if (!args.n)
		hoy_strv_push(&args, path);
	signals_reset();
	dup2(in, STDIN_FILENO);
	redirect(s, "run.oci.hooks.stdout", STDOUT_FILENO);
	redirect(s, "run.oci.hooks.stderr", STDERR_FILENO);
	execve(path, args.v, env.v ? env.v : none);
	_exit(127);
}

static int wait_hook(pid_t pid, int pidfd, const char *path, int64_t timeout, struct hoy_err *err)
{
	int status = 0, r = hoy_pidfd_wait(pidfd, timeout > 0 && timeout < 1000000 ? (int)timeout * 1000 : -1);

	if (r == -ETIMEDOUT)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r == -ETIMEDOUT)
		return hoy_fail(err, ETIMEDOUT, "hook '%s' did not end within %lld seconds", path, (long long)timeout);
	status = child_status(status);
	return status ? hoy_fail(err, ECANCELED, "error executing hook '%s' (exit code: %d)", path, status) : 0;
}

static int run_one(const struct spec *s, const struct hoy_json *hook, const struct hoy_buf *state, struct hoy_err *err)
{
	const char *path = hoy_json_str(hook, "path");
	cleanup_fd int pidfd = -1;
	int p[2];
	pid_t pid;

	if (!path || path[0] != '/')
		return hoy_fail(err, EINVAL, "a hook needs an absolute path, not '%s'", path ? path : "");
	if (pipe2(p, O_CLOEXEC) < 0)
		return hoy_fail_errno(err, errno, "cannot make a pipe for hook '%s'", path);
	pid = fork();
	if (!pid)
		exec_hook(s, hook, p[0]);
	hoy_close(p[0]);
	pidfd = pid < 0 ? -1 : hoy_pidfd_open(pid, 0);
	/* A hook that doesn't read it is no error; SIGPIPE is ignored here. */
	(void)hoy_write_full(p[1], state->data, state->len);
	hoy_close(p[1]);
	if (pid < 0)
		return hoy_fail_errno(err, errno, "cannot start hook '%s'", path);
	return wait_hook(pid, pidfd, path, hoy_json_int(hook, "timeout", 0), err);
}

int hooks_run(const struct spec *s, const struct state *st, const char *kind, const char *status, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	void (*old)(int);
	int r = 0;

	if (!hooks_any(s, kind))
		return 0;
	state_write_oci(&w, NULL, st, s, status);
	if (b.error)
		return hoy_fail_oom(err);
	old = signal(SIGPIPE, SIG_IGN);
	HOY_JSON_EACH(h, hoy_json_get(s->hooks, kind)) {
		r = run_one(s, h, &b, err);
		if (r < 0)
			break;
	}
	signal(SIGPIPE, old);
	return r;
}
