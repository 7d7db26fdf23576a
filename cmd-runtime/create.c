/* create and run: the parent's side of a container's birth. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cmd-runtime/mounts.h"
#include "cmd-runtime/runtime.h"
#include "common/proc/pidfd.h"

struct create_opts {
	const char *bundle, *config, *pid_file, *console_socket, *pidfd_socket;
	int64_t preserve;
	bool no_pivot, no_keyring, detach, no_subreaper, keep;
};

void birth_init(struct birth *b, const struct rt *rt)
{
	*b = (struct birth){ .rt = rt, .spec = SPEC_INIT, .state = STATE_INIT, .sock = { -1, -1 }, .fifo = -1,
			     .console = -1, .seccomp_socket = -1, .filter = HOY_BUF_INIT(HOY_BUF_OURS) };
	b->spawn = (struct spawn){ .spec = &b->spec, .cgroup_fd = -1, .target = -1, .child = init_main, .arg = b, .pidfd = -1 };
	for (int i = 0; i < NS_COUNT; i++)
		b->spawn.nsfd[i] = -1;
	cgroup_init(&b->cgroup);
}

void birth_release(struct birth *b)
{
	hoy_close(b->sock[0]);
	hoy_close(b->sock[1]);
	hoy_close(b->fifo);
	hoy_close(b->console);
	hoy_close(b->seccomp_socket);
	spawn_release(&b->spawn);
	cgroup_release(&b->cgroup);
	state_release(&b->state);
	spec_release(&b->spec);
	mounts_release(b->jobs);
	hoy_buf_release(&b->filter);
}

static int save_config(struct birth *b, struct hoy_err *err)
{
	cleanup_fd int fd = openat(b->state.dirfd, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : hoy_write_full(fd, b->spec.text, b->spec.len);

	return r < 0 ? hoy_fail_errno(err, -r, "cannot save the configuration of container '%s'", b->state.id) : 0;
}

/* The reading end is held open for writing too: it never sees an end of file, whoever comes and goes. */
static int make_fifo(struct birth *b, struct hoy_err *err)
{
	if (mkfifoat(b->state.dirfd, "exec.fifo", 0600) < 0)
		return hoy_fail_errno(err, errno, "cannot make exec.fifo");
	b->fifo = openat(b->state.dirfd, "exec.fifo", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	return b->fifo < 0 ? hoy_fail_errno(err, errno, "cannot open exec.fifo") : 0;
}

static int check_terminal(struct birth *b, const struct create_opts *o, bool attached, struct hoy_err *err)
{
	if (!b->spec.process.terminal || !b->spec.process.json)
		return o->console_socket ? hoy_fail(err, EINVAL, "--console-socket needs process.terminal") : 0;
	if (!o->console_socket && !attached)
		return hoy_fail(err, EINVAL, "use --console-socket with create when a terminal is used");
	b->proxy_tty = !o->console_socket;
	b->console = o->console_socket ? tty_connect(o->console_socket, err) : -1;
	return o->console_socket && b->console < 0 ? b->console : 0;
}

static int note_cgroup(struct birth *b, struct hoy_err *err)
{
	free(b->state.cgroup);
	b->state.cgroup = strdup(b->cgroup.path ? b->cgroup.path : "");
	b->state.no_cgroup = !b->cgroup.path;
	return b->state.cgroup ? 0 : hoy_fail_oom(err);
}

/* Written down before it is made: if we are killed meanwhile, "delete" knows what to remove. */
static int fill_state(struct birth *b, bool attached, struct hoy_err *err)
{
	b->state.bundle = strdup(b->bundle);
	b->state.rootfs = b->spec.rootfs[0] == '/' ? strdup(b->spec.rootfs) : hoy_path_join(b->bundle, b->spec.rootfs);
	b->state.scope = strdup(b->cgroup.scope.unit ? b->cgroup.scope.unit : "");
	b->state.detached = !attached;
	b->state.no_keyring = b->no_keyring;
	if (!b->state.bundle || !b->state.rootfs || !b->state.scope)
		return hoy_fail_oom(err);
	return note_cgroup(b, err) < 0 ? -err->code : state_save(&b->state, err);
}

int birth_claim(struct birth *b, const char *id, bool attached, struct hoy_err *err)
{
	int r = state_create(&b->state, b->rt, id, err);

	if (!r)
		r = cgroup_choose(&b->cgroup, b->rt, &b->spec, id, err);
	if (!r)
		r = fill_state(b, attached, err);
	if (!r)
		r = cgroup_create(&b->cgroup, b->rt, &b->spec, id, err);
	if (!r)
		r = note_cgroup(b, err);
	if (!r)
		cgroup_delegate(&b->cgroup, &b->spec);
	return r ? r : rdt_make(&b->state, &b->spec, err);
}

/* Everything that can be known to be wrong before there is a process. */
static int prepare(struct birth *b, const struct create_opts *o, const char *id, bool attached, struct hoy_err *err)
{
	const struct root r0 = { .b = b, .fd = -1 };
	int r = check_terminal(b, o, attached, err);

	if (!r)
		r = spawn_open_namespaces(&b->spawn, err);
	if (!r)
		r = seccomp_connect(&b->spec, &b->seccomp_socket, err);
	if (!r)
		r = birth_claim(b, id, attached, err);
	if (!r)
		r = seccomp_build(b->rt, &b->spec, &b->filter, &b->filter_flags, err);
	if (!r && !attached)
		r = make_fifo(b, err);
	if (!r)
		r = mounts_parse(b->jobs, hoy_json_get(b->spec.doc.root, "mounts"), err);
	if (!r)
		r = idmap_prepare(b->jobs, &r0, &b->spec, err);
	if (!r && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, b->sock) < 0)
		r = hoy_fail_errno(err, errno, "cannot make a socket pair");
	b->spawn.cgroup_fd = b->cgroup.v2;
	return r;
}

