/* cmd-run/cleanup.c: what happens after a container's end, and how it goes away for good. Idempotent, for both callers. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd-run/session.h"
#include "common/base/fd.h"
#include "common/data/digest.h"
#include "common/data/time.h"
#include "common/proc/cgroup.h"
#include "common/store/containers.h"
#include "common/store/layers.h"

static bool exit_code(const struct ctr *c, int *ret)
{
	cleanup_free char *path = hoy_asprintf("%s/exit/%s", c->rundir, c->id);
	char text[32];
	ssize_t n = path ? hoy_read_small(AT_FDCWD, path, text, sizeof(text)) : -ENOMEM;

	if (n < 0)
		return false;
	*ret = n ? atoi(text) : 255; /* empty: the disk was full, nobody knows */
	return true;
}

int ctr_exit_code(const struct ctr *c)
{
	int code;

	if (c->live.root && !ctr_pid(c) && exit_code(c, &code))
		return code;
	return (int)hoy_json_int(c->state.root, "exitCode", 0);
}

/*
 * With --rm the exit file may be gone before those who run it in the foreground have looked: who takes the container down
 * leaves the code in the lock file, which they have open, whatever becomes of its name.
 */
static void leave_code(const struct ctr *c, int code)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", code);

	if (c->lock.held)
		(void)!pwrite(c->lock.fd, text, n, 0);
}

static bool left_code(const struct ctr *c, int *ret)
{
	char text[16] = "";

	if (c->lock.fd < 0 || pread(c->lock.fd, text, sizeof(text) - 1, 0) <= 0)
		return false;
	*ret = atoi(text);
	return true;
}

/* Wait on the directory until the file is there, or the monitor has died without it. False: neither it nor the directory is there. */
static bool watch_for_code(struct ctr *c, const char *dir, int mon, int *ret_code)
{
	cleanup_fd int in = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char waste[4096];

	if (in < 0 || inotify_add_watch(in, dir, IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE_SELF) < 0)
		return false;
	for (bool alive = true;;) {
		struct pollfd p[2] = { { in, POLLIN, 0 }, { mon, POLLIN, 0 } };

		if (exit_code(c, ret_code))
			return true;
		if (!alive || !hoy_exists(AT_FDCWD, dir) || (poll(p, 2, -1) < 0 && errno != EINTR))
			return false;
		alive = !p[1].revents;
		(void)!read(in, waste, sizeof(waste));
	}
}

#define NAPS 20

/*
 * The code is there, or comes a moment after the process has ended: then a few naps cost less than to watch the directory, since
 * who closes an inotify waits for all who may use its marks (12 ms).
 */
static bool nap_for_code(struct ctr *c, int mon, int *ret_code)
{
	for (int i = 0; i < NAPS; i++) {
		struct pollfd p = { mon, POLLIN, 0 };

		if (exit_code(c, ret_code))
			return true;
		if (mon < 0 || ctr_pid(c))
			return false;
		if (ppoll(&p, 1, &(struct timespec){ 0, 100000 }, NULL) > 0)
			return exit_code(c, ret_code);
	}
	return false;
}

int wait_exit_file(struct ctr *c, int *ret_code)
{
	cleanup_free char *dir = hoy_path_join(c->rundir, "exit");
	pid_t monitor = ctr_monitor(c);
	cleanup_fd int mon = monitor ? (int)syscall(SYS_pidfd_open, monitor, 0) : -1;

	if (!dir)
		return -ENOMEM;
	if (nap_for_code(c, mon, ret_code) || (mon >= 0 && watch_for_code(c, dir, mon, ret_code)))
		return 0;
	/* Cleaned up by the monitor's command already: the state has the code, unless --rm took all. */
	if (!ctr_load_state(c, NULL)) {
		*ret_code = (int)hoy_json_int(c->state.root, "exitCode", 255);
		return 0;
	}
	return exit_code(c, ret_code) || left_code(c, ret_code) ? 0 : -ESRCH;
}

static bool oom_killed(const struct ctr *c)
{
	cleanup_free char *a = hoy_asprintf("%s/persist/oom", c->rundir), *b = hoy_asprintf("%s/oom", c->rundir);

	return (a && hoy_exists(AT_FDCWD, a)) || (b && hoy_exists(AT_FDCWD, b));
}

static int unmount(struct ctr *c, struct hoy_err *err)
{
	const char *layer = hoy_json_str(c->live.root, "layer");
	bool vol = hoy_json_bool(c->state.root, "rm", false);
	int r;

	if (!layer)
		return 0;
	hoy_layer_presync(c->s, layer, vol);
	r = hoy_store_lock(c->s, 0, HOY_GRAPH | HOY_LAYERS, err);
	if (!r && hoy_layer_get(c->s, layer))
		r = hoy_layer_unmount(c->s, layer, false, err);
	hoy_store_unlock(c->s);
	return r;
}

