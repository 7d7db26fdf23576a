/* The child's side of a container's birth: from clone3 to execve. */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "cmd-runtime/runtime.h"
#include "common/base/beneath.h"
#include "common/proc/sys.h"

int sync_send(int fd, char kind, const struct hoy_err *err)
{
	struct { char kind; struct hoy_err err; } m = { .kind = kind };
	size_t len = 1;

	if (err) {
		m.err = *err;
		len = sizeof(m);
	}
	return send(fd, &m, len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int sync_recv(int fd, struct hoy_err *err)
{
	struct { char kind; struct hoy_err err; } m = { .kind = 0 };
	ssize_t n;

	do
		n = recv(fd, &m, sizeof(m), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return hoy_fail_errno(err, errno, "cannot talk to the container's process");
	if (!n || m.kind != MSG_ERROR)
		return n ? m.kind : 0;
	*err = m.err;
	return -(err->code ? err->code : EIO);
}

static int wait_go(const struct birth *b, struct hoy_err *err)
{
	int r = sync_recv(b->sock[1], err);

	return r == MSG_GO ? 0 : r < 0 ? r : hoy_fail(err, EPIPE, "the runtime went away");
}

static int loopback_up(struct hoy_err *err)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0; /* a kernel without IPv4 */
	return ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? hoy_fail_errno(err, errno, "cannot bring up the loopback device") : 0;
}

void init_die_with_parent(const struct birth *b)
{
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	/* It may be dead already. */
	if (recv(b->sock[1], &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		_exit(1);
}

bool init_waits(const struct spec *s)
{
	const struct hoy_json *devices = hoy_json_get(s->linux_, "netDevices"), *rdt = hoy_json_get(s->linux_, "intelRdt");

	return s->ns_new[NS_USER] || (s->ns_path[NS_USER] && s->process.has_oom) || (devices && devices->count) || (rdt && rdt->count);
}

static int enter_namespaces(struct birth *b, struct hoy_err *err)
{
	if (setsid() < 0)
		return hoy_fail_errno(err, errno, "cannot make a session");
	if (cgroup_enter_self(&b->cgroup, err) < 0)
		return -err->code;
	/* By ourselves, lest we are the program before our parent gets to it. */
	if (b->spec.process.has_oom && !spec_has_userns(&b->spec) && procattr_oom(0, b->spec.process.oom, err) < 0)
		return -err->code;
	if (init_waits(&b->spec) && wait_go(b, err) < 0)
		return -err->code;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (spawn_join(&b->spawn, err) < 0)
		return -err->code;
	if (b->spec.ns_new[NS_CGROUP] && unshare(CLONE_NEWCGROUP) < 0)
		return hoy_fail_errno(err, errno, "cannot make a cgroup namespace");
	if (cgroup_enter_below(&b->cgroup, err) < 0)
		return -err->code;
	return b->spec.ns_new[NS_NET] ? loopback_up(err) : 0;
}

static int set_names(const struct spec *s, struct hoy_err *err)
{
	if (s->hostname && *s->hostname && sethostname(s->hostname, strlen(s->hostname)) < 0)
		return hoy_fail_errno(err, errno, "cannot set the hostname '%s'", s->hostname);
	if (s->domainname && *s->domainname && setdomainname(s->domainname, strlen(s->domainname)) < 0)
		return hoy_fail_errno(err, errno, "cannot set the domainname '%s'", s->domainname);
	return 0;
}

/* The terminal's slave is also the container's /dev/console. */
static int bind_console(struct root *r, int slave, struct hoy_err *err)
{
	cleanup_fd int from = sys_open_tree(slave, "", AT_EMPTY_PATH | OPEN_TREE_CLONE);
	/* On a link, not where it leads (CVE-2025-52565). */
	cleanup_fd int to = mounts_target(r, "dev/console", false, true, err);

	if (to < 0)
		return to;
	if (from < 0 || sys_attach(from, to) < 0)
		return hoy_fail_errno(err, errno, "cannot mount the terminal on '/dev/console'");
	return 0;
}

static int setup_terminal(struct birth *b, struct root *r, struct hoy_err *err)
{
	cleanup_fd int master = -1, slave = -1;
	int n;

	if (!b->spec.process.terminal || !b->spec.process.json)
		return 0;
	if (tty_open(r->fd, &b->spec.process, &master, &slave, err) < 0 || bind_console(r, slave, err) < 0)
		return -err->code;
	if (b->proxy_tty) {
		sync_send(b->sock[1], MSG_TTY, NULL);
		n = tty_send(b->sock[1], master, "tty", 3);
	} else {
		n = tty_send(b->console, master, "/dev/ptmx", 9);
	}
	if (n < 0)
		return hoy_fail_errno(err, -n, "cannot hand over the terminal");
	return tty_use(slave, err);
}

/* Our pid as the host counts, for those who are told of the container: in here it is 1. */
static pid_t host_pid(const struct root *r)
{
	char pid[16] = "";

	(void)!readlinkat(r->proc, "self", pid, sizeof(pid) - 1);
	return (pid_t)atoi(pid);
}

static int run_hooks(struct birth *b, struct hoy_err *err)
{
	const struct spec *s = &b->spec;
	bool outside = hooks_any(s, "prestart") || hooks_any(s, "createRuntime");

	if (!outside && !hooks_any(s, "createContainer"))
		return 0;
	if (outside && (sync_send(b->sock[1], MSG_HOOKS, NULL) < 0 || wait_go(b, err) < 0))
		return err->code ? -err->code : hoy_fail(err, EPIPE, "the runtime went away");
	return hooks_run(s, &b->state, "createContainer", "creating", err);
}

/* Engines count on it. If it cannot be made, entering it says why. */
static void make_cwd(const struct root *r, const struct process *p)
{
	cleanup_fd int fd = p->json ? hoy_mkdir_in_root(r->fd, p->cwd, 0755) : -1;
}

static int build_world(struct birth *b, struct root *r, struct hoy_err *err)
{
	if (rootfs_prepare(r, err) < 0 || mounts_all(r, err) < 0 || dev_setup(r, err) < 0)
		return -err->code;
	make_cwd(r, &b->spec.process);
	if (sysctls_write(r->proc, &b->spec, err) < 0 || set_names(&b->spec, err) < 0)
		return -err->code;
	if (b->spec.hooks || b->seccomp_socket >= 0)
		b->state.pid = host_pid(r);
	if (setup_terminal(b, r, err) < 0 || run_hooks(b, err) < 0)
		return -err->code;
	if (rootfs_paths(r, err) < 0)
		return -err->code;
	return rootfs_pivot(r, err);
}

/* Block until "start" writes a byte; the fifo has no end of file, so only a byte or death ends this. */
static void wait_for_start(int fifo)
{
	char c;

	while (read(fifo, &c, 1) < 0 && errno == EINTR)
		;
}

static void report(struct birth *b, const struct hoy_err *err)
{
	if (sync_send(b->sock[1], MSG_ERROR, err) < 0)
		dprintf(STDERR_FILENO, "%s\n", err->msg); /* "create" has gone, and its log is closed: to the container's stderr */
}

int init_main(void *arg)
{
	struct birth *b = arg;
	struct hoy_err err = HOY_ERR_INIT;
	struct root r = { .b = b, .fd = -1, .null = -1, .proc = -1, .userns = spec_has_userns(&b->spec),
			  .jobs = b->jobs };
	struct final f = { .process = &b->spec.process, .filter = &b->filter, .filter_flags = b->filter_flags,
			   .seccomp_socket = b->seccomp_socket, .state = &b->state, .spec = &b->spec,
			   .preserve = b->preserve, .keep = { b->sock[1], b->fifo, b->seccomp_socket } };

	/* The lock on the container is our parent's. */
	hoy_close(b->state.dirfd);
	hoy_close(b->sock[0]);
	b->state.dirfd = b->sock[0] = -1;
	init_die_with_parent(b);
	signals_reset();
	f.keep_groups = spec_annotation(&b->spec, "run.oci.keep_original_groups") != NULL;
	if (enter_namespaces(b, &err) < 0 || build_world(b, &r, &err) < 0)
		goto fail;
	f.proc = r.proc;
	f.pid = b->state.pid;
	if (b->spec.process.json) {
		if (sched_memory_policy(&b->spec, &err) < 0)
			goto fail;
		if (!b->no_keyring && procattr_keyring(&b->state, &b->spec.process, &err) < 0)
			goto fail;
		if (final_prepare(&f, &err) < 0)
			goto fail;
	}
	prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	if (b->fifo >= 0) {
		if (sync_send(b->sock[1], MSG_READY, NULL) < 0)
			return 1;
		wait_for_start(b->fifo);
	}
	if (!b->spec.process.json) {
		hoy_fail(&err, EINVAL, "config.json has no process to run");
		goto fail;
	}
	if (hooks_run(&b->spec, &b->state, "startContainer", "created", &err) < 0)
		goto fail;
	final_exec(&f, &err);
fail:
	report(b, &err);
	return err.code == ENOENT ? 127 : 1;
}
