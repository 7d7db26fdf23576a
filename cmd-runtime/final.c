/* The last steps before execve, the same for a container's first process and for those of exec. */
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cmd-runtime/runtime.h"
#include "common/proc/sys.h"

static int check_executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EISDIR;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

static int search_path(const char *name, const char *dirs, char *ret, size_t size)
{
	int found = -ENOENT;

	while (*dirs) {
		size_t len = strcspn(dirs, ":");
		int r;

		if (snprintf(ret, size, "%.*s/%s", len ? (int)len : 1, len ? dirs : ".", name) < (int)size) {
			r = check_executable(ret);
			if (!r)
				return 0;
			if (r == -EACCES)
				found = r;
		}
		dirs += len + (dirs[len] == ':');
	}
	return found;
}

/* podman tells 127 from 126 by the words of these messages, which are crun's. */
static int not_executable(int r, const char *name, struct hoy_err *err)
{
	if (r == -ENOENT || r == -ENOTDIR)
		return hoy_fail_errno(err, ENOENT, "executable file `%s` not found%s", name,
				      strchr(name, '/') ? "" : " in $PATH");
	if (r == -EISDIR)
		return hoy_fail_errno(err, EPERM, "the path `%s` is not a regular file", name);
	if (r == -EACCES)
		return hoy_fail_errno(err, EPERM, "the path `%s` exists but it is not executable", name);
	return hoy_fail_errno(err, -r, "open executable `%s`", name);
}

int find_executable(const struct process *p, char *ret, size_t size, struct hoy_err *err)
{
	const char *name = p->args.n ? p->args.v[0] : NULL, *path = hoy_env_get(&p->env, "PATH");
	int r = -ENOENT;

	if (!name)
		return hoy_fail(err, EINVAL, "process.args is empty");
	if (strchr(name, '/'))
		r = snprintf(ret, size, "%s", name) < (int)size ? check_executable(name) : -ENAMETOOLONG;
	else if (*name && path)
		r = search_path(name, path, ret, size);
	return r < 0 ? not_executable(r, name, err) : 0;
}

/* HOME is expected to be there; the image's passwd knows it. */
static void set_home(struct process *p)
{
	cleanup_file FILE *f = NULL;
	char line[1024], *field[7], *save;

	if (hoy_env_get(&p->env, "HOME"))
		return;
	f = fopen("/etc/passwd", "re");
	while (f && fgets(line, sizeof(line), f)) {
		int n = 0;

		save = line;
		while (n < 7 && (field[n] = strsep(&save, ":\n")))
			n++;
		if (n < 6 || !*field[2] || strtoul(field[2], NULL, 10) != p->uid)
			continue;
		hoy_env_set(&p->env, "HOME", field[5]);
		return;
	}
	hoy_env_set(&p->env, "HOME", "/");
}

/* The host's /dev/null as stdio becomes the container's: nothing of the host's mounts stays open, and CRIU can dump it. */
static void own_null(void)
{
	cleanup_fd int null = -1;
	struct stat st;

	for (int fd = 0; fd < 3; fd++) {
		if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
			continue;
		if (null < 0)
			null = open("/dev/null", O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (null < 0 || fstat(null, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
			return;
		/* Only until it was known what it is. */
		fcntl(null, F_SETFL, 0);
		dup2(null, fd);
	}
}

/* Pipes and terminals of ours become those of the user, who may open them again by /dev/stdout. */
static void give_stdio(const struct process *p)
{
	struct stat st;

	for (int fd = 0; fd < 3 && p->uid; fd++)
		if (!fstat(fd, &st) && st.st_uid != p->uid && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || isatty(fd)))
			(void)!fchown(fd, p->uid, (gid_t)-1);
}

static int set_groups(const struct final *f, struct hoy_err *err)
{
	const struct process *p = f->process;
	char deny[8];

	if (f->keep_groups || syscall(SYS_setgroups, p->ngids, p->gids) == 0)
		return 0;
	/* A user namespace made without privilege has given up setgroups(2). */
	if (errno == EPERM && !p->ngids && hoy_read_small(f->proc, "self/setgroups", deny, sizeof(deny)) > 0 &&
	    !strcmp(deny, "deny"))
		return 0;
	return hoy_fail_errno(err, errno, "cannot set additional groups");
}

static void set_listen_fds(struct process *p)
{
	const char *n = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");

	if (!n)
		return;
	hoy_env_set(&p->env, "LISTEN_FDS", n);
	if (!hoy_env_get(&p->env, "LISTEN_PID"))
		hoy_env_set(&p->env, "LISTEN_PID", "1");
	if (names && !hoy_env_get(&p->env, "LISTEN_FDNAMES"))
		hoy_env_set(&p->env, "LISTEN_FDNAMES", names);
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/*
 * CVE-2024-21626: from here on paths of the image's are resolved, and "/proc/self/fd/7/.." would lead by any directory of
 * the host that we have open to all of it. So nothing of ours stays but what is no directory.
 */
static int close_ours(struct final *f, struct hoy_err *err)
{
	unsigned from = 3 + f->preserve;

	qsort(f->keep, ARRAY_SIZE(f->keep), sizeof(*f->keep), by_number);
	for (size_t i = 0; i <= ARRAY_SIZE(f->keep); i++) {
		unsigned to = i < ARRAY_SIZE(f->keep) ? (unsigned)f->keep[i] : ~0U;

		if (i < ARRAY_SIZE(f->keep) && f->keep[i] < (int)from)
			continue;
		if (to > from && sys_close_range(from, to - (to != ~0U), 0) < 0)
			return hoy_fail_errno(err, errno, "cannot close our file descriptors");
		from = to + 1;
	}
	f->proc = -1;
	return 0;
}

int final_prepare(struct final *f, struct hoy_err *err)
{
	struct process *p = (struct process *)(uintptr_t)f->process;
	bool cwd;

	if (procattr_limits(p, err) < 0 || sched_apply(p, err) < 0 || procattr_labels(f->proc, p, err) < 0)
		return -err->code;
	if (f->spec->personality != ~0UL && personality(f->spec->personality) < 0)
		return hoy_fail_errno(err, errno, "cannot set the personality");
	set_home(p);
	set_listen_fds(p);
	own_null();
	give_stdio(p);
	if (set_groups(f, err) < 0 || close_ours(f, err) < 0)
		return -err->code;
	/* As root it may be reachable where the user's own rights do not suffice, or only the other way round. */
	cwd = procattr_enter_cwd(p->cwd, err) == 0;
	umask(p->umask >= 0 ? (mode_t)p->umask : 022);
	/* Without no_new_privs only a privileged process may load a filter. */
	if (!p->no_new_privs && seccomp_install(f, err) < 0)
		return -err->code;
	if (caps_apply(p, err) < 0)
		return -err->code;
	if (!cwd && procattr_enter_cwd(p->cwd, err) < 0)
		return -err->code;
	if (p->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return hoy_fail_errno(err, errno, "cannot set no_new_privs");
	if (find_executable(p, f->exe, sizeof(f->exe), err) < 0)
		return -err->code;
	if (sys_close_range(3 + f->preserve, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return hoy_fail_errno(err, errno, "cannot close our file descriptors");
	return p->env.error ? hoy_fail_oom(err) : 0;
}

int final_exec(struct final *f, struct hoy_err *err)
{
	const struct process *p = f->process;
	char *none[] = { NULL };

	if (p->no_new_privs && seccomp_install(f, err) < 0)
		return -err->code;
	execve(f->exe, p->args.v, p->env.v ? p->env.v : none);
	return hoy_fail_errno(err, errno, "exec container process `%s`", f->exe);
}
