/*
 * cmd-image/transfer/transport.h: where images come from and go to. Each transport is a source, a destination, or both;
 * copy.c and store_in.c know only what stands here.
 */
#pragma once
#include "cmd-image/transfer/manifest.h"
#include "cmd-image/transfer/signature.h"
#include "cmd-image/transfer/stream.h"
#include "common/data/ref.h"
#include "common/store/images.h"

struct source;
struct part;
struct source_ops {
	/* The manifest DIGEST, or (NULL) what the reference means. *RET_TYPE (may be set to NULL) is what it is said to be. */
	int (*manifest)(struct source *s, const char *digest, char **ret, size_t *ret_len, char **ret_type, struct hoy_err *err);
	/* The blob D, unchecked; layer number LAYER (-1: the config). In several threads at once. */
	int (*blob)(struct source *s, const struct desc *d, int layer, struct stream **ret, struct hoy_err *err);
	void (*free)(struct source *s);
	/* A compressed form in which LAYER is known to exist elsewhere: D (digest is new memory) and its suffix. NULL: none. */
	bool (*packed)(struct source *s, int layer, struct desc *d, const char **ret_suffix);
	/* The blob D from far away, where PART, which is to hold it for the next attempt, doesn't have it yet. NULL: it isn't far. */
	int (*resume)(struct source *s, const struct desc *d, struct part *part, struct stream **ret, struct hoy_err *err);
	/* The signatures of manifest M, which (INSTANCE) was chosen from a list, appended to RET. NULL: there never are any. */
	int (*signatures)(struct source *s, const struct manifest *m, bool instance, struct sigs *ret, struct hoy_err *err);
	/* The tags beside the image; in a thread of its own. 1: it cannot say, being a mirror. NULL: there are none. */
	int (*tags)(struct source *s, struct hoy_strv *ret, struct hoy_err *err);
	/* The size of layer LAYER's tar, -1: unknown. NULL: what blob() gives is what the manifest's descriptors say. */
	int64_t (*plain_size)(struct source *s, int layer);
	/* The digests of what refers to manifest DIGEST. NULL: it doesn't know. */
	int (*referrers)(struct source *s, const char *digest, struct hoy_strv *ret, struct hoy_err *err);
	/* The manifest that TAG means, beside the image. -ENOENT or -HOY_ENOIMAGE. NULL: there are no such. */
	int (*tagged)(struct source *s, const char *tag, char **ret, size_t *ret_len, char **ret_type, struct hoy_err *err);
};
struct source {
	const struct source_ops *ops;
	char *name;		/* for messages */
	struct hoy_strv names;	/* that the image has there ("RepoTags") */
	bool plain;		/* blob() gives layers as plain tars, whatever the manifest says: digests are the config's diff_ids */
	char *repo_host, *repo; /* of a registry */
	/* What policy.json knows it by: */
	const char *transport;
	char *title;		/* with its transport */
	struct hoy_strv scopes; /* the most exact first */
	struct hoy_ref ref;	/* complete; path NULL: this transport gives images no such names */
	struct sigs sigs;	/* of the manifest SIGS_OF; see source_signatures() */
	char sigs_of[SHA_DIGEST_SIZE];
	char *repository;	/* "docker.io/library/debian", of a reference that says so; or NULL */
};

