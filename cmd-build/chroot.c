#include "cmd-build/chroot.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "cmd-build/build.h"
#include "cmd-build/chroot_in.h"
#include "common/base/msg.h"
#include "common/proc/sys.h"

void chroot_cmd_release(struct chroot_cmd *c)
{
	struct hoy_strv *lists[] = { &c->words, &c->env, &c->volumes, &c->hosts, &c->limits, &c->groups, &c->dns, &c->dns_search, &c->dns_options,
				     &c->masks, &c->unmasks };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		hoy_strv_release(lists[i]);
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

static void add_given(const struct hoy_strv *names, struct who *w)
{
	for (size_t i = 0; i < names->n; i++) {
		errno = ENOENT;
		if (w->n == ARRAY_SIZE(w->groups) || !find_group(names->v[i], &w->groups[w->n]))
			chroot_give_up("find the group", names->v[i]);
		w->n++;
	}
}

static void find_who(const char *spec, const struct hoy_strv *groups, struct who *w)
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
	add_given(groups, w);
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

__attribute__((noreturn)) static void inner(const struct chroot_cmd *c, int ns, int spaces)
{
	struct hoy_err err = HOY_ERR_INIT;
	struct who w = { 0 };
	sigset_t none;

	/* What is made on the way is the container's root's. */
	if (userns_as_root(c->ns, &err) < 0)
		_exit(hoy_report(&err, 125));
	chroot_enter(c, spaces & CLONE_NEWPID);
	/* A seccomp profile around us may forbid it: then the name is the one that is there. */
	if (c->hostname && spaces & CLONE_NEWUTS && sethostname(c->hostname, strlen(c->hostname)) < 0 && errno != EPERM)
		chroot_give_up("set the host name", c->hostname);
	find_who(c->user, &c->groups, &w);
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

/* A network of its own, in which there is nothing but itself. */
static void leave_network(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	cleanup_fd int fd = -1;

	if (unshare(CLONE_NEWNET) < 0)
		chroot_give_up("make", "a network namespace");
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
		chroot_give_up("bring up", "lo");
}

/* The first process: it makes the namespaces, starts who is process 1 in them, and passes on how that ended. */
__attribute__((noreturn)) static void outer(const struct chroot_cmd *c, unsigned flags, int ns, pid_t parent)
{
	int want = (c->host_pid ? 0 : CLONE_NEWPID) | (c->host_uts ? 0 : CLONE_NEWUTS) | (c->host_ipc ? 0 : CLONE_NEWIPC);
	int got = unshare(CLONE_NEWNS | want) < 0 ? 0 : want, status;
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(125);
	if (got != want && unshare(CLONE_NEWNS) < 0)
		chroot_give_up("make", "a mount namespace");
	if (c->no_network)
		leave_network();
	take_streams(flags);
	pid = fork();
	if (pid < 0)
		chroot_give_up("start", "a process");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		inner(c, ns, got);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int chroot_run(struct build *b, const struct chroot_cmd *c, unsigned flags)
{
	cleanup_fd int ns = -1;
	pid_t pid, self = getpid();

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
