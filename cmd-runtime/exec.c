/* exec: one more process in a running container. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cmd-runtime/runtime.h"
#include "common/oci/caps.h"
#include "common/proc/pidfd.h"
#include "common/proc/sys.h"

struct exec {
	/* options */
	const char *process_file, *cwd, *user, *pid_file, *console_socket, *label, *apparmor;
	const char *pidfd_socket;
	struct hoy_strv env, caps, gids, cgroups;
	int64_t preserve;
	bool tty, detach, no_new_privs, ignore_paused, ignored;
	/* state */
	struct rt *rt;
	struct state st;
	struct spec spec;
	struct hoy_json_doc doc;
	struct process process;
	struct cgroup cg;
	struct hoy_buf filter;
	uint32_t flags;
	int sock[2], console, seccomp_socket, proc;
	int target; /* pidfd of the container's first process */
	int ns_flags;
	pid_t host_pid;
	struct spawn spawn;
};

static int parse_user(const char *text, struct process *p, struct hoy_err *err)
{
	char *end;
	unsigned long uid, gid = p->gid;

	uid = strtoul(text, &end, 10);
	if (end != text && *end == ':') {
		const char *g = end + 1;

		gid = strtoul(g, &end, 10);
		end = end == g ? (char *)(uintptr_t)"x" : end;
	}
	if (!isdigit((unsigned char)*text) || *end || uid >= UINT32_MAX || gid >= UINT32_MAX)
		return hoy_fail(err, EINVAL, "option '--user': '%s' is not UID[:GID]", text);
	p->uid = (uid_t)uid;
	p->gid = (gid_t)gid;
	return 0;
}

static int add_caps(const struct exec *x, struct process *p, struct hoy_err *err)
{
	uint64_t add = 0;

	for (size_t i = 0; i < x->caps.n; i++)
		if (hoy_caps_parse(x->caps.v[i], &add, err) < 0)
			return -err->code;
	for (int s = 0; s < CAPS_COUNT && add; s++)
		if (s != CAPS_AMBIENT && s != CAPS_INHERITABLE)
			p->caps[s] |= add;
	p->has_caps = p->has_caps || add;
	return 0;
}

static int add_gids(const struct exec *x, struct process *p, struct hoy_err *err)
{
	gid_t *all = x->gids.n ? realloc(p->gids, (p->ngids + x->gids.n) * sizeof(*all)) : p->gids;

	if (x->gids.n && !all)
		return hoy_fail_oom(err);
	p->gids = all;
	for (size_t i = 0; i < x->gids.n; i++) {
		char *end;
		unsigned long gid = strtoul(x->gids.v[i], &end, 10);

		if (!isdigit((unsigned char)x->gids.v[i][0]) || *end || gid >= UINT32_MAX)
			return hoy_fail(err, EINVAL, "option '--additional-gids': '%s' is no group id", x->gids.v[i]);
		p->gids[p->ngids++] = (gid_t)gid;
	}
	return 0;
}

/* The container's own process object with the options on top. */
static int process_from_options(struct exec *x, char **args, int n, struct hoy_err *err)
{
	struct process *p = &x->process;

	if (!x->spec.process.json)
		return hoy_fail(err, EINVAL, "config.json has no process (use: --process)");
	if (process_parse(p, x->spec.process.json, err) < 0)
		return -err->code;
	hoy_strv_release(&p->args);
	for (int i = 0; i < n; i++)
		hoy_strv_push(&p->args, args[i]);
	for (size_t i = 0; i < x->env.n; i++) {
		char *eq = strchr(x->env.v[i], '=');

		if (!eq)
			continue;
		*eq = '\0';
		hoy_env_set(&p->env, x->env.v[i], eq + 1);
	}
	p->terminal = x->tty;
	p->no_new_privs = p->no_new_privs || x->no_new_privs;
	if (x->cwd)
		p->cwd = x->cwd;
	if (x->label)
		p->selinux = x->label;
	if (x->apparmor)
		p->apparmor = x->apparmor;
	if (p->args.error || p->env.error)
		return hoy_fail_oom(err);
	if ((x->user && parse_user(x->user, p, err) < 0) || add_gids(x, p, err) < 0)
		return -err->code;
	return add_caps(x, p, err);
}

