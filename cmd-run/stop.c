/* cmd-run/stop.c: stop, kill, wait, pause and what they share: signals and pidfds. */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd-run/run.h"
#include "common/data/time.h"
#include "common/proc/signal.h"
#include "common/store/containers.h"

/* A pidfd of the container's process, checked to be that process; -ESRCH if it is gone. */
static int open_pid(const struct ctr *c)
{
	pid_t pid = ctr_pid(c);
	int fd = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

	if (fd < 0)
		return -ESRCH;
	if (ctr_pid(c) == pid)
		return fd;
	hoy_close(fd);
	return -ESRCH;
}

int ctr_kill(struct ctr *c, int sig, bool all, struct hoy_err *err)
{
	cleanup_fd int fd = open_pid(c);
	char number[8];

	if (fd < 0)
		return hoy_fail(err, HOY_EUNSUPPORTED, "can only kill running containers. %s is in state %s: container state improper", c->id,
				status_name(ctr_status(c)));
	if (all) {
		snprintf(number, sizeof(number), "%d", sig);
		return runtime_call(c, "kill", number, NULL, err);
	}
	if (syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) < 0)
		return hoy_fail_errno(err, errno, "cannot send signal %d to container %.12s", sig, c->id);
	return 0;
}

/* Wait for the end of the process; 0, or 1 when the time is over. */
static int wait_pid(int fd, int64_t ns)
{
	struct pollfd p = { fd, POLLIN, 0 };
	int64_t until = hoy_now() + ns;
	int r;

	do {
		int64_t left = until - hoy_now();

		r = poll(&p, 1, ns < 0 ? -1 : left <= 0 ? 0 : (int)((left + 999999) / 1000000));
	} while (r < 0 && errno == EINTR);
	return r > 0 ? 0 : r < 0 ? -errno : 1;
}

/* The lock is held all the time: the monitor's cleanup command comes after us and finds it done. */
int ctr_stop(struct ctr *c, int64_t timeout, struct hoy_err *err)
{
	cleanup_fd int fd = open_pid(c);
	int sig, r, code;

	if (fd < 0)
		return 0;
	r = ctr_load_def(c, err);
	if (r < 0)
		return r;
	sig = (int)hoy_json_int(c->def.root, "stopSignal", SIGTERM);
	if (!hoy_json_bool(c->live.root, "started", false))
		timeout = 0; /* only the runtime's own process is there, which waits for its start */
	if (timeout < 0)
		timeout = hoy_json_int(c->def.root, "stopTimeout", 10);
	hoy_json_set_bool(&c->state, c->state.root, "stoppedByUser", true);
	r = ctr_save_state(c, err);
	if (r < 0 && !hoy_is_full(r)) /* its end, which is noted afterwards, may make room for it */
		return r;
	if (hoy_json_bool(c->live.root, "paused", false))
		(void)runtime_call(c, "resume", NULL, NULL, NULL);
	r = 1;
	if (timeout > 0) {
		syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0);
		r = wait_pid(fd, timeout * HOY_NS);
		if (r == 1)
			hoy_warning("StopSignal %s failed to stop container %s in %lld seconds, resorting to SIGKILL",
				    sig == SIGTERM ? "SIGTERM" : strsignal(sig), ctr_name(c), (long long)timeout);
	}
	if (r == 1) {
		syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
		r = wait_pid(fd, 10 * HOY_NS);
	}
	if (r)
		return hoy_fail(err, HOY_EBUSY, "container %.12s does not end, not even by SIGKILL", c->id);
	/* The monitor writes the code when it has drained the output. */
	wait_exit_file(c, &code);
	return 0;
}

/* ---- verbs ---- */

struct common_opts {
	bool all, latest, ignore, running, force, volumes, exit_first;
	const char *time, *signal, *interval, *condition;
	struct hoy_strv cidfiles, filters, conditions;
};
#define O(f) offsetof(struct common_opts, f)