int birth_record(struct birth *b, const char *pid_file, const char *pidfd_socket, struct hoy_err *err)
{
	char pid[16];
	int r;

	b->state.pid = b->spawn.pid;
	r = hoy_pid_start_time(b->state.pid, &b->state.ticks, NULL);
	if (r < 0)
		return hoy_fail_errno(err, -r, "the container's process died early");
	if (save_config(b, err) < 0 || state_save(&b->state, err) < 0)
		return -err->code;
	r = pidfd_send(pidfd_socket, b->spawn.pidfd, err);
	if (r < 0 || !pid_file)
		return r;
	snprintf(pid, sizeof(pid), "%d", b->state.pid);
	r = hoy_replace_file(AT_FDCWD, pid_file, pid, strlen(pid), 0644, false);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write the pid file '%s'", pid_file) : 0;
}

static int run_create_hooks(struct birth *b, struct hoy_err *err)
{
	if (hooks_run(&b->spec, &b->state, "prestart", "creating", err) < 0 ||
	    hooks_run(&b->spec, &b->state, "createRuntime", "creating", err) < 0)
		return -err->code;
	return sync_send(b->sock[0], MSG_GO, NULL);
}

/* Follow the child until it is ready (create) or has become the container's program (run). */
static int follow(struct birth *b, int *ret_master, struct hoy_err *err)
{
	for (;;) {
		int kind = sync_recv(b->sock[0], err);

		switch (kind) {
		case MSG_HOOKS:
			if (run_create_hooks(b, err) < 0)
				return -err->code;
			break;
		case MSG_TTY:
			*ret_master = tty_recv(b->sock[0]);
			break;
		case MSG_READY:
			return 0;
		case 0:
			if (b->fifo < 0)
				return 0;
			return hoy_fail(err, ESRCH, "the container's process died early");
		default:
			return kind;
		}
	}
}

/* What only we may do for the child, and not too late: it waits for that (init_waits). */
static int set_up_child(struct birth *b, struct hoy_err *err)
{
	int r = b->spec.ns_new[NS_USER] ? spawn_map_ids(&b->spawn, err) : 0;

	if (!r)
		r = netdev_move(&b->spec, b->spawn.pid, b->spawn.nsfd[NS_NET], err);
	if (!r && spec_has_userns(&b->spec) && b->spec.process.has_oom)
		r = procattr_oom(b->spawn.pid, b->spec.process.oom, err);
	if (!r)
		r = rdt_enter(&b->state, b->spawn.pid, err);
	if (!r && init_waits(&b->spec))
		r = sync_send(b->sock[0], MSG_GO, NULL);
	return r;
}

static int give_birth(struct birth *b, const struct create_opts *o, int *ret_master, struct hoy_err *err)
{
	int r = spawn_start(&b->spawn, err);

	if (r < 0)
		return r;
	hoy_close(b->sock[1]);
	b->sock[1] = -1;
	r = set_up_child(b, err);
	if (!r)
		r = birth_record(b, o->pid_file, o->pidfd_socket, err);
	/* The child's own reason says more than our "it died". */
	if (r < 0) {
		struct hoy_err theirs = HOY_ERR_INIT;

		hoy_pidfd_kill(b->spawn.pidfd, SIGKILL);
		return sync_recv(b->sock[0], &theirs) == MSG_ERROR ? (*err = theirs, -err->code) : r;
	}
	return follow(b, ret_master, err);
}

