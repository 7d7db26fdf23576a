/*
 * A child in its namespaces. New ones come with clone3(2) itself. Those named by path are joined by the child, unless it
 * gets a user namespace, in which it could not: then the parent joins them, clones and goes back. A user namespace that
 * exists can only be entered for good, so that takes a helper in between, whose child becomes ours by CLONE_PARENT.
 */
#include <errno.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "cmd-runtime/runtime.h"
#include "common/proc/idmapper.h"
#include "common/proc/sys.h"

int spawn_open_namespaces(struct spawn *sp, struct hoy_err *err)
{
	const struct spec *s = sp->spec;

	for (int i = 0; i < NS_COUNT; i++) {
		/* One of IPC belongs to who makes it: in a user namespace its root does (rootfs.c). */
		if (s->ns_new[i] && i != NS_CGROUP && i != NS_TIME && !(i == NS_IPC && spec_has_userns(s)))
			sp->new_flags |= ns_table[i].flag;
		if (!s->ns_path[i])
			continue;
		sp->nsfd[i] = open(s->ns_path[i], O_RDONLY | O_CLOEXEC);
		if (sp->nsfd[i] < 0)
			return hoy_fail_errno(err, errno, "cannot open namespace '%s'", s->ns_path[i]);
		if (ioctl(sp->nsfd[i], NS_GET_NSTYPE) != ns_table[i].flag)
			return hoy_fail(err, EINVAL, "'%s' is no %s namespace", s->ns_path[i], ns_table[i].oci);
	}
	return 0;
}

int namespaces_unlike_ours(const struct state *st, int *ret_flags, struct hoy_err *err)
{
	*ret_flags = 0;
	for (int i = 0; i < NS_COUNT; i++) {
		char path[64];
		struct stat own, theirs;

		snprintf(path, sizeof(path), "/proc/self/ns/%s", ns_table[i].proc);
		if (stat(path, &own) < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", st->pid, ns_table[i].proc);
		if (stat(path, &theirs) < 0)
			return hoy_fail_errno(err, errno, "cannot look at the namespaces of container '%s'", st->id);
		if (own.st_ino != theirs.st_ino)
			*ret_flags |= ns_table[i].flag;
	}
	return 0;
}

void spawn_release(struct spawn *sp)
{
	for (int i = 0; i < NS_COUNT; i++) {
		hoy_close(sp->nsfd[i]);
		sp->nsfd[i] = -1;
	}
	hoy_close(sp->pidfd);
	sp->pidfd = -1;
}

static int join(const struct spawn *sp, int i, struct hoy_err *err)
{
	if (sp->nsfd[i] < 0 || setns(sp->nsfd[i], ns_table[i].flag) == 0)
		return 0;
	return hoy_fail_errno(err, errno, "cannot join the %s namespace '%s'", ns_table[i].oci,
			      sp->spec->ns_path[i] ? sp->spec->ns_path[i] : "of the container");
}

int spawn_join(const struct spawn *sp, struct hoy_err *err)
{
	if (sp->nsfd[NS_USER] >= 0 || sp->new_flags & CLONE_NEWUSER)
		return 0;
	for (int i = NS_NET; i < NS_COUNT; i++)
		if (join(sp, i, err) < 0)
			return -err->code;
	return 0;
}

/* Offsets can only be written while no process is in a new time namespace, which holds until the clone. */
static int make_time_namespace(const struct spec *s, struct hoy_err *err)
{
	const char *more = spec_annotation(s, "run.oci.timens_offset");
	int r = 0;

	if (!s->ns_new[NS_TIME])
		return 0;
	if (unshare(CLONE_NEWTIME) < 0)
		return hoy_fail_errno(err, errno, "cannot make a time namespace");
	HOY_JSON_EACH(o, hoy_json_get(s->linux_, "timeOffsets")) {
		char line[128];

		snprintf(line, sizeof(line), "%s %lld %lld", o->key, (long long)hoy_json_int(o, "secs", 0),
			 (long long)hoy_json_int(o, "nanosecs", 0));
		r = hoy_write_small(AT_FDCWD, "/proc/self/timens_offsets", line);
		if (r < 0)
			return hoy_fail_errno(err, -r, "cannot set the time offset '%s'", line);
	}
	if (more)
		r = hoy_write_small(AT_FDCWD, "/proc/self/timens_offsets", more);
	return r < 0 ? hoy_fail_errno(err, -r, "annotation run.oci.timens_offset: cannot set '%s'", more) : 0;
}

/* A filter may forbid even this. glibc's _exit() then dies of a forbidden instruction, musl's would try for ever. */
__attribute__((noreturn)) static void end(int status)
{
	syscall(SYS_exit_group, status);
#ifdef __x86_64__
	__asm__ volatile("hlt");
#endif
	__builtin_trap();
}

static int run_clone(struct spawn *sp, uint64_t extra, struct hoy_err *err)
{
	struct sys_clone_args a = {
		.flags = sp->new_flags | CLONE_PIDFD | extra,
		.pidfd = (uintptr_t)&sp->pidfd,
		.exit_signal = extra & CLONE_PARENT ? 0 : SIGCHLD,
	};
	long pid;

	if (sp->cgroup_fd >= 0) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (unsigned)sp->cgroup_fd;
	}
	pid = sys_clone3(&a);
	if (pid < 0)
		return hoy_fail_errno(err, errno, "cannot start a process in new namespaces");
	if (!pid)
		end(sp->child(sp->arg));
	sp->pid = (pid_t)pid;
	return 0;
}

