/* cmd-runtime/runtime.h: what the parts of hoy-runtime know of each other. */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/base/strv.h"
#include "common/data/json.h"
#include "common/proc/cgroup.h"

#define OCI_VERSION "1.2.0"

/* Global options. */
struct rt {
	const char *name; /* what we were called: hoy-runtime, crun, runc */
	const char *root; /* where states live */
	const char *log;
	const char *log_format;
	const char *log_level;
	const char *cgroup_manager;
	const char *rootless;
	bool debug, systemd_cgroup;
	bool no_cgroup; /* --cgroup-manager=disabled */
	bool systemd;	/* --systemd-cgroup or --cgroup-manager=systemd */
};

/* cli.c: options from a table, help from the same table. */
enum cli_kind { CLI_FLAG, CLI_STR, CLI_LIST, CLI_INT };
struct cli_opt {
	const char *name;
	char c;		 /* one-letter form or 0 */
	enum cli_kind kind;
	void *to;	 /* bool, const char *, struct hoy_strv or int64_t */
	const char *arg; /* name of the value in --help */
	const char *help;
};
struct cli {
	const char *usage; /* "run [OPTION]... ID" */
	const struct cli_opt *opts;
	size_t n;
	int min, max;  /* number of arguments; max -1: any */
	bool in_order; /* options end at the first argument */
};
/* Parse ARGV[1..]; arguments are moved to the front. The number of them, or -errno; --help prints and exits. */
int cli_parse(const struct cli *cli, int argc, char **argv, struct hoy_err *err);
void cli_help(FILE *f, const struct cli *cli);

/* log.c: where errors go. */
int log_open(const struct rt *rt, struct hoy_err *err);
void log_error(const char *msg);
void log_warning(const char *fmt, ...) HOY_PRINTF(1, 2);
void log_debug(const char *fmt, ...) HOY_PRINTF(1, 2);

/* seal.c: make our own executable unreachable for what runs in a container. */
void seal_self(char **argv);

/* spec.c, process.c: config.json */
enum ns { NS_USER, NS_PID, NS_NET, NS_IPC, NS_UTS, NS_CGROUP, NS_TIME, NS_MNT, NS_COUNT };
extern const struct ns_info { const char *oci, *proc; int flag; } ns_table[NS_COUNT];

enum cap_set { CAPS_BOUNDING, CAPS_EFFECTIVE, CAPS_INHERITABLE, CAPS_PERMITTED, CAPS_AMBIENT, CAPS_COUNT };
struct limit { int resource; struct rlimit value; };

struct process {
	const struct hoy_json *json; /* NULL: config.json has no process */
	bool terminal, no_new_privs, has_caps, has_oom;
	unsigned rows, cols;
	uid_t uid;
	gid_t gid;
	gid_t *gids;
	size_t ngids;
	int umask; /* -1: unset */
	int oom;
	struct hoy_strv args, env;
	const char *cwd, *apparmor, *selinux;
	const char *cpus_initial, *cpus_final; /* execCPUAffinity */
	uint64_t caps[CAPS_COUNT];
	struct limit limits[RLIM_NLIMITS];
	size_t nlimits;
	const struct hoy_json *scheduler, *ioprio;
};

struct spec {
	struct hoy_json_doc doc;
	char *text; /* the file as it is */
	size_t len;
	const struct hoy_json *root, *linux_, *hooks, *annotations, *resources;
	struct process process;
	const char *rootfs, *hostname, *domainname, *cgroups_path;
	bool readonly;
	bool ns_new[NS_COUNT];
	const char *ns_path[NS_COUNT];
	unsigned long propagation; /* 0: unset */
	unsigned long personality; /* ~0: unset */
};
#define SPEC_INIT { .doc = HOY_JSON_DOC_INIT, .text = NULL, .process = PROCESS_INIT }
#define PROCESS_INIT { .json = NULL, .gids = NULL, .args = HOY_STRV_INIT, .env = HOY_STRV_INIT }
int spec_load(struct spec *s, const char *bundle, const char *config, struct hoy_err *err);
void spec_release(struct spec *s);
const char *spec_annotation(const struct spec *s, const char *name);
int process_parse(struct process *p, const struct hoy_json *json, struct hoy_err *err);
void process_release(struct process *p);
bool spec_has_userns(const struct spec *s);
bool spec_host_root(const struct hoy_json *maps, uid_t *ret); /* what id of the host root is by MAPS */

