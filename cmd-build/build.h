/* cmd-build/build.h: the parts of hoy-build. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "cmd-build/cfile.h"
#include "cmd-build/platform.h"
#include "cmd-build/sbom.h"
#include "cmd-build/userns.h"
#include "cmd-build/view.h"
#include "common/base/err.h"
#include "common/base/strv.h"
#include "common/cli/opts.h"
#include "common/data/digest.h"
#include "common/data/json.h"
#include "common/store/store.h"

/* The version of buildah whose images ours are like, for the label that it puts into them. */
#define LIKE_BUILDAH "1.43.2"

/* ---- what is asked for: main.c, options.c ---- */

struct build_opts {
	struct hoy_strv files, tags, build_args, labels, annotations, run_opts[40], platforms, envs, unset_envs, unset_labels, unset_notes,
		layer_labels, os_features, outputs, hooks_dirs, runtime_flags, decryption_keys, secrets, ssh, allow, contexts, arg_files, cpp_flags, cache_from, cache_to, no_cache_stages, attest;
	const char *target, *format, *iidfile, *pull, *timestamp, *ignorefile, *network, *os, *arch, *variant, *authfile, *creds, *cert_dir,
		*manifest, *progress, *from, *os_version, *epoch, *logfile, *metadata_file, *retry_delay, *cache_ttl, *source_policy, *sign_by, *runtime, *isolation, *provenance, *cw;
	bool no_cache, squash, squash_all, quiet, all_platforms, rewrite_timestamp, omit_history, logsplit, compat_volumes, no_hosts,
		no_hostname, compress, use_stdin, disable_trust, explain_cache, push, load, save_stages, stage_labels;
	int layers, rm, force_rm, tls_verify, identity_label, http_proxy, skip_unused, inherit_labels, inherit_notes, created_note, no_compression;
	int64_t jobs, retry;
	struct sbom_opts sbom;
	struct userns_opts userns;
};

extern const struct hoy_opt build_options[];
/* Nothing is asked for yet; free what was. */
void options_init(struct build_opts *o);
void options_release(struct build_opts *o);
struct build;
/* Check what is asked for, and note what it means to B. */
int options_take(struct build *b);
/* The time that is asked for: b->given is known. */
int options_times(struct build *b);

/* ---- stages: plan.c ---- */

struct stage {
	size_t first, n;   /* instructions behind FROM, in the file; FROM is first - 1 */
	char *name;	   /* of AS, or its number */
	char *base;	   /* substituted */
	struct platform plat;
	bool plat_given;   /* somebody asked for it: else it's what the base is for */
	long base_stage;   /* -1: an image */
	bool needed, is_base, is_source; /* for the target; for another's FROM, COPY --from */
	char image[HOY_ID_SIZE]; /* what became of it; "": not committed */
	bool made;	   /* that image was committed in one piece, and nobody but this build knows it */
	struct work *work; /* kept for COPY --from where no image was made, or NULL */
	struct hoy_strv args; /* ARG of a stage holds for those that stand on it */
};

