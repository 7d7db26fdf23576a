/* What a process is given besides its privileges: labels, limits, a keyring. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "cmd-runtime/runtime.h"

bool selinux_enabled(void)
{
	struct statfs fs;

	return !statfs("/sys/fs/selinux", &fs) && fs.f_type == SELINUX_MAGIC;
}

static bool apparmor_enabled(void)
{
	char y[8];

	return hoy_read_small(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", y, sizeof(y)) > 0 && y[0] == 'Y';
}

/* PROC is a procfs opened before the container's root became ours: no image can put another file there. */
static int write_label(int proc, const char *file, const char *text, struct hoy_err *err)
{
	int r = hoy_write_small(proc, file, text);

	return r < 0 ? hoy_fail_errno(err, -r, "write '%s' to `/proc/%s`", text, file) : 0;
}

int procattr_labels(int proc, const struct process *p, struct hoy_err *err)
{
	char text[600];

	if (p->selinux && *p->selinux) {
		if (!selinux_enabled())
			return hoy_fail(err, HOY_EUNSUPPORTED, "process.selinuxLabel is set, but the kernel has no SELinux");
		if (write_label(proc, "thread-self/attr/exec", p->selinux, err) < 0)
			return -err->code;
	}
	if (!p->apparmor || !*p->apparmor)
		return 0;
	if (!apparmor_enabled())
		return hoy_fail(err, HOY_EUNSUPPORTED, "process.apparmorProfile is set, but the kernel has no AppArmor");
	if (snprintf(text, sizeof(text), "exec %s", p->apparmor) >= (int)sizeof(text))
		return hoy_fail(err, EINVAL, "process.apparmorProfile is too long");
	if (hoy_exists(proc, "thread-self/attr/apparmor/exec"))
		return write_label(proc, "thread-self/attr/apparmor/exec", text, err);
	return write_label(proc, "thread-self/attr/exec", text, err);
}

int procattr_limits(const struct process *p, struct hoy_err *err)
{
	for (size_t i = 0; i < p->nlimits; i++) {
		const struct limit *l = &p->limits[i];
		struct rlimit now, clamped = l->value;

		if (!setrlimit(l->resource, &l->value))
			continue;
		if (errno != EPERM || getrlimit(l->resource, &now) < 0)
			return hoy_fail_errno(err, errno, "cannot set resource limit %d", l->resource);
		/* A box without CAP_SYS_RESOURCE: as much as we have ourselves. */
		if (clamped.rlim_max > now.rlim_max)
			clamped.rlim_max = now.rlim_max;
		if (clamped.rlim_cur > clamped.rlim_max)
			clamped.rlim_cur = clamped.rlim_max;
		if (setrlimit(l->resource, &clamped) < 0)
			return hoy_fail_errno(err, errno, "cannot set resource limit %d", l->resource);
	}
	return 0;
}

int procattr_oom(pid_t pid, int adj, struct hoy_err *err)
{
	char path[64] = "/proc/self/oom_score_adj", text[16];
	int r;

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	snprintf(text, sizeof(text), "%d", adj);
	r = hoy_write_small(AT_FDCWD, path, text);
	if (r == -EACCES || r == -EPERM) {
		char now[16];

		/* Only CAP_SYS_RESOURCE may lower it; what we have already is the nearest. */
		if (hoy_read_small(AT_FDCWD, path, now, sizeof(now)) > 0 && atoi(now) > adj) {
			log_debug("oom_score_adj stays at %s: %d needs CAP_SYS_RESOURCE", now, adj);
			return 0;
		}
	}
	return r < 0 ? hoy_fail_errno(err, -r, "cannot set oom_score_adj to %d", adj) : 0;
}

#define KEYCTL_JOIN_SESSION_KEYRING 1

int procattr_keyring(const struct state *st, const struct process *p, struct hoy_err *err)
{
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, st->id, 0, 0, 0) < 0 && errno != ENOSYS && errno != EPERM &&
	    errno != EDQUOT)
		return hoy_fail_errno(err, errno, "cannot make a session keyring");
	return 0;
}

int procattr_enter_cwd(const char *cwd, struct hoy_err *err)
{
	char now[4096];

	if (chdir(cwd) < 0)
		return hoy_fail_errno(err, errno, "chdir to `%s`", cwd);
	/* CVE-2024-21626: a directory that was left open on the host is no place to work in. */
	if (syscall(SYS_getcwd, now, sizeof(now)) < 0)
		return hoy_fail_errno(err, errno, "cannot tell the current directory after chdir to '%s'", cwd);
	if (now[0] != '/')
		return hoy_fail(err, EPERM, "the current directory is outside of the container");
	return 0;
}