typedef int each_fn(struct ctr *c, const struct common_opts *o, struct hoy_err *err);

/* FN for each container, locked; prints what was asked for by its name. The worst status counts. */
static int each(struct hoy_store *s, const struct hoy_strv *ids, const struct common_opts *o, each_fn *fn, bool print)
{
	int status = 0;

	for (size_t i = 0; i < ids->n; i++) {
		cleanup_ctr struct ctr c = CTR_INIT;
		struct hoy_err err = HOY_ERR_INIT;
		int r = ctr_open(&c, s, ids->v[i], &err);

		if (!r)
			r = ctr_lock(&c, &err);
		if (!r)
			r = fn(&c, o, &err);
		if (r == -ENOENT && (o->ignore || o->all))
			continue;
		if (r == 1) /* left out */
			continue;
		if (r < 0)
			status = hoy_report(&err, 125);
		else if (print)
			puts(o->all ? c.id : ids->v[i]);
	}
	return status;
}

static int cidfiles(const struct common_opts *o, struct hoy_strv *ids, struct hoy_err *err)
{
	for (size_t i = 0; i < o->cidfiles.n; i++) {
		cleanup_file FILE *f = fopen(o->cidfiles.v[i], "re");
		char id[80] = "";

		if (!f && !o->ignore)
			return hoy_fail_errno(err, errno, "cannot read '%s'", o->cidfiles.v[i]);
		if (f && fgets(id, sizeof(id), f)) {
			id[strcspn(id, "\n")] = '\0';
			hoy_strv_push(ids, id);
		}
	}
	return 0;
}

static int run_each(const struct hoy_verb *v, int argc, char **argv, each_fn *fn, bool print)
{
	struct common_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	s = open_store(0);
	if (!s)
		return 125;
	reconcile(s);
	r = cidfiles(&o, &ids, &err);
	if (!r && (n || o.all || o.latest || !ids.n) && !(n == 0 && o.force && !o.all && !o.latest))
		r = pick(s, n, argv + 1, o.all, o.latest, &ids, &err);
	status = r < 0 ? hoy_report(&err, 125) : each(s, &ids, &o, fn, print);
	hoy_strv_release(&o.cidfiles);
	hoy_strv_release(&o.filters);
	return status;
}

static bool seconds(const char *text, int64_t *ret, struct hoy_err *err)
{
	char *end;

	*ret = -1;
	if (!text)
		return true;
	*ret = strtoll(text, &end, 10);
	if (*end || end == text) {
		hoy_fail(err, EINVAL, "invalid time '%s': it is a number of seconds", text);
		return false;
	}
	if (*ret < 0)
		*ret = INT64_MAX / HOY_NS / 2;
	return true;
}

/* Stop and take down; with --rm gone. */
static int finish(struct ctr *c, struct hoy_err *err)
{
	int r = ctr_cleanup(c, err);

	if (!r && hoy_json_bool(c->state.root, "rm", false))
		r = ctr_remove(c, true, err);
	return r;
}

static int stop_one(struct ctr *c, const struct common_opts *o, struct hoy_err *err)
{
	enum status st = ctr_status(c);
	int64_t t;
	int r;

	if (!seconds(o->time, &t, err))
		return -EINVAL;
	if (st == ST_CREATED)
		return o->all ? 1 : 0;
	if (!ctr_pid(c) && !c->live.root)
		return o->all ? 1 : 0;
	r = ctr_stop(c, t, err);
	return r ? r : finish(c, err);
}

