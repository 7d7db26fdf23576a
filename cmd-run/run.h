/*
 * cmd-run/run.h: what the files of hoy-run share.
 *
 * A container is
 *   graphroot/hoy/containers/ID/def.json   its definition, written once (and by rename, update)
 *   graphroot/hoy/containers/ID/state      summary and durable state, at most 1 KiB; all that `ps` reads
 *   graphroot/hoy/containers/ID/lock       who changes the container holds it
 *   graphroot/hoy/containers/ID/ctr.log    its output
 *   <runroot>/hoy/ID/                      bundle, sockets and `live`: until it is cleaned up, gone after a reboot
 * beside its storage record and read-write layer. Definitions and states are JSON trees, read by the accessors of
 * common/data/json.h; man/hoy-container-files.5 lists their members.
 */
#pragma once
#include <sys/types.h>

#include "common/base/err.h"
#include "common/base/msg.h"
#include "common/cli/opts.h"
#include "common/data/json.h"
#include "common/proc/idmap.h"
#include "common/store/shift.h"
#include "common/store/store.h"

enum status { ST_CREATED, ST_INITIALIZED, ST_RUNNING, ST_PAUSED, ST_STOPPING, ST_EXITED, ST_UNKNOWN };

struct ctr {
	struct hoy_store *s; /* borrowed */
	char id[65];
	char *dir, *rundir;   /* graphroot/hoy/containers/ID, runroot/hoy/ID */
	int dirfd;
	struct hoy_lock lock;
	struct hoy_json_doc def, state, live; /* roots are NULL until loaded */
	pid_t deleting;			      /* the runtime's delete while it works, 0: none */
	int port_fds[256], n_port_fds;	      /* bound host ports; the monitor holds them while the container runs */
};

extern const struct hoy_verb verb_run, verb_create, verb_start, verb_stop, verb_restart, verb_kill, verb_rm, verb_ps, verb_logs,
	verb_exec, verb_inspect, verb_wait, verb_cleanup, verb_attach, verb_pause, verb_unpause, verb_port, verb_rename, verb_commit, verb_top,
	verb_info, verb_unshare, verb_exists, verb_init, verb_container_prune, verb_volume_prune, verb_system_df, verb_system_prune, verb_healthcheck, verb_update;

/* ---- env.c ---- */
/* The lines of FILES but blank ones and comments, without leading blanks, as --env-file and --label-file take them. */
int read_lines(const struct hoy_strv *files, struct hoy_strv *ret, struct hoy_err *err);
/* What --env-file (FILES) and --env (GIVEN) add to ENV: "NAME=VALUE"; "NAME", ours; "PRE*", all of ours that match. */
int add_env(struct hoy_strv *env, const struct hoy_strv *files, const struct hoy_strv *given, struct hoy_err *err);

/* ---- state.c ---- */
/* A container that does not exist yet: makes its directories. */
int ctr_new(struct ctr *c, struct hoy_store *s, const char *id, struct hoy_err *err);
/* The container that NAME means (id, name, unique prefix), ours only; its state is loaded. */
int ctr_open(struct ctr *c, struct hoy_store *s, const char *name, struct hoy_err *err);
/* By exact id, without looking at the storage records; -ENOENT if it is not ours. */
int ctr_open_id(struct ctr *c, struct hoy_store *s, const char *id, struct hoy_err *err);
/* The same for who lists: only its state is loaded, nothing stays open. */
int ctr_peek(struct ctr *c, struct hoy_store *s, const char *id);
/* The directory of ID, whatever is in it, and its lock if nobody has that (-EAGAIN); nothing is loaded. */
int ctr_seize(struct ctr *c, struct hoy_store *s, const char *id);
void ctr_release(struct ctr *c);
#define CTR_INIT { .dirfd = -1, .lock = HOY_LOCK_INIT }
#define cleanup_ctr __attribute__((cleanup(ctr_release)))
/* Take the container's lock and load its state again. */
int ctr_lock(struct ctr *c, struct hoy_err *err);
void ctr_unlock(struct ctr *c);
int ctr_load_def(struct ctr *c, struct hoy_err *err);
int ctr_save_def(struct ctr *c, struct hoy_err *err);
int ctr_load_state(struct ctr *c, struct hoy_err *err);
int ctr_save_state(struct ctr *c, struct hoy_err *err);
/* live is absent (root NULL, 0) when there is no run directory. */
int ctr_load_live(struct ctr *c, struct hoy_err *err);
int ctr_save_live(struct ctr *c, struct hoy_err *err);
const char *ctr_name(const struct ctr *c);
/* The process of a running container, or 0: the boot id matches and (pid, start time) exists. Live is loaded. */
pid_t ctr_pid(const struct ctr *c);
/* Its monitor, or 0 if that has ended. */
pid_t ctr_monitor(const struct ctr *c);
enum status ctr_status(const struct ctr *c);
const char *status_name(enum status st);
/* Start time of a process in clock ticks (field 22 of /proc/PID/stat), 0 if it is gone or a zombie. */
unsigned long long start_time(pid_t pid);
/* Ids of all containers that have a directory of ours. */
int ctr_list(struct hoy_store *s, struct hoy_strv *ret);
/* Of those that may run: they have a directory below the runroot. */
int ctr_list_live(struct hoy_store *s, struct hoy_strv *ret);
/* Open the store for commands on containers; complains and returns NULL. */
struct hoy_store *open_store(unsigned flags);
/* Containers in state verbs: the names of ARGV, or all, or the last made. */
int pick(struct hoy_store *s, int n, char **names, bool all, bool latest, struct hoy_strv *ret, struct hoy_err *err);
/* containers.conf, loaded once. */
const struct hoy_json *conf(void);