/* caps.c */
int caps_last(void);
int caps_parse(const struct hoy_json *list, uint64_t *ret, struct hoy_err *err);
/* Become UID:GID with exactly the sets of P. */
int caps_drop_bounding(const struct process *p, struct hoy_err *err);
int caps_apply(const struct process *p, struct hoy_err *err);

struct state;
int spec_load_own(struct spec *s, const struct state *st, struct hoy_err *err); /* as it was at creation */

/* state.c: ROOT/ID/ */
struct state {
	const char *id;
	int dirfd;   /* ROOT/ID, locked while open for a change */
	pid_t pid;
	uint64_t ticks; /* start time of pid */
	char *bundle, *rootfs, *cgroup, *scope, *created, *owner; /* scope: systemd's unit or "" */
	char *rdt;     /* its group of the resctrl file system or "" */
	bool rdt_made; /* which is ours to remove */
	bool no_cgroup, detached, no_keyring;
	struct hoy_json_doc doc; /* status as read */
	const char *status;	 /* "created", "running", "paused", "stopped"; "creating" */
};
#define STATE_INIT { .dirfd = -1, .doc = HOY_JSON_DOC_INIT }
bool state_id_ok(const char *id);
int state_create(struct state *st, const struct rt *rt, const char *id, struct hoy_err *err);
int state_save(struct state *st, struct hoy_err *err);
int state_open(struct state *st, const struct rt *rt, const char *id, bool lock, struct hoy_err *err);
int state_ids(const struct rt *rt, struct hoy_strv *ret, struct hoy_err *err); /* of all containers, in order */
int state_refresh(struct state *st); /* sets status from the world */
int state_remove(struct state *st, const struct rt *rt, struct hoy_err *err);
void state_release(struct state *st);
/* The state document of the runtime specification, as hooks and callers get it. */
void state_write_oci(struct hoy_jw *w, const char *key, const struct state *st, const struct spec *s, const char *status);

/* scope.c: a systemd scope. */
struct scope {
	char *slice, *unit;
	pid_t helper; /* its first process */
};
int scope_name(const struct spec *s, const char *id, struct scope *ret, struct hoy_err *err);
/* *RET_PATH: the cgroup that is ours, the scope or one below it. */
int scope_start(struct scope *sc, struct hoy_cgroups *all, const struct spec *s, const char *id, char **ret_path, struct hoy_err *err);
void scope_end_helper(struct scope *sc);
int scope_stop(const char *unit, struct hoy_err *err); /* one that is gone is no error */
void scope_release(struct scope *sc);

