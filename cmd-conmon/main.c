/* hoy-conmon: watch one container: its streams, log, attach socket, exit status. Stands in for conmon(8). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cmd-conmon/conmon.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/cli/opts.h"

struct options opt = { .log_max = -1, .log_global_max = -1, .log_max_files = 1 };

#define O(f) offsetof(struct options, f)
#define STR(letter, name, field, arg, help) { letter, name, HOY_OPT_STRING, O(field), arg, help }
#define FLAG(letter, name, field, help) { letter, name, HOY_OPT_FLAG, O(field), NULL, help }
#define INT(letter, name, field, arg, help) { letter, name, HOY_OPT_INT, O(field), arg, help }
#define LIST(letter, name, field, arg, help) { letter, name, HOY_OPT_LIST, O(field), arg, help }

static const struct hoy_opt table[] = {
	FLAG(0, "api-version", api_version, "speak version 1 of the protocol on the sync pipe (a number may follow)"),
	STR('b', "bundle", bundle, "PATH", "OCI bundle"),
	STR('c', "cid", cid, "ID", "container id"),
	STR('P', "conmon-pidfile", conmon_pidfile, "PATH", "write our own pid to a file"),
	STR('p', "container-pidfile", pidfile, "PATH", "file for the container's pid"),
	FLAG(0, "control", control, "listen to hoy-run on the socket control in the bundle"),
	STR('u', "cuuid", cuuid, "ID", "container UUID"),
	FLAG('e', "exec", exec, "run a process in an existing container"),
	FLAG(0, "exec-attach", exec_attach, "attach to that process"),
	STR(0, "exec-process-spec", process_spec, "PATH", "its specification"),
	STR(0, "exit-command", exit_command, "PATH", "program to run when the container has ended"),
	LIST(0, "exit-command-arg", exit_args, "ARG", "argument of that program"),
	INT(0, "exit-delay", exit_delay, "SECONDS", "wait before running it"),
	STR(0, "exit-dir", exit_dir, "PATH", "directory for the file with the exit status"),
	FLAG(0, "full-attach", full_attach, "the attach socket is in the bundle"),
	FLAG(0, "leave-stdin-open", leave_stdin_open, "keep stdin open when a client leaves"),
	LIST('l', "log-path", log_paths, "[DRIVER:]PATH", "where the output goes"),
	STR(0, "log-level", log_level, "LEVEL", "what we say ourselves: error, warning (default), info, debug, trace"),
	INT(0, "log-size-max", log_max, "BYTES", "largest size of a log file"),
	INT(0, "log-global-size-max", log_global_max, "BYTES", "largest number of bytes that a log gets in all"),
	FLAG(0, "log-rotate", log_rotate, "keep old log files"),
	INT(0, "log-max-files", log_max_files, "N", "how many of them"),
	STR(0, "log-tag", log_tag, "TAG", "tag for journald"),
	LIST(0, "log-label", log_labels, "NAME=VALUE", "a field more for journald"),
	LIST(0, "log-allowlist-dir", log_allow, "PATH", "log files lie below one of these directories only"),
	FLAG(0, "no-container-partial-message", no_partial, "journald: do not mark pieces of a line"),
	STR('n', "name", name, "NAME", "container name"),
	FLAG(0, "no-new-keyring", no_new_keyring, "for the runtime"),
	FLAG(0, "no-pivot", no_pivot, "for the runtime"),
	FLAG(0, "no-sync-log", no_sync_log, "do not sync the log at the end"),
	STR(0, "pidfile", pidfile, "PATH", NULL),
	STR('0', "persist-dir", persist_dir, "PATH", "directory for exit status and OOM note"),
	FLAG(0, "replace-listen-pid", replace_listen_pid, "set LISTEN_PID for the runtime, whoever it was meant for"),
	STR(0, "restore", restore, "PATH", "restore the container from the checkpoint there"),
	LIST(0, "restore-arg", runtime_opts, "ARG", NULL),
	STR('r', "runtime", runtime, "PATH", "OCI runtime"),
	LIST(0, "runtime-arg", runtime_args, "ARG", "argument before the runtime's verb"),
	LIST(0, "runtime-opt", runtime_opts, "ARG", "argument behind the runtime's verb"),
	STR(0, "sdnotify-socket", sdnotify, "PATH", "pass on to it what the container says to notify/notify.sock in the bundle"),
	STR(0, "seccomp-notify-socket", seccomp_socket, "PATH", NULL),
	STR(0, "seccomp-notify-plugins", seccomp_plugins, "PATHS", NULL),
	STR(0, "socket-dir-path", socket_dir, "PATH", "directory for links to attach sockets"),
	FLAG('i', "stdin", stdin_open, "open the container's stdin"),
	FLAG(0, "sync", sync, "keep the parent waiting until the container ends"),
	FLAG(0, "syslog", syslog, "say it to syslog too"),
	FLAG('s', "systemd-cgroup", systemd_cgroup, "for the runtime"),
	FLAG('t', "terminal", terminal, "give it a terminal"),
	INT('T', "timeout", timeout, "SECONDS", "kill it after that time"),
	FLAG(0, "version", version, "print the version"),
	STR(0, "watch", watch, "ID", "watch a container beside another monitor"),
	HOY_OPTS_END,
};
static const struct hoy_verb verb = { "", "-c ID -r RUNTIME -b BUNDLE -l LOG [options]", "Watch one container", table, NULL, false };

/* What must be there, and what does not go together, in conmon's words. */
static int check(struct hoy_err *err)
{
	if (!opt.cid)
		return hoy_fail(err, EINVAL, "Container ID not provided. Use --cid");
	if (!log_level_set(opt.log_level))
		return hoy_fail(err, EINVAL, "No such log level %s", opt.log_level);
	if (opt.restore && opt.exec)
		return hoy_fail(err, EINVAL, "Cannot use 'exec' and 'restore' at the same time");
	if (!opt.exec && opt.exec_attach)
		return hoy_fail(err, EINVAL, "Attach can only be specified with exec");
	if (!opt.api_version && opt.exec_attach)
		return hoy_fail(err, EINVAL, "Attach can only be specified for a non-legacy exec session");
	if (!opt.cuuid && (!opt.exec || opt.api_version))
		return hoy_fail(err, EINVAL, "Container UUID not provided. Use --cuuid");
	if (!opt.runtime)
		return hoy_fail(err, EINVAL, "Runtime path not provided. Use --runtime");
	if (access(opt.runtime, X_OK) < 0)
		return hoy_fail_errno(err, errno, "Runtime path %s is not valid", opt.runtime);
	if (opt.exec && !opt.process_spec)
		return hoy_fail(err, EINVAL, "Exec process spec path not provided. Use --exec-process-spec");
	if (opt.exit_delay < 0)
		return hoy_fail(err, EINVAL, "Delay before invoking exit command must be greater than or equal to 0");
	if (opt.seccomp_socket || opt.seccomp_plugins)
		return hoy_fail(err, HOY_EUNSUPPORTED, "--seccomp-notify-socket is not supported");
	return 0;
}

