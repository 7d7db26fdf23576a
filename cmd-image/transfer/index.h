/*
 * cmd-image/transfer/index.h: a list of images that is made here, by hand: podman's `manifest` commands. The store keeps it as an
 * image without layers, whose items are the list itself, instances.json (which says where each image is) and artifacts.json.
 */
#pragma once
#include "cmd-image/transfer/transport.h"
#include "common/data/digest.h"
#include "common/store/images.h"

struct index {
	struct hoy_json_doc doc;  /* the list, members as OCI calls them */
	struct hoy_json_doc from; /* digest of an image -> the name of where it is, with its transport */
	struct hoy_json_doc artifacts; /* what artifacts.json says of those that were made here */
	char id[HOY_ID_SIZE];
};
#define INDEX_INIT { HOY_JSON_DOC_INIT, HOY_JSON_DOC_INIT, HOY_JSON_DOC_INIT, "" }
void index_release(struct index *x);
static inline void hoy_cleanup_index_(struct index *x) { index_release(x); }
#define cleanup_index __attribute__((cleanup(hoy_cleanup_index_)))

/* What --arch, --annotation and so on say of an image in a list, or of the list; NULL and empty: nothing. */
struct index_facts {
	const char *arch, *os, *variant, *os_version;
	struct hoy_strv annotations, features, os_features;
};
/* Are they well-formed? KEY=VALUE for annotations. */
int index_facts_check(const struct index_facts *f, struct hoy_err *err);

/* A list with nothing in it, that has no id yet. 0 or -ENOMEM. */
int index_init(struct index *x);
/* The list NAME of S, whose images are loaded. -ENOENT, -HOY_EUNSUPPORTED: it is a single image. */
int index_load(struct index *x, const struct hoy_store *s, const char *name, struct hoy_err *err);
/* Save it under its id, or under a new one, and with NAME if that is given. Images are locked for writing. */
int index_save(struct index *x, struct hoy_store *s, const char *name, struct hoy_err *err);

/* The entry with that digest, or NULL. */
struct hoy_json *index_find(const struct index *x, const char *digest);
/* Add an entry, or what there is of that digest anew: M is at FROM, C its config (NULL: PLATFORM is what a list says of it). */
int index_add(struct index *x, const struct manifest *m, const char *from, const struct hoy_json *config, const struct hoy_json *platform);
/* Take an entry out; false: there is none. */
bool index_drop(struct index *x, const char *digest);
/* Write FACTS into ENTRY, or (NULL) the annotations into the list itself. */
int index_annotate(struct index *x, struct hoy_json *entry, const struct index_facts *f);
/* Where the image DIGEST is; NULL: nobody said. */
const char *index_from(const struct index *x, const char *digest);

/* The list as it is stored and sent: OCI's, or docker's form, one line as Go writes it. */
int index_write(struct hoy_buf *b, const struct index *x, enum man_kind kind);
/*
 * The same to be read by people: `manifest inspect`, with podman's members in its order. FILES (may be NULL): digest of an artifact ->
 * the files that it was made of.
 */
void index_show(struct hoy_jw *w, const struct hoy_json *list, const struct hoy_json *files);

/* ---- index_artifact.c: artifacts that are made for a list, of files which stay where they are ---- */
struct artifact_opts {
	bool artifact, no_titles;
	const char *type, *config, *config_type, *layer_type, *subject; /* NULL: not given */
	struct hoy_strv annotations; /* KEY=VALUE */
};
struct artifact {
	char *manifest;
	char digest[SHA_DIGEST_SIZE], config[SHA_DIGEST_SIZE];
	char *data; /* the config's content in base64 */
	const char *type;
	struct hoy_strv files, layers; /* absolute paths, and the digests of what they are */
};
void artifact_release(struct artifact *a);
static inline void hoy_cleanup_artifact_(struct artifact *a) { artifact_release(a); }
#define cleanup_artifact __attribute__((cleanup(hoy_cleanup_artifact_)))
/* Do the options fit together? */
int artifact_check(const struct artifact_opts *o, struct hoy_err *err);
/* Read and digest the N FILES. A is blank. */
int artifact_make(struct artifact *a, const struct artifact_opts *o, char **files, int n, struct hoy_err *err);
/* A into X, with an entry for it. 0 or -ENOMEM. */
int index_add_artifact(struct index *x, const struct artifact *a);
/* A source of the artifact DIGEST that was made for X; NULL in *RET: none was. X must outlive it. */
int source_listed(struct source **ret, const struct index *x, const char *digest, struct hoy_err *err);

/* ---- manifest_cmd.c ---- */
/* Remove the list NAME, and say so. No lock is held. */
int index_delete(struct hoy_store *s, const char *name, struct hoy_err *err);
