/* cmd-build/mounts.h: what --mount of a RUN asks for, made ready for whoever runs the command. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "common/base/strv.h"
#include "common/store/lock.h"

struct build;
struct cf_instr;
struct hoy_err;
struct state;

/* ---- what is written: mountspec.c ---- */

enum mount_type { MOUNT_BIND, MOUNT_CACHE, MOUNT_TMPFS, MOUNT_SECRET, MOUNT_SSH };
enum mount_sharing { SHARING_SHARED, SHARING_PRIVATE, SHARING_LOCKED };
enum mount_access { ACCESS_DEFAULT, ACCESS_READ, ACCESS_WRITE };
struct mount_spec {
	enum mount_type type;
	enum mount_sharing sharing;
	char *id, *from, *source, *target, *env; /* NULL: not said; TARGET is clean and absolute */
	struct hoy_strv options;		 /* of the mount, but for ro and rw */
	enum mount_access access;		 /* the last one that was said */
	bool required, alone;			 /* alone: what is mounted beneath the source stays behind */
	bool has_mode;
	mode_t mode;
	uid_t uid;
	gid_t gid;
};
void mount_spec_release(struct mount_spec *m);
/* TEXT ("type=cache,target=/x"), where a relative target is beneath WORKDIR; 0 or -EINVAL with a sentence. */
int mount_spec_parse(struct mount_spec *ret, const char *text, const char *workdir, struct hoy_err *err);

/* ---- made ready: mounts.c ---- */

struct run_mount {
	char *source; /* NULL: a tmpfs */
	char *target; /* in the container */
	bool rdonly;
	struct hoy_strv options; /* "nosuid", "rprivate", "U", ...; of a tmpfs also "size=1m", "mode=700" */
};
struct run_mounts {
	struct run_mount *v;
	size_t n;
	struct hoy_strv env; /* KEY=value that the command sees, and nobody else may */
	/* What there is to undo: */
	struct hoy_strv mounted; /* mount points of ours */
	struct hoy_strv made;	 /* paths of ours */
	struct hoy_strv stubs;	 /* in the working container, outermost first */
	struct source *sources;
	struct mount_lock *locks;
	pid_t agents[16];
	size_t n_agents, n_ssh;
};
#define RUN_MOUNTS_INIT { .env = HOY_STRV_INIT }
/*
 * Make all ready that I's --mount ask for; what isn't there in the working container is noted, so that the mount points that
 * somebody makes don't stay. mounts_close() is to be called whatever this returns.
 */
int mounts_open(struct state *s, const struct cf_instr *i, struct run_mounts *m);
/* The words of hoy-run's command line for them. Variables are only named: everybody can read a command line. */
void mounts_argv(const struct run_mounts *m, struct hoy_strv *argv);
/* As run_and_wait(), with the secrets of M in its environment, and in nobody else's. */
int run_with_secrets(struct build *b, const struct run_mounts *m, char **argv, const char *name, unsigned flags);
void mounts_close(struct state *s, struct run_mounts *m);
/* What the history says of what the bind mounts of I hold, ":DIGEST" each, in new memory; NULL if there are none. */
int mounts_sums(struct state *s, const struct cf_instr *i, char **ret);
/* The text of the instruction's --mount number N (from 0) with variables put in, in new memory; NULL if there is none, or with a sentence. */
char *mount_text(struct state *s, const struct cf_instr *i, size_t n);

/* ---- secrets and agents: secrets.c, agent.c ---- */

/* Are all --secret and --ssh such, and their files there? */
int secrets_check(struct build *b);
int mount_secret(struct state *s, const struct mount_spec *spec, struct run_mounts *m);
int mount_ssh(struct state *s, const struct mount_spec *spec, struct run_mounts *m);
/* Start a process that hands on to the agent at the socket TO what comes in at PATH, which belongs to UID and GID with MODE. Its pid or an error. */
pid_t agent_start(const char *path, const char *to, uid_t uid, gid_t gid, mode_t mode, struct hoy_err *err);
/* An ssh-agent at PATH that knows the keys in the files KEYS. Its pid or an error. */
pid_t agent_with_keys(const char *path, const struct hoy_strv *keys, struct hoy_err *err);
void agent_stop(pid_t pid);

/* ---- for these ---- */

/* What of the mount points isn't there yet goes to m->stubs; and goes away afterwards, if it is as empty as it was made. */
void stubs_note(struct state *s, struct run_mounts *m);
void stubs_drop(struct state *s, struct run_mounts *m);

/* A path in the build's own directory for the next thing of M, in new memory. */
char *mounts_path(struct state *s, struct run_mounts *m, const char *kind);
/* One more in M, to be filled; NULL without memory. It owns TARGET's copy. */
struct run_mount *mounts_add(struct run_mounts *m, const char *source, const char *target, bool rdonly);