/* What the file does not say is the container's. */
static int inherit(struct exec *x, struct hoy_err *err)
{
	const struct hoy_json *own = x->spec.process.json;

	if (!x->process.selinux)
		x->process.selinux = hoy_json_str(own, "selinuxLabel");
	if (!x->process.apparmor)
		x->process.apparmor = hoy_json_str(own, "apparmorProfile");
	if (!hoy_json_get(x->doc.root, "capabilities"))
		memcpy(x->process.caps, x->spec.process.caps, sizeof(x->process.caps));
	return 0;
}

static int process_from_file(struct exec *x, struct hoy_err *err)
{
	if (hoy_json_load(&x->doc, AT_FDCWD, x->process_file, 16 << 20, err) < 0 ||
	    process_parse(&x->process, x->doc.root, err) < 0)
		return -err->code;
	x->process.terminal = x->process.terminal || x->tty;
	return inherit(x, err);
}

static int setup_terminal(struct exec *x, struct hoy_err *err)
{
	cleanup_fd int master = -1, slave = -1, root = -1;
	int r;

	if (!x->process.terminal)
		return 0;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || tty_open(root, &x->process, &master, &slave, err) < 0)
		return -err->code;
	if (x->console >= 0) {
		r = tty_send(x->console, master, "/dev/ptmx", 9);
	} else {
		sync_send(x->sock[1], MSG_TTY, NULL);
		r = tty_send(x->sock[1], master, "tty", 3);
	}
	return r < 0 ? hoy_fail_errno(err, -r, "cannot hand over the terminal") : tty_use(slave, err);
}

static int join_cgroups(struct exec *x, struct hoy_err *err)
{
	if (cgroup_enter_self(&x->cg, err) < 0)
		return -err->code;
	return 0;
}

/* In the child; a pid namespace was entered by being cloned into it. */
static int enter(struct exec *x, struct hoy_err *err)
{
	int flags = x->ns_flags & ~CLONE_NEWPID;
	char pid[16] = "";

	if (setsid() < 0)
		return hoy_fail_errno(err, errno, "cannot make a session");
	x->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	(void)!readlinkat(x->proc, "self", pid, sizeof(pid) - 1);
	x->host_pid = (pid_t)atoi(pid);
	/* By ourselves, lest we are the program before our parent gets to it; unless we are among the container's files already. */
	if (x->process.has_oom && x->spawn.target < 0 && procattr_oom(0, x->process.oom, err) < 0)
		return -err->code;
	if (sched_set_cpus(x->process.cpus_initial, err) < 0 || join_cgroups(x, err) < 0 ||
	    sched_set_cpus(x->process.cpus_final, err) < 0)
		return -err->code;
	if (flags && x->spawn.target < 0 && setns(x->target, flags) < 0)
		return hoy_fail_errno(err, errno, "cannot join the namespaces of container '%s'", x->st.id);
	if (!(flags & CLONE_NEWUSER))
		return 0;
	if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0)
		log_debug("root is not mapped in the user namespace of container '%s'", x->st.id);
	return 0;
}

static int exec_child(void *arg)
{
	struct exec *x = arg;
	struct hoy_err err = HOY_ERR_INIT;
	struct final f = { .process = &x->process, .filter = &x->filter, .filter_flags = x->flags,
			   .seccomp_socket = x->seccomp_socket, .state = &x->st, .spec = &x->spec,
			   .preserve = (unsigned)x->preserve, .keep = { x->sock[1], x->seccomp_socket, -1 } };

	hoy_close(x->st.dirfd);
	hoy_close(x->sock[0]);
	signals_reset();
	umask(022);
	if (enter(x, &err) < 0 || setup_terminal(x, &err) < 0)
		goto fail;
	f.proc = x->proc;
	f.pid = x->host_pid;
	if (!x->st.no_keyring && procattr_keyring(&x->st, &x->process, &err) < 0)
		goto fail;
	f.keep_groups = spec_annotation(&x->spec, "run.oci.keep_original_groups") != NULL;
	if (final_prepare(&f, &err) == 0)
		final_exec(&f, &err);
fail:
	sync_send(x->sock[1], MSG_ERROR, &err);
	return err.code == ENOENT ? 127 : 126;
}

