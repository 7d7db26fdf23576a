/* cmd-build/unshare.c: `unshare`: a command in the namespaces that an ordinary user's builds live in, working containers mounted for it. */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "cmd-build/ctr.h"
#include "cmd-build/verbs.h"
#include "common/base/msg.h"

struct unshare_opts {
	struct hoy_strv mount;
};
static const struct hoy_opt unshare_opts[] = {
	{ 'm', "mount", HOY_OPT_COMMAS, offsetof(struct unshare_opts, mount), "[VARIABLE=]CONTAINER", "mount it, and say where in that variable" },
	HOY_OPTS_END,
};

static int mount_one(const char *spec, struct hoy_strv *names)
{
	const char *eq = strchr(spec, '='), *name = eq ? eq + 1 : spec;
	cleanup_free char *var = strndup(spec, eq ? (size_t)(eq - spec) : strlen(spec));
	struct ctr c;
	int r;

	ctr_init(&c);
	r = var ? ctr_open(&c, name) : hoy_fail_oom(&c.b.err);
	if (!r)
		r = work_mount(&c.w);
	if (!r) {
		hoy_strv_push(names, name);
		if (*var)
			setenv(var, c.w.root, 1);
	}
	return ctr_finish(&c, r) ? -EIO : 0;
}

static int unmount_one(const char *name)
{
	struct ctr c;
	int r;

	ctr_init(&c);
	r = ctr_open(&c, name);
	if (!r)
		r = unmount_layer(&c.b, c.w.layer, &c.b.err);
	return ctr_finish(&c, r);
}

/* Its exit status; signals of the terminal are its own affair. */
static int run_command(char **argv)
{
	posix_spawnattr_t at;
	sigset_t ints;
	pid_t pid;
	int status, r;

	sigemptyset(&ints);
	sigaddset(&ints, SIGINT);
	sigaddset(&ints, SIGQUIT);
	posix_spawnattr_init(&at);
	posix_spawnattr_setsigdefault(&at, &ints);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGDEF);
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	r = posix_spawnp(&pid, argv[0], NULL, &at, argv, environ);
	posix_spawnattr_destroy(&at);
	if (r) {
		hoy_error("cannot run '%s': %s", argv[0], hoy_strerror(r));
		return r == ENOENT ? 127 : 126;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run_unshare(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	struct unshare_opts o = { HOY_STRV_INIT };
	char *shell[] = { getenv("SHELL"), NULL };
	int status, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status), r = 0;

	if (n < 0)
		return status;
	if (!n && !shell[0]) {
		hoy_error("no command specified");
		return 1;
	}
	setenv("BUILDAH_ISOLATION", "rootless", 0);
	for (size_t i = 0; i < o.mount.n && !r; i++)
		r = mount_one(o.mount.v[i], &names);
	status = r ? 125 : run_command(n ? argv + 1 : shell);
	for (size_t i = 0; i < names.n; i++)
		if (unmount_one(names.v[i]) && !status)
			status = 125;
	hoy_strv_release(&o.mount);
	return status;
}
const struct hoy_verb verb_unshare = { "unshare", "[options] [COMMAND [ARG...]]", "Run a command in the namespaces of an ordinary user's builds", unshare_opts,
				       run_unshare, HOY_VERB_COMMAND };