/* cgroup.c, cgroup_v1.c, cgroup_v2.c, devbpf.c */
struct cgroup {
	struct hoy_cgroups all;
	char *path;  /* the same in every hierarchy; NULL: none */
	int enter[HOY_CGROUP_MAX]; /* fds of v1 tasks files, for the child */
	int dir[HOY_CGROUP_MAX];   /* O_PATH fds of its directories, or -1 */
	int v2; /* that of cgroup2, for CLONE_INTO_CGROUP (borrowed); -1 */
	bool made[HOY_CGROUP_MAX];
	struct scope scope; /* with the systemd manager */
	const char *below;  /* annotation run.oci.delegate-cgroup: its name below the one with the limits, or NULL */
	int below_dir, below_procs; /* and its directory and cgroup.procs, or -1 */
};
void cgroup_init(struct cgroup *cg);
bool cgroup_ordinary_user(void); /* or root of a user namespace, which may do no more */
void cgroup_release(struct cgroup *cg);
/* Its name, before anything is made; then the cgroup itself with its limits. */
int cgroup_choose(struct cgroup *cg, const struct rt *rt, const struct spec *s, const char *id, struct hoy_err *err);
int cgroup_create(struct cgroup *cg, const struct rt *rt, const struct spec *s, const char *id, struct hoy_err *err);
int cgroup_open_existing(struct cgroup *cg, const char *path, struct hoy_err *err);
/* Move the calling process into all v1 hierarchies, by the fds that cgroup_create() opened. */
int cgroup_enter_self(const struct cgroup *cg, struct hoy_err *err);
/* Move PID and its descendants there. */
int cgroup_adopt(const struct cgroup *cg, pid_t pid, struct hoy_err *err);
/* Into the cgroup below that the container may manage, if there is one: once the cgroup namespace is made. */
int cgroup_enter_below(const struct cgroup *cg, struct hoy_err *err);
/* Enter PATH, which exists, in place of the cgroup opened before: in the hierarchy of CONTROLLER, or in all (NULL). */
int cgroup_reopen(struct cgroup *cg, const char *controller, const char *path, struct hoy_err *err);
int cgroup_update(struct cgroup *cg, const struct hoy_json *resources, struct hoy_err *err);
void cgroup_undo(struct cgroup *cg);
/* Give the container's cgroup2 directory to root of its user namespace S, as far as that may manage what is below. */
void cgroup_delegate(const struct cgroup *cg, const struct spec *s);
int cgroup_v1_limits(struct cgroup *cg, const struct hoy_json *res, bool devices, struct hoy_err *err);
int cgroup_v2_limits(int dirfd, const struct hoy_json *res, bool devices, struct hoy_err *err);
int cgroup_v2_controllers(const char *mount, const char *path, struct hoy_err *err);
bool cgroup_wants_limits(const struct hoy_json *res);
int devbpf_attach(int dirfd, const struct hoy_json *rules, struct hoy_err *err);
struct dev_rule { bool allow; char type; int64_t major, minor; const char *access; };
extern const struct dev_rule dev_default_rules[];
extern const size_t dev_default_rules_n;
int dev_rule_parse(const struct hoy_json *j, struct dev_rule *ret, struct hoy_err *err);

/* spawn.c: the child in its namespaces. */
struct spawn {
	const struct spec *spec;
	int cgroup_fd;	     /* cgroup2 directory for CLONE_INTO_CGROUP, or -1 */
	int nsfd[NS_COUNT];  /* namespaces to join, or -1 */
	uint64_t new_flags;  /* CLONE_NEW* */
	int target;	     /* pidfd whose namespaces TARGET_FLAGS a helper joins before the child is made, or -1 */
	int target_flags;
	int (*child)(void *arg); /* runs in the child; its result is the exit status */
	void *arg;
	pid_t pid;
	int pidfd;
};
/* Which namespaces of a container differ from ours (CLONE_NEW*): only those can and need be joined. */
int namespaces_unlike_ours(const struct state *st, int *ret_flags, struct hoy_err *err);
int spawn_open_namespaces(struct spawn *sp, struct hoy_err *err);
int spawn_start(struct spawn *sp, struct hoy_err *err);
int spawn_join(const struct spawn *sp, struct hoy_err *err); /* in the child: what is left to join */
int spawn_map_ids(const struct spawn *sp, struct hoy_err *err);
void spawn_release(struct spawn *sp);
int child_status(int wstatus);