static bool should_restart(const struct ctr *c)
{
	const char *p = hoy_json_str(c->def.root, "restart") ?: "no";
	int64_t code = hoy_json_int(c->state.root, "exitCode", 0), n = hoy_json_int(c->state.root, "restarts", 0);
	int64_t max = hoy_json_int(c->def.root, "restartMax", 0);

	if (hoy_json_bool(c->state.root, "stoppedByUser", false))
		return false;
	if (!strcmp(p, "always") || !strcmp(p, "unless-stopped"))
		return true;
	return !strcmp(p, "on-failure") && code && (!max || n < max);
}

static int note_exit(struct ctr *c, int code, struct hoy_err *err)
{
	char now[HOY_TIME_SIZE];

	hoy_json_set_string(&c->state, c->state.root, "status", "exited");
	hoy_json_set_int(&c->state, c->state.root, "exitCode", code);
	hoy_json_set_string(&c->state, c->state.root, "finished", hoy_time_format(hoy_now(), now));
	if (oom_killed(c))
		hoy_json_set_bool(&c->state, c->state.root, "oomKilled", true);
	/* Until it has been started again: whoever is to do that may be killed before. */
	if (!ctr_load_def(c, NULL) && should_restart(c))
		hoy_json_set_bool(&c->state, c->state.root, "again", true);
	return ctr_save_state(c, err);
}

/*
 * Somebody died while the runtime made or deleted the container: it may know it, with a process that waits for its
 * start, or have got no further than the cgroup.
 */
static void undo_create(struct ctr *c)
{
	cleanup_cgroups struct hoy_cgroups cg = HOY_CGROUPS_INIT;
	const char *path = hoy_json_str(c->live.root, "cgroup");

	(void)runtime_call(c, "delete", "--force", NULL, NULL);
	if (!path || hoy_cgroups_find(&cg, NULL) < 0)
		return;
	(void)hoy_cgroup_kill(&cg, path, SIGKILL);
	(void)hoy_cgroup_remove(&cg, path);
}

/* The run directory last: as long as `live` is there, somebody has something left to undo. */
static void remove_rundir(struct ctr *c)
{
	int status = 0;

	while (c->deleting > 0 && waitpid(c->deleting, &status, 0) < 0 && errno == EINTR)
		;
	if (status)
		undo_create(c);
	c->deleting = 0;
	passage_remove(c);
	hoy_remove_tree(AT_FDCWD, c->rundir);
	hoy_json_release(&c->live);
}

int ctr_cleanup(struct ctr *c, struct hoy_err *err)
{
	bool rm = hoy_json_bool(c->state.root, "rm", false), started = hoy_json_bool(c->live.root, "started", false);
	int code = 255, r;

	if (!c->live.root)
		return 0;
	if (ctr_pid(c))
		return hoy_fail(err, HOY_EBUSY, "container %.12s is running", c->id);
	if (exit_code(c, &code) && rm)
		leave_code(c, code);
	/* The runtime forgets it while we take down network and mounts. */
	if (hoy_json_get(c->live.root, "pid"))
		c->deleting = runtime_spawn_delete(c);
	else
		undo_create(c);
	net_teardown(c);
	/* --rm: the layer goes in the same breath as the record, in ctr_remove(). */
	r = rm ? 0 : unmount(c, err);
	if (started)
		event(c, "died", code);
	if (!r && started && !rm)
		r = note_exit(c, code, err);
	if (!r && !rm) {
		event(c, "cleanup", -1);
		remove_rundir(c);
	}
	return r;
}

/* A start that failed half-way. */
void ctr_abort(struct ctr *c, struct hoy_err *err)
{
	pid_t monitor = ctr_monitor(c), pid = ctr_pid(c);

	if (!c->live.root)
		return;
	net_teardown(c);
	undo_create(c);
	if (pid)
		kill(pid, SIGKILL);
	if (monitor)
		kill(monitor, SIGTERM);
	unmount(c, err);
	remove_rundir(c);
}

static void remove_volumes(struct ctr *c)
{
	HOY_JSON_EACH(m, hoy_json_get(c->def.root, "mounts")) {
		const char *name = hoy_json_str(m, "name");
		cleanup_free char *path = name ? hoy_asprintf("%s/hoy/volumes/%s", c->s->conf.graphroot, name) : NULL;

		if (path && hoy_json_bool(m, "anonymous", false) && hoy_is_id(name))
			hoy_remove_tree(AT_FDCWD, path);
	}
}

int ctr_drop_files(struct ctr *c, struct hoy_err *err)
{
	cleanup_free char *doomed = hoy_asprintf("%s.gone", c->dir);

	if (!doomed)
		return hoy_fail_oom(err);
	if (rename(c->dir, doomed) < 0 && errno != ENOENT)
		return hoy_fail_errno(err, errno, "cannot remove '%s'", c->dir);
	hoy_remove_tree(AT_FDCWD, doomed);
	return 0;
}