void birth_undo(struct birth *b)
{
	struct hoy_err ignored = HOY_ERR_INIT;

	if (b->spawn.pid > 0) {
		hoy_pidfd_kill(b->spawn.pidfd, SIGKILL);
		while (waitpid(b->spawn.pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	cgroup_undo(&b->cgroup);
	rdt_remove(&b->state);
	if (b->state.dirfd >= 0)
		state_remove(&b->state, b->rt, &ignored);
}

static int find_bundle(const struct create_opts *o, char *path, struct hoy_err *err)
{
	return realpath(o->bundle, path) ? 0 : hoy_fail_errno(err, errno, "cannot find bundle '%s'", o->bundle);
}

static int create(struct birth *b, const struct create_opts *o, const char *id, bool attached, int *ret_master,
		  struct hoy_err *err)
{
	int r = spec_load(&b->spec, b->bundle, o->config, err);

	if (r < 0)
		return r;
	if (attached && !b->spec.process.json)
		return hoy_fail(err, EINVAL, "config.json has no process to run");
	b->preserve = (unsigned)o->preserve;
	if (getenv("LISTEN_FDS"))
		b->preserve += (unsigned)atoi(getenv("LISTEN_FDS"));
	b->no_pivot = o->no_pivot;
	b->no_keyring = o->no_keyring;
	/*
	 * Inherited by the child: until it becomes the container's program nobody may look into it. An ordinary user
	 * must still write its id maps first, and could not: then the child does this itself.
	 */
	if (!geteuid())
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	r = prepare(b, o, id, attached, err);
	if (!r)
		r = give_birth(b, o, ret_master, err);
	if (!r)
		scope_end_helper(&b->cgroup.scope);
	if (!r && attached) {
		if (hooks_run(&b->spec, &b->state, "poststart", "running", err) < 0)
			log_warning("%s", err->msg);
	}
	/* mkdir EEXIST: that container is somebody else's. */
	if (r < 0)
		birth_undo(b);
	return r;
}

static int parse_opts(struct create_opts *o, bool run, int argc, char **argv, struct hoy_err *err)
{
	const struct cli_opt opts[] = {
		{ "bundle", 'b', CLI_STR, &o->bundle, "DIR", "the bundle (default: .)" },
		{ "config", 'f', CLI_STR, &o->config, "FILE", "the configuration in it (default: config.json)" },
		{ "console-socket", 0, CLI_STR, &o->console_socket, "PATH", "socket that gets the terminal's master" },
		{ "no-new-keyring", 0, CLI_FLAG, &o->no_keyring, NULL, "keep the session keyring" },
		{ "no-pivot", 0, CLI_FLAG, &o->no_pivot, NULL, "change the root without pivot_root (unsafe)" },
		{ "pid-file", 0, CLI_STR, &o->pid_file, "FILE", "write the process id to FILE" },
		{ "pidfd-socket", 0, CLI_STR, &o->pidfd_socket, "PATH", "socket that gets a pidfd of the process" },
		{ "preserve-fds", 0, CLI_INT, &o->preserve, "N", "pass N file descriptors after the first three" },
		{ "no-subreaper", 0, CLI_FLAG, &o->no_subreaper, NULL, "accepted for crun's and runc's sake" },
		{ "detach", 'd', CLI_FLAG, &o->detach, NULL, "don't wait for the container to end" },
		{ "keep", 0, CLI_FLAG, &o->keep, NULL, "don't remove the container when it ends" },
	};
	struct cli cli = { run ? "run [OPTION]... ID" : "create [OPTION]... ID", opts,
			   ARRAY_SIZE(opts) - (run ? 0 : 2), 1, 1, false };
	int r = cli_parse(&cli, argc, argv, err);

	if (r >= 0 && (o->preserve < 0 || o->preserve > 4096))
		return hoy_fail(err, EINVAL, "option '--preserve-fds': %lld is out of range", (long long)o->preserve);
	return r;
}

int cmd_create(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	struct create_opts o = { .bundle = ".", .config = "config.json" };
	char bundle[PATH_MAX];
	struct mount_jobs jobs = { NULL, 0 };
	struct birth b;
	int master = -1, r = parse_opts(&o, false, argc, argv, err);

	if (r < 0 || (r = find_bundle(&o, bundle, err)) < 0)
		return r;
	birth_init(&b, rt);
	b.bundle = bundle;
	b.jobs = &jobs;
	r = create(&b, &o, argv[0], false, &master, err);
	birth_release(&b);
	return r;
}

int birth_end(struct birth *b, struct hoy_err *err)
{
	struct stat st;

	/* Unless "delete --force" was faster. */
	if (flock(b->state.dirfd, LOCK_EX) < 0 || fstat(b->state.dirfd, &st) < 0 || !st.st_nlink)
		return 0;
	return container_destroy(&b->state, b->rt, &b->spec, err);
}

int cmd_run(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	struct create_opts o = { .bundle = ".", .config = "config.json" };
	struct hoy_err gone = HOY_ERR_INIT;
	char bundle[PATH_MAX];
	struct mount_jobs jobs = { NULL, 0 };
	struct birth b;
	int master = -1, r = parse_opts(&o, true, argc, argv, err);

	if (r < 0 || (r = find_bundle(&o, bundle, err)) < 0)
		return r;
	birth_init(&b, rt);
	b.bundle = bundle;
	b.jobs = &jobs;
	signals_block(NULL);
	r = create(&b, &o, argv[0], true, &master, err);
	if (!r && o.detach && master >= 0) {
		r = hoy_fail(err, EINVAL, "use --console-socket with --detach when a terminal is used");
		birth_undo(&b);
	}
	if (!r && !o.detach) {
		/* Others may stop, pause or exec meanwhile. */
		flock(b.state.dirfd, LOCK_UN);
		r = wait_foreground(b.spawn.pid, b.spawn.pidfd, master);
		if (!o.keep && birth_end(&b, &gone) < 0)
			log_warning("%s", gone.msg);
	}
	hoy_close(master);
	birth_release(&b);
	return r;
}
