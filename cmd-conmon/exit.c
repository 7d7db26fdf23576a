/* cmd-conmon/exit.c: what others learn of the container: the sync pipe, the exit files, the exit command. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>

#include "cmd-conmon/conmon.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/json.h"

static int sync_fd = -1;

void warn(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (opt.syslog)
		syslog(LOG_DAEMON | LOG_WARNING, "hoy-conmon %.12s: %s", opt.cid ? opt.cid : "", line);
	else
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
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	struct hoy_jw w = hoy_jw_on(&b, NULL);

	if (sync_fd < 0)
		return;
	hoy_jw_object(&w, NULL);
	hoy_jw_int(&w, opt.api_version >= 1 ? "data" : opt.exec ? "exit_code" : "pid", data);
	hoy_jw_string_opt(&w, "message", message);
	hoy_jw_end_object(&w);
	hoy_buf_putc(&b, '\n');
	if (b.error || hoy_write_full(sync_fd, b.data, b.len) < 0) {
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

void write_exit_files(int code, bool oom)
{
	if (opt.persist_dir)
		put(opt.persist_dir, "exit", code, false);
	/* Last: who waits for this file may remove all the others. */
	if (opt.exit_dir)
		put(opt.exit_dir, opt.cid, code, false);
	if (opt.exec)
		sync_send(code, oom ? "OOM killed" : NULL);
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

void run_exit_command(void)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	sigset_t none;

	if (!opt.exit_command)
		return;
	if (opt.exit_delay > 0)
		sleep((unsigned)opt.exit_delay);
	hoy_strv_push(&argv, opt.exit_command);
	for (size_t i = 0; i < opt.exit_args.n; i++)
		hoy_strv_push(&argv, opt.exit_args.v[i]);
	unsetenv("_OCI_SYNCPIPE");
	unsetenv("_OCI_STARTPIPE");
	unsetenv("_OCI_ATTACHPIPE");
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	/* Ports that we kept bound are free now. */
	syscall(SYS_close_range, 3U, ~0U, 0);
	if (!argv.error)
		execv(opt.exit_command, argv.v);
	warn("cannot run the exit command '%s': %s", opt.exit_command, strerror(errno));
	_exit(1);
}
