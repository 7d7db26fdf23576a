/*
 * The default profile: most system calls are allowed, some only with the capability that the kernel asks for too, some
 * answered with EPERM; what is not mentioned does not exist (ENOSYS), so that programs fall back to what they knew before.
 */
#include "common/oci/seccomp.h"

#include <linux/capability.h>
#include <string.h>

#include "common/data/json.h"

enum { DENY_EPERM = 1, DENY_EINVAL = 22, DEFAULT_ENOSYS = 38 };

static const char allowed[] =
	/* files by descriptor */
	"_llseek close close_range copy_file_range dup dup2 dup3 fadvise64 fadvise64_64 fallocate fcntl "
	"fcntl64 fdatasync flock fsync ftruncate ftruncate64 getdents getdents64 ioctl lseek pipe pipe2 "
	"pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readv sendfile sendfile64 splice "
	"sync sync_file_range syncfs tee umask write writev "
	/* names */
	"access chdir chmod chown chown32 creat faccessat faccessat2 fchdir fchmod fchmodat fchmodat2 "
	"fchown fchown32 fchownat futimesat getcwd lchown lchown32 link linkat mkdir mkdirat mknod "
	"mknodat name_to_handle_at open openat openat2 readlink readlinkat rename renameat renameat2 "
	"rmdir symlink symlinkat truncate truncate64 unlink unlinkat utime utimensat utimensat_time64 "
	"utimes "
	/* attributes */
	"fgetxattr flistxattr fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 getxattr "
	"lgetxattr listxattr llistxattr lremovexattr lsetxattr lstat lstat64 newfstatat removexattr "
	"setxattr stat stat64 statfs statfs64 statx "
	/* mounts */
	"fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree pivot_root umount "
	"umount2 "
	/* events */
	"_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 "
	"epoll_wait epoll_wait_old eventfd eventfd2 fanotify_init fanotify_mark inotify_add_watch "
	"inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_setup io_submit "
	"landlock_add_rule landlock_create_ruleset landlock_restrict_self poll ppoll ppoll_time64 "
	"pselect6 pselect6_time64 select signalfd signalfd4 timerfd_create timerfd_gettime "
	"timerfd_gettime64 timerfd_settime timerfd_settime64 "
	/* memory */
	"brk get_mempolicy madvise mbind membarrier memfd_create memfd_secret mincore mlock mlock2 "
	"mlockall mmap mmap2 mprotect mremap msync munlock munlockall munmap pkey_alloc pkey_free "
	"pkey_mprotect process_mrelease process_vm_readv process_vm_writev remap_file_pages set_mempolicy "
	"shmat shmctl shmdt shmget "
	/* sockets */
	"accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg "
	"recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair "
	/* queues and semaphores */
	"futex futex_time64 ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 "
	"mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop "
	"semtimedop semtimedop_time64 "
	/* signals */
	"kill pause pidfd_getfd pidfd_open pidfd_send_signal restart_syscall rt_sigaction rt_sigpending "
	"rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 "
	"rt_tgsigqueueinfo sigaltstack signal sigprocmask sigreturn tgkill tkill "
	/* time */
	"adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime "
	"clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep "
	"setitimer time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 "
	"timer_settime timer_settime64 times "
	/* processes */
	"clone clone3 execve execveat exit exit_group fork get_robust_list get_thread_area getcpu "
	"getpriority getrandom getrlimit getrusage ioprio_get ioprio_set keyctl prctl prlimit64 ptrace "
	"reboot rseq sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr "
	"sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 "
	"sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp "
	"set_robust_list set_thread_area set_tid_address setns setpriority setrlimit sysinfo syslog "
	"ugetrlimit uname unshare vfork wait4 waitid waitpid "
	/* identities */
	"capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid "
	"getpgrp getpid getppid getresgid getresgid32 getresuid getresuid32 getsid gettid getuid getuid32 "
	"setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setregid "
	"setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setsid setuid "
	"setuid32";

/* Known, and never for containers. */
static const char refused[] =
	"bdflush cachestat futex_requeue futex_wait futex_waitv futex_wake io_pgetevents "
	"io_pgetevents_time64 kexec_file_load kexec_load map_shadow_stack migrate_pages move_pages "
	"nfsservctl nice oldfstat oldlstat oldolduname oldstat olduname pciconfig_iobase pciconfig_read "
	"pciconfig_write sgetmask ssetmask swapoff swapon syscall sysfs uselib userfaultfd ustat vm86 "
	"vm86old vmsplice";

/* With capability CAP the names of GIVEN are allowed, without it those of DENIED answer EPERM. */
static const struct gate {
	int cap;
	const char *given, *denied;
} gates[] = {
	{ CAP_DAC_READ_SEARCH, "open_by_handle_at", "open_by_handle_at" },
	{ CAP_SYS_ADMIN, "bpf lookup_dcookie quotactl quotactl_fd setdomainname sethostname setns",
	  "lookup_dcookie perf_event_open quotactl quotactl_fd setdomainname sethostname setns" },
	{ CAP_SYS_CHROOT, "chroot", "chroot" },
	{ CAP_SYS_MODULE, "delete_module finit_module init_module query_module",
	  "delete_module finit_module init_module query_module" },
	{ CAP_SYS_PACCT, "acct", "acct" },
	{ CAP_SYS_PTRACE, "kcmp process_madvise", "kcmp process_madvise" },
	{ CAP_SYS_RAWIO, "ioperm iopl", "ioperm iopl" },
	{ CAP_SYS_TIME, "clock_settime clock_settime64 settimeofday stime", "clock_settime clock_settime64 settimeofday stime" },
	{ CAP_SYS_TTY_CONFIG, "vhangup", "vhangup" },
};