/* What the options leave open. An exec without a bundle has no attach socket and no fifos. */
static int complete(struct hoy_err *err)
{
	char cwd[PATH_MAX];

	if (!getcwd(cwd, sizeof(cwd)))
		return hoy_fail_errno(err, errno, "cannot learn the working directory");
	if (!opt.bundle && !opt.exec)
		opt.bundle = strdup(cwd);
	if (!opt.pidfile)
		opt.pidfile = hoy_asprintf("%s/pidfile-%s", cwd, opt.cid);
	return opt.pidfile && (opt.bundle || opt.exec) ? 0 : hoy_fail_oom(err);
}

/* --api-version is a flag, behind which podman writes a number. */
static int leftovers(int n, char **argv, struct hoy_err *err)
{
	for (int i = 1; i <= n; i++)
		if (!opt.api_version || strspn(argv[i], "0123456789") != strlen(argv[i]))
			return hoy_fail(err, EINVAL, "unexpected argument '%s'", argv[i]);
	return 0;
}

static int pipe_from_env(const char *name)
{
	const char *v = getenv(name);
	int fd = v ? atoi(v) : -1;

	if (fd < 3 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -1;
	return fd;
}

/* The parent moves us into a cgroup before we may go on. */
static void wait_for_start(void)
{
	int fd = pipe_from_env("_OCI_STARTPIPE");
	char c;

	if (fd < 0)
		return;
	while (read(fd, &c, 1) < 0 && errno == EINTR)
		;
	/* An attached exec is told a second time, when its client is there. */
	if (!opt.exec_attach)
		close(fd);
}

static void wait_for_client(void)
{
	int fd = pipe_from_env("_OCI_STARTPIPE");
	char c;

	if (fd >= 0 && opt.exec_attach) {
		while (read(fd, &c, 1) < 0 && errno == EINTR)
			;
		close(fd);
	}
}

static void tell_attached(void)
{
	int fd = pipe_from_env("_OCI_ATTACHPIPE");
	static const char text[] = "{\"data\": 0}\n";

	if (fd < 0)
		return;
	(void)hoy_write_full(fd, text, strlen(text));
	close(fd);
}

/* Whoever started us may wait for the end of our stdio; from here on we speak to syslog, if at all. */
void quiet_stdio(void)
{
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd < 3 && null >= 0 && !log_passthrough(); fd++)
		dup2(null, fd);
}

