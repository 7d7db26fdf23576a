/* cmd-build/signals.c: a command that is waited for, and what ends it: a signal for us. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd-build/build.h"
#include "cmd-build/lease.h"
#include "common/base/msg.h"
#include "common/cli/call.h"
#include "common/proc/sibling.h"

static volatile sig_atomic_t caught;

int stopped(struct build *b)
{
	if (!caught)
		return 0;
	b->status = 128 + caught;
	return hoy_fail(&b->err, ECANCELED, "stopped by signal %d", (int)caught);
}

static void on_signal(int sig) { caught = sig; }

static const int ends[] = { SIGINT, SIGTERM, SIGHUP };

void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		sigaction(ends[i], &sa, NULL);
}

/* The stream FD is nobody's. */
static void leave(int fd, int flags)
{
	int null = open("/dev/null", flags | O_CLOEXEC);

	if (null < 0 || dup2(null, fd) < 0)
		_exit(125);
}

/*
 * In a process group of its own, so that a terminal's Ctrl-C is ours alone: what ends a container is `rm`. But who reads from the
 * terminal must be in the group that may. It dies with us: then whoever clears up finds nobody at work.
 */
__attribute__((noreturn)) static void become(const char *path, char **argv, unsigned flags, pid_t parent)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(125);
	if (!(flags & RUN_STDIN))
		setpgid(0, 0);
	if (!(flags & RUN_STDIN))
		leave(0, O_RDONLY);
	if (flags & RUN_QUIET)
		leave(1, O_WRONLY);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		signal(ends[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(path, argv);
	hoy_error("cannot run %s: %s", argv[0], strerror(errno));
	_exit(125);
}

static int spawn(char **argv, unsigned flags, pid_t *ret)
{
	cleanup_free char *path = hoy_sibling(argv[0]);
	pid_t self = getpid(), pid;

	if (!path)
		return -ENOMEM;
	fflush(stdout);
	pid = fork();
	if (!pid)
		become(path, argv, flags, self);
	*ret = pid;
	return pid < 0 ? -errno : 0;
}

static void end_container(const char *name)
{
	const char *const words[] = { "rm", "-f", "-i", "-t", "0", name, NULL };

	(void)hoy_call_tool("hoy-run", words, NULL);
}

/* Wait for PID, the container NAME, or just a process; a signal for us ends it. */
static int wait_for(pid_t pid, const char *name, const sigset_t *set)
{
	int status, sig;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		sig = sigwaitinfo(set, NULL);
		if (sig != SIGINT && sig != SIGTERM && sig != SIGHUP)
			continue;
		caught = sig;
		if (name)
			end_container(name);
		else
			kill(pid, SIGKILL);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* What ends us, and what tells of a child's end. */
static void block(sigset_t *set, sigset_t *old)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGCHLD);
	sigprocmask(SIG_BLOCK, set, old);
}

int run_and_wait(struct build *b, char **argv, const char *name, unsigned flags)
{
	sigset_t set, old;
	pid_t pid;
	int r;

	r = lease_take(b->s, LEASE_RUN, name, &b->err);
	if (r < 0)
		return r;
	block(&set, &old);
	r = spawn(argv, flags, &pid);
	if (!r)
		r = wait_for(pid, name, &set);
	lease_drop(LEASE_RUN, name);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return r;
}

int wait_child(pid_t pid)
{
	sigset_t set, old;
	int r;

	block(&set, &old);
	r = wait_for(pid, NULL, &set);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return r;
}
