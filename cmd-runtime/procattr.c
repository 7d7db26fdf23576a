/* What a process is given besides its privileges: labels, limits, scheduling, sysctls, a keyring. */
#include <errno.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "cmd-runtime/runtime.h"
#include "common/base/beneath.h"

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

int procattr_oom(pid_t pid, int adj, bool asked, struct hoy_err *err)
{
	char path[64], text[16];
	int r;

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

struct sched_attr_v0 {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static int lookup(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; name && i < n; i++)
		if (names[i] && !strcmp(names[i], name))
			return (int)i;
	return -1;
}

static int set_scheduler(const struct hoy_json *s, struct hoy_err *err)
{
	static const char *const policies[] = { "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO",
						"SCHED_IDLE", "SCHED_DEADLINE" };
	static const struct { const char *name; uint64_t flag; } flags[] = {
		{ "SCHED_FLAG_RESET_ON_FORK", 1 }, { "SCHED_FLAG_RECLAIM", 2 }, { "SCHED_FLAG_DL_OVERRUN", 4 },
		{ "SCHED_FLAG_KEEP_POLICY", 8 },   { "SCHED_FLAG_KEEP_PARAMS", 16 },
		{ "SCHED_FLAG_UTIL_CLAMP_MIN", 32 }, { "SCHED_FLAG_UTIL_CLAMP_MAX", 64 },
	};
	struct sched_attr_v0 a = { .size = sizeof(a) };
	int policy = lookup(hoy_json_str(s, "policy"), policies, ARRAY_SIZE(policies));

	if (policy < 0)
		return hoy_fail(err, EINVAL, "unknown process.scheduler.policy");
	a.policy = (uint32_t)policy;
	a.nice = (int32_t)hoy_json_int(s, "nice", 0);
	a.priority = (uint32_t)hoy_json_int(s, "priority", 0);
	a.runtime = (uint64_t)hoy_json_int(s, "runtime", 0);
	a.deadline = (uint64_t)hoy_json_int(s, "deadline", 0);
	a.period = (uint64_t)hoy_json_int(s, "period", 0);
	HOY_JSON_EACH(f, hoy_json_get(s, "flags")) {
		size_t i = 0;

		while (i < ARRAY_SIZE(flags) && (!hoy_json_text(f) || strcmp(hoy_json_text(f), flags[i].name)))
			i++;
		if (i == ARRAY_SIZE(flags))
			return hoy_fail(err, EINVAL, "unknown process.scheduler flag");
		a.flags |= flags[i].flag;
	}
	return syscall(SYS_sched_setattr, 0, &a, 0) < 0 ? hoy_fail_errno(err, errno, "cannot set the scheduler") : 0;
}

static int set_ioprio(const struct hoy_json *p, struct hoy_err *err)
{
	static const char *const classes[] = { NULL, "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE" };
	int class = lookup(hoy_json_str(p, "class"), classes, ARRAY_SIZE(classes));

	if (class < 0)
		return hoy_fail(err, EINVAL, "unknown process.ioPriority.class");
	return syscall(SYS_ioprio_set, 1, 0, class << 13 | (int)hoy_json_int(p, "priority", 0)) < 0
		       ? hoy_fail_errno(err, errno, "cannot set the I/O priority") : 0;
}

int procattr_sched(const struct process *p, struct hoy_err *err)
{
	if (p->scheduler && set_scheduler(p->scheduler, err) < 0)
		return -err->code;
	return p->ioprio ? set_ioprio(p->ioprio, err) : 0;
}

int procattr_sysctls(int proc, const struct spec *s, struct hoy_err *err)
{
	HOY_JSON_EACH(c, hoy_json_get(s->linux_, "sysctl")) {
		const char *value = hoy_json_text(c);
		cleanup_free char *path = hoy_asprintf("sys/%s", c->key);
		cleanup_fd int fd = -1;

		if (!path || !value)
			return hoy_fail(err, EINVAL, "linux.sysctl: '%s' has no text", c->key);
		/* "net.ipv4.ip_forward" and "net/ipv4/conf/eth0.1/x" are both usual: the first separator decides. */
		if (path[4 + strcspn(path + 4, "./")] == '.')
			for (char *p = path + 4; *p; p++)
				*p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
		fd = hoy_open_beneath(proc, path, O_WRONLY, 0, HOY_BENEATH);
		if (fd < 0)
			return hoy_fail_errno(err, -fd, "cannot open sysctl '%s'", c->key);
		if (write(fd, value, strlen(value)) < 0)
			return hoy_fail_errno(err, errno, "cannot set sysctl '%s' to '%s'", c->key, value);
	}
	return 0;
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