/* The pid namespace of the container for the child alone; we stay in ours. */
static int spawn_in_pidns(struct exec *x, struct hoy_err *err)
{
	cleanup_fd int home = -1;
	int r;

	if (x->ns_flags & CLONE_NEWPID) {
		home = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
		r = home < 0 || setns(x->target, CLONE_NEWPID) < 0 ? -errno : 0;
		if (r == -EPERM && x->ns_flags & CLONE_NEWUSER) {
			/* The right to do this is only to be had inside the container's user namespace. */
			x->spawn.target = x->target;
			x->spawn.target_flags = x->ns_flags;
			return spawn_start(&x->spawn, err);
		}
		if (r < 0)
			return hoy_fail_errno(err, -r, "cannot join the pid namespace of container '%s'", x->st.id);
	}
	r = spawn_start(&x->spawn, err);
	/* An ordinary user may not come back; we make no further child that would matter to. */
	if (home >= 0 && setns(home, CLONE_NEWPID) < 0 && errno != EPERM && !r)
		r = hoy_fail_errno(err, errno, "cannot return to our own pid namespace");
	return r;
}

static int follow(struct exec *x, int *ret_master, struct hoy_err *err)
{
	for (;;) {
		int kind = sync_recv(x->sock[0], err);

		if (kind != MSG_TTY)
			return kind;
		*ret_master = tty_recv(x->sock[0]);
	}
}

static int write_pid_file(const struct exec *x, struct hoy_err *err)
{
	char pid[16];
	int r;

	if (!x->pid_file)
		return 0;
	snprintf(pid, sizeof(pid), "%d", x->spawn.pid);
	r = hoy_replace_file(AT_FDCWD, x->pid_file, pid, strlen(pid), 0644, false);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write the pid file '%s'", x->pid_file) : 0;
}

/* "[CONTROLLER[,CONTROLLER]...:]PATH" of --cgroup; PATH is below the container's. */
static int choose_cgroup(struct exec *x, const char *arg, struct hoy_err *err)
{
	const char *colon = strchr(arg, ':'), *path = colon ? colon + 1 : arg;
	cleanup_free char *names = colon ? strndup(arg, (size_t)(colon - arg)) : NULL;
	cleanup_free char *full = hoy_asprintf("%s/%s", x->st.cgroup, path);
	char *save = NULL;

	if (!full || (colon && !names))
		return hoy_fail_oom(err);
	if (!*path || strstr(path, ".."))
		return hoy_fail(err, EINVAL, "option '--cgroup': '%s' is no path below the container's cgroup", path);
	if (!names)
		return cgroup_reopen(&x->cg, NULL, full, err);
	for (char *n = strtok_r(names, ",", &save); n; n = strtok_r(NULL, ",", &save))
		if (cgroup_reopen(&x->cg, n, full, err) < 0)
			return -err->code;
	return 0;
}

static int open_cgroup(struct exec *x, struct hoy_err *err)
{
	if (x->st.no_cgroup || !*x->st.cgroup)
		return x->cgroups.n ? hoy_fail(err, ENOENT, "container '%s' has no cgroup", x->st.id) : 0;
	if (cgroup_open_existing(&x->cg, x->st.cgroup, err) < 0)
		return -err->code;
	for (size_t i = 0; i < x->cgroups.n; i++)
		if (choose_cgroup(x, x->cgroups.v[i], err) < 0)
			return -err->code;
	x->spawn.cgroup_fd = x->cg.v2;
	return 0;
}

