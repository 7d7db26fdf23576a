/* cmd-run/state.c: the files of a container and what they say about it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-run/run.h"
#include "common/base/fd.h"
#include "common/conf/containers.h"
#include "common/data/digest.h"
#include "common/data/time.h"
#include "common/proc/boot.h"

#define STATE_MAX ((size_t)1 << 20)

static int paths(struct ctr *c, struct hoy_store *s, const char *id)
{
	c->s = s;
	snprintf(c->id, sizeof(c->id), "%s", id);
	c->dir = hoy_asprintf("%s/hoy/containers/%s", s->conf.graphroot, id);
	c->rundir = hoy_asprintf("%s/hoy/%s", s->conf.runroot, id);
	return c->dir && c->rundir ? 0 : -ENOMEM;
}

static int open_dir(struct ctr *c, struct hoy_err *err)
{
	c->dirfd = open(c->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->dirfd >= 0)
		return 0;
	if (errno == ENOENT)
		return hoy_fail(err, ENOENT, "no container with ID %s found: no such container", c->id);
	return hoy_fail_errno(err, errno, "cannot open '%s'", c->dir);
}

/* Listing opens no lock; who changes something does. */
static int take_lock(struct ctr *c, struct hoy_err *err)
{
	int r = c->lock.held ? 0 : hoy_lock_open(&c->lock, c->dirfd, "lock", false);

	if (!r && !c->lock.held)
		r = hoy_lock_take(&c->lock, true);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot lock container '%.12s'", c->id) : 0;
}

/* Is the file that we have locked still the one that others would lock? */
static bool lock_is_real(const struct ctr *c)
{
	struct stat st;

	return !fstat(c->lock.fd, &st) && st.st_nlink;
}

/* -EAGAIN: without its lock the directory looked like one whose maker died, and was taken away. */
static int make_locked(struct ctr *c, struct hoy_err *err)
{
	int r = hoy_mkdir_p(c->dir, 0700);

	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot make '%s'", c->dir);
	r = open_dir(c, err);
	if (!r)
		r = take_lock(c, err);
	if (r != -ENOENT && (r || lock_is_real(c)))
		return r;
	hoy_lock_close(&c->lock);
	hoy_close(c->dirfd);
	c->dirfd = -1;
	return -EAGAIN;
}

int ctr_new(struct ctr *c, struct hoy_store *s, const char *id, struct hoy_err *err)
{
	int r = paths(c, s, id), tries = 16;

	c->def.root = hoy_json_new(&c->def, HOY_JSON_OBJECT);
	c->state.root = hoy_json_new(&c->state, HOY_JSON_OBJECT);
	if (r < 0 || !c->def.root || !c->state.root)
		return hoy_fail_oom(err);
	do
		r = make_locked(c, err);
	while (r == -EAGAIN && --tries);
	return r;
}

int ctr_seize(struct ctr *c, struct hoy_store *s, const char *id)
{
	int r = paths(c, s, id);

	if (!r)
		r = open_dir(c, NULL);
	if (!r)
		r = hoy_lock_open(&c->lock, c->dirfd, "lock", false);
	if (!r)
		r = hoy_lock_try(&c->lock, true);
	return r ? r : lock_is_real(c) ? 0 : -ENOENT;
}

int ctr_open_id(struct ctr *c, struct hoy_store *s, const char *id, struct hoy_err *err)
{
	int r = hoy_is_id(id) ? paths(c, s, id) : -EINVAL;

	if (r < 0)
		return hoy_fail_errno(err, -r, "container '%s'", id);
	r = open_dir(c, err);
	return r ? r : ctr_load_state(c, err);
}

int ctr_peek(struct ctr *c, struct hoy_store *s, const char *id)
{
	cleanup_free char *state = NULL;
	int r = paths(c, s, id);

	if (!r)
		state = hoy_path_join(c->dir, "state");
	return state ? hoy_json_load(&c->state, AT_FDCWD, state, STATE_MAX, NULL) : -ENOMEM;
}