static const struct hoy_opt stop_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, O(all), NULL, "all running containers" },
	{ 0, "cidfile", HOY_OPT_LIST, O(cidfiles), "PATH", "read an id from a file" },
	{ 'i', "ignore", HOY_OPT_FLAG, O(ignore), NULL, "containers that are not there are no error" },
	{ 'l', "latest", HOY_OPT_FLAG, O(latest), NULL, "the container made last" },
	{ 't', "time", HOY_OPT_STRING, O(time), "SECONDS", "time before it is killed (default: its own, 10)" },
	HOY_OPTS_END,
};
static int run_stop(const struct hoy_verb *v, int argc, char **argv)
{
	return run_each(v, argc, argv, stop_one, true);
}
const struct hoy_verb verb_stop = { "stop", "[options] CONTAINER [CONTAINER...]", "Stop containers", stop_opts, run_stop, false };

static int restart_one(struct ctr *c, const struct common_opts *o, struct hoy_err *err)
{
	struct start_how how = { 0 };
	int64_t t;
	int r = 0, code;

	if (!seconds(o->time, &t, err))
		return -EINVAL;
	if (o->running && !ctr_pid(c))
		return 1;
	event(c, "restart", -1);
	if (ctr_pid(c))
		r = ctr_stop(c, t, err);
	if (!r)
		r = ctr_cleanup(c, err);
	if (!r)
		r = ctr_start(c, &how, &code, err);
	return r;
}

static const struct hoy_opt restart_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, O(all), NULL, "all containers" },
	{ 0, "cidfile", HOY_OPT_LIST, O(cidfiles), "PATH", "read an id from a file" },
	{ 'l', "latest", HOY_OPT_FLAG, O(latest), NULL, "the container made last" },
	{ 0, "running", HOY_OPT_FLAG, O(running), NULL, "only those that run" },
	{ 't', "time", HOY_OPT_STRING, O(time), "SECONDS", "time before it is killed" },
	HOY_OPTS_END,
};
static int run_restart(const struct hoy_verb *v, int argc, char **argv)
{
	return run_each(v, argc, argv, restart_one, true);
}
const struct hoy_verb verb_restart = { "restart", "[options] CONTAINER [CONTAINER...]", "Restart containers", restart_opts, run_restart, false };

static int kill_one(struct ctr *c, const struct common_opts *o, struct hoy_err *err)
{
	int sig = hoy_signal_parse(o->signal ? o->signal : "KILL");

	if (sig <= 0)
		return hoy_fail(err, EINVAL, "invalid signal: %s", o->signal);
	if (o->all && !ctr_pid(c))
		return 1;
	if (sig == SIGKILL) {
		hoy_json_set_bool(&c->state, c->state.root, "stoppedByUser", true);
		(void)ctr_save_state(c, NULL);
	}
	return ctr_kill(c, sig, false, err);
}

static const struct hoy_opt kill_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, O(all), NULL, "all running containers" },
	{ 0, "cidfile", HOY_OPT_LIST, O(cidfiles), "PATH", "read an id from a file" },
	{ 'l', "latest", HOY_OPT_FLAG, O(latest), NULL, "the container made last" },
	{ 's', "signal", HOY_OPT_STRING, O(signal), "SIGNAL", "signal to send (default KILL)" },
	HOY_OPTS_END,
};
static int run_kill(const struct hoy_verb *v, int argc, char **argv)
{
	return run_each(v, argc, argv, kill_one, true);
}
const struct hoy_verb verb_kill = { "kill", "[options] CONTAINER [CONTAINER...]", "Send a signal to containers", kill_opts, run_kill, false };

static int set_paused(struct ctr *c, bool on, const struct common_opts *o, struct hoy_err *err)
{
	if (ctr_status(c) != (on ? ST_RUNNING : ST_PAUSED))
		return o->all ? 1 : hoy_fail(err, HOY_EUNSUPPORTED, on ? "\"%s\" is not running, can't pause: container state improper" :
					     "\"%s\" is not paused, can't unpause: container state improper", c->id);
	return ctr_freeze(c, on, err);
}