/* Which namespaces the parent has to visit, so that the clone inherits them. */
static bool visited(const struct spawn *sp, int i)
{
	if (i == NS_TIME && sp->spec->ns_new[i])
		return true;
	if (sp->nsfd[i] < 0)
		return false;
	return i == NS_PID || (i != NS_MNT && sp->new_flags & CLONE_NEWUSER);
}

static int start_direct(struct spawn *sp, struct hoy_err *err)
{
	int home[NS_COUNT], r = 0;

	for (int i = 0; i < NS_COUNT; i++) {
		char path[32];

		home[i] = -1;
		if (!visited(sp, i))
			continue;
		snprintf(path, sizeof(path), "/proc/self/ns/%s", ns_table[i].proc);
		home[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (home[i] < 0)
			r = hoy_fail_errno(err, errno, "cannot open '%s'", path);
		else if (!r && i != NS_TIME)
			r = join(sp, i, err);
		else if (!r)
			r = sp->nsfd[i] >= 0 ? join(sp, i, err) : make_time_namespace(sp->spec, err);
	}
	if (!r)
		r = run_clone(sp, 0, err);
	for (int i = 0; i < NS_COUNT; i++) {
		if (home[i] >= 0 && setns(home[i], ns_table[i].flag) < 0 && !r)
			r = hoy_fail_errno(err, errno, "cannot return to our own %s namespace", ns_table[i].oci);
		hoy_close(home[i]);
	}
	return r;
}

/* A namespace may belong to ours or to the one being entered: try it before and after. */
static int helper(struct spawn *sp, int out)
{
	struct hoy_err err = HOY_ERR_INIT;
	bool done[NS_COUNT] = { false };
	int r = sp->target < 0 ? make_time_namespace(sp->spec, &err) : 0;

	if (sp->target >= 0 && setns(sp->target, sp->target_flags) < 0)
		r = hoy_fail_errno(&err, errno, "cannot join the namespaces of the container");
	for (int i = 0; i < NS_COUNT; i++)
		done[i] = i != NS_USER && i != NS_MNT && sp->nsfd[i] >= 0 && !setns(sp->nsfd[i], ns_table[i].flag);
	for (int i = 0; !r && i < NS_COUNT; i++)
		r = done[i] ? 0 : join(sp, i, &err);
	if (!r)
		r = run_clone(sp, CLONE_PARENT, &err);
	(void)hoy_write_full(out, &sp->pid, sizeof(sp->pid));
	(void)hoy_write_full(out, &err, sizeof(err));
	return r < 0;
}

static int start_via_helper(struct spawn *sp, struct hoy_err *err)
{
	struct hoy_err theirs = HOY_ERR_INIT;
	int p[2], status;
	pid_t pid, child = 0;
	ssize_t n;

	if (pipe2(p, O_CLOEXEC) < 0)
		return hoy_fail_errno(err, errno, "cannot make a pipe");
	pid = fork();
	if (!pid)
		_exit(helper(sp, p[1]));
	hoy_close(p[1]);
	n = pid < 0 ? 0 : hoy_read_full(p[0], &child, sizeof(child));
	if (n == sizeof(child))
		n = hoy_read_full(p[0], &theirs, sizeof(theirs));
	hoy_close(p[0]);
	if (pid > 0)
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	if (n == sizeof(theirs) && theirs.code) {
		*err = theirs;
		return -err->code;
	}
	if (n != sizeof(theirs) || child <= 0)
		return hoy_fail(err, ESRCH, "the helper that joins the user namespace died");
	sp->pid = child;
	sp->pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	return sp->pidfd < 0 ? hoy_fail_errno(err, errno, "cannot watch the container's process") : 0;
}

int spawn_start(struct spawn *sp, struct hoy_err *err)
{
	return sp->nsfd[NS_USER] >= 0 || sp->target >= 0 ? start_via_helper(sp, err) : start_direct(sp, err);
}

static int read_map(const struct spawn *sp, const char *member, struct hoy_idmap *ret, struct hoy_err *err)
{
	HOY_JSON_EACH(m, hoy_json_get(sp->spec->linux_, member)) {
		int64_t v[3] = { hoy_json_int(m, "containerID", 0), hoy_json_int(m, "hostID", 0), hoy_json_int(m, "size", 0) };

		for (int i = 0; i < 3; i++)
			if (v[i] < 0 || v[i] > UINT32_MAX)
				return hoy_fail(err, ERANGE, "linux.%s: there is no id %lld", member, (long long)v[i]);
		if (hoy_idmap_add(ret, (uint32_t)v[0], (uint32_t)v[1], (uint32_t)v[2]) < 0)
			return hoy_fail(err, ERANGE, "linux.%s: too many lines, or ids that do not exist", member);
	}
	return 0;
}

static int write_map(const struct spawn *sp, const char *member, const char *file, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	struct hoy_idmap map = { .n = 0 };
	char path[64], tool[16];
	int r;

	if (read_map(sp, member, &map, err) < 0)
		return -err->code;
	hoy_idmap_text(&map, &b);
	snprintf(path, sizeof(path), "/proc/%d/%s", sp->pid, file);
	r = hoy_write_small(AT_FDCWD, path, hoy_buf_str(&b));
	if (r == -EPERM && geteuid()) {
		/* More than the one id that everybody may map. */
		snprintf(tool, sizeof(tool), "new%.3smap", file);
		return hoy_idmapper_run(tool, sp->pid, &map, err);
	}
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write linux.%s to %s", member, file) : 0;
}

/* Ours in FILE (subuid(5)): under our name, which /etc/passwd knows, or our number. */
static size_t subids(const char *file, struct hoy_idrange *ret, size_t max)
{
	cleanup_file FILE *f = fopen("/etc/passwd", "re");
	struct passwd *pw = NULL;
	char number[24];
	size_t n;

	while (f && (pw = fgetpwent(f)) && pw->pw_uid != geteuid())
		;
	n = pw ? hoy_subids_of(file, pw->pw_name, ret, max) : 0;
	snprintf(number, sizeof(number), "%u", geteuid());
	return n + hoy_subids_of(file, number, ret + n, max - n);
}

static int map_own(const struct spawn *sp, struct hoy_err *err)
{
	struct hoy_idrange u[32], g[32];
	size_t nu = subids("/etc/subuid", u, ARRAY_SIZE(u)), ng = subids("/etc/subgid", g, ARRAY_SIZE(g));

	return hoy_idmapper_own(sp->pid, u, nu, g, ng, err);
}

/* Without privilege a gid map of one's own is only taken once setgroups(2) is given up. */
static bool one_gid_alone(const struct spec *s)
{
	const struct hoy_json *list = hoy_json_get(s->linux_, "gidMappings");

	return geteuid() && list && list->count == 1 && hoy_json_int(list->child, "size", 0) == 1;
}

int spawn_map_ids(const struct spawn *sp, struct hoy_err *err)
{
	char path[64];

	if (!hoy_json_get(sp->spec->linux_, "uidMappings"))
		return map_own(sp, err);
	if (one_gid_alone(sp->spec)) {
		snprintf(path, sizeof(path), "/proc/%d/setgroups", sp->pid);
		(void)hoy_write_small(AT_FDCWD, path, "deny");
	}
	if (write_map(sp, "uidMappings", "uid_map", err) < 0)
		return -err->code;
	return write_map(sp, "gidMappings", "gid_map", err);
}

int child_status(int wstatus)
{
	return WIFSIGNALED(wstatus) ? 128 + WTERMSIG(wstatus) : WEXITSTATUS(wstatus);
}