/* ---- options.c: the command line of run and create becomes a definition ---- */
struct create_opts;
int create_from_args(const struct hoy_verb *v, int argc, char **argv, bool run, struct ctr *c, struct create_opts *o, int *status);

/* ---- start.c ---- */
struct start_how {
	bool attach, stdin_open, quiet;
	bool again; /* by the restart policy, not by the user */
	const char *detach_keys;
	bool sig_proxy;
	int preserve_fds;
};
/* Start a created or exited container (locked). Attached: returns when it ended, with its exit code in RET_CODE. */
int ctr_start(struct ctr *c, const struct start_how *how, int *ret_code, struct hoy_err *err);
/* It runs: note that in its state, and the restart, if it is one. */
int ctr_note_running(struct ctr *c, struct hoy_err *err);
/* The first half of it: everything up to the created OCI container (as `init` does). */
int ctr_prepare(struct ctr *c, const struct start_how *how, int *ret_code, struct hoy_err *err);

/* ---- tool.c ---- */
char *runtime_path(const char *name);

/* cgroups.c: "systemd" or "cgroupfs", by option, containers.conf or what the host is. */
int cgroup_manager(const char **ret, struct hoy_err *err);
int cgroup_check_parent(const char *manager, const char *parent, struct hoy_err *err); /* of --cgroup-parent */
bool cgroup_by_systemd(const struct ctr *c);
int cgroup_note(struct ctr *c, struct hoy_err *err);  /* in c->live, before there is one: "cgroupsPath" for config.json, and "cgroup" where it is known */
void cgroup_found(struct ctr *c, pid_t pid);	      /* "cgroup" as systemd has made it for PID */
void cgroup_adopt_monitor(struct ctr *c, pid_t pid); /* into a scope of its own, where systemd is the manager */

/* Call the runtime: VERB [ARG if it is an option] ID [ARG]. Its complaint becomes ERR, with podman's exit code for it. */
int runtime_call(const struct ctr *c, const char *verb, const char *arg, int *ret_code, struct hoy_err *err);
/* Freeze the container, or let it go on; noted and saved. */
int ctr_freeze(struct ctr *c, bool on, struct hoy_err *err);
/* Start `delete --force` without waiting for it; its pid or 0. */
pid_t runtime_spawn_delete(const struct ctr *c);
int runtime_error(const struct ctr *c, const char *said, int *ret_code, struct hoy_err *err);
/* The runtime's command line up to its verb. */
void runtime_argv(const struct ctr *c, struct hoy_strv *argv);
/* Run a program quietly: its stderr text in RET_MSG (may be NULL); exit status or -errno. */
int run_tool(char *const *argv, const char *input, size_t input_len, struct hoy_buf *out, struct hoy_buf *errtext);

/* ---- passage.c: how another runtime comes to the root of a container with a user namespace ---- */
#define PASSAGE_OPTION "--with-root"
/* If it needs help with that: a directory for it to be bound to, noted in live ("passage"). */
int passage_make(struct ctr *c, struct hoy_err *err);
void passage_remove(struct ctr *c);
/* What the monitor is to start as the runtime, and with which arguments before the runtime's own. ROOT is where the root is. */
void passage_argv(const struct ctr *c, const char *root, struct hoy_strv *program, struct hoy_strv *args);
/* `hoy-run --with-root ROOT DIRECTORY RUNTIME ARG...`: returns only if that fails. */
int passage_main(char **argv);

/* ---- spec.c ---- */
/* The limits of the definition's cgroup alone, as linux.resources. */
void write_resources(const struct ctr *c, struct hoy_buf *out);
/* "hooks" of the spec, if there are any for C; that it needs its runtime's `start` because of them is noted in c->live. */
int write_hooks(struct ctr *c, struct hoy_jw *w, struct hoy_err *err);
int write_spec(struct ctr *c, const char *rootfs, const char *netns, struct hoy_buf *out, struct hoy_err *err);

