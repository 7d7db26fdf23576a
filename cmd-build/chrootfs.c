/* cmd-build/chrootfs.c: what a command with the isolation chroot sees: mounts, and copies of our files. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-build/chroot_in.h"
#include "cmd-build/mounts.h"
#include "common/base/beneath.h"
#include "common/base/buf.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/proc/sys.h"

void chroot_give_up(const char *what, const char *which)
{
	hoy_error("cannot %s '%s': %s", what, which, strerror(errno));
	_exit(125);
}

/* A directory, or with FILE a file, to mount something on at PATH, which the container chose. */
static int mount_point(int root, const char *path, bool file)
{
	cleanup_free char *dir = strdup(path);
	char *slash = dir ? strrchr(dir, '/') : NULL;
	cleanup_fd int parent = -1;
	int fd = hoy_open_beneath(root, path, O_PATH, 0, HOY_IN_ROOT);

	if (fd >= 0 || !dir)
		return fd;
	if (!file)
		return hoy_mkdir_in_root(root, path, 0755);
	if (slash)
		*slash = '\0';
	parent = hoy_mkdir_in_root(root, slash && *dir ? dir : "/", 0755);
	if (parent < 0)
		return parent;
	hoy_close(openat(parent, slash ? slash + 1 : dir, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
	return hoy_open_beneath(root, path, O_PATH, 0, HOY_IN_ROOT);
}

/* SOURCE, with all that is mounted beneath it, at TARGET of ROOT. */
static void bind_at(int root, const char *source, const char *target, bool rdonly)
{
	cleanup_fd int from = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | AT_RECURSIVE), to = -1;
	struct sys_mount_attr ro = { .set = MOUNT_ATTR_RDONLY };
	struct stat st;

	if (from < 0 || fstat(from, &st) < 0)
		chroot_give_up("mount", source);
	if (rdonly && sys_mount_setattr(from, AT_RECURSIVE, &ro) < 0)
		chroot_give_up("make read-only", source);
	to = mount_point(root, target, !S_ISDIR(st.st_mode));
	if (to < 0) {
		errno = -to;
		chroot_give_up("make a mount point for", target);
	}
	if (sys_attach(from, to) < 0)
		chroot_give_up("mount at", target);
}

static void mount_tmpfs(int root, const struct run_mount *m)
{
	cleanup_buf struct hoy_buf opts = HOY_BUF_INIT(4096);
	cleanup_fd int to = mount_point(root, m->target, false);
	char path[40];

	for (size_t i = 0; i < m->options.n; i++)
		if (!strncmp(m->options.v[i], "size=", 5) || !strncmp(m->options.v[i], "mode=", 5))
			hoy_buf_printf(&opts, "%s%s", opts.len ? "," : "", m->options.v[i]);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", to);
	if (to < 0 || mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV | (m->rdonly ? MS_RDONLY : 0), hoy_buf_str(&opts)) < 0)
		chroot_give_up("mount a tmpfs at", m->target);
}

/* Our devices, but nobody makes or runs any. */
static void mount_dev(int root)
{
	cleanup_fd int from = sys_open_tree(AT_FDCWD, "/dev", OPEN_TREE_CLONE | AT_RECURSIVE), to = mount_point(root, "/dev", false);
	struct sys_mount_attr attr = { .set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC };

	if (from < 0 || to < 0 || sys_mount_setattr(from, 0, &attr) < 0 || sys_attach(from, to) < 0)
		chroot_give_up("mount", "/dev");
}

/* What tells of the machine, or changes it, is not a build's affair, even if it's root's. */
static void mask(int root)
{
	static const char *const files[] = { "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/proc/interrupts" },
			  *const dirs[] = { "/proc/acpi", "/proc/scsi", "/sys/firmware" },
			  *const fixed[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (hoy_exists(root, files[i] + 1))
			bind_at(root, "/dev/null", files[i], false);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		struct run_mount m = { .target = (char *)dirs[i], .rdonly = true, .options = HOY_STRV_INIT };

		if (hoy_exists(root, dirs[i] + 1))
			mount_tmpfs(root, &m);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
		cleanup_fd int at = openat(root, fixed[i] + 1, O_PATH | O_CLOEXEC);
		char path[40];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", at);
		if (at >= 0)
			bind_at(root, path, fixed[i], true);
	}
}