struct dest;
/* One blob on its way out. */
struct sink {
	int (*write)(struct sink *k, const void *data, size_t n, struct hoy_err *err);
	/* All of it was written. */
	int (*end)(struct sink *k, const char *digest, int64_t size, struct hoy_err *err);
	/*
	 * write() or end() failed: may the rest be written again? 0, and *RET_FROM bytes of it are there; or the error that it
	 * was. RET_FROM NULL: no, it is only to tell the error. NULL: never, and what write() and end() said is the error.
	 */
	int (*again)(struct sink *k, int64_t *ret_from, struct hoy_err *err);
	/* What has not come to its end is dropped. */
	void (*free)(struct sink *k);
};
struct dest_ops {
	/* Is blob D there (or could be mounted from SRC's repository)? 1, 0 or an error. */
	int (*has)(struct dest *d, const struct desc *blob, const struct source *src, struct hoy_err *err);
	/* Begin to write a blob; SIZE -1 and DIGEST NULL if they are not known yet. In several threads at once. */
	int (*put)(struct dest *d, const char *digest, int64_t size, struct sink **ret, struct hoy_err *err);
	/* A manifest whose blobs are all there. TOP: what the reference will mean. CONFIG may be NULL. */
	int (*manifest)(struct dest *d, const struct manifest *m, bool top, struct hoy_err *err);
	/* Nothing more comes. */
	int (*commit)(struct dest *d, struct hoy_err *err);
	void (*free)(struct dest *d);
	/* What the image that comes next is called; NULL where the reference says it. */
	void (*name)(struct dest *d, const struct hoy_strv *names);
	/* The signatures of manifest M, which was written (TOP: as there). NULL: it keeps none. */
	int (*signatures)(struct dest *d, const struct manifest *m, bool top, const struct sigs *sigs, struct hoy_err *err);
	/* M, which was written (not as TOP), is to be found by its SUBJECT. NULL: that cannot be. */
	int (*refer)(struct dest *d, const struct manifest *m, const char *subject, struct hoy_err *err);
	/* M is what TAG means, too. NULL: there are no such. */
	int (*tag)(struct dest *d, const struct manifest *m, const char *tag, struct hoy_err *err);
};
enum layers_as { LAYERS_KEEP, LAYERS_PACKED, LAYERS_PLAIN };
struct dest {
	const struct dest_ops *ops;
	char *name;
	struct hoy_ref ref;	/* what the image will be called; path NULL: that isn't said */
	bool takes[MAN_KINDS];		/* manifests by enum man_kind */
	enum layers_as layers;	/* what it wants if nobody says otherwise */
	bool one_by_one;	/* blobs are written one after the other */
	bool takes_urls;	/* a layer that says where else it is need not come */
};

void source_free(struct source *s);
static inline void hoy_cleanup_source_(struct source **s) { source_free(*s); }
#define cleanup_source __attribute__((cleanup(hoy_cleanup_source_)))
void dest_free(struct dest *d);
static inline void hoy_cleanup_dest_(struct dest **d) { dest_free(*d); }
#define cleanup_dest __attribute__((cleanup(hoy_cleanup_dest_)))

/* How to reach registries. */
struct reg_opts {
	const char *creds;	  /* USER:PASSWORD */
	const char *authfile;
	const char *cert_dir;
	int tls_verify;		  /* -1: as registries.conf says */
	int64_t retry;		  /* attempts after the first */
	const char *retry_delay;  /* NULL: exponential */
	bool no_creds;
	const char *registries_d; /* NULL: the user's or the system's */
	const char *user, *password; /* instead of CREDS */
	const char *token;	  /* the Bearer token itself */
	const char *daemon_host;  /* docker-daemon: its socket */
	const char *shared_blobs; /* oci: a directory of blobs that several layouts share */
	bool accept_plain;	  /* oci: as a destination takes layers that are not compressed */
	/* As a source, of a registry or layout: what is wanted there instead of the image that the reference means; digests or NULL. */
	const char *blob, *manifest;
	bool no_mirrors;
	const struct hoy_strv *more_names; /* docker-archive: as a destination, beside the reference's; or NULL */
};
#define REG_OPTS_INIT { .tls_verify = -1, .retry = 3 }

/* Options of struct reg_opts at AT (an offset), their names with P in front ("src-"), their texts with WHOSE behind. */
#define REG_CREDS_OPTS(at, p, whose) \
	{ 0, p "cert-dir", HOY_OPT_STRING, (at) + offsetof(struct reg_opts, cert_dir), "DIR", "directory of certificates" whose }, \
	{ 0, p "creds", HOY_OPT_STRING, (at) + offsetof(struct reg_opts, creds), "USER[:PASSWORD]", "credentials" whose }, \
	{ 0, p "tls-verify", HOY_OPT_TRI, (at) + offsetof(struct reg_opts, tls_verify), NULL, "require HTTPS and check certificates" whose " (default true)" }
#define REG_AUTHFILE_OPT(at, p, whose) \
	{ 0, p "authfile", HOY_OPT_STRING, (at) + offsetof(struct reg_opts, authfile), "FILE", "file with credentials" whose }
#define REG_LOGIN_OPTS(at, p, whose) \
	REG_AUTHFILE_OPT(at, p, whose), REG_CREDS_OPTS(at, p, whose), \
	{ 0, p "no-creds", HOY_OPT_FLAG, (at) + offsetof(struct reg_opts, no_creds), NULL, "log in nowhere" whose }, \
	{ 0, p "password", HOY_OPT_STRING, (at) + offsetof(struct reg_opts, password), "PASSWORD", "password" whose }, \
	{ 0, p "registry-token", HOY_OPT_STRING, (at) + offsetof(struct reg_opts, token), "TOKEN", "Bearer token" whose }, \
	{ 0, p "username", HOY_OPT_STRING, (at) + offsetof(struct reg_opts, user), "USER", "user name" whose }
