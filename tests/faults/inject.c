/*
 * inject: run a command and hurt it at its n-th system call that changes something.
 *
 * usage: inject [OPTIONS] COMMAND [ARG...]
 *	-n N		the call, counted from 1 over all processes of the command that run one of hoy's tools, the files hoy* beside
 *			COMMAND (the payload of a container doesn't count); without it nothing happens but the count
 *	-f FAULT	kill-one: SIGKILL to the process that makes the call, instead of the call; the others go on
 *			kill-all: to the whole tree
 *			enospc, eio: the call fails so; only calls that write to the file system of -d are counted
 *	-m REGEX	count only calls whose line ("TOOL[PID] CALL TARGET") matches
 *	-s		enospc and eio: and so does each call after it that needs space, as on a disk that is full
 *	-d DIR		see -f
 *	-w		follow until the last process of the tree has ended, not only the command itself (which is the end once
 *			the fault has happened)
 *	-o FILE		write down each counted call, and at the end "calls N"
 *
 * It exits with the command's status, 128+N for signal N. What still runs then goes on unwatched.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/faults/calls.h"

#define TASKS_MAX 4096
#define TOOLS_MAX 16

struct task {
	pid_t tid, tgid;
	int tool; /* that it runs; -1: none of ours */
	int error;   /* the call that it is in fails with this at its end */
};

static struct {
	const char *fault;
	long n, count;
	int error;
	bool sticky, all, fired, massacre;
	dev_t dev;
	FILE *log;
	regex_t match;
	bool matching;
	struct { dev_t dev; ino_t ino; char name[64]; } tools[TOOLS_MAX];
	int n_tools;
	struct task tasks[TASKS_MAX];
	int n_tasks;
} in;

static void die(const char *what)
{
	fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
	exit(125);
}

/* ---- registers: the number of the call, and what it returns ---- */

#if defined(__x86_64__)
static void skip_call(pid_t tid)
{
	struct user_regs_struct r;

	if (!ptrace(PTRACE_GETREGS, tid, NULL, &r)) {
		r.orig_rax = -1;
		ptrace(PTRACE_SETREGS, tid, NULL, &r);
	}
}
static void set_result(pid_t tid, int error)
{
	struct user_regs_struct r;

	if (!ptrace(PTRACE_GETREGS, tid, NULL, &r)) {
		r.rax = -(long)error;
		ptrace(PTRACE_SETREGS, tid, NULL, &r);
	}
}
#elif defined(__aarch64__)
static void skip_call(pid_t tid)
{
	int none = -1;
	struct iovec v = { &none, sizeof(none) };

	ptrace(PTRACE_SETREGSET, tid, (void *)NT_ARM_SYSTEM_CALL, &v);
}
static void set_result(pid_t tid, int error)
{
	struct user_regs_struct r;
	struct iovec v = { &r, sizeof(r) };

	if (!ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &v)) {
		r.regs[0] = -(long)error;
		ptrace(PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &v);
	}
}
#else
#error "which registers hold the number of a system call and its result?"
#endif

/* ---- the tasks ---- */

static pid_t tgid_of(pid_t tid)
{
	char path[64], line[128];
	pid_t tgid = tid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Tgid: %d", &tgid) == 1)
			break;
	if (f)
		fclose(f);
	return tgid;
}

/* By the file itself: the runtime runs from a mount that has no path. */
static int tool_of(pid_t tid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/exe", tid);
	for (int i = stat(path, &st) < 0 ? in.n_tools : 0; i < in.n_tools; i++)
		if (in.tools[i].dev == st.st_dev && in.tools[i].ino == st.st_ino)
			return i;
	return -1;
}

static void find_tools(const char *command)
{
	char pattern[4096];
	struct stat st;
	glob_t g;

	snprintf(pattern, sizeof(pattern), "%.*shoy*", strrchr(command, '/') ? (int)(strrchr(command, '/') + 1 - command) : 0, command);
	if (glob(pattern, 0, NULL, &g))
		return;
	for (size_t i = 0; i < g.gl_pathc && in.n_tools < TOOLS_MAX; i++) {
		const char *name = strrchr(g.gl_pathv[i], '/') ? strrchr(g.gl_pathv[i], '/') + 1 : g.gl_pathv[i];

		if (stat(g.gl_pathv[i], &st) < 0)
			continue;
		in.tools[in.n_tools].dev = st.st_dev;
		in.tools[in.n_tools].ino = st.st_ino;
		snprintf(in.tools[in.n_tools++].name, sizeof(in.tools[0].name), "%.60s", name);
	}
	globfree(&g);
}

static void look_at(struct task *t)
{
	t->tgid = tgid_of(t->tid);
	t->tool = tool_of(t->tid);
}

static struct task *task(pid_t tid)
{
	for (int i = 0; i < in.n_tasks; i++)
		if (in.tasks[i].tid == tid)
			return &in.tasks[i];
	if (in.n_tasks == TASKS_MAX) {
		errno = E2BIG;
		die("too many processes");
	}
	in.tasks[in.n_tasks] = (struct task){ .tid = tid };
	look_at(&in.tasks[in.n_tasks]);
	return &in.tasks[in.n_tasks++];
}

static void forget(pid_t tid)
{
	for (int i = 0; i < in.n_tasks; i++)
		if (in.tasks[i].tid == tid)
			in.tasks[i] = in.tasks[--in.n_tasks];
}

/* ---- the fault ---- */