/* create.c and init.c: both sides of a container's birth. */
struct mount_jobs;
struct birth {
	const struct rt *rt;
	struct spec spec;
	struct state state;
	struct cgroup cgroup;
	struct spawn spawn;
	const char *bundle; /* absolute */
	int sock[2];	    /* parent's end, child's end */
	int fifo;	    /* exec.fifo, or -1 when nobody will call start */
	int console;	    /* connected console socket, or -1 */
	int seccomp_socket; /* connected listenerPath, or -1 */
	unsigned preserve;
	bool no_pivot, no_keyring;
	bool proxy_tty; /* the master goes to our parent over sock */
	struct mount_jobs *jobs;
	struct hoy_buf filter; /* compiled seccomp filter */
	uint32_t filter_flags;
};
void birth_init(struct birth *b, const struct rt *rt);
/* Take the id, make its state and its cgroup; b->spec and b->bundle are there. */
int birth_claim(struct birth *b, const char *id, bool attached, struct hoy_err *err);
/* Write down the process b->spawn. */
int birth_record(struct birth *b, const char *pid_file, const char *pidfd_socket, struct hoy_err *err);
void birth_undo(struct birth *b); /* kill it and leave nothing */
int birth_end(struct birth *b, struct hoy_err *err); /* it has ended by itself */
void birth_release(struct birth *b);
enum { MSG_GO = 'g', MSG_HOOKS = 'h', MSG_READY = 'r', MSG_ERROR = 'e', MSG_TTY = 't' };
int init_main(void *arg); /* struct birth */
bool init_waits(const struct spec *s); /* for a first MSG_GO, until we have done what it cannot do itself */
void init_die_with_parent(const struct birth *b); /* until it is ready; the kernel forgets it when the user changes */
int sync_send(int fd, char kind, const struct hoy_err *err);
int sync_recv(int fd, struct hoy_err *err); /* the kind, 0 at end of file, or -errno with the other side's error */

/* rootfs.c, mounts.c, mountopts.c, dev.c */
struct mount_jobs;
struct root {
	const struct birth *b;
	int fd;	      /* O_PATH of the root directory */
	int null;     /* the container's /dev/null, verified; -1 */
	int proc;     /* the host's /proc, verified */
	bool userns;
	struct mount_jobs *jobs;
	const char *label;   /* SELinux mount label or NULL */
	const char *current; /* target of the mount at work */
};
int rootfs_prepare(struct root *r, struct hoy_err *err);
int rootfs_paths(struct root *r, struct hoy_err *err);	/* masked and read-only paths */
int rootfs_pivot(struct root *r, struct hoy_err *err);
int mounts_all(struct root *r, struct hoy_err *err);
int mounts_target(const struct root *r, const char *path, bool dir, bool nofollow, struct hoy_err *err);
int mounts_reopen(const struct root *r, const char *path); /* O_PATH, after something was mounted there */
struct mount_opts {
	unsigned long flags;	     /* MS_* for mount(2) */
	uint64_t set, clr;	     /* MOUNT_ATTR_* */
	uint64_t rec_set, rec_clr;   /* the same, recursive (r* options) */
	unsigned long propagation;   /* MS_SHARED... with MS_REC */
	bool bind, rbind, copyup, idmap, ridmap, copy_link, src_nofollow, dest_nofollow;
	const char *idmap_arg;
	struct hoy_buf data; /* what the file system gets */
};
int mountopts_parse(const struct hoy_json *options, struct mount_opts *ret, struct hoy_err *err);
unsigned long mountopts_propagation(const char *name);
void mountopts_features(struct hoy_jw *w);
int dev_setup(struct root *r, struct hoy_err *err);
const char *dev_default(size_t i); /* paths of the default devices; NULL behind the last */
int cgroup_mount(struct root *r, int target, const struct mount_opts *o, struct hoy_err *err);
/* A tmpfs with systemd's own hierarchy of cgroup v1 in it (annotation run.oci.systemd.force_cgroup_v1). */
int cgroup_mount_systemd_v1(struct root *r, int target, struct hoy_err *err);

/* tty.c */
int tty_open(int rootfd, const struct process *p, int *ret_master, int *ret_slave, struct hoy_err *err);
int tty_use(int slave, struct hoy_err *err);
int tty_connect(const char *path, struct hoy_err *err);
int tty_send(int sock, int fd, const char *text, size_t len);
int tty_recv(int sock);
int pidfd_send(const char *path, int pidfd, struct hoy_err *err); /* PATH NULL: nobody wants it */
void signals_block(sigset_t *old);
void signals_reset(void);
int wait_foreground(pid_t pid, int pidfd, int master);