int ctr_remove(struct ctr *c, bool volumes, struct hoy_err *err)
{
	const char *layer;
	int r;

	(void)ctr_load_def(c, NULL);
	layer = hoy_json_str(c->def.root, "layer");
	if (layer)
		hoy_layer_presync(c->s, layer, true);
	r = hoy_store_lock(c->s, 0, HOY_GRAPH | HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, err);
	if (!r && hoy_container_get(c->s, c->id))
		r = hoy_container_delete(c->s, c->id, err);
	else if (!r && layer && hoy_layer_get(c->s, layer)) /* somebody removed the record alone */
		r = hoy_layer_delete(c->s, layer, err);
	hoy_store_unlock(c->s);
	if (r < 0)
		return r;
	if (volumes)
		remove_volumes(c);
	remove_rundir(c);
	event(c, "remove", -1);
	return ctr_drop_files(c, err);
}

int ctr_clear(struct ctr *c, bool volumes, struct hoy_err *err)
{
	int r = ctr_cleanup(c, err);

	return r < 0 && !hoy_is_full(r) ? r : ctr_remove(c, volumes, err);
}

/* ---- the verb: the monitor's exit command ---- */

/*
 * The policy wants it again. Who is killed at it leaves a mark in live, so that the monitor, which calls us once more then, gets what it
 * wanted.
 */
static int again(struct ctr *c, struct hoy_err *err)
{
	struct start_how how = { .again = true };
	int code;

	event(c, "restart", -1);
	return ctr_start(c, &how, &code, err);
}

static bool half_started(const struct ctr *c)
{
	return hoy_json_bool(c->live.root, "again", false) && !hoy_json_bool(c->live.root, "started", false);
}

/* ALL: nobody waits for its end, so that nothing is started again. */
static int cleanup_one(struct hoy_store *s, const char *name, bool all)
{
	cleanup_ctr struct ctr c = CTR_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	int r = ctr_open_id(&c, s, name, &err);

	if (r == -EINVAL)
		r = ctr_open(&c, s, name, &err);
	if (!r)
		r = ctr_lock(&c, &err);
	if (r == -ENOENT)
		return 0; /* done by somebody else */
	if (!r && half_started(&c)) {
		ctr_abort(&c, &err);
		hoy_json_set_bool(&c.state, c.state.root, "again", true);
	}
	/* Started again meanwhile; perhaps by who was killed before that was noted. */
	if (!r && ctr_pid(&c))
		return hoy_json_bool(c.state.root, "again", false) && ctr_note_running(&c, &err) < 0 ? hoy_report(&err, 125) : 0;
	if (!r)
		r = ctr_load_def(&c, &err);
	if (!r)
		r = ctr_cleanup(&c, &err);
	if (!r && hoy_json_bool(c.state.root, "rm", false))
		r = ctr_remove(&c, true, &err);
	else if (!r && !all && hoy_json_bool(c.state.root, "again", false))
		r = again(&c, &err);
	return r < 0 ? hoy_report(&err, 125) : 0;
}

struct cleanup_opts {
	bool all;
	const char *exec;
};
static const struct hoy_opt cleanup_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, offsetof(struct cleanup_opts, all), NULL, "all containers, and what is left of those that are gone" },
	{ 0, "exec", HOY_OPT_STRING, offsetof(struct cleanup_opts, exec), "SESSION", "of this exec session alone" },
	HOY_OPTS_END,
};

static int cleanup_session(struct hoy_store *s, const char *name, const char *sid)
{
	cleanup_ctr struct ctr c = CTR_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	int r = ctr_open(&c, s, name, &err);

	if (!r)
		r = session_died(&c, sid, &err);
	return r < 0 ? hoy_report(&err, 125) : 0;
}

static int run_cleanup(const struct hoy_verb *v, int argc, char **argv)
{
	struct cleanup_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	int status, worst = 0, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	if (o.exec && (o.all || n != 1)) {
		hoy_error("--exec is about one container");
		return 125;
	}
	s = open_store(0);
	if (!s)
		return 125;
	if (o.exec)
		return cleanup_session(s, argv[1], o.exec);
	if (o.all)
		reconcile(s);
	if (pick(s, n, argv + 1, o.all, false, &ids, &err) < 0)
		return hoy_report(&err, 125);
	for (size_t i = 0; i < ids.n; i++) {
		status = cleanup_one(s, ids.v[i], o.all);
		worst = status > worst ? status : worst;
	}
	return worst;
}
const struct hoy_verb verb_cleanup = { "container cleanup", "[options] CONTAINER [CONTAINER...]",
				       "Take down what an ended container left", cleanup_opts, run_cleanup, false };