/* ---- files.c: hosts, resolv.conf, hostname, .containerenv in the run directory ---- */
int write_files(struct ctr *c, const struct hoy_json *netstatus, struct hoy_err *err);
/* One of them: NAME holds B and is the container's root's. */
int put_file(struct ctr *c, const char *name, const struct hoy_buf *b, struct hoy_err *err);

/* ---- net.c ---- */
/* What the definition's network means here: netMode ("none", "host", "bridge", "pasta") and netName of live. */
int net_resolve(struct ctr *c, struct hoy_err *err);
/* Take addresses and ports for it, noted in live. */
int net_reserve(struct ctr *c, struct hoy_err *err);
/* Make (or find, in the container's process) and pin the network namespace, set the network up; noted in live (netns, netStatus). */
int net_wire(struct ctr *c, struct hoy_err *err);
/* Is that done only after the runtime has made the container, with the namespace? */
bool net_late(const struct ctr *c);
void net_teardown(struct ctr *c);
/* Path of the network namespace of a container with a network of its own, NULL if the runtime makes one. */
const char *net_path(const struct ctr *c);
/* Note in live where the network namespace will be pinned (<rundir>/netns); saved before pin_netns() makes it. */
int note_netns(struct ctr *c, struct hoy_err *err);
int pin_netns(struct ctr *c, struct hoy_err *err);
int pasta_setup(struct ctr *c, struct hoy_err *err);
void pasta_teardown(struct ctr *c);
int parse_port(struct hoy_json_doc *d, struct hoy_json *ports, const char *text, struct hoy_err *err);

/* ---- cleanup.c ---- */
/* After its end: exit code, network, mounts, runtime's state; idempotent. The lock is held. */
int ctr_cleanup(struct ctr *c, struct hoy_err *err);
/* Remove it with all its files and its storage record; it must not run. The lock is held and goes with it. */
int ctr_remove(struct ctr *c, bool volumes, struct hoy_err *err);
/* Both: what cannot be noted on a full disk need not be, since it goes. */
int ctr_clear(struct ctr *c, bool volumes, struct hoy_err *err);
/* Remove its files beside the store's: out of sight in one step, so that nobody opens a half of it. */
int ctr_drop_files(struct ctr *c, struct hoy_err *err);
/* The exit code, of one that has ended but was not taken down too. */
int ctr_exit_code(const struct ctr *c);
/* Undo a start that failed half-way. */
void ctr_abort(struct ctr *c, struct hoy_err *err);
/* Wait until the exit file is there (and the monitor has written it), then its code. -errno. */
int wait_exit_file(struct ctr *c, int *ret_code);

/* ---- reconcile.c ---- */
/* Forget what other engines removed beneath us, and what our own left that were killed while they made or removed a container. */
void reconcile(struct hoy_store *s);

/* ---- stop.c ---- */
int ctr_stop(struct ctr *c, int64_t timeout, struct hoy_err *err);
int ctr_kill(struct ctr *c, int sig, bool all, struct hoy_err *err);

/* ---- exec.c ---- */
/* The runtime's command line that runs WORDS in the running container (definition loaded), and its specification on an inherited fd. */
int exec_command(struct ctr *c, char **words, const char *pidfile, struct hoy_strv *argv, int *ret_fd, int *ret_code, struct hoy_err *err);

/* ---- health.c ---- */
/* How the container is: Status, FailingStreak, Log, as podman's inspect has them. */
int health_load(const struct ctr *c, struct hoy_json_doc *ret);
/* Has it a command that tells? */
bool health_checked(const struct ctr *c);
/* It has just been started: forget how it was, and have the monitor check. */
void health_begin(struct ctr *c);
/* Tell the monitor how often to check: the definition has changed, or another check counts now. */
void health_schedule(const struct ctr *c);

/* ---- attach.c ---- */
int attach_connect(const struct ctr *c);
/* Copy between our stdio and the attach socket SOCK (owned) until it ends or the keys are typed: 0, 1 for detached, -errno. */
int attach_run(struct ctr *c, int sock, const struct start_how *how, bool tty);
/* The same for the exec session SID, whose exit code is in RET_CODE; -ECONNRESET: the monitor has gone. */
int attach_session(struct ctr *c, int sock, const char *sid, const struct start_how *how, bool tty, int *ret_code);
/* Nothing to copy, the streams are the container's own: wait for its end, and pass signals on. */
int attach_wait(struct ctr *c, const struct start_how *how);
/* "ctrl-p,ctrl-q" (NULL: the configured ones) as bytes; how many, or -EINVAL. */
int parse_detach_keys(const char *text, unsigned char keys[16]);
int attach_raw(bool on);

