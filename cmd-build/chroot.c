#include "cmd-build/chroot.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cmd-build/build.h"
#include "cmd-build/chroot_in.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/proc/sys.h"

void chroot_cmd_release(struct chroot_cmd *c)
{
	hoy_strv_release(&c->words);
	hoy_strv_release(&c->env);
	hoy_strv_release(&c->volumes);
	hoy_strv_release(&c->hosts);
	hoy_strv_release(&c->limits);
}

/* ---- who it is ---- */

struct who {
	uid_t uid;
	gid_t gid;
	char home[4096];
	gid_t groups[64];
	size_t n;
};

static bool number(const char *text, unsigned long *ret)
{
	char *end;

	*ret = strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && *ret < UINT32_MAX;
}

/* The user NAME (or id) of the container's /etc/passwd; its name for /etc/group into LOGIN. */
static bool find_user(const char *name, struct who *w, char *login, size_t size)
{
	cleanup_file FILE *f = fopen("/etc/passwd", "re");
	struct passwd *p;
	unsigned long id;
	bool digits = number(name, &id);

	while (f && (p = fgetpwent(f))) {
		if (strcmp(p->pw_name, name) && !(digits && p->pw_uid == id))
			continue;
		w->uid = p->pw_uid;
		w->gid = p->pw_gid;
		snprintf(w->home, sizeof(w->home), "%s", p->pw_dir);
		snprintf(login, size, "%s", p->pw_name);
		return true;
	}
	w->uid = (uid_t)id;
	return digits;
}

static bool find_group(const char *name, gid_t *ret)
{
	cleanup_file FILE *f = fopen("/etc/group", "re");
	struct group *g;
	unsigned long id;

	if (number(name, &id)) {
		*ret = (gid_t)id;
		return true;
	}
	while (f && (g = fgetgrent(f)))
		if (!strcmp(g->gr_name, name)) {
			*ret = g->gr_gid;
			return true;
		}
	return false;
}

static void add_groups(const char *login, struct who *w)
{
	cleanup_file FILE *f = fopen("/etc/group", "re");
	struct group *g;

	while (f && *login && (g = fgetgrent(f)))
		for (char **m = g->gr_mem; *m; m++)
			if (!strcmp(*m, login) && w->n < ARRAY_SIZE(w->groups))
				w->groups[w->n++] = g->gr_gid;
}

static void find_who(const char *spec, struct who *w)
{
	const char *colon = strchr(spec, ':');
	cleanup_free char *user = strndup(spec, colon ? (size_t)(colon - spec) : strlen(spec));
	char login[256] = "";

	snprintf(w->home, sizeof(w->home), "/");
	errno = ENOENT;
	if (!user || !find_user(*user ? user : "0", w, login, sizeof(login)))
		chroot_give_up("find the user", spec);
	if (colon && !find_group(colon + 1, &w->gid))
		chroot_give_up("find the group", spec);
	if (!colon)
		add_groups(login, w);
	w->groups[w->n < ARRAY_SIZE(w->groups) ? w->n++ : w->n - 1] = w->gid;
}

/* ---- what it may ---- */

static const struct {
	const char *name;
	int resource;
} limits[] = { { "core", RLIMIT_CORE },	    { "cpu", RLIMIT_CPU },	   { "data", RLIMIT_DATA },	{ "fsize", RLIMIT_FSIZE },
	       { "locks", RLIMIT_LOCKS },   { "memlock", RLIMIT_MEMLOCK }, { "msgqueue", RLIMIT_MSGQUEUE }, { "nice", RLIMIT_NICE },
	       { "nofile", RLIMIT_NOFILE }, { "nproc", RLIMIT_NPROC },	   { "rss", RLIMIT_RSS },	{ "rtprio", RLIMIT_RTPRIO },
	       { "rttime", RLIMIT_RTTIME }, { "sigpending", RLIMIT_SIGPENDING }, { "stack", RLIMIT_STACK } };

static void set_limit(const char *spec)
{
	const char *eq = strchr(spec, '=');
	char *end;

	for (size_t i = 0; eq && i < ARRAY_SIZE(limits); i++) {
		struct rlimit l;

		if (strlen(limits[i].name) != (size_t)(eq - spec) || strncmp(limits[i].name, spec, eq - spec))
			continue;
		l.rlim_cur = strtoll(eq + 1, &end, 10);
		l.rlim_max = *end == ':' ? (rlim_t)strtoll(end + 1, &end, 10) : l.rlim_cur;
		if (*end || setrlimit(limits[i].resource, &l) < 0)
			chroot_give_up("set the limit", spec);
		return;
	}
	errno = EINVAL;
	chroot_give_up("set the limit", spec);
}

static void drop_bounding(uint64_t caps)
{
	for (int i = 0; i < 64; i++)
		if (!(caps & UINT64_C(1) << i) && prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1 && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			chroot_give_up("drop", "a capability");
}

/* What is left after the user is another one: for root, the set; for others nothing. */
static void set_caps(uint64_t caps)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct own[2], d[2] = { 0 };

	if (syscall(SYS_capget, &h, own) < 0)
		chroot_give_up("read", "capabilities");
	for (int i = 0; i < 2; i++)
		d[i].effective = d[i].permitted = own[i].permitted & (uint32_t)(caps >> 32 * i);
	if (syscall(SYS_capset, &h, d) < 0)
		chroot_give_up("set", "capabilities");
}