/* Modes of personality(2) that change nothing of importance: Linux, 32 bit, with the uname of 2.6, and asking. */
static const uint64_t personalities[] = { 0x0, 0x8, 0x20000, 0x20008, 0xffffffff };

static const struct machine {
	const char *machine, *arches, *only; /* only: what no other machine has */
} machines[] = {
	{ "x86_64", "SCMP_ARCH_X86_64 SCMP_ARCH_X86 SCMP_ARCH_X32", "arch_prctl modify_ldt" },
	{ "aarch64", "SCMP_ARCH_AARCH64 SCMP_ARCH_ARM",
	  "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2" },
	{ "ppc64le", "SCMP_ARCH_PPC64LE", "sync_file_range2 swapcontext" },
	{ "s390x", "SCMP_ARCH_S390X SCMP_ARCH_S390", "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr" },
	{ "riscv64", "SCMP_ARCH_RISCV64", "riscv_flush_icache" },
};

/* The words of TEXT as an array of strings. */
static void words(struct hoy_jw *w, const char *key, const char *text)
{
	hoy_jw_array(w, key);
	while (*text) {
		size_t n = strcspn(text, " ");

		if (n)
			hoy_jw_stringn(w, NULL, text, n);
		text += n + (text[n] == ' ');
	}
	hoy_jw_end_array(w);
}

static void open_rule(struct hoy_jw *w, const char *names, int deny)
{
	hoy_jw_object(w, NULL);
	words(w, "names", names);
	hoy_jw_string(w, "action", deny ? "SCMP_ACT_ERRNO" : "SCMP_ACT_ALLOW");
	if (deny)
		hoy_jw_int(w, "errnoRet", deny);
}

static void rule(struct hoy_jw *w, const char *names, int deny)
{
	open_rule(w, names, deny);
	hoy_jw_end_object(w);
}

static void condition(struct hoy_jw *w, unsigned index, uint64_t value, const char *op)
{
	hoy_jw_object(w, NULL);
	hoy_jw_uint(w, "index", index);
	hoy_jw_uint(w, "value", value);
	hoy_jw_string(w, "op", op);
	hoy_jw_end_object(w);
}

/* A rule on the family of a socket, and with PROTO_OP on its protocol being audit. */
static void socket_rule(struct hoy_jw *w, int deny, unsigned family, const char *op, const char *proto_op)
{
	enum { NETLINK_AUDIT = 9 };

	open_rule(w, "socket", deny);
	hoy_jw_array(w, "args");
	condition(w, 0, family, op);
	if (proto_op)
		condition(w, 2, NETLINK_AUDIT, proto_op);
	hoy_jw_end_array(w);
	hoy_jw_end_object(w);
}

/* vsock leads out of any network namespace, audit is not namespaced at all. */
static void sockets(struct hoy_jw *w, bool audit)
{
	enum { NETLINK = 16, VSOCK = 40 };

	socket_rule(w, DENY_EPERM, VSOCK, "SCMP_CMP_EQ", NULL);
	if (audit) {
		socket_rule(w, 0, VSOCK, "SCMP_CMP_NE", NULL);
		return;
	}
	socket_rule(w, DENY_EINVAL, NETLINK, "SCMP_CMP_EQ", "SCMP_CMP_EQ");
	socket_rule(w, 0, NETLINK, "SCMP_CMP_EQ", "SCMP_CMP_NE");
	socket_rule(w, 0, NETLINK, "SCMP_CMP_NE", NULL);
}

/* bpf and perf have a capability of their own beside CAP_SYS_ADMIN. */
static void newer_gates(struct hoy_jw *w, uint64_t caps)
{
	bool admin = caps & 1ULL << CAP_SYS_ADMIN, bpf = caps & 1ULL << CAP_BPF, perf = caps & 1ULL << CAP_PERFMON;

	if (!admin && !bpf)
		rule(w, "bpf", DENY_EPERM);
	if (bpf)
		rule(w, "bpf", 0);
	if (!admin && !bpf)
		rule(w, "perf_event_open", DENY_EPERM);
	if (perf)
		rule(w, "perf_event_open", 0);
}

static void rules(struct hoy_jw *w, const struct machine *m, uint64_t caps)
{
	rule(w, refused, DENY_EPERM);
	rule(w, allowed, 0);
	for (size_t i = 0; i < ARRAY_SIZE(personalities); i++) {
		open_rule(w, "personality", 0);
		hoy_jw_array(w, "args");
		condition(w, 0, personalities[i], "SCMP_CMP_EQ");
		hoy_jw_end_array(w);
		hoy_jw_end_object(w);
	}
	if (m)
		rule(w, m->only, 0);
	for (size_t i = 0; i < ARRAY_SIZE(gates); i++) {
		bool has = caps & 1ULL << gates[i].cap;

		rule(w, has ? gates[i].given : gates[i].denied, has ? 0 : DENY_EPERM);
	}
	sockets(w, caps & 1ULL << CAP_AUDIT_WRITE);
	newer_gates(w, caps);
}

void hoy_seccomp_default(struct hoy_jw *w, const char *key, const struct hoy_seccomp_target *t)
{
	const struct machine *m = NULL;
	const char *name = hoy_seccomp_machine(t);

	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		if (!strcmp(machines[i].machine, name))
			m = &machines[i];
	hoy_jw_object(w, key);
	hoy_jw_string(w, "defaultAction", "SCMP_ACT_ERRNO");
	hoy_jw_int(w, "defaultErrnoRet", DEFAULT_ENOSYS);
	/* On a machine that we don't know the filter is for the native calls. */
	words(w, "architectures", m ? m->arches : "");
	hoy_jw_array(w, "syscalls");
	rules(w, m, t->caps);
	hoy_jw_end_array(w);
	hoy_jw_end_object(w);
}
