/*
 * The "mounts" of config.json. Targets are resolved beneath the container's root by openat2(2), and what is mounted goes
 * onto the descriptor found: whatever an image or a neighbour does with symbolic links meanwhile, nothing lands elsewhere.
 */
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "cmd-runtime/mounts.h"
#include "cmd-runtime/runtime.h"
#include "common/base/beneath.h"
#include "common/base/copytree.h"
#include "common/proc/sys.h"

/*
 * A link to something that isn't there yet ("/var/run" -> "/run"): the path with the first such link replaced by where
 * it points, in new memory; NULL if there is none. Only names are handled here; they are resolved in the root again.
 */
static char *follow_dangling(int rootfd, const char *path)
{
	for (const char *p = path; *p;) {
		size_t len = (size_t)(p - path) + strcspn(p, "/");
		cleanup_free char *prefix = strndup(path, len);
		cleanup_fd int link = -1, there = -1;
		char to[PATH_MAX];
		ssize_t n;

		p = path + len + strspn(path + len, "/");
		link = prefix ? hoy_open_beneath(rootfd, prefix, O_PATH | O_NOFOLLOW, 0, HOY_IN_ROOT) : -ENOMEM;
		n = link < 0 ? -1 : readlinkat(link, "", to, sizeof(to) - 1);
		if (link < 0)
			return NULL;
		if (n <= 0)
			continue;
		to[n] = '\0';
		there = hoy_open_beneath(rootfd, prefix, O_PATH, 0, HOY_IN_ROOT);
		if (there != -ENOENT)
			continue;
		len = strrchr(prefix, '/') ? (size_t)(strrchr(prefix, '/') - prefix) : 0;
		return *to == '/' ? hoy_asprintf("%s/%s", to + strspn(to, "/"), p)
				  : hoy_asprintf("%.*s/%s/%s", (int)len, prefix, to, p);
	}
	return NULL;
}

static int make_file(int rootfd, const char *path, struct hoy_err *err)
{
	cleanup_free char *dir = strdup(path);
	cleanup_fd int parent = -1, fd = -1;
	char *slash = dir ? strrchr(dir, '/') : NULL;

	if (!dir)
		return -ENOMEM;
	if (slash)
		*slash = '\0';
	parent = hoy_mkdir_in_root(rootfd, slash && slash > dir ? dir : ".", 0755);
	if (parent < 0)
		return parent;
	fd = openat(parent, slash ? slash + 1 : path, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0 && errno != EEXIST)
		return -errno;
	return hoy_open_beneath(rootfd, path, O_PATH, 0, HOY_IN_ROOT);
}

static int make_target(const struct root *r, const char *path, bool dir, struct hoy_err *err)
{
	cleanup_free char *now = strdup(path);
	int fd = -ENOMEM;

	for (int links = 0; now && links < 40; links++) {
		char *next;

		fd = dir ? hoy_mkdir_in_root(r->fd, now, 0755) : make_file(r->fd, now, err);
		next = fd == -ENOENT ? follow_dangling(r->fd, now) : NULL;
		if (!next)
			return fd;
		free(now);
		now = next;
		while (*now == '/')
			memmove(now, now + 1, strlen(now));
		for (size_t n = strlen(now); n && now[n - 1] == '/'; n--)
			now[n - 1] = '\0';
	}
	return now ? -ELOOP : fd;
}

int mounts_target(const struct root *r, const char *path, bool dir, bool nofollow, struct hoy_err *err)
{
	int fd;

	while (*path == '/')
		path++;
	if (!*path)
		path = ".";
	fd = hoy_open_beneath(r->fd, path, O_PATH | (nofollow ? O_NOFOLLOW : 0), 0, HOY_IN_ROOT);
	if (fd == -ENOENT)
		fd = make_target(r, path, dir, err);
	if (fd < 0)
		return hoy_fail_errno(err, -fd, "cannot make mount target '/%s'", path);
	return fd;
}

int mounts_reopen(const struct root *r, const char *path)
{
	while (*path == '/')
		path++;
	return hoy_open_beneath(r->fd, *path ? path : ".", O_PATH, 0, HOY_IN_ROOT);
}

