/*
 * probe: everything that a process can see of the box it is in, as text. It runs as a container's program, statically
 * linked, and calls the kernel itself, so that nothing but the runtime decides about what it prints.
 *
 * usage: probe [FILE...]    FILE: one more file to show
 *        probe --sleep      wait, for an exec to look around
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

extern char **environ;

static void show_file(const char *name, const char *path)
{
	char buf[1 << 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	printf("== %s\n", name);
	if (fd < 0) {
		printf("(%s)\n", strerrorname_np(errno));
		return;
	}
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		fwrite(buf, 1, n, stdout);
	if (n < 0)
		printf("(%s)", strerrorname_np(errno));
	putchar('\n');
	close(fd);
}

static void show_self(int argc, char **argv)
{
	char cwd[4096];
	gid_t groups[100];
	int n = getgroups(100, groups);

	printf("== self\npid %d ppid %d pgrp %d session %d foreground %d\n", getpid(), getppid() != 0, getpgrp(), getsid(0),
	       tcgetpgrp(0));
	printf("uid %u %u gid %u %u groups", getuid(), geteuid(), getgid(), getegid());
	for (int i = 0; i < n; i++)
		printf(" %u", groups[i]);
	printf("\ncwd %s\numask %o\nargv0 %s of %d\n", getcwd(cwd, sizeof(cwd)) ? cwd : strerrorname_np(errno), umask(0), argv[0], argc);
	printf("dumpable %d\n", (int)syscall(SYS_prctl, 3, 0, 0, 0, 0));
	printf("== env\n");
	for (char **e = environ; *e; e++)
		puts(*e);
}

static void show_namespaces(void)
{
	static const char *const names[] = { "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts" };
	char path[64], to[64];

	printf("== ns\n");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		n = readlink(path, to, sizeof(to) - 1);
		to[n < 0 ? 0 : n] = '\0';
		printf("%s %s\n", names[i], to);
	}
}

static void show_fds(void)
{
	char path[64], to[4096];
	struct winsize ws = { 0 };

	printf("== fds\n");
	for (int fd = 0; fd < 64; fd++) {
		int flags = fcntl(fd, F_GETFL);
		ssize_t n;

		if (flags < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, to, sizeof(to) - 1);
		to[n < 0 ? 0 : n] = '\0';
		printf("%d %o %s%s\n", fd, flags & ~0100000 /* O_LARGEFILE, which our own libc calls 0 */, to, isatty(fd) ? " tty" : "");
	}
	if (!ioctl(0, TIOCGWINSZ, &ws))
		printf("size %d %d\n", ws.ws_row, ws.ws_col);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void show_tree(const char *dir, int depth)
{
	struct dirent **v;
	int n = scandir(dir, &v, NULL, by_name);

	for (int i = 0; i < n; i++) {
		char path[4096], to[4096] = "";
		struct stat st;
		ssize_t len;

		if (v[i]->d_name[0] == '.' && (!v[i]->d_name[1] || v[i]->d_name[1] == '.'))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, v[i]->d_name);
		if (lstat(path, &st) < 0)
			continue;
		len = S_ISLNK(st.st_mode) ? readlink(path, to, sizeof(to) - 1) : 0;
		to[len < 0 ? 0 : len] = '\0';
		printf("%s %o %u:%u %x:%x %s\n", path, st.st_mode, st.st_uid, st.st_gid, major(st.st_rdev), minor(st.st_rdev), to);
		if (S_ISDIR(st.st_mode) && depth > 0)
			show_tree(path, depth - 1);
	}
}

static void show_net(void)
{
	struct if_nameindex *v = if_nameindex();
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	printf("== net\n");
	for (struct if_nameindex *i = v; i && i->if_index; i++) {
		struct ifreq r = { .ifr_flags = 0 };
		unsigned flags = 0;

		snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", i->if_name);
		if (!ioctl(fd, SIOCGIFFLAGS, &r))
			flags = (unsigned short)r.ifr_flags;
		printf("%s %x", i->if_name, flags);
		if (!ioctl(fd, SIOCGIFADDR, &r))
			printf(" %x", ntohl(((struct sockaddr_in *)&r.ifr_addr)->sin_addr.s_addr));
		if (!ioctl(fd, SIOCGIFMTU, &r))
			printf(" mtu %d", r.ifr_mtu);
		putchar('\n');
	}
	close(fd);
}

static void show_scheduling(void)
{
	struct { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t prio; uint64_t r, d, p; } a = { .size = 48 };
	char key[256] = "";
	unsigned long nodes[16] = { 0 };
	int mode = -1;

	syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0);
	printf("== sched\npolicy %u flags %lu nice %d priority %u %lu %lu %lu\nioprio %lx\n", a.policy, a.flags, a.nice, a.prio, a.r,
	       a.d, a.p, syscall(SYS_ioprio_get, 1, 0));
	if (syscall(SYS_get_mempolicy, &mode, nodes, 1024, 0, 0) < 0)
		mode = -errno;
	printf("mempolicy %d %lx\n", mode, nodes[0]);
	if (syscall(SYS_keyctl, 6 /* DESCRIBE */, -3, key, sizeof(key), 0) < 0)
		snprintf(key, sizeof(key), "%s", strerrorname_np(errno));
	printf("session keyring %s\n", key);
	printf("personality %lx\n", syscall(SYS_personality, 0xffffffff));
}