static int check_terminal(struct exec *x, struct hoy_err *err)
{
	if (x->process.terminal && x->console_socket) {
		x->console = tty_connect(x->console_socket, err);
		return x->console < 0 ? x->console : 0;
	}
	if (x->process.terminal && x->detach)
		return hoy_fail(err, EINVAL, "use --console-socket with --detach when a terminal is used");
	return 0;
}

static int prepare(struct exec *x, int n, char **argv, struct hoy_err *err)
{
	if (state_open(&x->st, x->rt, argv[0], false, err) < 0)
		return -err->code;
	if (!strcmp(x->st.status, "stopped"))
		return hoy_fail(err, ESRCH, "container '%s' is not running", x->st.id);
	if (!strcmp(x->st.status, "paused") && !x->ignore_paused)
		return hoy_fail(err, EBUSY, "the container '%s' is paused", x->st.id);
	x->target = hoy_pidfd_open(x->st.pid, x->st.ticks);
	if (x->target < 0)
		return hoy_fail(err, ESRCH, "container '%s' is not running", x->st.id);
	if (spec_load_own(&x->spec, &x->st, err) < 0 || namespaces_unlike_ours(&x->st, &x->ns_flags, err) < 0)
		return -err->code;
	if ((x->process_file ? process_from_file(x, err) : process_from_options(x, argv + 1, n - 1, err)) < 0)
		return -err->code;
	if (check_terminal(x, err) < 0 || open_cgroup(x, err) < 0 || seccomp_connect(&x->spec, &x->seccomp_socket, err) < 0)
		return -err->code;
	return seccomp_build(x->rt, &x->spec, &x->filter, &x->flags, err);
}

/*
 * On cgroup v2 nothing can enter a cgroup whose controllers are handed on to those below, as a systemd in the container does
 * it: then we go where the container's first process is.
 */
static int follow_first(struct exec *x, struct hoy_err *err)
{
	cleanup_free char *text = NULL;
	char file[64], *path;
	int r;

	snprintf(file, sizeof(file), "/proc/%d/cgroup", x->st.pid);
	r = hoy_read_file(AT_FDCWD, file, 1 << 16, &text, NULL, err);
	path = r < 0 ? NULL : strstr(text, "0::");
	if (!path)
		return hoy_fail(err, ENOENT, "cannot find the cgroup of container '%s'", x->st.id);
	path += 3;
	path[strcspn(path, "\n")] = '\0';
	r = cgroup_reopen(&x->cg, "", path, err);
	x->spawn.cgroup_fd = x->cg.v2;
	return r;
}

static int run(struct exec *x, struct hoy_err *err)
{
	int master = -1, r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, x->sock) < 0)
		return hoy_fail_errno(err, errno, "cannot make a socket pair");
	signals_block(NULL);
	r = spawn_in_pidns(x, err);
	if (r == -EBUSY && x->spawn.cgroup_fd >= 0 && !x->cgroups.n) {
		r = follow_first(x, err);
		if (!r)
			r = spawn_in_pidns(x, err);
	}
	if (r < 0)
		return r;
	hoy_close(x->sock[1]);
	x->sock[1] = -1;
	if (x->process.has_oom && x->spawn.target >= 0)
		r = procattr_oom(x->spawn.pid, x->process.oom, err);
	if (!r)
		r = write_pid_file(x, err);
	if (!r)
		r = pidfd_send(x->pidfd_socket, x->spawn.pidfd, err);
	if (!r)
		r = follow(x, &master, err);
	if (r < 0) {
		hoy_pidfd_kill(x->spawn.pidfd, SIGKILL);
		waitpid(x->spawn.pid, NULL, 0);
	} else if (!x->detach) {
		r = wait_foreground(x->spawn.pid, x->spawn.pidfd, master);
	}
	hoy_close(master);
	return r;
}

