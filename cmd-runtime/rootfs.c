/* The container's root directory: made a mount of its own, filled, hidden paths covered, and pivoted into. */
#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "cmd-runtime/mounts.h"
#include "cmd-runtime/runtime.h"
#include "common/base/beneath.h"
#include "common/proc/sys.h"

static int open_proc(struct root *r, struct hoy_err *err)
{
	struct statfs fs;

	r->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r->proc < 0 || fstatfs(r->proc, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
		return hoy_fail(err, ENODEV, "'/proc' of the host is no procfs");
	return 0;
}

static int choose_label(struct root *r, const struct spec *s, struct hoy_err *err)
{
	r->label = hoy_json_str(s->linux_, "mountLabel");
	if (r->label && !*r->label)
		r->label = NULL;
	if (r->label && !selinux_enabled())
		return hoy_fail(err, HOY_EUNSUPPORTED, "linux.mountLabel is set, but the kernel has no SELinux");
	return 0;
}

/* While we still are the host's user, to whom the sources are accessible; as the container's root they may not be. */
static int open_sources(struct root *r, struct hoy_err *err)
{
	for (size_t i = 0; r->userns && i < r->jobs->n; i++) {
		struct mount_job *m = &r->jobs->v[i];

		if (!m->o.bind || m->fd >= 0)
			continue;
		m->fd = mounts_open_source(r, m, err);
		if (m->fd < 0)
			return -err->code;
	}
	return 0;
}

static int become_root(struct root *r, struct hoy_err *err)
{
	const struct process *p = &r->b->spec.process;

	if (!r->userns)
		return 0;
	if (syscall(SYS_setresgid, 0, 0, 0) < 0 && syscall(SYS_setresgid, p->gid, p->gid, p->gid) < 0)
		return hoy_fail_errno(err, errno, "cannot become the group of root in the user namespace");
	if (syscall(SYS_setresuid, 0, 0, 0) < 0 && syscall(SYS_setresuid, p->uid, p->uid, p->uid) < 0)
		return hoy_fail_errno(err, errno, "cannot become root in the user namespace");
	init_die_with_parent(r->b);
	if (r->b->spec.ns_new[NS_IPC] && unshare(CLONE_NEWIPC) < 0)
		return hoy_fail_errno(err, errno, "cannot make an ipc namespace");
	return 0;
}

int rootfs_prepare(struct root *r, struct hoy_err *err)
{
	const struct spec *s = &r->b->spec;
	unsigned long p = !s->propagation || s->propagation & MS_PRIVATE ? MS_PRIVATE : MS_SLAVE;
	const char *path = r->b->state.rootfs;
	struct sys_mount_attr alone = { .propagation = MS_PRIVATE };
	cleanup_fd int tree = -1, below = -1;
	struct stat st;

	umask(0);
	/* What we mount stays here; what the host mounts comes in only if config.json asks for shared or slave. */
	if (mount(NULL, "/", NULL, MS_REC | p, NULL) < 0)
		return hoy_fail_errno(err, errno, "cannot change the propagation of mounts");
	if (open_proc(r, err) < 0 || choose_label(r, s, err) < 0 || open_sources(r, err) < 0)
		return -err->code;
	below = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (below < 0 || fstat(below, &st) < 0)
		return hoy_fail_errno(err, errno, "cannot open root directory '%s'", path);
	tree = sys_open_tree(below, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | AT_RECURSIVE);
	if (tree < 0 || sys_mount_setattr(tree, AT_RECURSIVE, &alone) < 0 || sys_attach(tree, below) < 0)
		return hoy_fail_errno(err, errno, "cannot mount root directory '%s'", path);
	r->fd = steal_fd(&tree);
	return become_root(r, err);
}

/* The container's own null device; anything else in its place would show, or take, what should be hidden. */
static int open_null(struct root *r, struct hoy_err *err)
{
	struct stat st;

	if (r->null >= 0)
		return 0;
	r->null = hoy_open_beneath(r->fd, "dev/null", O_PATH | O_NOFOLLOW, 0, HOY_IN_ROOT);
	if (r->null < 0 || fstat(r->null, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return hoy_fail(err, EPERM, "'/dev/null' in the container is not the null device");
	return 0;
}

static int new_empty(const struct root *r)
{
	cleanup_fd int fs = (int)syscall(SYS_fsopen, "tmpfs", 1 /* FSOPEN_CLOEXEC */);
	enum { SET_STRING = 1, CREATE = 6 };

	if (fs < 0)
		return -errno;
	syscall(SYS_fsconfig, fs, SET_STRING, "mode", "755", 0);
	syscall(SYS_fsconfig, fs, SET_STRING, "nr_blocks", "1", 0);
	if (r->label)
		syscall(SYS_fsconfig, fs, SET_STRING, "context", r->label, 0);
	if (syscall(SYS_fsconfig, fs, CREATE, NULL, NULL, 0) < 0)
		return -errno;
	return (int)syscall(SYS_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */,
			    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

/* One empty directory serves all: attached for the first, cloned from there for the others. */
static int mask_directory(const struct root *r, int target, int *empty)
{
	cleanup_fd int copy = -1;

	if (*empty < 0) {
		*empty = new_empty(r);
		return *empty < 0 ? -1 : sys_attach(*empty, target);
	}
	copy = sys_open_tree(*empty, "", AT_EMPTY_PATH | OPEN_TREE_CLONE);
	return copy < 0 ? -1 : sys_attach(copy, target);
}

static int mask_file(const struct root *r, int target)
{
	/* Read-only, so that nobody changes mode or owner of the device by way of the masked name. */
	struct sys_mount_attr a = { .set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC };
	cleanup_fd int copy = sys_open_tree(r->null, "", AT_EMPTY_PATH | OPEN_TREE_CLONE);

	return copy < 0 || sys_mount_setattr(copy, 0, &a) < 0 ? -1 : sys_attach(copy, target);
}

static int open_listed(const struct root *r, const struct hoy_json *j, struct hoy_err *err)
{
	const char *path = hoy_json_text(j);
	int fd;

	if (!path || path[0] != '/')
		return hoy_fail(err, EINVAL, "a masked or read-only path must be absolute");
	fd = hoy_open_beneath(r->fd, path, O_PATH, 0, HOY_IN_ROOT);
	if (fd == -ENOENT || fd == -ENOTDIR || (fd == -EACCES && r->userns))
		return -ENOENT;
	return fd < 0 ? hoy_fail_errno(err, -fd, "cannot open '%s' to protect it", path) : fd;
}

static int mask_all(struct root *r, const struct hoy_json *list, struct hoy_err *err)
{
	cleanup_fd int empty = -1;

	HOY_JSON_EACH(j, list) {
		cleanup_fd int fd = open_listed(r, j, err);
		struct stat st;

		if (fd == -ENOENT)
			continue;
		if (fd < 0)
			return fd;
		if (fstat(fd, &st) < 0)
			return hoy_fail_errno(err, errno, "cannot stat '%s'", j->str);
		if (!S_ISDIR(st.st_mode) && open_null(r, err) < 0)
			return -err->code;
		if ((S_ISDIR(st.st_mode) ? mask_directory(r, fd, &empty) : mask_file(r, fd)) < 0)
			return hoy_fail_errno(err, errno, "cannot mask '%s'", j->str);
	}
	return 0;
}

static int protect_all(struct root *r, const struct hoy_json *list, struct hoy_err *err)
{
	struct sys_mount_attr a = { .set = MOUNT_ATTR_RDONLY };

	HOY_JSON_EACH(j, list) {
		cleanup_fd int fd = open_listed(r, j, err), copy = -1;

		if (fd == -ENOENT)
			continue;
		if (fd < 0)
			return fd;
		copy = sys_open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | AT_RECURSIVE);
		if (copy < 0 || sys_mount_setattr(copy, AT_RECURSIVE, &a) < 0 || sys_attach(copy, fd) < 0)
			return hoy_fail_errno(err, errno, "cannot make '%s' read-only", j->str);
	}
	return 0;
}

int rootfs_paths(struct root *r, struct hoy_err *err)
{
	const struct spec *s = &r->b->spec;
	struct sys_mount_attr ro = { .set = MOUNT_ATTR_RDONLY };

	if (protect_all(r, hoy_json_get(s->linux_, "readonlyPaths"), err) < 0 ||
	    mask_all(r, hoy_json_get(s->linux_, "maskedPaths"), err) < 0)
		return -err->code;
	if (s->readonly && sys_mount_setattr(r->fd, 0, &ro) < 0)
		return hoy_fail_errno(err, errno, "cannot make the root directory read-only");
	return 0;
}

int rootfs_pivot(struct root *r, struct hoy_err *err)
{
	unsigned long p = r->b->spec.propagation;

	if (fchdir(r->fd) < 0)
		return hoy_fail_errno(err, errno, "cannot enter the root directory");
	if (r->b->no_pivot) {
		if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0)
			return hoy_fail_errno(err, errno, "cannot move to the root directory");
	} else {
		/* Onto itself: the old root then lies on top of the new one and is taken off. */
		if (syscall(SYS_pivot_root, ".", ".") < 0)
			return hoy_fail_errno(err, errno, "cannot pivot into the root directory");
		if (umount2(".", MNT_DETACH) < 0)
			return hoy_fail_errno(err, errno, "cannot unmount the old root");
	}
	if (chdir("/") < 0)
		return hoy_fail_errno(err, errno, "cannot enter the new root");
	if (p && mount(NULL, "/", NULL, p, NULL) < 0)
		return hoy_fail_errno(err, errno, "cannot set linux.rootfsPropagation");
	return 0;
}
