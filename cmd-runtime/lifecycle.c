/* start, kill, delete, pause, resume, state: commands on a container that exists. */
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmd-runtime/runtime.h"
#include "common/proc/pidfd.h"
#include "common/proc/signal.h"

static int start(struct state *st, struct spec *s, struct hoy_err *err)
{
	cleanup_fd int fifo = -1;

	if (strcmp(st->status, "created"))
		return hoy_fail(err, EINVAL, "container '%s' is %s, not created", st->id, st->status);
	if (spec_load_own(s, st, err) < 0)
		return -err->code;
	fifo = openat(st->dirfd, "exec.fifo", O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (fifo < 0)
		return hoy_fail_errno(err, errno, "container '%s' does not wait to be started", st->id);
	/* Gone first: from now on the container counts as started. */
	if (unlinkat(st->dirfd, "exec.fifo", 0) < 0 || write(fifo, "0", 1) != 1)
		return hoy_fail_errno(err, errno, "cannot start container '%s'", st->id);
	if (hooks_run(s, st, "poststart", "running", err) < 0)
		log_warning("%s", err->msg);
	return 0;
}

int cmd_start(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	const struct cli cli = { "start ID", NULL, 0, 1, 1, false };
	struct state st = STATE_INIT;
	struct spec s = SPEC_INIT;
	int r = cli_parse(&cli, argc, argv, err);

	if (r >= 0)
		r = state_open(&st, rt, argv[0], true, err);
	if (r >= 0)
		r = start(&st, &s, err);
	spec_release(&s);
	state_release(&st);
	return r;
}

int cmd_state(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	const struct cli cli = { "state ID", NULL, 0, 1, 1, false };
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "  ");
	struct hoy_err ignored = HOY_ERR_INIT;
	struct state st = STATE_INIT;
	struct spec s = SPEC_INIT;
	int r = cli_parse(&cli, argc, argv, err);

	if (r >= 0)
		r = state_open(&st, rt, argv[0], false, err);
	if (r >= 0) {
		if (spec_load_own(&s, &st, &ignored) < 0)
			log_debug("%s", ignored.msg);
		state_write_oci(&w, NULL, &st, &s, st.status);
		fwrite(hoy_buf_str(&b), 1, b.len, stdout);
		putchar('\n');
		r = hoy_finish_stdout(0);
	}
	spec_release(&s);
	state_release(&st);
	return r;
}

static bool has_cgroup(const struct state *st)
{
	return !st->no_cgroup && *st->cgroup;
}

static int kill_all(const struct state *st, int sig, struct hoy_err *err)
{
	cleanup_cgroups struct hoy_cgroups cg = HOY_CGROUPS_INIT;
	int r;

	if (!has_cgroup(st))
		return hoy_fail(err, ENOENT, "container '%s' has no cgroup to find its processes by", st->id);
	if (hoy_cgroups_find(&cg, err) < 0)
		return -err->code;
	r = hoy_cgroup_kill(&cg, st->cgroup, sig);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot kill all processes of container '%s'", st->id) : 0;
}

static int kill_init(const struct state *st, int sig, struct hoy_err *err)
{
	cleanup_fd int pidfd = st->pid > 0 ? hoy_pidfd_open(st->pid, st->ticks) : -ESRCH;
	int r = pidfd < 0 ? pidfd : hoy_pidfd_kill(pidfd, sig);

	if (r == -ESRCH || !strcmp(st->status, "stopped"))
		return hoy_fail(err, ESRCH, "container '%s' is not running", st->id);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot kill container '%s'", st->id) : 0;
}

struct each {
	struct rt *rt;
	const char *id; /* or a regular expression */
	int (*one)(const struct each *e, const char *id, struct hoy_err *err);
	int sig;
	bool all, force;
};

/* To every container whose id matches; goes on after a failure, the first of which is returned. */
static int matching(const struct each *e, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	regex_t re;
	int first = 0;

	if (regcomp(&re, e->id, REG_EXTENDED | REG_NOSUB))
		return hoy_fail(err, EINVAL, "invalid regular expression '%s'", e->id);
	if (state_ids(e->rt, &ids, err) < 0)
		first = -err->code;
	for (size_t i = 0; i < ids.n; i++) {
		struct hoy_err theirs = HOY_ERR_INIT;

		if (regexec(&re, ids.v[i], 0, NULL, 0) || e->one(e, ids.v[i], &theirs) >= 0)
			continue;
		if (!first)
			*err = theirs;
		first = first ? first : -theirs.code;
	}
	regfree(&re);
	return first;
}

static int kill_one(const struct each *e, const char *id, struct hoy_err *err)
{
	struct state st = STATE_INIT;
	int r = state_open(&st, e->rt, id, false, err);

	if (r >= 0)
		r = e->all ? kill_all(&st, e->sig, err) : kill_init(&st, e->sig, err);
	state_release(&st);
	return r;
}

int cmd_kill(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	struct each e = { .rt = rt, .one = kill_one };
	bool regex = false;
	const struct cli_opt opts[] = {
		{ "all", 'a', CLI_FLAG, &e.all, NULL, "send the signal to all processes of the container" },
		{ "regex", 'r', CLI_FLAG, &regex, NULL, "ID is a regular expression" },
	};
	const struct cli cli = { "kill [OPTION]... ID [SIGNAL]", opts, ARRAY_SIZE(opts), 1, 2, false };
	int r = cli_parse(&cli, argc, argv, err);

	if (r < 0)
		return r;
	e.sig = r > 1 ? hoy_signal_parse(argv[1]) : SIGTERM;
	if (e.sig < 0)
		return hoy_fail(err, EINVAL, "unknown signal '%s'", argv[1]);
	e.id = argv[0];
	return regex ? matching(&e, err) : kill_one(&e, e.id, err);
}

