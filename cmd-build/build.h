/* cmd-build/build.h: the parts of hoy-build. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cmd-build/cfile.h"
#include "common/base/err.h"
#include "common/base/strv.h"
#include "common/cli/opts.h"
#include "common/data/digest.h"
#include "common/data/json.h"
#include "common/store/store.h"

/* The version of buildah whose images ours are like, for the label that it puts into them. */
#define LIKE_BUILDAH "1.43.2"

/* ---- what is asked for: main.c ---- */

struct build_opts {
	struct hoy_strv files, tags, build_args, labels, annotations, run_opts[16], secrets, ssh, allow;
	struct hoy_strv unset_envs, unset_labels, envs;
	const char *target, *format, *iidfile, *pull, *timestamp, *ignorefile, *network, *platform, *os, *arch, *variant, *isolation,
		*authfile, *creds, *cert_dir;
	bool no_cache, squash, squash_all, quiet, force_rm;
	int layers, rm, tls_verify, identity_label, http_proxy;
};

/* ---- stages: plan.c ---- */

struct stage {
	size_t first, n;   /* instructions behind FROM, in the file; FROM is first - 1 */
	char *name;	   /* of AS, or its number */
	char *base;	   /* substituted */
	long base_stage;   /* -1: an image */
	bool needed, is_base, is_source; /* for the target; for another's FROM, COPY --from */
	char image[HOY_ID_SIZE]; /* what became of it; "": not committed */
	struct work *work; /* kept for COPY --from where no image was made, or NULL */
	struct hoy_strv args; /* ARG of a stage holds for those that stand on it */
};

struct build {
	struct build_opts *o;
	struct hoy_store *s;
	struct cfile f;
	bool docker, layers, podman; /* podman: hoy's manner, not buildah's */
	bool squash;		  /* all of it, what the base brings too */
	struct hoy_strv heading;  /* ARG before the first FROM, and platform arguments: KEY=value */
	struct hoy_strv given;	  /* --build-arg KEY=value */
	struct hoy_strv used;	  /* keys of those that were asked for */
	struct stage *stages;
	size_t n, target;
	const char *context;
	char *ignore; /* path, or NULL */
	char *tmp;    /* directory for what goes with the build, NULL as long as there is nothing */
	struct hoy_strv fetched; /* what was asked for, and its path: see fetch.h */
	int64_t time; /* of --timestamp in seconds, -1: none */
	struct hoy_strv warned;
	struct hoy_err err;
	int status; /* what a failed RUN ended with */
};

/* Cut b->f into stages, put in arguments, and find those that the target needs. */
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
	char *author;
	bool cmd_set;
	/* What the next step stands on: */
	char image[HOY_ID_SIZE], layer[HOY_ID_SIZE]; /* "": nothing */
	char *name;		  /* of the base image, for the first entry of the history; taken away by that */
	struct hoy_json_doc base; /* config of that image */
	struct hoy_strv pending;  /* created_by of steps that no image has yet, each with its time: "TIME\nTEXT" */
	struct work *work;	  /* the working container; NULL: there is none */
	bool missed;		  /* a step was not in the cache: none behind it is */
	bool last;		  /* the step at hand is the target's last one */
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
/* How the history tells of I, and so what the cache knows it by: SUM is the digest of what was copied, or those of a RUN's mounts. In new memory. */
char *created_by(const struct state *s, const struct cf_instr *i, const char *sum);

/* ---- images: image.c ---- */

/* The image NAME, pulled as the policy says, into S: image, layer, name, base. */
int image_base(struct state *s, const char *name, const char *platform);
/* The image ID becomes what S stands on. */
int image_use(struct state *s, const char *id);
/* The id of the image NAME, pulled if need be, to copy from. */
int image_source(struct build *b, const char *name, char id[HOY_ID_SIZE]);
/* An image that stands on S's and adds one step, which the history tells of as BY. Its id, or "". */
int cache_find(struct state *s, const char *by, bool layer, char id[HOY_ID_SIZE]);
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
	struct hoy_strv stubs; /* what a RUN's mounts may have made */
	struct hoy_strv parents; /* directories in which that was, innermost first: paths without a slash in front */
};
/* A working container for what S stands on: S's. work_open() also mounts it. */
int work_new(struct state *s);
int work_open(struct state *s);
int work_unmount(struct work *w, struct hoy_err *err);
/* Take it away with all that it holds; NULL is fine. */
void work_drop(struct work *w);
/* Make the directory PATH in it. */
int work_mkdir(struct state *s, const char *path);
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
int run_and_wait(struct build *b, char **argv, const char *name);
/* From now on signals are noted for stopped(). */
void catch_signals(void);
/* Has the user asked for an end? Then ECANCELED is in b->err. */
int stopped(struct build *b);

/* ---- building: stage.c ---- */

/* Build all stages that are needed; ID is the target's image. */
int build_all(struct build *b, char id[HOY_ID_SIZE]);
extern const struct hoy_verb verb_build, verb_bud;