int ctr_open(struct ctr *c, struct hoy_store *s, const char *name, struct hoy_err *err)
{
	struct hoy_json *rec;
	char id[65];
	int r = hoy_store_peek(s, HOY_CONTAINERS, err);

	if (!r)
		r = hoy_container_find(s, name, &rec, err);
	if (r < 0)
		return r;
	snprintf(id, sizeof(id), "%s", hoy_json_str(rec, "id"));
	r = ctr_open_id(c, s, id, err);
	if (r == -ENOENT)
		return hoy_fail(err, ENOENT, "container \"%s\" was not made by hoy: no such container", name);
	return r;
}

void ctr_release(struct ctr *c)
{
	hoy_json_release(&c->def);
	hoy_json_release(&c->state);
	hoy_json_release(&c->live);
	hoy_lock_close(&c->lock);
	hoy_close(c->dirfd);
	c->dirfd = -1;
	free(c->dir);
	free(c->rundir);
	c->dir = c->rundir = NULL;
}

int ctr_lock(struct ctr *c, struct hoy_err *err)
{
	int r = take_lock(c, err);

	if (r < 0)
		return r;
	/* Somebody may have removed it while we waited. */
	if (!hoy_exists(AT_FDCWD, c->dir))
		return hoy_fail(err, ENOENT, "no container with ID %s found: no such container", c->id);
	r = ctr_load_state(c, err);
	return r ? r : ctr_load_live(c, err);
}

void ctr_unlock(struct ctr *c)
{
	hoy_lock_drop(&c->lock);
}

int ctr_load_def(struct ctr *c, struct hoy_err *err)
{
	int r = c->def.root || c->dirfd >= 0 ? 0 : open_dir(c, err);

	return r || c->def.root ? r : hoy_json_load(&c->def, c->dirfd, "def.json", STATE_MAX, err);
}

static int save(const char *dir, int dirfd, const char *file, const struct hoy_json *root, bool sync, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(STATE_MAX);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	int r;

	hoy_jw_value(&w, NULL, root);
	r = b.error ? -b.error : hoy_replace_locked(dirfd, file, b.data, b.len, 0600, sync);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write '%s/%s'", dir, file) : 0;
}

/* What --rm takes away again need not survive a power loss. */
static bool lasting(const struct ctr *c)
{
	return !hoy_json_bool(c->state.root, "rm", false);
}

int ctr_save_def(struct ctr *c, struct hoy_err *err)
{
	return save(c->dir, c->dirfd, "def.json", c->def.root, lasting(c), err);
}

int ctr_load_state(struct ctr *c, struct hoy_err *err)
{
	hoy_json_release(&c->state);
	return hoy_json_load(&c->state, c->dirfd, "state", STATE_MAX, err);
}

int ctr_save_state(struct ctr *c, struct hoy_err *err)
{
	return save(c->dir, c->dirfd, "state", c->state.root, lasting(c), err);
}

int ctr_load_live(struct ctr *c, struct hoy_err *err)
{
	cleanup_free char *path = hoy_path_join(c->rundir, "live");
	struct hoy_err why = HOY_ERR_INIT;
	int r;

	hoy_json_release(&c->live);
	if (!path)
		return hoy_fail_oom(err);
	r = hoy_json_load(&c->live, AT_FDCWD, path, STATE_MAX, &why);
	if (r == -ENOENT || r == -HOY_EFORMAT)
		return 0;
	if (r < 0 && err)
		*err = why;
	return r;
}

int ctr_save_live(struct ctr *c, struct hoy_err *err)
{
	cleanup_free char *path = hoy_path_join(c->rundir, "live");

	return path ? save(c->rundir, AT_FDCWD, path, c->live.root, false, err) : hoy_fail_oom(err);
}

const char *ctr_name(const struct ctr *c)
{
	return hoy_json_str(c->state.root, "name") ?: "";
}

unsigned long long start_time(pid_t pid)
{
	char path[48], buf[1024], *p;
	unsigned long long v = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (pid <= 0 || hoy_read_small(AT_FDCWD, path, buf, sizeof(buf)) <= 0)
		return 0;
	p = strrchr(buf, ')'); /* the command's name may hold anything */
	if (!p || p[2] == 'Z' || p[2] == 'X')
		return 0;
	return sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &v) == 1 ? v : 0;
}

