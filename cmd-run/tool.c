/* cmd-run/tool.c: running the other programs: a runtime verb, the network tool, and hearing what they say. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd-run/run.h"
#include "common/base/fd.h"
#include "common/proc/sibling.h"

extern char **environ;

/* Read what is there into B; false at the end of file. */
static bool drain(int fd, struct hoy_buf *b)
{
	char waste[4096];
	char *p = b ? hoy_buf_reserve(b, sizeof(waste)) : NULL;
	ssize_t n = read(fd, p ? p : waste, sizeof(waste));

	if (n > 0 && p) {
		b->len += n;
		b->data[b->len] = '\0';
	}
	return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

static void talk(int in, int out, int errfd, const char *input, size_t len, struct hoy_buf *obuf, struct hoy_buf *ebuf)
{
	struct pollfd p[3] = { { out, POLLIN, 0 }, { errfd, POLLIN, 0 }, { in, POLLOUT, 0 } };

	while (p[0].fd >= 0 || p[1].fd >= 0) {
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			break;
		if (p[0].fd >= 0 && p[0].revents && !drain(out, obuf))
			p[0].fd = -1;
		if (p[1].fd >= 0 && p[1].revents && !drain(errfd, ebuf))
			p[1].fd = -1;
		if (p[2].fd >= 0 && p[2].revents) {
			ssize_t n = len ? write(in, input, len) : 0;

			if (n > 0) {
				input += n;
				len -= n;
			}
			if (!len || (n < 0 && errno != EINTR && errno != EAGAIN)) {
				hoy_close(in);
				p[2].fd = -1;
			}
		}
	}
	if (p[2].fd >= 0)
		hoy_close(in);
}

int run_tool(char *const *argv, const char *input, size_t input_len, struct hoy_buf *out, struct hoy_buf *errtext)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	int in[2] = { -1, -1 }, o[2], e[2], r, status;
	sigset_t none, pipe_signal;
	pid_t pid;

	if (pipe2(o, O_CLOEXEC) < 0 || pipe2(e, O_CLOEXEC) < 0 || (input && pipe2(in, O_CLOEXEC) < 0))
		return -errno;
	posix_spawn_file_actions_init(&fa);
	if (input)
		posix_spawn_file_actions_adddup2(&fa, in[0], 0);
	else
		posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&fa, o[1], 1);
	posix_spawn_file_actions_adddup2(&fa, e[1], 2);
	posix_spawnattr_init(&at);
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&at, &none);
	/* While attached we ignore SIGPIPE; others count on its default. */
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	posix_spawnattr_setsigdefault(&at, &pipe_signal);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	r = posix_spawnp(&pid, argv[0], &fa, &at, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&at);
	hoy_close(in[0]);
	hoy_close(o[1]);
	hoy_close(e[1]);
	if (r) {
		hoy_close(in[1]);
		hoy_close(o[0]);
		hoy_close(e[0]);
		return -r;
	}
	signal(SIGPIPE, SIG_IGN); /* it may end before it has read all */
	talk(in[1], o[0], e[0], input, input_len, out, errtext);
	signal(SIGPIPE, SIG_DFL);
	hoy_close(o[0]);
	hoy_close(e[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Absolute path of program NAME in PATH, else NAME itself. */
static char *in_path(const char *name)
{
	cleanup_strv struct hoy_strv dirs = HOY_STRV_INIT;

	hoy_strv_split(&dirs, getenv("PATH") ?: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ':');
	for (size_t i = 0; i < dirs.n; i++) {
		char *path = hoy_path_join(*dirs.v[i] ? dirs.v[i] : ".", name);

		if (path && !access(path, X_OK))
			return path;
		free(path);
	}
	return strdup(name);
}

/* A runtime by name: the command line's, the definition's, containers.conf's table, PATH; ours beside us by default. */
char *runtime_path(const char *name)
{
	const struct hoy_json *engine = hoy_json_get(conf(), "engine");

	if (!name || !*name)
		name = hoy_json_str(engine, "runtime");
	if (!name || !*name)
		return hoy_sibling("hoy-runtime");
	if (strchr(name, '/'))
		return strdup(name);
	HOY_JSON_EACH(it, hoy_json_get(hoy_json_get(engine, "runtimes"), name))
		if (hoy_json_text(it) && !access(it->str, X_OK))
			return strdup(it->str);
	return !strcmp(name, "hoy-runtime") ? hoy_sibling(name) : in_path(name);
}

void runtime_argv(const struct ctr *c, struct hoy_strv *argv)
{
	const char *path = hoy_json_str(c->live.root, "runtime");

	hoy_strv_push(argv, path ? path : "hoy-runtime");
	HOY_JSON_EACH(it, hoy_json_get(c->live.root, "runtimeFlags"))
		hoy_strv_pushf(argv, "--%s", it->str);
	if (hoy_json_str(c->live.root, "cgroupManager"))
		hoy_strv_push(argv, "--systemd-cgroup");
	hoy_strv_push(argv, "--root");
	hoy_strv_pushf(argv, "%s/hoy/runtime", c->s->conf.runroot);
	hoy_strv_push(argv, "--log-format=json");
	hoy_strv_push(argv, "--log");
	hoy_strv_pushf(argv, "%s/oci-log", c->rundir);
}

/* The last complaint in the runtime's log, in B; false if there is none. */
static bool log_message(const struct ctr *c, struct hoy_buf *b)
{
	cleanup_free char *path = hoy_path_join(c->rundir, "oci-log"), *data = NULL;
	cleanup_strv struct hoy_strv lines = HOY_STRV_INIT;

	if (!path || hoy_read_file(AT_FDCWD, path, 1 << 20, &data, NULL, NULL) < 0)
		return false;
	hoy_strv_split(&lines, data, '\n');
	for (size_t i = lines.n; i-- > 0;) {
		cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;

		if (*lines.v[i] && !hoy_json_parse(&doc, lines.v[i], strlen(lines.v[i]), "log", NULL) && hoy_json_str(doc.root, "msg")) {
			hoy_buf_puts(b, hoy_json_str(doc.root, "msg"));
			return true;
		}
	}
	return false;
}

/* podman reads the runtime's words: a missing command is 127, one that may not run 126, all else 125... of ours 126. */
int runtime_error(const struct ctr *c, const char *said, int *ret_code, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	const char *m, *class = "OCI runtime error";

	if (!log_message(c, &b))
		hoy_buf_puts(&b, said && *said ? said : "the runtime ended without a word");
	m = hoy_buf_str(&b);
	*ret_code = 126;
	if (strcasestr(m, "permission denied") || strcasestr(m, "operation not permitted") || strcasestr(m, "is a directory")) {
		class = "OCI permission denied";
	} else if (strcasestr(m, "executable file") || strcasestr(m, "no such file or directory")) {
		*ret_code = 127;
		class = "OCI runtime attempted to invoke a command that was not found";
	}
	return hoy_fail(err, HOY_EREMOTE, "%s: %s: %s", strrchr(hoy_json_str(c->live.root, "runtime") ?: "/runtime", '/') ?
			strrchr(hoy_json_str(c->live.root, "runtime") ?: "/runtime", '/') + 1 : hoy_json_str(c->live.root, "runtime"),
			m, class);
}

int runtime_call(const struct ctr *c, const char *verb, const char *arg, int *ret_code, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 20), text = HOY_BUF_INIT(1 << 16);
	int r, code = 0;

	runtime_argv(c, &argv);
	hoy_strv_push(&argv, verb);
	if (arg && arg[0] == '-')
		hoy_strv_push(&argv, arg);
	hoy_strv_push(&argv, c->id);
	if (arg && arg[0] != '-')
		hoy_strv_push(&argv, arg);
	if (argv.error)
		return hoy_fail_oom(err);
	r = run_tool(argv.v, NULL, 0, &out, &text);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot run the OCI runtime '%s'", argv.v[0]);
	return r ? runtime_error(c, hoy_buf_str(&text), ret_code ? ret_code : &code, err) : 0;
}

pid_t runtime_spawn_delete(const struct ctr *c)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid;

	runtime_argv(c, &argv);
	hoy_strv_push(&argv, "delete");
	hoy_strv_push(&argv, "--force");
	hoy_strv_push(&argv, c->id);
	if (argv.error || null < 0)
		return 0;
	pid = vfork();
	if (!pid) {
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		execvp(argv.v[0], argv.v);
		_exit(127);
	}
	return pid > 0 ? pid : 0;
}
