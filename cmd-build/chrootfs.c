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
#include "common/conf/dirs.h"
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
static void bind_with(int root, const char *source, const char *target, uint64_t flags)
{
	cleanup_fd int from = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | AT_RECURSIVE), to = -1;
	struct sys_mount_attr attr = { .set = flags };
	struct stat st;

	if (from < 0 || fstat(from, &st) < 0)
		chroot_give_up("mount", source);
	if (flags && sys_mount_setattr(from, AT_RECURSIVE, &attr) < 0)
		chroot_give_up("change the mount of", source);
	to = mount_point(root, target, !S_ISDIR(st.st_mode));
	if (to < 0) {
		errno = -to;
		chroot_give_up("make a mount point for", target);
	}
	if (sys_attach(from, to) < 0)
		chroot_give_up("mount at", target);
}

static void bind_at(int root, const char *source, const char *target, bool rdonly)
{
	bind_with(root, source, target, rdonly ? MOUNT_ATTR_RDONLY : 0);
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

/* Nothing is seen of PATH, if it is there. */
static void hide(int root, const char *path)
{
	struct run_mount m = { .target = (char *)path, .rdonly = true, .options = HOY_STRV_INIT };
	cleanup_fd int at = hoy_open_beneath(root, path, O_PATH, 0, HOY_IN_ROOT);
	struct stat st;

	if (at < 0 || fstat(at, &st) < 0)
		return;
	if (S_ISDIR(st.st_mode))
		mount_tmpfs(root, &m);
	else
		bind_at(root, "/dev/null", path, false);
}

static void fix(int root, const char *path)
{
	cleanup_fd int at = openat(root, path + 1, O_PATH | O_CLOEXEC);
	char self[40];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", at);
	if (at >= 0)
		bind_at(root, self, path, true);
}

static bool unmasked(const struct chroot_cmd *c, const char *path)
{
	return hoy_strv_has(&c->unmasks, path) || hoy_strv_has(&c->unmasks, "all") || hoy_strv_has(&c->unmasks, "ALL");
}

/* What tells of the machine, or changes it, is not a build's affair, even if it's root's; and what was asked for. */
static void mask(int root, const struct chroot_cmd *c)
{
	static const char *const hidden[] = { "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
					      "/proc/timer_list", "/proc/interrupts", "/sys/firmware" },
			  *const fixed[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };

	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		if (!unmasked(c, hidden[i]))
			hide(root, hidden[i]);
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		if (!unmasked(c, fixed[i]))
			fix(root, fixed[i]);
	for (size_t i = 0; i < c->masks.n; i++)
		hide(root, c->masks.v[i]);
}

/* A directory as SOURCE, in which what is written goes away with the command: that is in a tmpfs beneath. */
static void mount_over(int root, const char *source, const char *target)
{
	cleanup_fd int from = open(source, O_PATH | O_DIRECTORY | O_CLOEXEC), fs = -1, to = -1;
	struct run_mount m = { .target = (char *)target, .options = HOY_STRV_INIT };
	char opts[200], path[40];
	struct stat st;

	if (from < 0 || fstat(from, &st) < 0)
		chroot_give_up("mount", source);
	mount_tmpfs(root, &m);
	fs = mount_point(root, target, false);
	if (fs < 0 || mkdirat(fs, "upper", 0700) < 0 || mkdirat(fs, "work", 0700) < 0 || fchownat(fs, "upper", st.st_uid, st.st_gid, 0) < 0 ||
	    fchmodat(fs, "upper", st.st_mode & 07777, 0) < 0)
		chroot_give_up("make room for what is written over", source);
	snprintf(opts, sizeof(opts), "lowerdir=/proc/self/fd/%d,upperdir=/proc/self/fd/%d/upper,workdir=/proc/self/fd/%d/work%s", from, fs, fs,
		 hoy_in_userns() && hoy_rootless() ? ",userxattr" : "");
	to = mount_point(root, target, false);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", to);
	if (mount("overlay", path, "overlay", 0, opts) < 0)
		chroot_give_up("mount an overlay on", source);
}

static void mount_volume(int root, const char *text)
{
	static const struct {
		const char *name;
		uint64_t flag;
	} flags[] = { { "ro", MOUNT_ATTR_RDONLY }, { "nosuid", MOUNT_ATTR_NOSUID }, { "nodev", MOUNT_ATTR_NODEV }, { "noexec", MOUNT_ATTR_NOEXEC } };
	cleanup_strv struct hoy_strv parts = HOY_STRV_INIT, options = HOY_STRV_INIT;
	uint64_t set = 0;

	hoy_strv_split(&parts, text, ':');
	if (parts.n < 2)
		return;
	hoy_strv_split(&options, parts.n > 2 ? parts.v[2] : "", ',');
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		set |= hoy_strv_has(&options, flags[i].name) ? flags[i].flag : 0;
	if (hoy_strv_has(&options, "O"))
		mount_over(root, parts.v[0], parts.v[1]);
	else
		bind_with(root, parts.v[0], parts.v[1], set);
}

static void mount_volumes(int root, const struct chroot_cmd *c)
{
	for (size_t i = 0; i < c->volumes.n; i++)
		mount_volume(root, c->volumes.v[i]);
	for (size_t i = 0; c->mounts && i < c->mounts->n; i++) {
		const struct run_mount *m = &c->mounts->v[i];

		if (m->source)
			bind_at(root, m->source, m->target, m->rdonly);
		else
			mount_tmpfs(root, m);
	}
}

static void mount_shm(int root, int64_t size)
{
	struct run_mount m = { .target = (char *)"/dev/shm", .options = HOY_STRV_INIT };

	hoy_strv_push(&m.options, "mode=1777");
	hoy_strv_pushf(&m.options, "size=%lld", (long long)size);
	mount_tmpfs(root, &m);
	hoy_strv_release(&m.options);
}

/* Ours; but the devices of a network are those of who mounts it. */
static void mount_sys(int root, const struct chroot_cmd *c)
{
	cleanup_fd int to = mount_point(root, "/sys", false);
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", to);
	if (!c->no_network || mount("sysfs", path, "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL) < 0)
		bind_at(root, "/sys", "/sys", true);
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

/* What "host-gateway" is to those who share our network: an address of ours that isn't only for ourselves. */
static const char *gateway(char ret[INET_ADDRSTRLEN])
{
	struct ifaddrs *all = NULL;

	snprintf(ret, INET_ADDRSTRLEN, "127.0.0.1");
	if (getifaddrs(&all) < 0)
		return ret;
	for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
		const void *in = a->ifa_addr;

		if (!in || a->ifa_addr->sa_family != AF_INET || a->ifa_flags & IFF_LOOPBACK)
			continue;
		inet_ntop(AF_INET, &((const struct sockaddr_in *)in)->sin_addr, ret, INET_ADDRSTRLEN);
		break;
	}
	freeifaddrs(all);
	return ret;
}

/* The servers of our own resolv.conf. */
static void resolv_servers(struct hoy_buf *ret)
{
	cleanup_buf struct hoy_buf own = HOY_BUF_INIT(2 << 20);
	char *save = NULL;

	if (!own_file("resolv.conf", &own))
		return;
	hoy_buf_puts(&own, "");
	for (char *line = strtok_r(own.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (!strncmp(line, "nameserver", 10))
			hoy_buf_printf(ret, "%s\n", line);
}

static void put_hosts(int root, int fs, const struct chroot_cmd *c)
{
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(2 << 20);
	char own[INET_ADDRSTRLEN];

	(void)own_file("hosts", &text);
	for (size_t i = 0; i < c->hosts.n; i++) {
		const char *colon = strchr(c->hosts.v[i], ':');

		if (colon)
			hoy_buf_printf(&text, "%s\t%.*s\n", strcmp(colon + 1, "host-gateway") ? colon + 1 : gateway(own), (int)(colon - c->hosts.v[i]), c->hosts.v[i]);
	}
	put_file(root, fs, "hosts", &text);
}

/* Ours, unless something else is asked for. */
static void put_resolv(int root, int fs, const struct chroot_cmd *c)
{
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(2 << 20);

	if (!c->dns.n && !c->dns_search.n && !c->dns_options.n && !own_file("resolv.conf", &text))
		return;
	if (!text.len && !c->dns.n)
		resolv_servers(&text);
	for (size_t i = 0; i < c->dns_search.n; i++)
		hoy_buf_printf(&text, "%s%s%s", i ? " " : "search ", c->dns_search.v[i], i + 1 < c->dns_search.n ? "" : "\n");
	for (size_t i = 0; i < c->dns.n; i++)
		hoy_buf_printf(&text, "nameserver %s\n", c->dns.v[i]);
	for (size_t i = 0; i < c->dns_options.n; i++)
		hoy_buf_printf(&text, "%s%s%s", i ? " " : "options ", c->dns_options.v[i], i + 1 < c->dns_options.n ? "" : "\n");
	put_file(root, fs, "resolv.conf", &text);
}

static void put_hostname(int root, int fs, const struct chroot_cmd *c)
{
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(4096);

	hoy_buf_printf(&text, "%s\n", c->hostname);
	put_file(root, fs, "hostname", &text);
}

/*
 * Copies: what a command writes there is not ours. In a tmpfs that is only mounted, where nothing is yet, until its files are at their places:
 * nobody has to clean up.
 */
static void mount_copies(int root, const struct chroot_cmd *c)
{
	cleanup_fd int below = mount_point(root, "/sys", false), fs = -1;
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", below);
	if (below < 0 || mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "size=4m") < 0)
		chroot_give_up("mount a tmpfs at", "/sys");
	fs = mount_point(root, "/sys", false);
	if (!c->no_hosts)
		put_hosts(root, fs, c);
	if (!c->no_resolv)
		put_resolv(root, fs, c);
	if (c->hostname && !c->no_hostname)
		put_hostname(root, fs, c);
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
	if (c->shm)
		mount_shm(tree, c->shm);
	mount_sys(tree, c);
	mount_proc(tree, own_pids);
	mask(tree, c);
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
