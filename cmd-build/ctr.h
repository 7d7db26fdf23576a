/*
 * cmd-build/ctr.h: working containers that last from one command to the next. Their settings are in userdata/buildah.json of the
 * container's directory in the store, as buildah writes and reads them: what one has begun the other one goes on with.
 */
#pragma once
#include "cmd-build/build.h"
#include "cmd-build/words.h"

#define FORMAT_OCI "application/vnd.oci.image.manifest.v1+json"
#define FORMAT_DOCKER "application/vnd.docker.distribution.manifest.v2+json"

enum isolation { ISOLATION_DEFAULT, ISOLATION_OCI, ISOLATION_CHROOT, ISOLATION_ROOTLESS };
enum { NETWORK_DEFAULT, NETWORK_DISABLED, NETWORK_ENABLED };

struct ctr {
	struct build_opts o; /* how images are pulled */
	struct build b;	     /* the store, and the sentence of what failed */
	struct work w;	     /* id, layer, name; root if it's mounted by us */
	struct hoy_json_doc d; /* buildah.json */
	bool opened;	       /* the store, with what the dead have left in it given back */
};
void ctr_init(struct ctr *c);
void ctr_release(struct ctr *c);
/* Open the store; 0 or an error, as all of these, with its sentence in c->b.err. */
int ctr_open_store(struct ctr *c);
/* Open the store and the working container NAME (or id) in it. */
int ctr_open(struct ctr *c, const char *name);
/* The settings of the container REC, into C; -ENOENT without a sentence if it is none of a build. */
int ctr_load(struct ctr *c, const struct hoy_json *rec);
int ctr_save(struct ctr *c);
/* The first name of the container whose record REC is, or "". */
const char *ctr_first_name(const struct hoy_json *rec);
/* Make the container that C's settings describe on what S stands on: NAME, or NULL: one after its image that is not taken. */
int ctr_create(struct ctr *c, const struct state *s, const char *name);
/* Carry out the triggers LIST, ONBUILD of the image, in the container that was just made. */
int ctr_trigger(struct ctr *c, const struct hoy_json *list);
/* Before a commit: mount points that commands of buildah's, or of ours, have left in the layer go. */
void ctr_tidy(struct ctr *c);
/* Take the container away, mounted or not. */
int ctr_remove(struct ctr *c);
/* The text of buildah.json, appended to RET. */
void ctr_write(struct ctr *c, struct hoy_buf *ret);

/* The settings of a container on what S stands on, whose config is in s->base; FORMAT is one of those above, or NULL: what an image says. */
int ctr_describe(struct ctr *c, const struct state *s, const char *format);
/* What CONFIG (docker's object) says becomes what the settings do, in both forms. */
int ctr_put_config(struct ctr *c, const struct hoy_json *config);
/* The config objects, of the image in OCI's and in docker's form. */
struct hoy_json *ctr_oci(struct ctr *c);
struct hoy_json *ctr_docker(struct ctr *c);
bool ctr_is_docker(const struct ctr *c);
/* An entry of the history without a layer, if GIVEN (-1: not said) or BUILDAH_HISTORY asks for one. */
int ctr_note(struct ctr *c, int given, const char *by);

/* Set, or with VALUE NULL take away, a text in both forms. */
int ctr_set(struct ctr *c, const char *key, const char *value);
/* A list of both forms. */
int ctr_set_list(struct ctr *c, const char *key, const struct hoy_strv *v);
/* A variable. */
int ctr_set_env(struct ctr *c, const char *key, const char *value);

/* The number that the name of an isolation means, DEFAULT for ""; -EINVAL with a sentence. Without TEXT the environment's. */
int isolation_parse(const char *text, struct hoy_err *err);
/* Does the environment want roots to be changed without pivot_root? */
bool no_pivot_asked(void);
/* Options behind the container's or image's name are a mistake that buildah names: 0, or -EINVAL with a sentence. */
int options_first(int n, char **argv, const char *noun, struct hoy_err *err);
/* The end of a verb: what failed, if R says so, is told. The exit status. */
int ctr_finish(struct ctr *c, int r);
