#include "common/proc/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/strv.h"
#include "common/conf/dirs.h"
#include "common/conf/subid.h"
#include "common/proc/idmapper.h"

#define MAX_RANGES 32

/* ---- the pause process ---- */

static void become_root_inside(uid_t uid, gid_t gid)
{
	char text[24];

	snprintf(text, sizeof(text), "%u", (unsigned)uid);
	setenv("_CONTAINERS_ROOTLESS_UID", text, 1);
	snprintf(text, sizeof(text), "%u", (unsigned)gid);
	setenv("_CONTAINERS_ROOTLESS_GID", text, 1);
	setenv("_CONTAINERS_USERNS_CONFIGURED", "done", 1);
}

/* Its namespaces, by the pid in the file; -ESRCH if it is gone. A stranger's namespace we could not join anyway. */
static int join(const char *pidfile, struct hoy_err *err)
{
	cleanup_fd int user = -1, mnt = -1;
	char text[32], path[64], cwd[PATH_MAX];
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int pid;

	if (hoy_read_small(AT_FDCWD, pidfile, text, sizeof(text)) <= 0 || (pid = atoi(text)) <= 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	user = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	mnt = open(path, O_RDONLY | O_CLOEXEC);
	if (user < 0 || mnt < 0)
		return -ESRCH;
	if (!getcwd(cwd, sizeof(cwd)))
		strcpy(cwd, "/");
	if (setns(user, CLONE_NEWUSER) < 0)
		return -ESRCH; /* its pid belongs to somebody else by now */
	if (setns(mnt, CLONE_NEWNS) < 0)
		return hoy_fail_errno(err, errno, "cannot join the mount namespace of process %d", pid);
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return hoy_fail_errno(err, errno, "cannot become root in the user namespace of process %d", pid);
	prctl(PR_SET_DUMPABLE, 1);
	if (chdir(cwd) < 0 && chdir("/") < 0)
		return hoy_fail_errno(err, errno, "cannot change to '%s'", cwd);
	become_root_inside(uid, gid);
	return 0;
}

static int map_ids(pid_t pid, struct hoy_err *err)
{
	struct hoy_idrange u[MAX_RANGES], g[MAX_RANGES];
	size_t nu = hoy_subids("/etc/subuid", geteuid(), u, MAX_RANGES), ng = hoy_subids("/etc/subgid", geteuid(), g, MAX_RANGES);

	return hoy_idmapper_own(pid, u, nu, g, ng, err);
}

/* The child that stays: it holds nothing but its namespaces. */
static void pause_process(int ready, int go)
{
	char c;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) {
		c = (char)errno;
		(void)!write(ready, &c, 1);
		_exit(1);
	}
	c = 0;
	(void)!write(ready, &c, 1);
	/* The parent writes our maps; it dies or says go. */
	if (read(go, &c, 1) != 1)
		_exit(1);
	setsid();
	prctl(PR_SET_NAME, "hoy pause");
	prctl(PR_SET_PDEATHSIG, 0);
	syscall(SYS_close_range, 0U, ~0U, 0);
	(void)!chdir("/");
	for (int s = 1; s < 32; s++)
		if (s != SIGKILL && s != SIGSTOP && s != SIGTERM)
			signal(s, SIG_IGN);
	for (;;)
		pause();
}

static int start_pause(const char *dir, const char *pidfile, struct hoy_err *err)
{
	int ready[2], go[2], r;
	char c = 0, text[24];
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0)
		return hoy_fail_errno(err, errno, "cannot make a pipe");
	pid = fork();
	if (pid < 0)
		return hoy_fail_errno(err, errno, "cannot fork");
	if (!pid) {
		hoy_close(ready[0]);
		hoy_close(go[1]);
		pause_process(ready[1], go[0]);
	}
	hoy_close(ready[1]);
	hoy_close(go[0]);
	r = read(ready[0], &c, 1) == 1 ? c : EIO;
	if (r)
		r = hoy_fail_errno(err, r, "cannot make a user namespace");
	if (!r)
		r = map_ids(pid, err);
	snprintf(text, sizeof(text), "%d", (int)pid);
	if (!r && (r = hoy_replace_file(AT_FDCWD, pidfile, text, strlen(text), 0600, false)) < 0)
		hoy_fail_errno(err, -r, "cannot write '%s' in '%s'", pidfile, dir);
	if (!r && write(go[1], "g", 1) != 1)
		r = hoy_fail_errno(err, errno, "cannot tell the pause process to go on");
	hoy_close(ready[0]);
	hoy_close(go[1]);
	if (r < 0) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	return r;
}

int hoy_userns_enter(struct hoy_err *err)
{
	cleanup_free char *run = NULL, *dir = NULL, *pidfile = NULL, *lockfile = NULL;
	cleanup_fd int lock = -1;
	int r;

	if (!geteuid())
		return 0;
	run = hoy_runtime_dir();
	dir = run ? hoy_path_join(run, "libpod/tmp") : NULL;
	pidfile = dir ? hoy_path_join(dir, "pause.pid") : NULL;
	lockfile = dir ? hoy_path_join(dir, "hoy-pause.lock") : NULL;
	if (!lockfile)
		return hoy_fail_oom(err);
	r = join(pidfile, err);
	if (r != -ESRCH)
		return r;
	r = hoy_mkdir_p(dir, 0700);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot make '%s'", dir);
	lock = open(lockfile, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return hoy_fail_errno(err, errno, "cannot lock '%s'", lockfile);
	r = join(pidfile, err); /* somebody was faster */
	if (r != -ESRCH)
		return r;
	r = start_pause(dir, pidfile, err);
	if (!r)
		r = join(pidfile, err);
	return r == -ESRCH ? hoy_fail(err, ESRCH, "the pause process ended at once") : r;
}