static void become(const struct chroot_cmd *c, const struct who *w)
{
	for (size_t i = 0; i < c->limits.n; i++)
		set_limit(c->limits.v[i]);
	drop_bounding(c->caps);
	/* With one id mapped there are no groups to set. */
	if (setgroups(w->n, w->groups) < 0 && errno != EPERM)
		chroot_give_up("set", "groups");
	if (setresgid(w->gid, w->gid, w->gid) < 0 || setresuid(w->uid, w->uid, w->uid) < 0)
		chroot_give_up("become", *c->user ? c->user : "root");
	set_caps(c->caps);
	if (c->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		chroot_give_up("set", "no_new_privs");
}

/* ---- the command ---- */

/* In the container's PATH, not in ours. */
__attribute__((noreturn)) static void run_words(const struct chroot_cmd *c, const struct who *w)
{
	cleanup_strv struct hoy_strv env = HOY_STRV_INIT;
	const char *path;

	for (size_t i = 0; i < c->env.n; i++)
		hoy_strv_push(&env, c->env.v[i]);
	if (!hoy_env_get(&env, "HOME"))
		hoy_env_set(&env, "HOME", w->home);
	if (!hoy_env_get(&env, "HOSTNAME") && c->hostname)
		hoy_env_set(&env, "HOSTNAME", c->hostname);
	path = hoy_env_get(&env, "PATH");
	if (path)
		setenv("PATH", path, 1);
	execvpe(c->words.v[0], c->words.v, env.v);
	hoy_error("cannot run '%s': %s", c->words.v[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* The user namespace: from now on ids are those that are inside. */
static void enter_userns(int ns)
{
	if (setns(ns, CLONE_NEWUSER) < 0)
		chroot_give_up("join", "the user namespace");
	if (setgroups(0, NULL) < 0 && errno != EPERM)
		chroot_give_up("set", "groups");
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		chroot_give_up("become root of", "the user namespace");
}

__attribute__((noreturn)) static void inner(const struct chroot_cmd *c, int ns, bool own_pids)
{
	struct hoy_err err = HOY_ERR_INIT;
	struct who w = { 0 };
	sigset_t none;

	/* What is made on the way is the container's root's. */
	if (userns_as_root(c->ns, &err) < 0)
		_exit(hoy_report(&err, 125));
	chroot_enter(c, own_pids);
	/* A seccomp profile around us may forbid it: then the name is the one that is there. */
	if (c->hostname && own_pids && sethostname(c->hostname, strlen(c->hostname)) < 0 && errno != EPERM)
		chroot_give_up("set the host name", c->hostname);
	find_who(c->user, &w);
	if (ns >= 0)
		enter_userns(ns);
	if (chdir(c->dir) < 0)
		chroot_give_up("go to", c->dir);
	become(c, &w);
	/* Changing ids has forgotten it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	(void)sys_close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	run_words(c, &w);
}

static void take_streams(unsigned flags)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0 && !(flags & RUN_STDIN))
		dup2(null, 0);
	if (null >= 0 && flags & RUN_QUIET)
		dup2(null, 1);
}

/* The first process: it makes the namespaces, starts who is process 1 in them, and passes on how that ended. */
__attribute__((noreturn)) static void outer(const struct chroot_cmd *c, unsigned flags, int ns, pid_t parent)
{
	bool own_pids = !unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC);
	pid_t pid;
	int status;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(125);
	if (!own_pids && unshare(CLONE_NEWNS) < 0)
		chroot_give_up("make", "a mount namespace");
	take_streams(flags);
	pid = fork();
	if (pid < 0)
		chroot_give_up("start", "a process");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		inner(c, ns, own_pids);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static int check_volumes(struct build *b, const struct chroot_cmd *c)
{
	for (size_t i = 0; i < c->volumes.n; i++) {
		cleanup_strv struct hoy_strv parts = HOY_STRV_INIT;

		hoy_strv_split(&parts, c->volumes.v[i], ':');
		if (parts.n < 2 || parts.n > 3 || *parts.v[1] != '/' || *parts.v[0] != '/' ||
		    (parts.n == 3 && strcmp(parts.v[2], "ro") && strcmp(parts.v[2], "rw")))
			return hoy_fail(&b->err, HOY_EUNSUPPORTED, "'%s': with the isolation chroot, a volume is /SOURCE:/TARGET[:ro]", c->volumes.v[i]);
	}
	return 0;
}

int chroot_run(struct build *b, const struct chroot_cmd *c, unsigned flags)
{
	cleanup_fd int ns = -1;
	pid_t pid, self = getpid();
	int r = check_volumes(b, c);

	if (r < 0)
		return r;
	if (c->words.error || c->env.error || !c->words.n)
		return hoy_fail_oom(&b->err);
	if (c->ns->own && (ns = userns_open(c->ns, &b->err)) < 0)
		return ns;
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return hoy_fail_errno(&b->err, errno, "cannot start a process");
	if (!pid)
		outer(c, flags, ns, self);
	return wait_child(pid);
}