/* mount(2) onto what FD is open on, and no other place. */
static int mount_on(int fd, const char *source, const char *type, unsigned long flags, const char *data)
{
	char target[32];

	snprintf(target, sizeof(target), "/proc/self/fd/%d", fd);
	return mount(source, target, type, flags, data && *data ? data : NULL) < 0 ? -errno : 0;
}

int mounts_open_source(const struct root *r, const struct mount_job *m, struct hoy_err *err)
{
	cleanup_free char *path = NULL;
	const char *source = m->source;
	int fd;

	if (!source || !*source)
		return hoy_fail(err, EINVAL, "bind mount on '%s' has no source", m->target);
	if (source[0] != '/') {
		path = hoy_path_join(r->b->bundle, source);
		source = path;
	}
	fd = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | (m->o.rbind ? AT_RECURSIVE : 0) |
			   (m->o.src_nofollow ? AT_SYMLINK_NOFOLLOW : 0));
	return fd < 0 ? hoy_fail_errno(err, errno, "cannot bind mount '%s' on '%s'", source, m->target) : fd;
}

int mounts_attributes(int fd, const struct mount_opts *o, const char *target, struct hoy_err *err)
{
	struct sys_mount_attr a = { .set = o->set, .clr = o->clr };
	struct sys_mount_attr rec = { .set = o->rec_set, .clr = o->rec_clr };

	/* An atime value can only be set with the whole field cleared. */
	if (a.set & MOUNT_ATTR__ATIME)
		a.clr |= MOUNT_ATTR__ATIME;
	if ((a.set || a.clr) && sys_mount_setattr(fd, 0, &a) < 0)
		return hoy_fail_errno(err, errno, "cannot set the options of the mount on '%s'", target);
	if ((rec.set || rec.clr) && sys_mount_setattr(fd, AT_RECURSIVE, &rec) < 0)
		return hoy_fail_errno(err, errno, "cannot set the recursive options of the mount on '%s'", target);
	return 0;
}

static int set_propagation(int fd, unsigned long p, const char *target, struct hoy_err *err)
{
	struct sys_mount_attr a = { .propagation = p & ~(unsigned long)MS_REC };

	if (!p || sys_mount_setattr(fd, p & MS_REC ? AT_RECURSIVE : 0, &a) == 0)
		return 0;
	return hoy_fail_errno(err, errno, "cannot set the propagation of '%s'", target);
}

/* With "copy-symlink", a link is made where a link is the source: 1; 0: it is none. */
static int copy_link(const struct root *r, const struct mount_job *m, struct hoy_err *err)
{
	char to[PATH_MAX], now[PATH_MAX];
	ssize_t n = m->source ? readlink(m->source, to, sizeof(to) - 1) : -1, k;
	cleanup_free char *dir = NULL, *above = NULL;
	cleanup_fd int parent = -1;
	const char *name;

	if (n < 0)
		return 0;
	to[n] = '\0';
	dir = strdup(m->target);
	if (!dir)
		return hoy_fail_oom(err);
	for (size_t len = strlen(dir); len > 1 && dir[len - 1] == '/'; len--)
		dir[len - 1] = '\0';
	name = strrchr(dir, '/') ? strrchr(dir, '/') + 1 : dir;
	above = strndup(dir, (size_t)(name - dir));
	parent = above ? hoy_mkdir_in_root(r->fd, *above ? above : ".", 0755) : -ENOMEM;
	if (parent < 0)
		return hoy_fail_errno(err, -parent, "cannot make the directory of '%s'", m->target);
	if (!symlinkat(to, parent, name))
		return 1;
	k = errno == EEXIST ? readlinkat(parent, name, now, sizeof(now)) : -1;
	if (k == n && !memcmp(now, to, (size_t)n))
		return 1;
	return hoy_fail_errno(err, EEXIST, "cannot make a link of '%s'", m->target);
}