/* Into the background: the first process notes the pid of the second, which goes on alone. */
static int detach(struct hoy_err *err)
{
	char text[24];
	pid_t pid = opt.sync ? 0 : fork();

	if (pid < 0)
		return hoy_fail_errno(err, errno, "cannot fork");
	if (pid > 0 || opt.sync) {
		snprintf(text, sizeof(text), "%d", (int)(opt.sync ? getpid() : pid));
		if (opt.conmon_pidfile && hoy_replace_file(AT_FDCWD, opt.conmon_pidfile, text, strlen(text), 0644, false) < 0)
			warn("cannot write '%s'", opt.conmon_pidfile);
		if (!opt.sync)
			_exit(0);
	}
	setsid();
	quiet_stdio();
	return 0;
}

/*
 * The kernel must not choose us when the container eats all memory; without the right for it we stay as we are. What we
 * start would inherit that: the container is there before, and the exit command (it may start containers) comes after.
 */
static char oom_score[16];

static void shield(void)
{
	if (hoy_read_small(AT_FDCWD, "/proc/self/oom_score_adj", oom_score, sizeof(oom_score)) > 0)
		(void)hoy_write_small(AT_FDCWD, "/proc/self/oom_score_adj", "-1000");
}

void unshield(void)
{
	if (*oom_score)
		(void)hoy_write_small(AT_FDCWD, "/proc/self/oom_score_adj", oom_score);
}

void become(char *const *argv)
{
	static sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	unshield();
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	execv(argv[0], argv);
	_exit(127);
}

/* From the attach socket to the container's end; its exit status. */
static int serve(int *ret_code, struct hoy_err *err)
{
	struct child c = { .runtime = -1, .pid = -1, .in = -1, .out = -1, .err = -1, .tty = -1 };
	int epfd = epoll_create1(EPOLL_CLOEXEC), r;

	if (epfd < 0)
		return hoy_fail_errno(err, errno, "cannot make an epoll instance");
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return hoy_fail_errno(err, errno, "cannot become a subreaper");
	r = attach_open(epfd, err);
	if (r < 0)
		return r;
	loop_fifos();
	r = notify_open(epfd, err);
	if (!r)
		r = control_open(epfd, err);
	if (r < 0)
		return r;
	if (opt.exec_attach) {
		tell_attached();
		wait_for_client();
	}
	r = child_start(&c, err);
	if (r < 0)
		return r;
	shield();
	/* The old protocol has one line for an exec: its end. */
	if (opt.api_version || !opt.exec)
		sync_send(c.pid, NULL);
	*ret_code = loop_run(&c, epfd);
	return 0;
}

int main(int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	int r, code = 1;

	hoy_tool_name = "hoy-conmon";
	r = hoy_opts_parse(&verb, argc, argv, &opt, &err);
	if (r == -ECANCELED)
		return hoy_finish_stdout(0);
	if (r > 0)
		r = leftovers(r, argv, &err);
	if (r < 0)
		return hoy_report(&err, 1);
	if (opt.version) {
		/* podman wants a version of conmon's own numbering in the first line */
		printf("conmon version 2.1.13\nhoy-conmon %s\n", HOY_VERSION);
		return hoy_finish_stdout(0);
	}
	signal(SIGPIPE, SIG_IGN);
	sync_open();
	if (opt.watch) {
		r = watch_container(&err);
		sync_send(-1, err.msg);
		return r < 0 ? hoy_report(&err, 1) : 0;
	}
	r = check(&err);
	if (!r)
		r = complete(&err);
	if (!r)
		r = log_open(&err);
	if (r < 0) {
		/* conmon says it on stderr alone, where few look. */
		sync_send(-1, err.msg);
		return hoy_report(&err, 1);
	}
	wait_for_start();
	r = detach(&err);
	if (!r)
		r = serve(&code, &err);
	if (r < 0) {
		sync_send(-1, err.msg);
		attach_unlisten();
		(void)hoy_report(&err, 1);
		/* With --sync the parent still waits for us, perhaps with locks that the exit command needs: it knows, and cleans up. */
		if (opt.sync)
			return 1;
		code = 1;
	}
	unshield();
	run_exit_command();
	return code;
}