static void mount_volumes(int root, const struct chroot_cmd *c)
{
	for (size_t i = 0; i < c->volumes.n; i++) {
		cleanup_strv struct hoy_strv parts = HOY_STRV_INIT;

		hoy_strv_split(&parts, c->volumes.v[i], ':');
		if (parts.n >= 2)
			bind_at(root, parts.v[0], parts.v[1], parts.n > 2 && !strcmp(parts.v[2], "ro"));
	}
	for (size_t i = 0; c->mounts && i < c->mounts->n; i++) {
		const struct run_mount *m = &c->mounts->v[i];

		if (m->source)
			bind_at(root, m->source, m->target, m->rdonly);
		else
			mount_tmpfs(root, m);
	}
}

/* Our own processes alone, if the kernel lets us; else those of whoever started us are seen, too. */
static void mount_proc(int root, bool own_pids)
{
	cleanup_fd int to = mount_point(root, "/proc", false);
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", to);
	if (to >= 0 && own_pids && !mount("proc", path, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		return;
	bind_at(root, "/proc", "/proc", false);
}

/* TEXT as the file NAME of the file system FS, at /etc/NAME. */
static void put_file(int root, int fs, const char *name, const struct hoy_buf *text)
{
	cleanup_fd int file = openat(fs, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	cleanup_free char *target = hoy_asprintf("/etc/%s", name);
	char path[40];

	if (file < 0 || !target || hoy_write_full(file, text->data, text->len) < 0 || fchmod(file, 0644) < 0)
		chroot_give_up("write /etc/", name);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	bind_at(root, path, target, false);
}

/* Our own /etc/NAME, into RET; false if there is none. */
static bool own_file(const char *name, struct hoy_buf *ret)
{
	cleanup_free char *path = hoy_asprintf("/etc/%s", name), *text = NULL;
	size_t len;

	if (!path || hoy_read_file(AT_FDCWD, path, 1 << 20, &text, &len, NULL) < 0)
		return false;
	hoy_buf_add(ret, text, len);
	return true;
}

static void put_hosts(int root, int fs, const struct chroot_cmd *c)
{
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(2 << 20);

	(void)own_file("hosts", &text);
	for (size_t i = 0; i < c->hosts.n; i++) {
		const char *colon = strchr(c->hosts.v[i], ':');

		if (colon)
			hoy_buf_printf(&text, "%s\t%.*s\n", colon + 1, (int)(colon - c->hosts.v[i]), c->hosts.v[i]);
	}
	put_file(root, fs, "hosts", &text);
}

/*
 * Copies: what a command writes there is not ours. In a tmpfs that is only mounted, where nothing is yet, until its files are at their places:
 * nobody has to clean up.
 */
static void mount_copies(int root, const struct chroot_cmd *c)
{
	cleanup_buf struct hoy_buf resolv = HOY_BUF_INIT(2 << 20);
	cleanup_fd int below = mount_point(root, "/sys", false), fs = -1;
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", below);
	if (below < 0 || mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "size=4m") < 0)
		chroot_give_up("mount a tmpfs at", "/sys");
	fs = mount_point(root, "/sys", false);
	if (!c->no_hosts)
		put_hosts(root, fs, c);
	if (own_file("resolv.conf", &resolv))
		put_file(root, fs, "resolv.conf", &resolv);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fs);
	if (umount2(path, MNT_DETACH) < 0)
		chroot_give_up("unmount", "/sys");
}

void chroot_enter(const struct chroot_cmd *c, bool own_pids)
{
	cleanup_fd int tree = -1, root = -1;

	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		chroot_give_up("keep mounts to ourselves below", "/");
	/* A mount point of its own, as pivot_root(2) wants it. */
	tree = sys_open_tree(AT_FDCWD, c->root, OPEN_TREE_CLONE);
	root = open(c->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (tree < 0 || root < 0 || sys_attach(tree, root) < 0)
		chroot_give_up("mount", c->root);
	mount_copies(tree, c);
	mount_dev(tree);
	bind_at(tree, "/sys", "/sys", true);
	mount_proc(tree, own_pids);
	mask(tree);
	mount_volumes(tree, c);
	if (fchdir(tree) < 0)
		chroot_give_up("go to", c->root);
	if (c->no_pivot || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0) {
		/* Where our own root is none that can be put away. */
		if (fchdir(tree) < 0 || chroot(".") < 0)
			chroot_give_up("change the root to", c->root);
	}
	if (chdir("/") < 0)
		chroot_give_up("go to", "/");
}