static int do_bind(const struct root *r, struct mount_job *m, struct hoy_err *err)
{
	cleanup_fd int from = -1, to = -1;
	struct stat st;
	int copied = m->o.copy_link ? copy_link(r, m, err) : 0;

	if (copied)
		return copied < 0 ? copied : 0;
	from = m->fd >= 0 ? steal_fd(&m->fd) : mounts_open_source(r, m, err);
	if (from < 0)
		return from;
	if (fstat(from, &st) < 0)
		return hoy_fail_errno(err, errno, "cannot stat '%s'", m->source);
	to = mounts_target(r, m->target, S_ISDIR(st.st_mode), m->o.dest_nofollow, err);
	if (to < 0)
		return to;
	if (mounts_attributes(from, &m->o, m->target, err) < 0)
		return -err->code;
	if (sys_attach(from, to) < 0)
		return hoy_fail_errno(err, errno, "cannot bind mount '%s' on '%s'", m->source, m->target);
	return set_propagation(from, m->o.propagation, m->target, err);
}

static int remount(int to, struct mount_job *m, struct hoy_err *err)
{
	int r = mount_on(to, NULL, NULL, m->o.flags | MS_REMOUNT | MS_BIND, NULL);

	return r < 0 ? hoy_fail_errno(err, -r, "cannot remount '%s'", m->target) : 0;
}

/* A new sysfs needs a network namespace of our own user namespace; without one the host's is bound. */
static int bind_instead(const struct mount_job *m, int to)
{
	const char *source = !strcmp(m->type, "sysfs") ? "/sys" : !strcmp(m->type, "mqueue") ? "/dev/mqueue"
			     : !strcmp(m->type, "proc") ? "/proc" : NULL;
	struct sys_mount_attr top = { .set = m->o.set & ~(uint64_t)MOUNT_ATTR__ATIME }, all = { .set = m->o.set & MOUNT_ATTR_RDONLY };
	cleanup_fd int from = source ? sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | AT_RECURSIVE) : -1;

	if (from < 0 || sys_mount_setattr(from, 0, &top) < 0 || (all.set && sys_mount_setattr(from, AT_RECURSIVE, &all) < 0))
		return -EPERM;
	return sys_attach(from, to) < 0 ? -EPERM : 0;
}

/* One instance serves many mounts, in other containers too: only the mount may become read-only. */
static bool is_shared_fs(const char *type)
{
	return !strcmp(type, "proc") || !strcmp(type, "sysfs") || !strcmp(type, "mqueue");
}

static bool has_option(const char *data, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = data; *p; p += strcspn(p, ","), p += *p == ',')
		if (!strncmp(p, name, len))
			return true;
	return false;
}

static int mount_fs(const struct root *r, struct mount_job *m, int to, struct hoy_err *err)
{
	unsigned long flags = m->o.flags;
	int n;

	m->late_ro = flags & MS_RDONLY && !strcmp(m->type, "tmpfs");
	if (m->late_ro || is_shared_fs(m->type))
		flags &= ~(unsigned long)MS_RDONLY;
	/* Not the kernel's 1777: what engines expect of a directory. */
	if (!strcmp(m->type, "tmpfs") && !has_option(hoy_buf_str(&m->o.data), "mode="))
		hoy_buf_printf(&m->o.data, "%smode=755", m->o.data.len ? "," : "");
	if (r->label && strcmp(m->type, "proc") && strcmp(m->type, "sysfs") && strncmp(m->type, "cgroup", 6))
		hoy_buf_printf(&m->o.data, "%scontext=\"%s\"", m->o.data.len ? "," : "", r->label);
	n = mount_on(to, m->source ? m->source : m->type, m->type, flags, hoy_buf_str(&m->o.data));
	/* In a user namespace a sysfs, proc or mqueue of a namespace that isn't ours cannot be made. */
	if ((n == -EPERM || n == -EBUSY) && r->userns)
		n = bind_instead(m, to);
	return n < 0 ? hoy_fail_errno(err, -n, "cannot mount '%s' on '%s'", m->type, m->target) : 0;
}

