/* cmd-build/signals.c: a command that is waited for, and what ends it: a signal for us. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "cmd-build/build.h"
#include "cmd-build/lease.h"
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

void catch_signals(void)
{
	static const int sigs[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = on_signal };

	for (size_t i = 0; i < ARRAY_SIZE(sigs); i++)
		sigaction(sigs[i], &sa, NULL);
}

/*
 * In a process group of its own, so that a terminal's Ctrl-C is ours alone: what ends a container is `rm`. But who reads from the
 * terminal must be in the group that may.
 */
static int spawn(struct build *b, char **argv, unsigned flags, pid_t *ret)
{
	cleanup_free char *path = hoy_sibling(argv[0]);
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none;
	int r;

	if (!path)
		return -ENOMEM;
	sigemptyset(&none);
	posix_spawn_file_actions_init(&fa);
	if (!(flags & RUN_STDIN))
		posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	if (flags & RUN_QUIET)
		posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_init(&at);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setpgroup(&at, 0);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | (flags & RUN_STDIN ? 0 : POSIX_SPAWN_SETPGROUP));
	r = posix_spawnp(ret, path, &fa, &at, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&at);
	return -r;
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
	r = spawn(b, argv, flags, &pid);
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