static void describe(const struct task *t, const struct call *c, const uint64_t args[6], char *ret, size_t size)
{
	char target[4096];

	call_target(c, t->tid, args, target, sizeof(target));
	snprintf(ret, size, "%s[%d] %s %s", in.tools[t->tool].name, t->tgid, c->name, target);
}

static void note(const char *what, const char *line)
{
	if (!in.log)
		return;
	fprintf(in.log, "%s%ld %s\n", what, in.count, line);
	fflush(in.log);
}

static void kill_all(void)
{
	in.massacre = true;
	for (int i = 0; i < in.n_tasks; i++)
		kill(in.tasks[i].tgid, SIGKILL);
}

static void strike(struct task *t, const char *line)
{
	in.fired = true;
	note("fault ", line);
	if (!strcmp(in.fault, "kill-one")) {
		kill(t->tgid, SIGKILL);
	} else if (!strcmp(in.fault, "kill-all")) {
		kill_all();
	} else {
		t->error = in.error;
		skip_call(t->tid);
	}
}

static bool counts(const struct task *t, const struct call *c, const uint64_t args[6])
{
	if (!c || t->tool < 0)
		return false;
	return !in.error || (c->flags & (in.error == ENOSPC ? CALL_SPACE : CALL_DISK) && call_on(c, t->tid, args, in.dev));
}

static void entry(struct task *t, uint64_t nr, const uint64_t args[6])
{
	const struct call *c = call_find(nr, args);
	char line[4608];

	if ((in.fired && !in.sticky) || !counts(t, c, args))
		return;
	describe(t, c, args, line, sizeof(line));
	if (in.matching && regexec(&in.match, line, 0, NULL, 0))
		return;
	in.count++;
	if (in.n && (in.count == in.n || (in.sticky && in.fired)))
		strike(t, line);
	else
		note("", line);
}

/* ---- following ---- */

static void call_stop(struct task *t)
{
	struct __ptrace_syscall_info i;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, (void *)sizeof(i), &i) <= 0)
		return;
	if (i.op == PTRACE_SYSCALL_INFO_ENTRY) {
		entry(t, i.entry.nr, (const uint64_t *)i.entry.args);
	} else if (i.op == PTRACE_SYSCALL_INFO_EXIT && t->error) {
		set_result(t->tid, t->error);
		t->error = 0;
	}
}

/* One stop of TID; lets it go on. */
static void stopped(pid_t tid, int status)
{
	struct task *t = task(tid);
	int sig = WSTOPSIG(status), event = status >> 16, pass = 0;

	if (in.massacre)
		kill(t->tgid, SIGKILL);
	if (event == PTRACE_EVENT_STOP && (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU)) {
		ptrace(PTRACE_LISTEN, tid, NULL, NULL);
		return;
	}
	if (event == PTRACE_EVENT_EXEC)
		look_at(t);
	else if (sig == (SIGTRAP | 0x80))
		call_stop(t);
	else if (!event)
		pass = sig;
	ptrace(PTRACE_SYSCALL, tid, NULL, (void *)(long)pass);
}

static int follow(pid_t command)
{
	int status, result = 0;
	pid_t tid;

	while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (tid < 0)
			continue;
		if (WIFSTOPPED(status)) {
			stopped(tid, status);
			continue;
		}
		forget(tid);
		if (tid == command) {
			result = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
			if ((!in.all || in.fired) && !in.massacre)
				break;
		}
	}
	return result;
}

static pid_t start(char **argv)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
	int gate[2];
	pid_t pid;
	char c;

	if (pipe2(gate, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		die("fork");
	if (!pid) {
		close(gate[1]);
		while (read(gate[0], &c, 1) < 0)
			;
		execvp(argv[0], argv);
		die(argv[0]);
	}
	if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)options) < 0 || ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0)
		die("ptrace");
	close(gate[0]);
	close(gate[1]);
	return pid;
}

static void options(int argc, char **argv)
{
	struct stat st;
	int o;

	while ((o = getopt(argc, argv, "+n:f:m:sd:wo:")) != -1) {
		if (o == 'n')
			in.n = atol(optarg);
		else if (o == 'f')
			in.fault = optarg;
		else if (o == 'm' && (in.matching = true) && regcomp(&in.match, optarg, REG_EXTENDED | REG_NOSUB))
			exit(125);
		else if (o == 's')
			in.sticky = true;
		else if (o == 'w')
			in.all = true;
		else if (o == 'd' && stat(optarg, &st) < 0)
			die(optarg);
		else if (o == 'd')
			in.dev = st.st_dev;
		else if (o == 'o' && !(in.log = fopen(optarg, "we")))
			die(optarg);
		else if (o == '?')
			exit(125);
	}
	if (in.fault && !strcmp(in.fault, "enospc"))
		in.error = ENOSPC;
	else if (in.fault && !strcmp(in.fault, "eio"))
		in.error = EIO;
	else if (in.n && !(in.fault && (!strcmp(in.fault, "kill-one") || !strcmp(in.fault, "kill-all")))) {
		errno = EINVAL;
		die("-f: kill-one, kill-all, enospc or eio");
	}
	if ((in.error && !in.dev) || !argv[optind]) {
		errno = EINVAL;
		die(argv[optind] ? "-d is missing" : "no command");
	}
}

int main(int argc, char **argv)
{
	int result;

	options(argc, argv);
	find_tools(argv[optind]);
	result = follow(start(argv + optind));
	if (in.log)
		fprintf(in.log, "calls %ld%s\n", in.count, in.n && !in.fired ? " never" : "");
	return result;
}
