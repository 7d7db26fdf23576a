/*
 * The container's cgroup: the same path in all hierarchies. On v1 the child moves itself by writing "0" to the tasks
 * files: moving one's own only thread is the one case in which the kernel doesn't stop all forks and wait for RCU.
 * On cgroup2 the child is born there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-runtime/runtime.h"

void cgroup_init(struct cgroup *cg)
{
	*cg = (struct cgroup){ .all = HOY_CGROUPS_INIT, .v2 = -1, .below_dir = -1, .below_procs = -1 };
	for (int i = 0; i < HOY_CGROUP_MAX; i++)
		cg->enter[i] = cg->dir[i] = -1;
}

void cgroup_release(struct cgroup *cg)
{
	for (int i = 0; i < HOY_CGROUP_MAX; i++) {
		hoy_close(cg->enter[i]);
		hoy_close(cg->dir[i]);
	}
	hoy_close(cg->below_dir);
	hoy_close(cg->below_procs);
	free(cg->path);
	scope_release(&cg->scope);
	hoy_cgroups_release(&cg->all);
	cgroup_init(cg);
}

bool cgroup_wants_limits(const struct hoy_json *res)
{
	static const char *const members[] = { "memory", "cpu", "pids", "blockIO", "hugepageLimits", "unified", "rdma",
					       "network" };

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const struct hoy_json *m = hoy_json_get(res, members[i]);

		if (m && m->count)
			return true;
	}
	return false;
}

static int choose_path(struct cgroup *cg, const struct spec *s, const char *id, struct hoy_err *err)
{
	const char *p = s->cgroups_path && *s->cgroups_path ? s->cgroups_path : id;

	while (*p == '/')
		p++;
	for (const char *q = strstr(p, ".."); q; q = strstr(q + 1, ".."))
		if ((q == p || q[-1] == '/') && (!q[2] || q[2] == '/'))
			return hoy_fail(err, EINVAL, "linux.cgroupsPath '%s' leads upwards", p);
	if (!*p)
		return hoy_fail(err, EINVAL, "linux.cgroupsPath is the root");
	if (strchr(p, ':'))
		return hoy_fail(err, EINVAL, "linux.cgroupsPath '%s' is for systemd (use: --systemd-cgroup)", p);
	cg->path = hoy_asprintf("/%s", p);
	return cg->path ? 0 : hoy_fail_oom(err);
}

/*
 * A new cpuset has no CPUs, and nothing could enter it: as the one above. That may have none either, when who made it was
 * killed before this; UP: how many there are between it and the root.
 */
static int inherit_cpuset(const char *dir, int up)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	cleanup_fd int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char value[4096], path[PATH_MAX];
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files) && !r; i++) {
		char above[32];

		if (hoy_read_small(fd, files[i], value, sizeof(value)) != 0)
			continue;
		snprintf(above, sizeof(above), "../%s", files[i]);
		if (up > 0 && !hoy_read_small(fd, above, value, sizeof(value))) {
			r = snprintf(path, sizeof(path), "%s/..", dir) < (int)sizeof(path) ? inherit_cpuset(path, up - 1) : -ENAMETOOLONG;
			if (r < 0)
				return r;
		}
		if (hoy_read_small(fd, above, value, sizeof(value)) > 0)
			r = hoy_write_small(fd, files[i], value);
	}
	return r;
}

static int depth(const struct hoy_cgroup_hier *h, const char *full)
{
	int n = -1;

	for (const char *p = full + strlen(h->mount); *p; p++)
		n += *p == '/';
	return n;
}