struct build {
	struct build_opts *o;
	struct hoy_store *s;
	struct cfile f;
	bool chroot; /* RUN has no runtime: chroot.h */
	struct userns ns; /* of commands; each working container has its own like it */
	bool docker, layers, podman; /* podman: hoy's manner, not buildah's */
	bool squash;		  /* all of it, what the base brings too */
	struct hoy_strv heading;  /* ARG before the first FROM, and platform arguments: KEY=value */
	struct hoy_strv given;	  /* --build-arg KEY=value */
	struct hoy_strv used;	  /* keys of those that were asked for */
	struct stage *stages;
	size_t n, target;
	bool *deps;	  /* [stage * n + other]: it must wait for the other one */
	struct platform plat; /* what the target is for */
	bool plat_given, many; /* many: there are builds for other platforms beside it */
	enum view_kind view;
	int out;	  /* stdout, where that is for a tar; or -1 */
	int told[2];	  /* stdout and stderr, while they are a log; or -1 */
	FILE *log;	  /* of this platform alone, or NULL */
	char mark[40];	  /* what begins the lines that tell our parent of events; "": we have none */
	const char *context;
	char *inputs, *got_context; /* directory of what was fetched before all, and that of the context there; or NULL */
	size_t n_inputs;
	struct hoy_json_doc policy; /* --source-policy-file; without a root: none */
	struct hoy_strv contexts; /* --build-context: name, "image" or "dir", value */
	struct hoy_strv cache_from, cache_to; /* repositories */
	char *pushed;	   /* digest of the manifest that a registry got, or NULL */
	int64_t cache_ttl; /* ns; 0: images are never too old */
	char *ignore; /* path, or NULL */
	char *tmp;    /* directory for what goes with the build, NULL as long as there is nothing */
	struct hoy_strv fetched; /* what was asked for, and its path: see fetch.h */
	int64_t time; /* of the image and its history in seconds, -1: now */
	enum { MTIME_OWN, MTIME_FORCE, MTIME_CLAMP } mtime; /* the files have it, too; those that are younger have it */
	struct hoy_strv warned;
	struct hoy_err err;
	int status; /* what a failed RUN ended with */
};

/* Cut b->f into stages, put in arguments, and find those that the target needs, and what each of them waits for. */
int plan(struct build *b);
/* The stage that WORD (name or number) means to stage AT: one before it; -1: none. */
long find_stage(const struct build *b, const char *word, size_t at);

/* ---- the config of what is built: config.c ---- */

struct state {
	struct build *b;
	struct stage *st;
	struct hoy_json_doc d;
	struct hoy_json *cfg;	  /* as docker's config object */
	struct hoy_json *notes;	  /* annotations */
	struct hoy_strv args;	  /* ARG: KEY=value */
	struct hoy_strv declared; /* ARG: names */
	struct hoy_strv set_envs; /* names of variables that the stage set */
	char *author;
	bool cmd_set;
	/* What the next step stands on: */
	char image[HOY_ID_SIZE], layer[HOY_ID_SIZE]; /* "": nothing */
	char *name;		  /* of the base image, for the first entry of the history; taken away by that */
	struct hoy_json_doc base; /* config of that image */
	struct hoy_strv pending;  /* created_by of steps that no image has yet, each with its time: "TIME\nTEXT" */
	struct work *work;	  /* the working container; NULL: there is none */
	bool missed;		  /* a step was not in the cache: none behind it is */
	bool waited;		  /* somebody else was at the step at hand: it may be there after all */
	char key[HOY_ID_SIZE];	  /* what a cache in a registry calls the step at hand; "": nobody needs it */
	bool pulled;		  /* it came from there */
	bool last;		  /* the step at hand is the target's last one */
	bool linked;		  /* its layer has nothing to do with those below; see linked.h */
	int64_t linked_at;	  /* the time that the history has for it then */
	char again[HOY_ID_SIZE];  /* the layer that it is, of another image; "": it's made */
};
void state_release(struct state *s);

/* The config that S begins with: that of the base image, whose whole config BASE is; or with nothing below. */
int config_begin(struct state *s, const struct hoy_json *base);
int config_scratch(struct state *s);
/* All that I says of the config; what it says of files is somebody else's. A sentence that names the line is in b->err. */
int config_apply(struct state *s, const struct cf_instr *i);
/* The variables that substitution sees: arguments, and over them the environment. */
void config_vars(const struct state *s, struct hoy_strv *ret);
/* WORD with S's variables, in new memory; NULL with a sentence. */
char *config_word(struct state *s, const struct cf_instr *i, const char *word);
const char *config_str(const struct state *s, const char *key);
/* As Go's path.Join(): one slash between the parts, no "." and ".."; PATH alone if it is absolute. In new memory. */
char *join_clean(const char *dir, const char *path);
/* Where a COPY or ADD --link goes, as an absolute name, in new memory; CLEAN: also of one that was absolute, "." and ".." are gone. */
char *linked_target(struct state *s, const struct cf_instr *i, bool clean);
/* How the history tells of I, and so what the cache knows it by: SUM is the digest of what was copied, or those of a RUN's mounts. In new memory. */
char *created_by(struct state *s, const struct cf_instr *i, const char *sum);