pid_t ctr_pid(const struct ctr *c)
{
	pid_t pid = (pid_t)hoy_json_int(c->live.root, "pid", 0);
	const char *boot = hoy_json_str(c->live.root, "boot");

	if (!pid || !boot || strcmp(boot, hoy_boot_id()))
		return 0;
	return start_time(pid) == (unsigned long long)hoy_json_int(c->live.root, "pidStart", -1) ? pid : 0;
}

pid_t ctr_monitor(const struct ctr *c)
{
	pid_t pid = (pid_t)hoy_json_int(c->live.root, "monitor", 0);

	return pid > 0 && start_time(pid) == (unsigned long long)hoy_json_int(c->live.root, "monitorStart", -1) ? pid : 0;
}

enum status ctr_status(const struct ctr *c)
{
	const char *s = hoy_json_str(c->state.root, "status");

	if (ctr_pid(c)) {
		if (hoy_json_bool(c->live.root, "paused", false))
			return ST_PAUSED;
		return hoy_json_bool(c->live.root, "started", false) ? ST_RUNNING : ST_INITIALIZED;
	}
	return s && !strcmp(s, "created") && !c->live.root ? ST_CREATED : ST_EXITED;
}

const char *status_name(enum status st)
{
	static const char *const names[] = { "created", "initialized", "running", "paused", "stopping", "exited", "unknown" };

	return names[st];
}

/* The names in the directory BASE/NAME that are ids. */
static int list_ids(const char *base, const char *name, struct hoy_strv *ret)
{
	cleanup_free char *path = hoy_path_join(base, name);
	cleanup_dir DIR *d = path ? opendir(path) : NULL;
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (hoy_is_id(e->d_name))
			hoy_strv_push(ret, e->d_name);
	return !path || ret->error ? -ENOMEM : 0;
}

int ctr_list(struct hoy_store *s, struct hoy_strv *ret)
{
	return list_ids(s->conf.graphroot, "hoy/containers", ret);
}

int ctr_list_live(struct hoy_store *s, struct hoy_strv *ret)
{
	return list_ids(s->conf.runroot, "hoy", ret);
}

struct hoy_store *open_store(unsigned flags)
{
	struct hoy_err err = HOY_ERR_INIT;
	struct hoy_store *s = NULL;

	if (!hoy_store_open(&s, &hoy_globals.storage, flags, &err))
		return s;
	hoy_report(&err, 125);
	return NULL;
}

static const char *newest(struct hoy_store *s)
{
	const char *best = NULL;
	int64_t most = INT64_MIN;

	for (struct hoy_json *r = hoy_first(s->ctrs); r; r = hoy_next(s->ctrs, r)) {
		int64_t t;

		if (hoy_time_parse(hoy_json_str(r, "created"), &t) && t >= most) {
			most = t;
			best = hoy_json_str(r, "id");
		}
	}
	return best;
}

int pick(struct hoy_store *s, int n, char **names, bool all, bool latest, struct hoy_strv *ret, struct hoy_err *err)
{
	int r;

	if (all) {
		if (n)
			return hoy_fail(err, EINVAL, "when using the --all switch, you may not pass any container names or IDs");
		return ctr_list(s, ret) < 0 ? hoy_fail_oom(err) : 0;
	}
	if (latest) {
		r = hoy_store_peek(s, HOY_CONTAINERS, err);
		if (r < 0)
			return r;
		if (!newest(s))
			return hoy_fail(err, ENOENT, "no containers found: no such container");
		hoy_strv_push(ret, newest(s));
		return 0;
	}
	if (!n)
		return hoy_fail(err, EINVAL, "you must provide at least one name or id");
	for (int i = 0; i < n; i++)
		hoy_strv_push(ret, names[i]);
	return ret->error ? hoy_fail_oom(err) : 0;
}

const struct hoy_json *conf(void)
{
	static struct hoy_json_doc doc;
	struct hoy_err err = HOY_ERR_INIT;

	if (!doc.root && hoy_containers_conf_load(&doc, &err) < 0) {
		hoy_report(&err, 125);
		exit(125);
	}
	return doc.root;
}