static void show_names(void)
{
	static const char *const sysctls[] = { "kernel/hostname", "kernel/domainname", "kernel/shmmax", "kernel/msgmax",
		"kernel/sem", "kernel/shm_rmid_forced", "fs/mqueue/msg_max", "net/ipv4/ip_forward", "net/ipv4/ping_group_range",
		"net/ipv4/ip_unprivileged_port_start", "net/core/somaxconn", "net/ipv4/conf/lo/rp_filter" };
	char path[128], text[256];

	printf("== sysctl\n");
	for (size_t i = 0; i < sizeof(sysctls) / sizeof(*sysctls); i++) {
		int fd;
		ssize_t n = -1;

		snprintf(path, sizeof(path), "/proc/sys/%s", sysctls[i]);
		fd = open(path, O_RDONLY);
		if (fd >= 0)
			n = read(fd, text, sizeof(text) - 1);
		text[n < 0 ? 0 : n] = '\0';
		text[strcspn(text, "\n")] = '\0';
		printf("%s %s\n", sysctls[i], n < 0 ? strerrorname_np(errno) : text);
		close(fd);
	}
}

static void result(const char *what, long r)
{
	printf("%s %s\n", what, r < 0 ? strerrorname_np(errno) : "ok");
}

/* What may be done: on a device, a place, a system call. Nothing of it changes the world outside. */
static void show_rights(void)
{
	static const char *const places[] = { "/", "/tmp", "/dev", "/dev/shm", "/proc/sys/kernel/hostname", "/proc/sys",
		"/proc/sysrq-trigger", "/sys", "/sys/fs/cgroup", "/mnt", "/mnt/inner", "/proc/kcore", "/proc/keys",
		"/sys/firmware", "/proc/self/oom_score_adj" };
	static const struct { const char *path; int flags; } devices[] = {
		{ "/dev/null", O_RDWR }, { "/dev/zero", O_RDWR }, { "/dev/full", O_RDWR }, { "/dev/random", O_RDONLY },
		{ "/dev/urandom", O_RDONLY }, { "/dev/tty", O_RDWR }, { "/dev/ptmx", O_RDWR }, { "/dev/fuse", O_RDWR },
		{ "/dev/kmsg", O_RDONLY }, { "/dev/console", O_RDWR }, { "/dev/net/tun", O_RDWR }, { "/mnt/null", O_RDWR } };
	struct sigaction sa;
	int ignored = 0;

	printf("== rights\n");
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		printf("%s ", places[i]);
		result("write", access(places[i], W_OK));
	}
	for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++) {
		int fd = open(devices[i].path, devices[i].flags | O_NOCTTY | O_NONBLOCK);

		printf("%s ", devices[i].path);
		result("open", fd);
		close(fd);
	}
	result("mknod null", mknod("/tmp/p-null", S_IFCHR | 0600, makedev(1, 3)));
	result("mknod mem", mknod("/tmp/p-mem", S_IFCHR | 0600, makedev(1, 1)));
	result("open mknodded mem", open("/tmp/p-mem", O_RDONLY));
	result("mkdir", mkdir("/tmp/p-dir", 0755));
	result("chown", chown("/tmp/p-dir", 1, 1));
	result("sethostname", access("/proc/sys/kernel/hostname", F_OK) == 0 ? (int)syscall(SYS_sethostname, "h", 999) : 0);
	result("mount", mount("none", "/nonexistent/x", "tmpfs", 0, NULL));
	result("chroot", chroot("/"));
	result("setuid", (int)syscall(SYS_setuid, getuid()));
	result("setgroups", (int)syscall(SYS_setgroups, 1000000, NULL));
	result("socket raw", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	result("kill", kill(getpid(), 0));
	for (int s = 1; s < 64; s++)
		ignored += !sigaction(s, NULL, &sa) && sa.sa_handler == SIG_IGN;
	printf("signals ignored %d\n", ignored);
}

int main(int argc, char **argv)
{
	static const char *const files[] = { "status", "limits", "uid_map", "gid_map", "setgroups", "cgroup", "mountinfo",
		"oom_score_adj", "timens_offsets", "attr/current", "coredump_filter", "loginuid" };
	char path[64];

	if (argc > 1 && !strcmp(argv[1], "--sleep"))
		return pause();
	show_self(argc, argv);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(path, sizeof(path), "/proc/self/%s", files[i]);
		show_file(files[i], path);
	}
	show_namespaces();
	show_fds();
	printf("== dev\n");
	show_tree("/dev", 2);
	printf("== mnt\n");
	show_tree("/mnt", 2);
	show_net();
	show_names();
	show_scheduling();
	show_rights();
	for (int i = 1; i < argc; i++)
		show_file(argv[i], argv[i]);
	return fflush(stdout) ? 1 : 0;
}