#define REG_PLACE_OPTS(at, p, whose) \
	{ 0, p "daemon-host", HOY_OPT_STRING, (at) + offsetof(struct reg_opts, daemon_host), "HOST", "docker-daemon: where it listens" whose }, \
	{ 0, p "shared-blob-dir", HOY_OPT_STRING, (at) + offsetof(struct reg_opts, shared_blobs), "DIR", "oci: directory of blobs that layouts share" whose }
#define REG_RETRY_OPTS(at) \
	{ 0, "retry-delay", HOY_OPT_STRING, (at) + offsetof(struct reg_opts, retry_delay), "DURATION", "time between attempts (default: growing)" }, \
	{ 0, "retry-times", HOY_OPT_INT, (at) + offsetof(struct reg_opts, retry), "N", "attempts after a failed one (default 3)" }
/* What is said for BOTH ends goes to one, TO. */
void reg_opts_share(struct reg_opts *to, const struct reg_opts *both);
/* Do they fit together? */
int reg_opts_check(const struct reg_opts *o, struct hoy_err *err);

/* NAME with its transport; STORE may be NULL and is opened when needed (then owned by the source or destination). */
int source_open(struct source **ret, const char *name, const struct reg_opts *o, struct hoy_err *err);
int dest_open(struct dest **ret, const char *name, const struct reg_opts *o, struct hoy_err *err);

int source_oci(struct source **ret, const char *rest, bool archive, const struct reg_opts *o, struct hoy_err *err);
int source_docker_archive(struct source **ret, const char *rest, struct hoy_err *err);
int source_dir(struct source **ret, const char *rest, struct hoy_err *err);
int source_registry(struct source **ret, const char *rest, const struct reg_opts *o, struct hoy_err *err);
int source_store(struct source **ret, const char *rest, struct hoy_err *err);
int source_daemon(struct source **ret, const char *rest, const struct reg_opts *o, struct hoy_err *err);
int source_tarball(struct source **ret, const char *rest, struct hoy_err *err);
int dest_oci(struct dest **ret, const char *rest, bool archive, const struct reg_opts *o, struct hoy_err *err);
int dest_docker_archive(struct dest **ret, const char *rest, const struct reg_opts *o, struct hoy_err *err);
int dest_daemon(struct dest **ret, const char *rest, const struct reg_opts *o, struct hoy_err *err);
int dest_dir(struct dest **ret, const char *rest, struct hoy_err *err);
int dest_registry(struct dest **ret, const char *rest, const struct reg_opts *o, struct hoy_err *err);

/* The manifest that SRC means, for platform P (NULL: whatever it is): M, and LIST (blank if there was none). */
int source_image(struct source *src, const struct platform *p, struct manifest *m, struct manifest *list, struct hoy_err *err);
int source_manifest(struct source *src, const char *digest, struct manifest *ret, struct hoy_err *err);
/* The signatures of M (INSTANCE: chosen from a list), which SRC keeps; fetched once. None where its transport has none. */
int source_signatures(struct source *src, const struct manifest *m, bool instance, const struct sigs **ret, struct hoy_err *err);
/* The config of M, checked against its descriptor. */
int source_config(struct source *src, const struct manifest *m, struct config *ret, struct hoy_err *err);

/* "DIR" or "DIR:TAG", "DIR:@N"; a DIR that exists with the colon in its name is taken as it is. *RET_PATH is new memory. */
void layout_split(const char *rest, char **ret_path, const char **ret_tag);
/* The entry of the layout's INDEX that TAG means (NULL: the only one). */
int layout_pick(const struct hoy_json *index, const char *path, const char *tag, const struct hoy_json **ret, struct hoy_err *err);
/* The layout PATH; what TAG means there, or what will be called so. */
int source_layout(struct source **ret, const char *path, const char *tag, struct hoy_err *err);
int dest_layout(struct dest **ret, const char *path, const char *tag, struct hoy_err *err);
/* Take an image out of the layout that REST ("DIR:TAG") names. */
int layout_delete(const char *rest, const struct reg_opts *o, struct hoy_err *err);
/* "blobs/sha256/HEX" of DIGEST (which is valid) into RET. */
void blob_path(const char *digest, char ret[96]);
/* The images in an archive: how to name each as a source (docker-archive: "PATH:@N"; oci: "PATH:TAG" or "PATH:@N"). */
int archive_images(const char *path, bool docker, struct hoy_strv *ret, struct hoy_err *err);
