/* /dev: the default devices, those of linux.devices, and the usual links. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cmd-runtime/mounts.h"
#include "cmd-runtime/runtime.h"
#include "common/base/beneath.h"
#include "common/proc/sys.h"

static const struct { const char *path; unsigned major, minor; } defaults[] = {
	{ "dev/null", 1, 3 },	{ "dev/zero", 1, 5 },	 { "dev/full", 1, 7 },
	{ "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 },
};

static const struct { const char *name, *to; } links[] = {
	{ "fd", "/proc/self/fd" },	 { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" },
	{ "stderr", "/proc/self/fd/2" }, { "core", "/proc/kcore" },	 { "ptmx", "pts/ptmx" },
};

const char *dev_default(size_t i)
{
	return i < ARRAY_SIZE(defaults) ? defaults[i].path : NULL;
}

struct device {
	const char *path; /* without leading slash */
	mode_t mode;	  /* with type */
	dev_t dev;
	uid_t uid;
	gid_t gid;
};

/* Where nodes cannot be made: the host's, bound. */
static int bind_device(const struct root *r, const struct device *d, struct hoy_err *err)
{
	cleanup_free char *host = hoy_asprintf("/%s", d->path);
	cleanup_fd int from = host ? sys_open_tree(AT_FDCWD, host, OPEN_TREE_CLONE) : -1, to = -1;
	struct sys_mount_attr a = { .set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC };
	struct stat st;

	if (from < 0 || fstat(from, &st) < 0)
		return hoy_fail_errno(err, errno, "cannot bind device '/%s'", d->path);
	if ((st.st_mode & S_IFMT) != (d->mode & S_IFMT) || st.st_rdev != d->dev)
		return hoy_fail(err, ENODEV, "'/%s' of the host is another device", d->path);
	to = mounts_target(r, d->path, false, false, err);
	if (to < 0)
		return to;
	return sys_mount_setattr(from, 0, &a) < 0 || sys_attach(from, to) < 0 ? hoy_fail_errno(err, errno, "cannot bind device '/%s'", d->path) : 0;
}

static int set_owner(int dir, const char *name, const struct device *d, struct hoy_err *err)
{
	return fchownat(dir, name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) < 0
		       ? hoy_fail_errno(err, errno, "cannot change the owner of '/%s'", d->path) : 0;
}

static int make_node(const struct root *r, int dir, const char *name, const struct device *d, struct hoy_err *err)
{
	struct stat st;

	if (!mknodat(dir, name, d->mode, d->dev))
		return d->uid || d->gid ? set_owner(dir, name, d, err) : 0;
	if (errno == EPERM || errno == EACCES)
		return bind_device(r, d, err);
	if (errno != EEXIST)
		return hoy_fail_errno(err, errno, "cannot make device '/%s'", d->path);
	/* The image brought something of that name: if it isn't the device, the device goes on top. */
	if (!fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) && (st.st_mode & S_IFMT) == (d->mode & S_IFMT) &&
	    st.st_rdev == d->dev) {
		/* One of the defaults that config.json wants otherwise. The image's may be on a read-only file system. */
		if (st.st_mode != d->mode && fchmodat(dir, name, d->mode & 07777, 0) < 0 && errno != EROFS)
			return hoy_fail_errno(err, errno, "cannot change the mode of '/%s'", d->path);
		return st.st_uid != d->uid || st.st_gid != d->gid ? set_owner(dir, name, d, err) : 0;
	}
	if (S_ISLNK(st.st_mode) && unlinkat(dir, name, 0) == 0)
		return make_node(r, dir, name, d, err);
	return bind_device(r, d, err);
}

static int make_device(const struct root *r, const struct device *d, int devdir, struct hoy_err *err)
{
	cleanup_fd int parent = -1;
	cleanup_free char *dir = NULL;
	char *slash;

	if (r->userns)
		return bind_device(r, d, err);
	if (!strncmp(d->path, "dev/", 4) && !strchr(d->path + 4, '/'))
		return make_node(r, devdir, d->path + 4, d, err);
	dir = strdup(d->path);
	slash = dir ? strrchr(dir, '/') : NULL;
	if (slash)
		*slash = '\0';
	parent = hoy_mkdir_in_root(r->fd, slash ? dir : ".", 0755);
	if (parent < 0)
		return hoy_fail_errno(err, -parent, "cannot make the directory of device '/%s'", d->path);
	return make_node(r, parent, slash ? slash + 1 : d->path, d, err);
}

static int parse_device(const struct hoy_json *j, struct device *d, struct hoy_err *err)
{
	const char *path = hoy_json_str(j, "path"), *type = hoy_json_str(j, "type");

	if (!path || path[0] != '/' || !path[1] || !type)
		return hoy_fail(err, EINVAL, "linux.devices: an entry needs type and absolute path");
	while (*path == '/')
		path++;
	d->path = path;
	d->mode = (mode_t)hoy_json_int(j, "fileMode", 0666) & 07777;
	d->uid = (uid_t)hoy_json_int(j, "uid", 0);
	d->gid = (gid_t)hoy_json_int(j, "gid", 0);
	d->dev = makedev((unsigned)hoy_json_int(j, "major", 0), (unsigned)hoy_json_int(j, "minor", 0));
	if (!strcmp(type, "c") || !strcmp(type, "u"))
		d->mode |= S_IFCHR;
	else if (!strcmp(type, "b"))
		d->mode |= S_IFBLK;
	else if (!strcmp(type, "p"))
		d->mode |= S_IFIFO, d->dev = 0;
	else
		return hoy_fail(err, EINVAL, "linux.devices: unknown type '%s' of '/%s'", type, path);
	return 0;
}

static int make_links(int dir, struct hoy_err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		struct stat st;

		if (!symlinkat(links[i].to, dir, links[i].name))
			continue;
		if (errno != EEXIST)
			return hoy_fail_errno(err, errno, "cannot make link '/dev/%s'", links[i].name);
		/* A ptmx node of the image would be another instance's. */
		if (strcmp(links[i].name, "ptmx") || fstatat(dir, "ptmx", &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    S_ISLNK(st.st_mode))
			continue;
		if (unlinkat(dir, "ptmx", 0) < 0 || symlinkat("pts/ptmx", dir, "ptmx") < 0)
			return hoy_fail_errno(err, errno, "cannot replace '/dev/ptmx'");
	}
	return 0;
}

int dev_setup(struct root *r, struct hoy_err *err)
{
	cleanup_fd int dir = hoy_mkdir_in_root(r->fd, "dev", 0755);

	if (dir < 0)
		return hoy_fail_errno(err, -dir, "cannot open '/dev' in the container");
	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
		struct device d = { defaults[i].path, S_IFCHR | 0666, makedev(defaults[i].major, defaults[i].minor), 0, 0 };

		if (make_device(r, &d, dir, err) < 0)
			return -err->code;
	}
	HOY_JSON_EACH(j, hoy_json_get(r->b->spec.linux_, "devices")) {
		struct device d;

		if (parse_device(j, &d, err) < 0 || make_device(r, &d, dir, err) < 0)
			return -err->code;
	}
	if (make_links(dir, err) < 0)
		return -err->code;
	return mounts_finish(r, err);
}
