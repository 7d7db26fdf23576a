/* cmd-conmon/exit.c: what others learn of the container: the sync pipe, the exit files, the exit command. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "cmd-conmon/conmon.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/json.h"

static int sync_fd = -1;
static int level = LOG_WARNING;

bool log_level_set(const char *name)
{
	static const struct { const char *name; int level; } levels[] = {
		{ "fatal", LOG_CRIT }, { "panic", LOG_CRIT }, { "error", LOG_ERR }, { "warn", LOG_WARNING }, { "warning", LOG_WARNING },
		{ "info", LOG_INFO }, { "debug", LOG_DEBUG }, { "trace", LOG_DEBUG },
	};

	for (size_t i = 0; name && i < ARRAY_SIZE(levels); i++)
		if (!strcasecmp(name, levels[i].name)) {
			level = levels[i].level;
			return true;
		}
	return !name;
}

void warn(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if (level < LOG_WARNING)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (opt.syslog)
		syslog(LOG_DAEMON | LOG_WARNING, "hoy-conmon %.12s: %s", opt.cid ? opt.cid : "", line);
	hoy_warning("%.12s: %s", opt.cid ? opt.cid : "", line);
}

void sync_open(void)
{
	const char *v = getenv("_OCI_SYNCPIPE");
	int fd = v ? atoi(v) : -1;

	if (fd >= 3 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
		sync_fd = fd;
}

void sync_send(int64_t data, const char *message)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16), text = HOY_BUF_INIT(1 << 16);
	struct hoy_jw w = { .out = &text };

	if (sync_fd < 0)
		return;
	/* conmon's line to the byte, blanks too: not every reader is a JSON parser. */
	hoy_buf_printf(&b, "{\"%s\": %lld", opt.api_version ? "data" : opt.exec ? "exit_code" : "pid", (long long)data);
	if (message && *message) {
		hoy_jw_string(&w, NULL, message);
		hoy_buf_puts(&b, ", \"message\": ");
		hoy_buf_add(&b, text.data, text.len);
	}
	hoy_buf_puts(&b, "}\n");
	if (b.error || text.error || hoy_write_full(sync_fd, b.data, b.len) < 0 || data < 0) {
		close(sync_fd);
		sync_fd = -1;
	}
}

static void put(const char *dir, const char *name, int code, bool sync)
{
	cleanup_free char *path = hoy_path_join(dir, name);
	char text[16];
	int r;

	snprintf(text, sizeof(text), "%d", code);
	r = path ? hoy_replace_file(AT_FDCWD, path, text, strlen(text), 0644, sync) : -ENOMEM;
	if (r < 0) {
		warn("cannot write the exit status to '%s': %s", path ? path : dir, strerror(-r));
		/* On a full disk there may be room for a name still: who waits for the file must not wait for ever. */
		hoy_close(path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644) : -1);
	}
}

void write_exit_files(int code, const char *message)
{
	if (opt.persist_dir)
		put(opt.persist_dir, "exit", code, false);
	/* Last: who waits for this file may remove all the others. */
	if (opt.exit_dir)
		put(opt.exit_dir, opt.cid, code, false);
	if (opt.exec)
		sync_send(code, message);
}

void note_oom(void)
{
	const char *dirs[] = { opt.persist_dir, opt.bundle };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		cleanup_free char *path = dirs[i] ? hoy_path_join(dirs[i], "oom") : NULL;

		if (path)
			hoy_close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
	}
}

/* Between vfork and exec. */
static void become_exit_command(char *const *argv)
{
	static sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execv(argv[0], argv);
	_exit(127);
}

static int run_once(char *const *argv)
{
	int status = 127 << 8;
	pid_t pid = vfork();

	if (!pid)
		become_exit_command(argv);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

void run_exit_command(void)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	int status, tries = opt.control ? 5 : 1;

	if (!opt.exit_command)
		return;
	hoy_strv_push(&argv, opt.exit_command);
	for (size_t i = 0; i < opt.exit_args.n; i++)
		hoy_strv_push(&argv, opt.exit_args.v[i]);
	unsetenv("_OCI_SYNCPIPE");
	unsetenv("_OCI_STARTPIPE");
	unsetenv("_OCI_ATTACHPIPE");
	/* Ports that we kept bound are free now. What the command starts and leaves behind (a container again) is not ours to wait for. */
	syscall(SYS_close_range, 3U, ~0U, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
	if (opt.exit_delay > 0)
		sleep((unsigned)opt.exit_delay);
	/* hoy-run's may be called once more when it was killed: a container that is to start again does. */
	do
		status = argv.error ? 127 << 8 : run_once(argv.v);
	while (WIFSIGNALED(status) && --tries > 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		warn("cannot run the exit command '%s'", opt.exit_command);
}