/* ---- images: image.c, cache.c ---- */

/* The image NAME for the stage's platform, pulled as the policy says, into S: image, layer, name, base. */
int image_base(struct state *s, const char *name);
/* The image ID becomes what S stands on. */
int image_use(struct state *s, const char *id);
/* The id of the image NAME, pulled if need be, to copy from. */
int image_source(struct build *b, const char *name, char id[HOY_ID_SIZE]);
/* An image that stands on S's and adds one step, which the history tells of as BY. Its id, or "". */
int cache_find(struct state *s, const char *by, bool layer, char id[HOY_ID_SIZE]);
/* What it asks of an image: that it is young enough, stands on what S does, in the same format, for the same platform. */
bool cache_too_old(const struct build *b, const struct hoy_json *rec);
bool cache_on_top(const struct state *s, const struct hoy_json *rec, bool layer);
bool cache_fits_format(const struct build *b, const struct hoy_json *rec);
bool cache_fits_platform(const struct state *s, const struct hoy_json *cfg);
/* The last entry of CFG's history, if CFG is that of what S stands on with one step more; or NULL. */
const struct hoy_json *cache_last_step(const struct state *s, const struct hoy_json *cfg, bool layer);
/*
 * Wait until nobody else is at the step I on what S stands on: who waited finds in the cache what the other one made. The descriptor
 * of the lock, which goes with it.
 */
int cache_claim(struct state *s, const struct cf_instr *i);
/*
 * From now on image ID is in use until the build ends (children of this process included, if cache_hold_begin() was called before they
 * were made), and used now. Between finding or committing an image and that, the descriptor of cache_gate() keeps those out who prune.
 */
int cache_hold_begin(struct build *b);
int cache_gate(struct build *b);
int cache_hold(struct build *b, const char *id);
/* Remove image ID, which this build made for itself, unless it has got a name or somebody uses it. */
void cache_drop(struct build *b, const char *id);
/*
 * Commit S as an image without a name: BY is the last entry of its history, EMPTY: it has no layer of its own. S then stands on it.
 */
int image_commit(struct state *s, const char *by, bool empty);
/* Give image ID the name NAME. */
int image_tag(struct build *b, const char *id, const char *name);
/* NAME as the store knows it: "localhost/a:latest". In new memory; NULL with a sentence. */
char *full_name(const char *name, struct hoy_err *err);

/* ---- working containers: work.c ---- */

struct work {
	struct build *b;
	char id[HOY_ID_SIZE], layer[HOY_ID_SIZE];
	char *name, *root; /* root: where it is mounted, or NULL */
	struct userns ns;  /* of its commands, its files are shifted by */
	bool kept;	   /* it stays when the build is over */
	bool plain;	   /* never mounted: what it holds was written straight into its upper directory */
	struct hoy_strv stubs; /* what a RUN's mounts may have made */
	struct hoy_strv parents; /* directories in which that was, innermost first: paths without a slash in front */
};
/* Append what W's buildah.json says to RET. */
typedef int work_text(struct work *w, struct hoy_buf *ret);
/*
 * Make the layer and the record of W, whose name and ids are there, on what S stands on; ids of its user namespace are chosen if need be.
 * TEXT, if wanted, then tells what its buildah.json is. -EEXIST: the name is somebody else's.
 */