int ctr_freeze(struct ctr *c, bool on, struct hoy_err *err)
{
	int r = runtime_call(c, on ? "pause" : "resume", NULL, NULL, err);

	if (r < 0)
		return r;
	hoy_json_set_bool(&c->live, c->live.root, "paused", on);
	event(c, on ? "pause" : "unpause", -1);
	return ctr_save_live(c, err);
}
static int pause_one(struct ctr *c, const struct common_opts *o, struct hoy_err *err) { return set_paused(c, true, o, err); }
static int unpause_one(struct ctr *c, const struct common_opts *o, struct hoy_err *err) { return set_paused(c, false, o, err); }
static int run_pause(const struct hoy_verb *v, int argc, char **argv) { return run_each(v, argc, argv, pause_one, true); }
static int run_unpause(const struct hoy_verb *v, int argc, char **argv) { return run_each(v, argc, argv, unpause_one, true); }
static const struct hoy_opt pause_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, O(all), NULL, "all containers" },
	{ 'l', "latest", HOY_OPT_FLAG, O(latest), NULL, "the container made last" },
	HOY_OPTS_END,
};
const struct hoy_verb verb_pause = { "pause", "[options] CONTAINER [CONTAINER...]", "Freeze containers", pause_opts, run_pause, false };
const struct hoy_verb verb_unpause = { "unpause", "[options] CONTAINER [CONTAINER...]", "Thaw containers", pause_opts, run_unpause, false };

static int rm_one(struct ctr *c, const struct common_opts *o, struct hoy_err *err)
{
	int64_t t;
	int r;

	if (!seconds(o->time, &t, err))
		return -EINVAL;
	r = o->all ? 0 : ctr_check_dependents(c, err); /* with --all these go too */
	if (r < 0)
		return r;
	if (ctr_pid(c)) {
		if (!o->force)
			return hoy_fail(err, HOY_EBUSY, "cannot remove container %s as it is %s - running or paused containers cannot be removed "
					"without force: container state improper", c->id, status_name(ctr_status(c)));
		r = ctr_stop(c, t, err);
		if (r < 0)
			return r;
	}
	return ctr_clear(c, o->volumes, err);
}

/* A container that another engine made: of that we have the storage alone, and take it only if told twice. */
static int rm_external(struct hoy_store *s, const char *name, const struct common_opts *o, struct hoy_err *err)
{
	struct hoy_json *rec;
	int r = hoy_store_peek(s, HOY_CONTAINERS, NULL);

	if (r < 0 || hoy_container_find(s, name, &rec, NULL) < 0)
		return -ENOENT; /* as ERR says already */
	if (!o->force)
		return hoy_fail(err, ENOENT, "container \"%s\" was not made by hoy: no such container (--force removes its storage)", name);
	r = hoy_store_lock(s, 0, HOY_GRAPH | HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, err);
	if (!r)
		r = hoy_container_find(s, name, &rec, err);
	if (!r) {
		cleanup_free char *id = strdup(hoy_json_str(rec, "id"));

		r = id ? hoy_container_delete(s, id, err) : hoy_fail_oom(err);
	}
	hoy_store_unlock(s);
	return r;
}

static const struct hoy_opt rm_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, O(all), NULL, "all containers" },
	{ 0, "cidfile", HOY_OPT_LIST, O(cidfiles), "PATH", "read an id from a file" },
	{ 'f', "force", HOY_OPT_FLAG, O(force), NULL, "stop it first if it runs; take those of other engines; what is not there is no error" },
	{ 'i', "ignore", HOY_OPT_FLAG, O(ignore), NULL, "containers that are not there are no error" },
	{ 'l', "latest", HOY_OPT_FLAG, O(latest), NULL, "the container made last" },
	{ 't', "time", HOY_OPT_STRING, O(time), "SECONDS", "time before it is killed" },
	{ 'v', "volumes", HOY_OPT_FLAG, O(volumes), NULL, "remove its anonymous volumes too" },
	HOY_OPTS_END,
};

