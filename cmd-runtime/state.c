/*
 * ROOT/ID/ (0700) is a container: "status" says what was made, "config.json" is the bundle's, "exec.fifo" is there until
 * start. Who changes a container holds flock(2) on the directory; whether it runs is asked of the kernel each time.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "cmd-runtime/runtime.h"
#include "common/data/time.h"
#include "common/proc/pidfd.h"

bool state_id_ok(const char *id)
{
	/* Names with a leading dot are ours: ROOT/.seccomp. */
	if (!*id || *id == '.' || strlen(id) > 255)
		return false;
	for (; *id; id++)
		if (!isalnum((unsigned char)*id) && !strchr("_+-.", *id))
			return false;
	return true;
}

static int open_root(const struct rt *rt, bool make, struct hoy_err *err)
{
	int fd = make ? hoy_open_dir_p(AT_FDCWD, rt->root, 0700)
		      : open(rt->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && make)
		return hoy_fail_errno(err, -fd, "cannot make state directory '%s'", rt->root);
	return fd < 0 ? -errno : fd;
}

int state_create(struct state *st, const struct rt *rt, const char *id, struct hoy_err *err)
{
	cleanup_fd int root = -1;
	char now[HOY_TIME_SIZE], owner[32];

	if (!state_id_ok(id))
		return hoy_fail(err, EINVAL, "invalid container id '%s'", id);
	root = open_root(rt, true, err);
	if (root < 0)
		return root;
	if (mkdirat(root, id, 0700) < 0)
		return errno == EEXIST ? hoy_fail(err, EEXIST, "container '%s' already exists", id)
				       : hoy_fail_errno(err, errno, "cannot make the state of container '%s'", id);
	st->id = id;
	st->dirfd = openat(root, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (st->dirfd < 0 || flock(st->dirfd, LOCK_EX) < 0)
		return hoy_fail_errno(err, errno, "cannot lock container '%s'", id);
	snprintf(owner, sizeof(owner), "%u", geteuid());
	st->created = strdup(hoy_time_format(hoy_now(), now));
	st->owner = strdup(geteuid() ? owner : "root");
	st->rdt = strdup("");
	return st->created && st->owner && st->rdt ? 0 : hoy_fail_oom(err);
}

int state_save(struct state *st, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	int r;

	hoy_jw_object(&w, NULL);
	hoy_jw_int(&w, "pid", st->pid);
	hoy_jw_uint(&w, "process-start-time", st->ticks);
	hoy_jw_string(&w, "cgroup-path", st->cgroup);
	hoy_jw_bool(&w, "no-cgroup", st->no_cgroup);
	hoy_jw_string(&w, "scope", st->scope);
	if (*st->rdt) {
		hoy_jw_string(&w, "resctrl-group", st->rdt);
		hoy_jw_bool(&w, "resctrl-made", st->rdt_made);
	}
	hoy_jw_string(&w, "rootfs", st->rootfs);
	hoy_jw_string(&w, "bundle", st->bundle);
	hoy_jw_string(&w, "created", st->created);
	hoy_jw_string(&w, "owner", st->owner);
	hoy_jw_bool(&w, "detached", st->detached);
	hoy_jw_bool(&w, "no-new-keyring", st->no_keyring);
	hoy_jw_end_object(&w);
	r = b.error ? -b.error : hoy_replace_file(st->dirfd, "status", b.data, b.len, 0600, false);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot save the state of container '%s'", st->id) : 0;
}

static char *copy(const struct hoy_json *obj, const char *key)
{
	const char *s = hoy_json_str(obj, key);

	return strdup(s ? s : "");
}

static int load(struct state *st, struct hoy_err *err)
{
	const struct hoy_json *d;
	int r = hoy_json_load(&st->doc, st->dirfd, "status", 1 << 20, err);

	if (r == -ENOENT) {
		/* A creation that was killed early: there is something to remove, but no process. */
		st->bundle = strdup("");
		st->rootfs = strdup("");
		st->cgroup = strdup("");
		st->scope = strdup("");
		st->rdt = strdup("");
		st->created = strdup("");
		st->owner = strdup("");
		return 0;
	}
	if (r < 0)
		return r;
	d = st->doc.root;
	st->pid = (pid_t)hoy_json_int(d, "pid", 0);
	hoy_json_uint64(hoy_json_get(d, "process-start-time"), &st->ticks);
	st->no_cgroup = hoy_json_bool(d, "no-cgroup", false);
	st->detached = hoy_json_bool(d, "detached", false);
	st->no_keyring = hoy_json_bool(d, "no-new-keyring", false);
	st->bundle = copy(d, "bundle");
	st->rootfs = copy(d, "rootfs");
	st->cgroup = copy(d, "cgroup-path");
	st->scope = copy(d, "scope");
	st->rdt = copy(d, "resctrl-group");
	st->rdt_made = hoy_json_bool(d, "resctrl-made", false);
	st->created = copy(d, "created");
	st->owner = copy(d, "owner");
	return st->bundle && st->rootfs && st->cgroup && st->scope && st->rdt && st->created && st->owner ? 0 : hoy_fail_oom(err);
}

int state_open(struct state *st, const struct rt *rt, const char *id, bool lock, struct hoy_err *err)
{
	cleanup_fd int root = -1;
	struct stat s;

	if (!state_id_ok(id))
		return hoy_fail(err, EINVAL, "invalid container id '%s'", id);
	root = open_root(rt, false, err);
	st->id = id;
	st->dirfd = root < 0 ? -1 : openat(root, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (st->dirfd < 0)
		return hoy_fail_errno(err, errno, "container '%s' does not exist", id);
	if (lock && flock(st->dirfd, LOCK_EX) < 0)
		return hoy_fail_errno(err, errno, "cannot lock container '%s'", id);
	/* Who had the lock before us may have removed the container. */
	if (fstat(st->dirfd, &s) < 0 || !s.st_nlink)
		return hoy_fail_errno(err, ENOENT, "container '%s' does not exist", id);
	if (load(st, err) < 0)
		return -err->code;
	return state_refresh(st);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_container(const struct dirent *e)
{
	return state_id_ok(e->d_name);
}

int state_ids(const struct rt *rt, struct hoy_strv *ret, struct hoy_err *err)
{
	struct dirent **v = NULL;
	int n = scandir(rt->root, &v, is_container, by_name);

	if (n < 0 && errno != ENOENT)
		return hoy_fail_errno(err, errno, "cannot read '%s'", rt->root);
	for (int i = 0; i < n; i++) {
		hoy_strv_push(ret, v[i]->d_name);
		free(v[i]);
	}
	free(v);
	return ret->error ? hoy_fail_oom(err) : 0;
}

int state_refresh(struct state *st)
{
	cleanup_cgroups struct hoy_cgroups cg = HOY_CGROUPS_INIT;

	st->status = "stopped";
	if (!hoy_pid_alive(st->pid, st->ticks))
		return 0;
	if (hoy_exists(st->dirfd, "exec.fifo")) {
		st->status = "created";
		return 0;
	}
	st->status = "running";
	if (!*st->cgroup || st->no_cgroup || hoy_cgroups_find(&cg, NULL) < 0)
		return 0;
	if (hoy_cgroup_frozen(&cg, st->cgroup) == 1)
		st->status = "paused";
	return 0;
}

int state_remove(struct state *st, const struct rt *rt, struct hoy_err *err)
{
	cleanup_fd int root = open_root(rt, false, err);
	int r = root < 0 ? root : hoy_remove_tree(root, st->id);

	return r < 0 ? hoy_fail_errno(err, -r, "cannot remove the state of container '%s'", st->id) : 0;
}

void state_release(struct state *st)
{
	hoy_close(st->dirfd);
	st->dirfd = -1;
	free(st->bundle);
	free(st->rootfs);
	free(st->cgroup);
	free(st->scope);
	free(st->rdt);
	free(st->created);
	free(st->owner);
	st->bundle = st->rootfs = st->cgroup = st->scope = st->rdt = st->created = st->owner = NULL;
	hoy_json_release(&st->doc);
}

void state_write_oci(struct hoy_jw *w, const char *key, const struct state *st, const struct spec *s, const char *status)
{
	bool live = strcmp(status, "stopped") != 0;

	hoy_jw_object(w, key);
	hoy_jw_string(w, "ociVersion", s && s->doc.root ? hoy_json_str(s->doc.root, "ociVersion") : OCI_VERSION);
	hoy_jw_string(w, "id", st->id);
	hoy_jw_int(w, "pid", live ? st->pid : 0);
	hoy_jw_string(w, "status", status);
	hoy_jw_string(w, "bundle", st->bundle);
	hoy_jw_string(w, "rootfs", st->rootfs);
	hoy_jw_string(w, "created", st->created);
	if (s && s->annotations)
		hoy_jw_value(w, "annotations", s->annotations);
	if (st->scope && *st->scope)
		hoy_jw_string(w, "systemd-scope", st->scope);
	hoy_jw_string(w, "owner", st->owner);
	hoy_jw_end_object(w);
}
