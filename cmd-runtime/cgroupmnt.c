/* A mount of type cgroup: on unified hosts one file system, on others a tmpfs with a directory per hierarchy. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-runtime/mounts.h"
#include "cmd-runtime/runtime.h"
#include "common/proc/sys.h"

static int mount_on(int fd, const char *type, unsigned long flags, const char *data)
{
	char target[32];

	snprintf(target, sizeof(target), "/proc/self/fd/%d", fd);
	return mount(type, target, type, flags, data) < 0 ? -errno : 0;
}

static int bind_on(int fd, const char *source, unsigned long flags)
{
	struct sys_mount_attr a = { .set = (flags & MS_RDONLY ? MOUNT_ATTR_RDONLY : 0) | (flags & MS_NOSYMFOLLOW ? MOUNT_ATTR_NOSYMFOLLOW : 0) | MOUNT_ATTR_NOSUID |
					   MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };
	cleanup_fd int from = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | AT_RECURSIVE);

	if (from < 0 || sys_mount_setattr(from, AT_RECURSIVE, &a) < 0 || sys_attach(from, fd) < 0)
		return -errno;
	return 0;
}

static int mount_v2(const struct root *r, int target, unsigned long flags, const char *host)
{
	const struct spec *s = &r->b->spec;
	int n;

	flags |= flags & MS_RDONLY ? MS_NOSYMFOLLOW : 0; /* as crun */
	n = mount_on(target, "cgroup2", flags, NULL);

	/* Without a cgroup namespace of our user namespace the kernel gives none. */
	if ((n == -EPERM || n == -EBUSY) && (r->userns || !s->ns_new[NS_CGROUP]))
		n = bind_on(target, host, flags);
	return n;
}

static int mount_v1(const struct root *r, const struct hoy_cgroup_hier *h, int dir, unsigned long flags)
{
	const char *name = strrchr(h->mount, '/') + 1, *own = r->b->cgroup.path ? r->b->cgroup.path : h->self;
	bool ns = r->b->spec.ns_new[NS_CGROUP] && !r->userns;
	cleanup_fd int fd = -1;
	char data[128];

	if (mkdirat(dir, name, 0755) < 0)
		return -errno;
	fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (!*h->name)
		return mount_v2(r, fd, flags, h->mount);
	snprintf(data, sizeof(data), "%s%s", strncmp(h->name, "name=", 5) ? "" : "none,", h->name);
	if (!ns || mount_on(fd, "cgroup", flags, data) < 0) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s", h->mount, own);
		return bind_on(fd, path, flags);
	}
	return 0;
}

/* "cpu" and "cpuacct" beside the directory "cpu,cpuacct". */
static void link_controllers(const struct hoy_cgroup_hier *h, int dir)
{
	char name[64];

	for (const char *p = h->name; strchr(h->name, ',') && p; p = strchr(p, ','), p = p ? p + 1 : NULL) {
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(p, ","), p);
		(void)!symlinkat(strrchr(h->mount, '/') + 1, dir, name);
	}
}

/* Of the host's hierarchy, which must be mounted there too, for a systemd in the container that knows no cgroup v2. */
int cgroup_mount_systemd_v1(struct root *r, int target, struct hoy_err *err)
{
	cleanup_fd int top = -1, dir = -1;
	int n = mount_on(target, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=1024k,mode=755");

	if (!n)
		n = top = mounts_reopen(r, r->current);
	if (n >= 0)
		n = mkdirat(top, "systemd", 0755) < 0 ? -errno : 0;
	if (!n)
		n = dir = openat(top, "systemd", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (n >= 0)
		n = mount_on(dir, "cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, "none,name=systemd,xattr");
	if (n == -EPERM || n == -EBUSY)
		n = bind_on(dir, "/sys/fs/cgroup/systemd", 0);
	return n < 0 ? hoy_fail_errno(err, -n, "annotation run.oci.systemd.force_cgroup_v1: cannot mount cgroup v1's 'name=systemd'") : 0;
}

int cgroup_mount(struct root *r, int target, const struct mount_opts *o, struct hoy_err *err)
{
	cleanup_cgroups struct hoy_cgroups all = HOY_CGROUPS_INIT;
	struct sys_mount_attr ro = { .set = MOUNT_ATTR_RDONLY };
	cleanup_fd int top = -1;
	int n;

	if (hoy_cgroups_find(&all, err) < 0)
		return -err->code;
	if (all.unified) {
		n = mount_v2(r, target, o->flags, "/sys/fs/cgroup");
		return n < 0 ? hoy_fail_errno(err, -n, "cannot mount the cgroup file system") : 0;
	}
	n = mount_on(target, "tmpfs", o->flags & ~(unsigned long)MS_RDONLY, "mode=755");
	if (n < 0)
		return hoy_fail_errno(err, -n, "cannot mount a tmpfs for the cgroups");
	top = mounts_reopen(r, r->current);
	for (size_t i = 0; top >= 0 && i < all.n; i++) {
		n = mount_v1(r, &all.h[i], top, o->flags);
		if (n < 0 && n != -ENOENT)
			return hoy_fail_errno(err, -n, "cannot mount cgroup '%s'", all.h[i].name);
		link_controllers(&all.h[i], top);
	}
	if (top < 0 || (o->flags & MS_RDONLY && sys_mount_setattr(top, 0, &ro) < 0))
		return hoy_fail_errno(err, top < 0 ? -top : errno, "cannot finish the cgroup mounts");
	return 0;
}
