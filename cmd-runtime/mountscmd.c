/*
 * mounts: add to or remove from the mounts of a running container. Sources are opened as the host sees them; all else happens in
 * a child that has joined the container's namespaces, so that file systems belong to its user namespace and targets are its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cmd-runtime/mounts.h"
#include "common/base/copytree.h"
#include "common/proc/pidfd.h"
#include "common/proc/sys.h"

enum { FSCONFIG_FLAG, FSCONFIG_STRING, FSCONFIG_CREATE = 6 };

struct change {
	struct birth b; /* its bundle and spec, for relative sources and mappings */
	struct root root;
	struct mount_jobs jobs;
	struct hoy_json_doc doc;
	int target; /* pidfd of the container's first process */
	int flags;  /* the namespaces that are not ours */
	bool remove;
};

static int open_sources(struct change *c, struct hoy_err *err)
{
	if (idmap_prepare(&c->jobs, &c->root, &c->b.spec, err) < 0)
		return -err->code;
	for (size_t i = 0; i < c->jobs.n; i++) {
		struct mount_job *m = &c->jobs.v[i];
		/* What is unmounted in the container must not be so on the host. */
		struct sys_mount_attr alone = { .propagation = m->o.propagation & MS_SLAVE ? MS_SLAVE : MS_PRIVATE };

		if (m->o.bind && m->fd < 0)
			m->fd = mounts_open_source(&c->root, m, err);
		if (m->o.bind && m->fd < 0)
			return m->fd;
		if (m->o.bind && sys_mount_setattr(m->fd, AT_RECURSIVE, &alone) < 0)
			return hoy_fail_errno(err, errno, "cannot make mount '%s' private", m->target);
		/* A new proc would show the processes of the host's pid namespace, in which we are. */
		if (!m->o.bind && (!strcmp(m->type, "proc") || !strncmp(m->type, "cgroup", 6) || m->o.flags & MS_REMOUNT))
			return hoy_fail(err, HOY_EUNSUPPORTED, "a mount of type '%s' cannot be added to a running container", m->o.flags & MS_REMOUNT ? "remount" : m->type);
	}
	return 0;
}

static int set_data(int fs, char *data)
{
	char *save = NULL;

	for (char *o = strtok_r(data, ",", &save); o; o = strtok_r(NULL, ",", &save)) {
		char *value = strchr(o, '=');

		if (value)
			*value++ = '\0';
		if (syscall(SYS_fsconfig, fs, value ? FSCONFIG_STRING : FSCONFIG_FLAG, o, value, 0) < 0)
			return -errno;
	}
	return 0;
}

/* Detached, by the new mount API alone: the /proc that mount(2) would need here is the container's. */
static int make_fs(struct mount_job *m, struct hoy_err *err)
{
	cleanup_fd int fs = (int)syscall(SYS_fsopen, m->type, 1 /* FSOPEN_CLOEXEC */);
	cleanup_free char *data = strdup(hoy_buf_str(&m->o.data));
	int r = fs < 0 ? -errno : data ? 0 : -ENOMEM, fd;

	if (!r && m->source)
		r = syscall(SYS_fsconfig, fs, FSCONFIG_STRING, "source", m->source, 0) < 0 ? -errno : 0;
	if (!r && !strcmp(m->type, "tmpfs") && !strstr(data, "mode="))
		r = syscall(SYS_fsconfig, fs, FSCONFIG_STRING, "mode", "755", 0) < 0 ? -errno : 0;
	if (!r)
		r = set_data(fs, data);
	if (!r && syscall(SYS_fsconfig, fs, FSCONFIG_CREATE, NULL, NULL, 0) < 0)
		r = -errno;
	fd = r ? r : (int)syscall(SYS_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */, 0);
	return fd < 0 ? hoy_fail_errno(err, r ? -r : errno, "cannot make a '%s' for '%s'", m->type, m->target) : fd;
}

static int add_one(struct change *c, struct mount_job *m, struct hoy_err *err)
{
	cleanup_fd int from = m->o.bind ? steal_fd(&m->fd) : make_fs(m, err), to = -1;
	struct sys_mount_attr p = { .propagation = m->o.propagation & ~(unsigned long)MS_REC };
	struct stat st;

	if (from < 0)
		return from;
	if (fstat(from, &st) < 0)
		return hoy_fail_errno(err, errno, "cannot stat '%s'", m->source);
	to = mounts_target(&c->root, m->target, S_ISDIR(st.st_mode), m->o.dest_nofollow, err);
	if (to < 0)
		return to;
	if (m->o.copyup && !m->o.bind && hoy_copy_tree(to, from, true) < 0)
		return hoy_fail_errno(err, errno, "cannot copy up into '%s'", m->target);
	if (mounts_attributes(from, &m->o, m->target, err) < 0)
		return -err->code;
	if (sys_attach(from, to) < 0)
		return hoy_fail_errno(err, errno, "cannot mount on '%s'", m->target);
	if (p.propagation && sys_mount_setattr(from, m->o.propagation & MS_REC ? AT_RECURSIVE : 0, &p) < 0)
		return hoy_fail_errno(err, errno, "cannot set the propagation of '%s'", m->target);
	return 0;
}