static int parse(struct exec *x, int argc, char **argv, struct hoy_err *err)
{
	const struct cli_opt opts[] = {
		{ "additional-gids", 'g', CLI_LIST, &x->gids, "GID", "one more group" },
		{ "apparmor", 0, CLI_STR, &x->apparmor, "PROFILE", "AppArmor profile" },
		{ "cap", 'c', CLI_LIST, &x->caps, "CAP", "add a capability" },
		{ "cgroup", 0, CLI_LIST, &x->cgroups, "PATH", "[CONTROLLER:]PATH: a cgroup below the container's" },
		{ "console-socket", 0, CLI_STR, &x->console_socket, "PATH", "socket that gets the terminal's master" },
		{ "cwd", 0, CLI_STR, &x->cwd, "DIR", "working directory" },
		{ "detach", 'd', CLI_FLAG, &x->detach, NULL, "don't wait for the command to end" },
		{ "env", 'e', CLI_LIST, &x->env, "KEY=VALUE", "set an environment variable" },
		{ "ignore-paused", 0, CLI_FLAG, &x->ignore_paused, NULL, "also in a paused container" },
		{ "no-new-privs", 0, CLI_FLAG, &x->no_new_privs, NULL, "set no_new_privs" },
		{ "no-subreaper", 0, CLI_FLAG, &x->ignored, NULL, "accepted for runc's sake" },
		{ "pid-file", 0, CLI_STR, &x->pid_file, "FILE", "write the process id to FILE" },
		{ "pidfd-socket", 0, CLI_STR, &x->pidfd_socket, "PATH", "socket that gets a pidfd of the process" },
		{ "preserve-fds", 0, CLI_INT, &x->preserve, "N", "pass N file descriptors after the first three" },
		{ "process", 'p', CLI_STR, &x->process_file, "FILE", "what to run, as the process object of config.json" },
		{ "process-label", 0, CLI_STR, &x->label, "LABEL", "SELinux label" },
		{ "tty", 't', CLI_FLAG, &x->tty, NULL, "give the command a terminal" },
		{ "user", 'u', CLI_STR, &x->user, "UID[:GID]", "user to run as" },
	};
	const struct cli cli = { "exec [OPTION]... ID COMMAND [ARGUMENT]...", opts, ARRAY_SIZE(opts), 1, -1, true };
	int r = cli_parse(&cli, argc, argv, err);

	if (r >= 0 && r < 2 && !x->process_file)
		return hoy_fail(err, EINVAL, "please specify a command (usage: hoy-runtime %s)", cli.usage);
	if (r >= 0 && (x->preserve < 0 || x->preserve > 4096))
		return hoy_fail(err, EINVAL, "option '--preserve-fds': %lld is out of range", (long long)x->preserve);
	return r;
}

int cmd_exec(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	struct exec x = { .rt = rt, .env = HOY_STRV_INIT, .caps = HOY_STRV_INIT, .gids = HOY_STRV_INIT,
			  .cgroups = HOY_STRV_INIT, .st = STATE_INIT, .spec = SPEC_INIT,
			  .doc = HOY_JSON_DOC_INIT, .process = PROCESS_INIT, .filter = HOY_BUF_INIT(HOY_BUF_OURS),
			  .sock = { -1, -1 }, .console = -1, .seccomp_socket = -1, .proc = -1, .target = -1 };
	int r;

	x.spawn = (struct spawn){ .spec = &x.spec, .cgroup_fd = -1, .target = -1, .child = exec_child, .arg = &x, .pidfd = -1 };
	for (int i = 0; i < NS_COUNT; i++)
		x.spawn.nsfd[i] = -1;
	cgroup_init(&x.cg);
	r = parse(&x, argc, argv, err);
	if (getenv("LISTEN_FDS"))
		x.preserve += atoi(getenv("LISTEN_FDS"));
	/* Inherited by the child: nothing in the container may look into it before it is one of its own. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (r >= 0)
		r = prepare(&x, r, argv, err);
	if (r >= 0)
		r = run(&x, err);
	return r;
}