static int end_processes(struct state *st, struct hoy_err *err)
{
	cleanup_fd int pidfd = st->pid > 0 ? hoy_pidfd_open(st->pid, st->ticks) : -1;
	cleanup_cgroups struct hoy_cgroups cg = HOY_CGROUPS_INIT;

	if (pidfd >= 0)
		hoy_pidfd_kill(pidfd, SIGKILL);
	if (has_cgroup(st) && !hoy_cgroups_find(&cg, NULL)) {
		/* A frozen process dies only when it is let go. */
		if (!strcmp(st->status, "paused"))
			(void)hoy_cgroup_freeze(&cg, st->cgroup, false);
		(void)hoy_cgroup_kill(&cg, st->cgroup, SIGKILL);
	}
	if (pidfd >= 0 && hoy_pidfd_wait(pidfd, 10000) == -ETIMEDOUT)
		return hoy_fail(err, ETIMEDOUT, "the process of container '%s' does not end", st->id);
	return 0;
}

int container_destroy(struct state *st, const struct rt *rt, const struct spec *spec, struct hoy_err *err)
{
	cleanup_cgroups struct hoy_cgroups cg = HOY_CGROUPS_INIT;
	int r = 0;

	if (has_cgroup(st)) {
		if (hoy_cgroups_find(&cg, err) < 0)
			return -err->code;
		r = hoy_cgroup_remove(&cg, st->cgroup);
		if (r == -EBUSY) {
			/* Without a pid namespace some may have outlived the first process. */
			(void)hoy_cgroup_kill(&cg, st->cgroup, SIGKILL);
			r = hoy_cgroup_remove(&cg, st->cgroup);
		}
		if (r < 0)
			return hoy_fail_errno(err, -r, "cannot remove cgroup '%s'", st->cgroup);
	}
	rdt_remove(st);
	if (*st->scope && scope_stop(st->scope, err) < 0)
		log_warning("%s", err->msg);
	r = state_remove(st, rt, err);
	if (!r && hooks_run(spec, st, "poststop", "stopped", err) < 0)
		log_warning("%s", err->msg);
	return r;
}

static int delete_one(const struct each *e, const char *id, struct hoy_err *err)
{
	struct state st = STATE_INIT;
	struct spec s = SPEC_INIT;
	struct hoy_err ignored = HOY_ERR_INIT;
	int r = state_open(&st, e->rt, id, true, err);

	if (r == -ENOENT && e->force)
		r = 0;
	else if (r >= 0) {
		(void)spec_load_own(&s, &st, &ignored);
		/* crun too: what was created but never started may go without force. */
		if (!e->force && strcmp(st.status, "stopped") && strcmp(st.status, "created"))
			r = hoy_fail(err, EBUSY, "cannot delete container '%s' that is not stopped", id);
		else if (strcmp(st.status, "stopped") || (!s.ns_new[NS_PID] && e->force))
			r = end_processes(&st, err);
		if (!r)
			r = container_destroy(&st, e->rt, &s, err);
	}
	spec_release(&s);
	state_release(&st);
	return r;
}

int cmd_delete(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	struct each e = { .rt = rt, .one = delete_one };
	bool regex = false;
	const struct cli_opt opts[] = {
		{ "force", 'f', CLI_FLAG, &e.force, NULL, "kill the container if it runs" },
		{ "regex", 'r', CLI_FLAG, &regex, NULL, "ID is a regular expression" },
	};
	const struct cli cli = { "delete [OPTION]... ID", opts, ARRAY_SIZE(opts), 1, 1, false };

	if (cli_parse(&cli, argc, argv, err) < 0)
		return -err->code;
	e.id = argv[0];
	return regex ? matching(&e, err) : delete_one(&e, e.id, err);
}

static int set_frozen(struct rt *rt, const char *id, bool frozen, struct hoy_err *err)
{
	cleanup_cgroups struct hoy_cgroups cg = HOY_CGROUPS_INIT;
	const char *want = frozen ? "running" : "paused";
	struct state st = STATE_INIT;
	int r = state_open(&st, rt, id, true, err);

	if (r >= 0 && strcmp(st.status, want) && (!frozen || strcmp(st.status, "created")))
		r = hoy_fail(err, EINVAL, "container '%s' is %s, not %s", id, st.status, want);
	if (r >= 0 && !has_cgroup(&st))
		r = hoy_fail(err, ENOENT, "container '%s' has no cgroup to freeze", id);
	if (r >= 0)
		r = hoy_cgroups_find(&cg, err);
	if (r >= 0) {
		r = hoy_cgroup_freeze(&cg, st.cgroup, frozen);
		if (r < 0)
			r = hoy_fail_errno(err, -r, "cannot %s container '%s'", frozen ? "pause" : "resume", id);
	}
	state_release(&st);
	return r;
}

int cmd_pause(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	const struct cli cli = { "pause ID", NULL, 0, 1, 1, false };
	int r = cli_parse(&cli, argc, argv, err);

	return r < 0 ? r : set_frozen(rt, argv[0], true, err);
}

int cmd_resume(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	const struct cli cli = { "resume ID", NULL, 0, 1, 1, false };
	int r = cli_parse(&cli, argc, argv, err);

	return r < 0 ? r : set_frozen(rt, argv[0], false, err);
}