/* procattr.c: what a process is given besides privileges */
int procattr_labels(int proc, const struct process *p, struct hoy_err *err);
int procattr_limits(const struct process *p, struct hoy_err *err);
int procattr_oom(pid_t pid, int adj, struct hoy_err *err); /* PID 0: the caller */
int procattr_keyring(const struct state *st, const struct process *p, struct hoy_err *err);
int procattr_enter_cwd(const char *cwd, struct hoy_err *err);
bool selinux_enabled(void);
/* sysctl.c: can they be set in the container's namespaces; set them, by way of the host's /proc PROC. */
int sysctls_check(const struct spec *s, struct hoy_err *err);
int sysctls_write(int proc, const struct spec *s, struct hoy_err *err);

/* netdev.c: are they well-formed; move them into the network namespace NS, or that of PID if it is -1. */
int netdev_check(const struct spec *s, struct hoy_err *err);
int netdev_move(const struct spec *s, pid_t pid, int ns, struct hoy_err *err);

/* sched.c: of the calling process */
int sched_apply(const struct process *p, struct hoy_err *err); /* scheduler and I/O priority */
int sched_set_cpus(const char *list, struct hoy_err *err);     /* "0-3,7"; NULL or "": as it is */
int sched_memory_policy(const struct spec *s, struct hoy_err *err);
void sched_policy_features(struct hoy_jw *w);

/* rdt.c: linux.intelRdt. Make the group and note it in ST; PID enters it; change it; and take away what was made. */
int rdt_make(struct state *st, const struct spec *s, struct hoy_err *err);
int rdt_enter(const struct state *st, pid_t pid, struct hoy_err *err);
int rdt_update(const struct state *st, const struct hoy_json *rdt, struct hoy_err *err);
void rdt_remove(const struct state *st);
/* The same in the directory TOP. */
int rdt_make_at(int top, struct state *st, const struct hoy_json *rdt, struct hoy_err *err);
int rdt_enter_at(int top, const struct state *st, pid_t pid, struct hoy_err *err);
void rdt_remove_at(int top, const struct state *st);

/* Last steps, shared by init and exec: everything between "in the container" and execve. */
struct final {
	const struct process *process;
	const struct hoy_buf *filter;
	uint32_t filter_flags;
	int seccomp_socket;
	const struct state *state;
	const struct spec *spec;
	unsigned preserve;
	bool keep_groups;
	int proc;    /* a procfs that was verified; closed on the way */
	pid_t pid;   /* the process, as the host counts */
	int keep[3]; /* besides those preserved: sockets and the like, -1 for none */
	char exe[4096];
};
int final_prepare(struct final *f, struct hoy_err *err);
int final_exec(struct final *f, struct hoy_err *err);
int find_executable(const struct process *p, char *ret, size_t size, struct hoy_err *err);

/* seccomp.c */
int seccomp_build(const struct rt *rt, const struct spec *s, struct hoy_buf *ret, uint32_t *ret_flags, struct hoy_err *err);
/* Connect to who gets SCMP_ACT_NOTIFY, if there is any: *RET. */
int seccomp_connect(const struct spec *s, int *ret, struct hoy_err *err);
int seccomp_install(const struct final *f, struct hoy_err *err);
void seccomp_features(struct hoy_jw *w);
void seccomp_annotation(struct hoy_jw *w); /* which library of it is in here */
int seccomp_compile(const struct hoy_json *sec, bool fail_unknown, struct hoy_buf *ret, struct hoy_err *err);

/* hooks.c */
bool hooks_any(const struct spec *s, const char *kind);
int hooks_run(const struct spec *s, const struct state *st, const char *kind, const char *status, struct hoy_err *err);

/* The commands. */
int cmd_checkpoint(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_create(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_run(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_start(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_state(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_kill(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_delete(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_events(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_exec(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_list(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_ps(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_mounts(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_pause(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_restore(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_resume(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_update(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_spec(struct rt *rt, int argc, char **argv, struct hoy_err *err);
int cmd_features(struct rt *rt, int argc, char **argv, struct hoy_err *err);
/* delete.c: also used when run ends. */
int container_destroy(struct state *st, const struct rt *rt, const struct spec *spec, struct hoy_err *err);