/* mkdir of FULL and what is missing between MOUNT and it; *MADE if FULL itself is new. */
static int make_dirs(const struct hoy_cgroup_hier *h, char *full, bool *made)
{
	bool cpuset = !strcmp(h->name, "cpuset");
	char *slash;
	int r;

	if (!mkdir(full, 0755)) {
		*made = true;
		return cpuset ? inherit_cpuset(full, depth(h, full)) : 0;
	}
	if (errno != ENOENT)
		return errno == EEXIST ? 0 : -errno;
	slash = strrchr(full, '/');
	if (slash <= full + strlen(h->mount))
		return -ENOENT;
	*slash = '\0';
	r = make_dirs(h, full, made);
	*slash = '/';
	*made = false;
	if (!r && mkdir(full, 0755) < 0)
		r = errno == EEXIST ? 0 : -errno;
	else
		*made = !r;
	return !r && *made && cpuset ? inherit_cpuset(full, depth(h, full)) : r;
}

bool cgroup_ordinary_user(void)
{
	char map[64];

	return geteuid() || (hoy_read_small(AT_FDCWD, "/proc/self/uid_map", map, sizeof(map)) > 0 && !strstr(map, "4294967295"));
}

static bool may_go_without(int r)
{
	return (r == -EACCES || r == -EPERM || r == -EROFS) && cgroup_ordinary_user();
}

static int open_one(struct cgroup *cg, size_t i)
{
	const struct hoy_cgroup_hier *h = &cg->all.h[i];

	cg->dir[i] = hoy_cgroup_open(h, cg->path);
	if (cg->dir[i] < 0)
		return cg->dir[i];
	if (!*h->name)
		return cg->v2 = cg->dir[i], 0;
	cg->enter[i] = openat(cg->dir[i], "tasks", O_WRONLY | O_CLOEXEC);
	return cg->enter[i] < 0 ? -errno : 0;
}

/* Somebody else's may have the name that ours is to have: who cannot put a process into it has none. */
static int check_ours(struct cgroup *cg, size_t i)
{
	int r = cg->dir[i] == cg->v2 && faccessat(cg->v2, "cgroup.procs", W_OK, AT_EACCESS) < 0 ? -errno : 0;

	if (r < 0) {
		hoy_close(cg->v2);
		cg->v2 = cg->dir[i] = -1;
	}
	return r;
}

static int make_one(struct cgroup *cg, size_t i, bool limits, struct hoy_err *err)
{
	const struct hoy_cgroup_hier *h = &cg->all.h[i];
	char full[PATH_MAX];
	int r;

	if (snprintf(full, sizeof(full), "%s%s", h->mount, cg->path) >= (int)sizeof(full))
		return hoy_fail_errno(err, ENAMETOOLONG, "linux.cgroupsPath '%s'", cg->path);
	r = make_dirs(h, full, &cg->made[i]);
	if (!r && cg->all.unified)
		r = cgroup_v2_controllers(h->mount, cg->path, err);
	if (!r)
		r = open_one(cg, i);
	if (!r)
		r = check_ours(cg, i);
	if (r < 0 && may_go_without(r) && !limits) {
		log_debug("no right to make cgroup '%s', going without", full);
		return 0;
	}
	return r < 0 ? hoy_fail_errno(err, -r, "cannot make cgroup '%s'", full) : 0;
}

int cgroup_choose(struct cgroup *cg, const struct rt *rt, const struct spec *s, const char *id, struct hoy_err *err)
{
	if (rt->no_cgroup)
		return 0;
	return rt->systemd ? scope_name(s, id, &cg->scope, err) : choose_path(cg, s, id, err);
}

