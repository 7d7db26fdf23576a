/* cmd-image/transfer/manifest.h: manifests and lists of schema 2 and OCI: read with suspicion, written as Go writes them. */
#pragma once
#include <stdint.h>

#include "common/base/strv.h"
#include "common/data/json.h"

#define MANIFEST_MAX ((size_t)4 << 20)

#define T_V2S1 "application/vnd.docker.distribution.manifest.v1+prettyjws"
#define T_V2S1_UNSIGNED "application/vnd.docker.distribution.manifest.v1+json"
#define T_V2S2 "application/vnd.docker.distribution.manifest.v2+json"
#define T_V2S2_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define T_V2S2_CONFIG "application/vnd.docker.container.image.v1+json"
#define T_V2S2_LAYER "application/vnd.docker.image.rootfs.diff.tar"
#define T_V2S2_FOREIGN "application/vnd.docker.image.rootfs.foreign.diff.tar"
#define T_OCI "application/vnd.oci.image.manifest.v1+json"
#define T_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define T_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define T_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define T_OCI_FOREIGN "application/vnd.oci.image.layer.nondistributable.v1.tar"

enum man_kind { MAN_OCI, MAN_V2S2, MAN_V2S1, MAN_OCI_INDEX, MAN_V2S2_LIST, MAN_KINDS };

struct desc {
	char *digest, *type; /* type may be NULL */
	int64_t size;
	const struct hoy_json *json; /* the descriptor itself, for what we do not look at; NULL if made by us */
};

struct manifest {
	struct hoy_json_doc doc;
	char *data; /* the bytes, which are never written anew unless something changes */
	size_t len;
	char digest[72];
	enum man_kind kind;
	struct desc config; /* blank in schema 1, which has none */
	struct desc *v; /* layers, or the manifests of a list */
	size_t n;
};
void manifest_release(struct manifest *m);
static inline void hoy_cleanup_manifest_(struct manifest *m) { manifest_release(m); }
#define cleanup_manifest __attribute__((cleanup(hoy_cleanup_manifest_)))

/* Parse DATA (LEN bytes, copied), which the source calls of TYPE (may be NULL). M is blank. */
int manifest_parse(struct manifest *m, const char *data, size_t len, const char *type, struct hoy_err *err);
static inline bool manifest_is_list(const struct manifest *m) { return m->kind >= MAN_OCI_INDEX; }
/* Is it that of an image, whose config we understand, or of another artifact? */
bool manifest_is_image(const struct manifest *m);
const char *manifest_type(enum man_kind kind);

struct platform {
	const char *os, *arch, *variant; /* NULL: not asked for */
};
/* What we run on, with the parts that WANT names instead. */
struct platform platform_here(const struct platform *want);
/* "os/arch[/variant]" into RET, whose strings point into TEXT, which is cut up. */
int platform_parse(struct platform *ret, char *text, struct hoy_err *err);
/* The entry of LIST for P. */
int manifest_choose(const struct manifest *list, const struct platform *p, const struct desc **ret, struct hoy_err *err);

/* An image's config, checked: an object whose rootfs.diff_ids are N digests (-1: any number). */
struct config {
	struct hoy_json_doc doc;
	char *data;
	size_t len;
	struct hoy_strv diff_ids;
	int64_t created;
};
#define CONFIG_INIT { HOY_JSON_DOC_INIT, NULL, 0, HOY_STRV_INIT, 0 }
int config_parse(struct config *c, const char *data, size_t len, long n, struct hoy_err *err);
void config_release(struct config *c);
static inline void hoy_cleanup_config_(struct config *c) { config_release(c); }
#define cleanup_config __attribute__((cleanup(hoy_cleanup_config_)))

/* The config ROOT as OCI has it: its members in order, and no others. */
void config_write(struct hoy_jw *w, const struct hoy_json *root);

/*
 * A manifest of KIND anew. LAYERS with json set keep what else it says; so does what OCI manifests say beside, as LIKE (that was one, or NULL) does:
 * artifactType, subject, annotations.
 */
int manifest_write(struct hoy_buf *b, enum man_kind kind, const struct desc *config, const struct desc *layers, size_t n,
		   const struct hoy_json *like);
/* M as KIND, with the same blobs; with CONFIG instead of its own, if it isn't NULL. */
int manifest_convert(const struct manifest *m, enum man_kind kind, const struct desc *config, struct hoy_buf *ret, struct hoy_err *err);
/* A list of KIND anew, of N manifests; what the entries' json says beside keeps standing. */
int manifest_write_list(struct hoy_buf *b, enum man_kind kind, const struct desc *v, size_t n, const struct hoy_json *like);
/* Where D is if it isn't to be distributed: the first web address that it has (http:// or https://); NULL: it has none. */
const char *desc_url(const struct desc *d);
/* How a layer's media type ends: "", "+gzip" or "+zstd"; NULL if it is no layer type of ours. */
const char *layer_suffix(const char *type);
/* The media type of a layer so compressed; static. NULL: KIND doesn't know it. */
const char *layer_type(enum man_kind kind, const char *suffix);
/* The same of a layer that was of type LIKE (may be NULL): what was not to be distributed stays so. */
const char *layer_type_like(enum man_kind kind, const char *suffix, const char *like);