/* Without following links, which the container could point at what covers a masked path. */
static int remove_one(const struct change *c, const struct mount_job *m, struct hoy_err *err)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS };
	cleanup_free char *path = strdup(m->target);
	cleanup_fd int parent = -1;
	char *slash;

	if (!path)
		return hoy_fail_oom(err);
	for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
	slash = strrchr(path, '/');
	if (!slash || !slash[1] || !strcmp(slash, "/.") || !strcmp(slash, "/.."))
		return hoy_fail(err, EINVAL, "'%s' cannot be unmounted", m->target);
	*slash = '\0';
	parent = (int)syscall(SYS_openat2, c->root.fd, *path ? path : "/", &how, sizeof(how));
	if (parent < 0 || fchdir(parent) < 0 || umount2(slash + 1, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
		return hoy_fail_errno(err, errno, "cannot unmount '%s'", m->target);
	return 0;
}

static int inside(struct change *c, struct hoy_err *err)
{
	if (setns(c->target, c->flags) < 0)
		return hoy_fail_errno(err, errno, "cannot join the namespaces of the container");
	if (c->flags & CLONE_NEWUSER && (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0))
		log_debug("root is not mapped in the user namespace of the container");
	umask(022);
	c->root.fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->root.fd < 0)
		return hoy_fail_errno(err, errno, "cannot open the container's root directory");
	for (size_t i = 0; i < c->jobs.n; i++)
		if ((c->remove ? remove_one(c, &c->jobs.v[c->jobs.n - 1 - i], err) : add_one(c, &c->jobs.v[i], err)) < 0)
			return -err->code;
	return 0;
}

static int run(struct change *c, struct hoy_err *err)
{
	struct hoy_err theirs = HOY_ERR_INIT;
	int sock[2], status = 0, r;
	pid_t pid;

	if (!c->remove && open_sources(c, err) < 0)
		return -err->code;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) < 0)
		return hoy_fail_errno(err, errno, "cannot make a socket pair");
	pid = fork();
	if (!pid) {
		r = inside(c, &theirs);
		sync_send(sock[1], r < 0 ? MSG_ERROR : MSG_READY, r < 0 ? &theirs : NULL);
		_exit(0);
	}
	hoy_close(sock[1]);
	r = pid < 0 ? hoy_fail_errno(err, errno, "cannot start a process") : sync_recv(sock[0], err);
	hoy_close(sock[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return r == MSG_READY ? 0 : r < 0 ? r : hoy_fail(err, ESRCH, "the process that joins the container died");
}

static int prepare(struct change *c, const struct rt *rt, const char *id, const char *file, struct hoy_err *err)
{
	struct state *st = &c->b.state;

	if (state_open(st, rt, id, true, err) < 0)
		return -err->code;
	c->target = strcmp(st->status, "stopped") ? hoy_pidfd_open(st->pid, st->ticks) : -ESRCH;
	if (c->target < 0)
		return hoy_fail(err, ESRCH, "container '%s' is not running", id);
	if (spec_load_own(&c->b.spec, st, err) < 0 || hoy_json_load(&c->doc, AT_FDCWD, file, 1 << 20, err) < 0)
		return -err->code;
	if (!hoy_json_is(c->doc.root, HOY_JSON_ARRAY))
		return hoy_fail(err, EINVAL, "'%s' is no array of mounts", file);
	c->b.bundle = st->bundle;
	c->root.userns = spec_has_userns(&c->b.spec);
	if (namespaces_unlike_ours(st, &c->flags, err) < 0)
		return -err->code;
	c->flags &= CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC;
	return mounts_parse(&c->jobs, c->doc.root, err);
}

int cmd_mounts(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	const struct cli cli = { "mounts add|remove ID FILE", NULL, 0, 3, 3, false };
	struct change c = { .jobs = { NULL, 0 }, .doc = HOY_JSON_DOC_INIT, .target = -1 };
	int r = cli_parse(&cli, argc, argv, err);

	if (r < 0)
		return r;
	c.remove = !strcmp(argv[0], "remove");
	if (!c.remove && strcmp(argv[0], "add"))
		return hoy_fail(err, EINVAL, "unknown command '%s' (use: add or remove)", argv[0]);
	birth_init(&c.b, rt);
	c.root = (struct root){ .b = &c.b, .fd = -1, .null = -1, .proc = -1, .jobs = &c.jobs };
	c.b.jobs = &c.jobs;
	r = prepare(&c, rt, argv[1], argv[2], err);
	if (!r)
		r = run(&c, err);
	birth_release(&c.b); /* and the mounts */
	hoy_json_release(&c.doc);
	hoy_close(c.target);
	return r;
}