/* Without limits of its own; those above it hold whatever the container does there. */
static int make_below(struct cgroup *cg, const struct spec *s, struct hoy_err *err)
{
	const char *name = spec_annotation(s, "run.oci.delegate-cgroup");

	if (!name || !*name)
		return 0;
	if (!cg->all.unified)
		return hoy_fail(err, HOY_EUNSUPPORTED, "annotation run.oci.delegate-cgroup needs cgroup v2 alone");
	if (strchr(name, '/') || *name == '.')
		return hoy_fail(err, EINVAL, "annotation run.oci.delegate-cgroup: '%s' is no name", name);
	if (mkdirat(cg->v2, name, 0755) < 0 && errno != EEXIST)
		return hoy_fail_errno(err, errno, "cannot make cgroup '%s/%s'", cg->path, name);
	cg->below = name;
	cg->below_dir = openat(cg->v2, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cg->below_procs = openat(cg->below_dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	return cg->below_procs < 0 ? hoy_fail_errno(err, errno, "cannot open cgroup '%s/%s'", cg->path, name) : 0;
}

int cgroup_create(struct cgroup *cg, const struct rt *rt, const struct spec *s, const char *id, struct hoy_err *err)
{
	bool limits = cgroup_wants_limits(s->resources), any = false;

	if (rt->no_cgroup)
		return 0;
	if (hoy_cgroups_find(&cg->all, err) < 0)
		return -err->code;
	if (rt->systemd && scope_start(&cg->scope, &cg->all, s, id, &cg->path, err) < 0)
		return -err->code;
	for (size_t i = 0; i < cg->all.n; i++) {
		if (make_one(cg, i, limits && (cg->all.unified || *cg->all.h[i].name), err) < 0)
			return -err->code;
		any = any || cg->dir[i] >= 0;
	}
	if (!any) {
		free(cg->path);
		cg->path = NULL;
		return limits ? hoy_fail(err, ENOENT, "limits were asked for, but no cgroups are mounted") : 0;
	}
	if (cg->all.unified && cgroup_v2_limits(cg->dir[0], s->resources, true, err) < 0)
		return -err->code;
	if (make_below(cg, s, err) < 0)
		return -err->code;
	return cg->all.unified ? 0 : cgroup_v1_limits(cg, s->resources, true, err);
}

/* What cannot be given stays ours: the limits hold anyway. */
void cgroup_delegate(const struct cgroup *cg, const struct spec *s)
{
	int dir = cg->below_dir >= 0 ? cg->below_dir : cg->v2;
	char files[1024], *save = NULL;
	uid_t uid, gid;

	if (cg->v2 < 0 || !s->ns_new[NS_USER] || !spec_host_root(hoy_json_get(s->linux_, "uidMappings"), &uid) ||
	    !spec_host_root(hoy_json_get(s->linux_, "gidMappings"), &gid))
		return;
	if (fchownat(dir, "", uid, gid, AT_EMPTY_PATH) < 0)
		log_debug("cgroup '%s' cannot be given to user %u", cg->path, uid);
	if (hoy_read_small(AT_FDCWD, "/sys/kernel/cgroup/delegate", files, sizeof(files)) <= 0)
		snprintf(files, sizeof(files), "cgroup.procs\ncgroup.threads\ncgroup.subtree_control");
	for (char *f = strtok_r(files, "\n", &save); f; f = strtok_r(NULL, "\n", &save))
		(void)!fchownat(dir, f, uid, gid, AT_SYMLINK_NOFOLLOW);
}

int cgroup_open_existing(struct cgroup *cg, const char *path, struct hoy_err *err)
{
	if (hoy_cgroups_find(&cg->all, err) < 0)
		return -err->code;
	cg->path = strdup(path);
	if (!cg->path)
		return hoy_fail_oom(err);
	for (size_t i = 0; i < cg->all.n; i++) {
		int r = open_one(cg, i);

		if (r < 0 && r != -ENOENT && !may_go_without(r))
			return hoy_fail_errno(err, -r, "cannot open cgroup '%s%s'", cg->all.h[i].mount, path);
	}
	return 0;
}

static int reopen_one(struct cgroup *cg, size_t i, const char *path, struct hoy_err *err)
{
	char *own = cg->path;
	int r;

	hoy_close(cg->enter[i]);
	hoy_close(cg->dir[i]);
	cg->enter[i] = cg->dir[i] = -1;
	cg->path = (char *)(uintptr_t)path;
	r = open_one(cg, i);
	cg->path = own;
	return r < 0 ? hoy_fail_errno(err, -r, "cannot open cgroup '%s%s'", cg->all.h[i].mount, path) : 0;
}

int cgroup_reopen(struct cgroup *cg, const char *controller, const char *path, struct hoy_err *err)
{
	struct hoy_cgroup_hier *h = controller ? hoy_cgroups_with(&cg->all, controller) : NULL;

	if (controller && !h)
		return hoy_fail(err, ENODEV, "there is no cgroup controller '%s'", controller);
	for (size_t i = 0; i < cg->all.n; i++)
		if ((!h || h == &cg->all.h[i]) && reopen_one(cg, i, path, err) < 0)
			return -err->code;
	return 0;
}

int cgroup_enter_self(const struct cgroup *cg, struct hoy_err *err)
{
	for (size_t i = 0; i < cg->all.n; i++)
		if (cg->enter[i] >= 0 && write(cg->enter[i], "0", 1) < 0)
			return hoy_fail_errno(err, errno, "cannot enter cgroup '%s%s'", cg->all.h[i].mount, cg->path);
	return 0;
}

/* By the children's lists of the kernel, parents first: who is forked meanwhile is where its parent is. */
static int adopt(int dir, pid_t pid, int depth)
{
	char file[64], text[16], children[4096], *save = NULL;
	int r;

	snprintf(text, sizeof(text), "%d", pid);
	r = hoy_write_small(dir, "cgroup.procs", text);
	snprintf(file, sizeof(file), "/proc/%d/task/%d/children", pid, pid);
	if (r < 0 || depth == 64 || hoy_read_small(AT_FDCWD, file, children, sizeof(children)) <= 0)
		return r == -ESRCH && depth ? 0 : r;
	for (char *p = strtok_r(children, " ", &save); p && !r; p = strtok_r(NULL, " ", &save))
		r = adopt(dir, (pid_t)atoi(p), depth + 1);
	return r;
}

int cgroup_adopt(const struct cgroup *cg, pid_t pid, struct hoy_err *err)
{
	for (size_t i = 0; i < cg->all.n; i++) {
		int r = cg->dir[i] >= 0 ? adopt(cg->dir[i], pid, 0) : 0;

		if (r < 0)
			return hoy_fail_errno(err, -r, "cannot move process %d to cgroup '%s%s'", pid, cg->all.h[i].mount, cg->path);
	}
	return 0;
}

int cgroup_enter_below(const struct cgroup *cg, struct hoy_err *err)
{
	if (cg->below_procs >= 0 && write(cg->below_procs, "0", 1) < 0)
		return hoy_fail_errno(err, errno, "cannot enter cgroup '%s/%s'", cg->path, cg->below);
	return 0;
}

int cgroup_update(struct cgroup *cg, const struct hoy_json *resources, struct hoy_err *err)
{
	bool devices = hoy_json_get(resources, "devices") != NULL;

	if (cg->all.unified && cg->v2 >= 0)
		return cgroup_v2_limits(cg->v2, resources, devices, err);
	return cgroup_v1_limits(cg, resources, devices, err);
}

void cgroup_undo(struct cgroup *cg)
{
	struct hoy_err ignored = HOY_ERR_INIT;

	for (size_t i = 0; cg->path && i < cg->all.n; i++) {
		char full[PATH_MAX];

		if (!cg->made[i] || snprintf(full, sizeof(full), "%s%s", cg->all.h[i].mount, cg->path) >= (int)sizeof(full))
			continue;
		/* The process was waited for, but its tasks leave the cgroup a moment later. */
		for (int tries = 0; cg->below && unlinkat(cg->dir[i], cg->below, AT_REMOVEDIR) < 0 && errno == EBUSY && tries < 200; tries++)
			usleep(1000);
		for (int tries = 0; rmdir(full) < 0 && errno == EBUSY && tries < 200; tries++)
			usleep(1000);
	}
	if (cg->scope.helper && scope_stop(cg->scope.unit, &ignored) < 0)
		log_debug("%s", ignored.msg);
}