static int do_fs(struct root *r, struct mount_job *m, struct hoy_err *err)
{
	bool kernel_fs = !strcmp(m->type, "proc") || !strcmp(m->type, "sysfs");
	cleanup_fd int to = mounts_target(r, m->target, true, kernel_fs, err), now = -1;
	struct stat st;
	int copied;
	bool ro;

	if (to < 0)
		return to;
	/* CVE-2019-19921: a link in the image's place of /proc would carry it elsewhere, with a fake one left for us. */
	if (kernel_fs && (fstat(to, &st) < 0 || !S_ISDIR(st.st_mode)))
		return hoy_fail(err, ENOTDIR, "mount target '%s' of a %s is no directory", m->target, m->type);
	if (!strncmp(m->type, "cgroup", 6))
		return cgroup_mount(r, to, &m->o, err);
	if (m->o.flags & MS_REMOUNT)
		return remount(to, m, err);
	if (mount_fs(r, m, to, err) < 0)
		return -err->code;
	ro = m->o.flags & MS_RDONLY && is_shared_fs(m->type);
	if (!m->o.propagation && !m->o.copyup && !m->o.rec_set && !m->o.rec_clr && !ro)
		return 0;
	now = mounts_reopen(r, m->target);
	if (now < 0)
		return hoy_fail_errno(err, -now, "cannot open '%s' again", m->target);
	if (m->o.copyup && !strcmp(m->type, "tmpfs") && (copied = hoy_copy_tree(to, now, true)) < 0)
		return hoy_fail_errno(err, -copied, "cannot copy up into a tmpfs");
	m->o.set = ro ? MOUNT_ATTR_RDONLY : 0; /* mount(2) had the rest */
	m->o.clr = 0;
	if (mounts_attributes(now, &m->o, m->target, err) < 0)
		return -err->code;
	return set_propagation(now, m->o.propagation, m->target, err);
}

static int parse_job(const struct hoy_json *j, struct mount_job *m, struct hoy_err *err)
{
	m->json = j;
	m->source = hoy_json_str(j, "source");
	m->target = hoy_json_str(j, "destination");
	m->type = hoy_json_str(j, "type");
	m->fd = -1;
	if (!m->target || !*m->target)
		return hoy_fail(err, EINVAL, "a mount has no destination");
	if (mountopts_parse(hoy_json_get(j, "options"), &m->o, err) < 0)
		return -err->code;
	if (m->type && !strcmp(m->type, "bind"))
		m->o.bind = true;
	if (!m->type || !*m->type)
		m->type = m->o.bind ? "bind" : "none";
	return 0;
}

static bool is_cgroup(const struct mount_job *m)
{
	return !m->o.bind && !strncmp(m->type, "cgroup", 6);
}

int mounts_parse(struct mount_jobs *jobs, const struct hoy_json *list, struct hoy_err *err)
{
	jobs->v = calloc(list ? list->count + 1 : 1, sizeof(*jobs->v));
	if (!jobs->v)
		return hoy_fail_oom(err);
	HOY_JSON_EACH(j, list)
		if (parse_job(j, &jobs->v[jobs->n++], err) < 0)
			return -err->code;
	return 0;
}

void mounts_release(struct mount_jobs *jobs)
{
	for (size_t i = 0; i < jobs->n; i++) {
		hoy_close(jobs->v[i].fd);
		hoy_buf_release(&jobs->v[i].o.data);
	}
	free(jobs->v);
	*jobs = (struct mount_jobs){ NULL, 0 };
}

static int mount_one(struct root *r, struct mount_job *m, struct hoy_err *err)
{
	const char *v1 = spec_annotation(&r->b->spec, "run.oci.systemd.force_cgroup_v1");
	cleanup_fd int to = -1;

	r->current = m->target;
	if (!v1 || strcmp(v1, m->target))
		return m->o.bind && !is_cgroup(m) ? do_bind(r, m, err) : do_fs(r, m, err);
	to = mounts_target(r, m->target, true, true, err);
	return to < 0 ? to : cgroup_mount_systemd_v1(r, to, err);
}

int mounts_all(struct root *r, struct hoy_err *err)
{
	for (size_t i = 0; i < r->jobs->n; i++)
		if (mount_one(r, &r->jobs->v[i], err) < 0)
			return -err->code;
	return 0;
}

int mounts_finish(const struct root *r, struct hoy_err *err)
{
	struct sys_mount_attr ro = { .set = MOUNT_ATTR_RDONLY };

	for (size_t i = 0; i < r->jobs->n; i++) {
		const struct mount_job *m = &r->jobs->v[i];
		cleanup_fd int fd = -1;

		if (!m->late_ro)
			continue;
		fd = mounts_reopen(r, m->target);
		if (fd < 0 || sys_mount_setattr(fd, 0, &ro) < 0)
			return hoy_fail_errno(err, fd < 0 ? -fd : errno, "cannot make '%s' read-only", m->target);
	}
	return 0;
}