/* podman: 1 for a container that is not there, 2 for one that runs. */
static int run_rm(const struct hoy_verb *v, int argc, char **argv)
{
	struct common_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	s = open_store(0);
	if (!s)
		return 125;
	reconcile(s);
	r = cidfiles(&o, &ids, &err);
	if (!r && (n || o.all || o.latest || (!ids.n && !o.force)))
		r = pick(s, n, argv + 1, o.all, o.latest, &ids, &err);
	if (r < 0)
		return hoy_report(&err, 125);
	status = 0;
	for (size_t i = 0; i < ids.n; i++) {
		cleanup_ctr struct ctr c = CTR_INIT;

		err = (struct hoy_err)HOY_ERR_INIT;
		r = ctr_open(&c, s, ids.v[i], &err);
		if (r == -ENOENT)
			r = rm_external(s, ids.v[i], &o, &err);
		else if (!r && !(r = ctr_lock(&c, &err)))
			r = rm_one(&c, &o, &err);
		if (r == -ENOENT && (o.ignore || o.all || o.force))
			continue;
		if (!r) {
			puts(o.all ? c.id : ids.v[i]);
			continue;
		}
		hoy_report(&err, 0);
		r = r == -ENOENT ? 1 : r == -HOY_EBUSY ? 2 : 125;
		status = r > status ? r : status;
	}
	hoy_strv_release(&o.cidfiles);
	return status;
}
const struct hoy_verb verb_rm = { "rm", "[options] CONTAINER [CONTAINER...]", "Remove containers", rm_opts, run_rm, false };

/* ---- wait ---- */

static int wait_one(struct hoy_store *s, const char *name, bool ignore)
{
	cleanup_ctr struct ctr c = CTR_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_fd int fd = -1;
	int code = 0, r = ctr_open(&c, s, name, &err);

	if (!r)
		r = ctr_load_live(&c, &err);
	if (r < 0) {
		if (r == -ENOENT && ignore) {
			puts("-1");
			return 0;
		}
		return hoy_report(&err, 125);
	}
	fd = open_pid(&c);
	if (fd >= 0) {
		wait_pid(fd, -1);
		r = wait_exit_file(&c, &code);
		if (r < 0)
			code = -1;
	} else if (c.live.root && !wait_exit_file(&c, &code)) {
		/* ended, not cleaned up yet */
	} else {
		code = (int)hoy_json_int(c.state.root, "exitCode", 0);
	}
	printf("%d\n", code);
	return 0;
}

static const struct hoy_opt wait_opts[] = {
	{ 0, "condition", HOY_OPT_LIST, O(conditions), "STATE", "stopped or exited (default)" },
	{ 0, "ignore", HOY_OPT_FLAG, O(ignore), NULL, "containers that are not there count as -1" },
	{ 'i', "interval", HOY_OPT_STRING, O(interval), "TIME", "without meaning here: nobody polls" },
	{ 'l', "latest", HOY_OPT_FLAG, O(latest), NULL, "the container made last" },
	HOY_OPTS_END,
};
static int run_wait(const struct hoy_verb *v, int argc, char **argv)
{
	struct common_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	int status, worst = 0, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	for (size_t i = 0; i < o.conditions.n; i++)
		if (strcmp(o.conditions.v[i], "stopped") && strcmp(o.conditions.v[i], "exited")) {
			hoy_error("--condition '%s' is not supported (stopped, exited)", o.conditions.v[i]);
			return 125;
		}
	s = open_store(0);
	if (!s)
		return 125;
	if (pick(s, n, argv + 1, false, o.latest, &ids, &err) < 0)
		return hoy_report(&err, 125);
	for (size_t i = 0; i < ids.n; i++) {
		status = wait_one(s, ids.v[i], o.ignore);
		worst = status > worst ? status : worst;
	}
	hoy_strv_release(&o.conditions);
	return worst;
}
const struct hoy_verb verb_wait = { "wait", "[options] CONTAINER [CONTAINER...]", "Wait for containers to end", wait_opts, run_wait, false };