int work_create(const struct state *s, struct work *w, work_text *text);
/* A working container for what S stands on: S's. work_open() also mounts it. */
int work_new(struct state *s);
/* The same with the user namespace of another one. */
int work_new_like(struct state *s, const struct userns *ns);
int work_open(struct state *s);
int work_unmount(struct work *w, struct hoy_err *err);
/* Is it mounted by somebody, who wouldn't bear changes beneath (or cannot that be found out)? */
bool work_mounted(struct work *w);
/* Take away what mounts of commands have left in the layer, unless it's mounted. */
void work_tidy(struct work *w);
/* S's working container gets a name and settings, and stays when the build is over, for buildah's verbs and ours. */
int work_keep(struct state *s);
/* TEXT becomes the buildah.json of the container ID. */
int work_settings(struct build *b, const char *id, const struct hoy_buf *text);
/* Take it away with all that it holds, unless it is kept; NULL is fine. */
void work_drop(struct work *w);
/* Make the directory PATH in it. */
int work_mkdir(struct state *s, const char *path);
/* Are there volumes of the image that S stands on of which it has no directory? buildah makes those before it copies into it. */
bool work_lacks_volumes(struct state *s);
/* Make the directory VOLUME if there is nothing; those that are the keys of VOLUMES. */
int work_volume(struct state *s, const char *volume);
int work_volumes(struct state *s, const struct hoy_json *volumes);
/* Make the working directory of the config there, its user's. */
int work_workdir(struct state *s);
/* Mount it, if it isn't. */
int work_mount(struct work *w);
/* What the mounts of a RUN will need and isn't there, is noted; afterwards it's taken away. ROOT is the working container's. */
void work_note_stubs(struct work *w, int root);
void work_drop_stubs(struct work *w, int root);
/* Mount any LAYER; *RET is where, in new memory. Its sentence is in b->err. */
int mount_layer(struct build *b, const char *layer, bool rdonly, char **ret);
int unmount_layer(struct build *b, const char *layer, struct hoy_err *err);

/* ---- steps: runstep.c, copystep.c, docs.c, signals.c ---- */

/* The RUN instruction I in S's working container. b->status is how it ended. */
int work_run(struct state *s, const struct cf_instr *i);
/* COPY or ADD; *RET_SUM is the digest of what was copied, in new memory. */
int work_copy(struct state *s, const struct cf_instr *i, char **ret_sum);
/* That digest, without a working container; S stands on a layer. */
int work_digest(struct state *s, const struct cf_instr *i, char **ret_sum);
/* The build's directory for what goes with it, made by the first who asks: b->tmp. */
int need_tmp(struct build *b);
/* Write TEXT as the file NAME to the build's directory for here-documents. */
int doc_file(struct build *b, const char *name, const char *text, mode_t mode);
/* Run a tool of ours, whose container is NAME, to its end; a signal for us ends the container. Its exit status, or an error. */
enum run_flags { RUN_QUIET = 1 << 0, /* stdout is nobody's */ RUN_STDIN = 1 << 1 /* stdin is ours, else nothing */ };
int run_and_wait(struct build *b, char **argv, const char *name, unsigned flags);
/* Wait for our child PID in the same way; a signal for us kills it. */
int wait_child(pid_t pid);
/* From now on signals are noted for stopped(). */
void catch_signals(void);
/* Has the user asked for an end? Then ECANCELED is in b->err. */
int stopped(struct build *b);

/* ---- building: stage.c, builds.c ---- */

/* Build ST, for which all stages that it needs are there. */
int build_stage(struct build *b, struct stage *st);
/* Was it asked to carry all steps of S's stage out? */
bool stage_no_cache(const struct state *s);
/* Build what B describes, for each platform that is asked for, and tell of it. */
int build_all(struct build *b);
/* The id of what became of the target. */
const char *build_image(const struct build *b);
/* Take away and free what planning and building made and nobody wants any more. */
void build_forget(struct build *b);

/* ---- what a build gives beside an image: outputs.c ---- */

/* Call USE with the directory where the files of image ID are, mounted for that (read-only). */
int image_files(struct build *b, const char *id, int (*use)(struct build *b, const char *root, void *arg), void *arg);
/* Is all right that --output says? */
int outputs_check(struct build *b);
/* Write what --output asks for, of the target's image. */
int outputs_write(struct build *b);
/* --iidfile and --metadata-file, of image ID. */
int write_iid(struct build *b, const char *id);
int write_metadata(struct build *b, const char *id);
/* --logfile: from now on what is printed goes there; with --logsplit, what the build for one of several platforms says, to b->log. */
int log_begin(struct build *b);
int log_split(struct build *b);
/* Back to where it went before. */
void log_end(struct build *b);
extern const struct hoy_verb verb_build, verb_bud;