/* ---- volumes.c ---- */
int parse_volume(struct hoy_store *s, struct hoy_json_doc *d, struct hoy_json *mounts, const char *text, struct hoy_err *err);
int parse_tmpfs(struct hoy_json_doc *d, struct hoy_json *mounts, const char *text, struct hoy_err *err);
int parse_mount(struct hoy_store *s, struct hoy_json_doc *d, struct hoy_json *mounts, const char *text, struct hoy_err *err);
int image_volumes(struct hoy_store *s, struct hoy_json_doc *d, struct hoy_json *mounts, const struct hoy_json *volumes,
		  struct hoy_err *err);
/* Lock the volumes: for writing by who removes some, for reading until a definition that names one is saved. */
int volumes_lock(struct hoy_store *s, struct hoy_lock *l, bool write, struct hoy_err *err);
/* The definition is saved: the volumes that it names are in use. */
void volumes_named(void);

/* ---- usage.c: what containers and volumes hold ---- */
struct usage {
	char *name;	/* of the volume; the container's is its state's */
	struct ctr c;	/* of a container: state, live, definition loaded */
	int64_t size, created;
	unsigned links; /* of a volume: containers that use it; of a container: volumes that it uses */
};
struct usages {
	struct usage *v;
	size_t n, unreadable; /* unreadable: containers that are there but cannot be read */
};
/* All containers of ours that can be read; WITH_SIZE also measures them. */
int list_containers(struct hoy_store *s, bool with_size, struct usages *ret, struct hoy_err *err);
/* All volumes of ours, with the containers of CTRS that use them. */
int list_volumes(struct hoy_store *s, const struct usages *ctrs, bool with_size, struct usages *ret, struct hoy_err *err);
void usages_release(struct usages *u);
/* The writable layer of C, and its files. */
int64_t ctr_size(const struct ctr *c);

/* ---- user.c ---- */
struct user {
	unsigned uid, gid;
	unsigned groups[64];
	size_t n_groups;
	char home[512], name[128];
};
/* USER[:GROUP] by the passwd and group files of the root file system ROOTFD. */
int resolve_user(int rootfd, const char *spec, struct user *ret, struct hoy_err *err);

/* Does the passwd or group file PATH of the root file system ROOTFD know NAME (may be NULL) or ID? */
bool known_account(int rootfd, const char *path, const char *name, unsigned id);

/* ---- fill.c ---- */
/* Fill fresh named volumes with what the image has at their destination, and give those that ask for it (U) to the user U. */
int fill_volumes(struct ctr *c, int rootfd, const struct user *u, struct hoy_err *err);
/* Where the files of the overlay on the mount M (option O) are, in new memory. */
char *overlay_dir(const struct ctr *c, const struct hoy_json *m);
/* The option NAME, or NAME=..., of the mount M of a definition; NULL if it has not got it. */
const char *mount_option(const struct hoy_json *m, const char *name);
/* What the option "idmap[=uids=...;gids=...]" maps for a container with the maps OF; RET may be empty. Is it written well? */
int mount_idmap(const char *option, const struct hoy_idmaps *of, struct hoy_idmaps *ret, struct hoy_err *err);
int mount_idmap_check(const char *option, struct hoy_err *err);

/* ---- accounts.c ---- */
/* Lines in the passwd and group files of the root file system ROOTFD for who runs there, if it has not got them. */
int write_accounts(struct ctr *c, int rootfd, struct hoy_err *err);

/* ---- userns.c: all of a loaded definition ---- */
/* Has the container a user namespace that isn't ours? */
bool ctr_has_userns(const struct ctr *c);
/* Its maps: both empty where it has none, or somebody else's. */
int ctr_maps(const struct ctr *c, struct hoy_idmaps *ret, struct hoy_err *err);
/* Who the container's UID and GID are to us. */
int ctr_outside(const struct ctr *c, unsigned uid, unsigned gid, uid_t *ret_uid, gid_t *ret_gid, struct hoy_err *err);
/* The path of the namespace that it joins, in new memory; NULL if the runtime makes one, or there is none. */
int ctr_userns_path(struct ctr *c, char **ret, struct hoy_err *err);
/* An error that names them, if others live in its user namespace. */
int ctr_check_dependents(struct ctr *c, struct hoy_err *err);
/*
 * The maps for its storage; with --userns=auto they are chosen now, and noted in the definition, which is to be saved again.
 * IMAGE is its record or NULL. The locks of hoy_auto_ids().
 */
int ctr_choose_ids(struct ctr *c, const struct hoy_json *image, struct hoy_idmaps *ret, struct hoy_err *err);

/* ---- inspect.c ---- */
/* All that `inspect` tells of a container; definition and live are loaded. */
int ctr_inspect(struct hoy_jw *w, struct ctr *c, struct hoy_err *err);

/* ---- events ---- */
void event(const struct ctr *c, const char *what, int code);
void health_event(const struct ctr *c, const char *status, int64_t streak);
