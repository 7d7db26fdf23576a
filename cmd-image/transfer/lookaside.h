/*
 * cmd-image/transfer/lookaside.h: containers-registries.d(5): where signatures of images in registries lie, beside the
 * registry as files (http or file URLs), or in it as sigstore attachments.
 */
#pragma once
#include "cmd-image/transfer/registry.h"
#include "cmd-image/transfer/signature.h"
#include "common/data/ref.h"

/* All files of registries.d in one; "files" says which file each namespace and "default-docker" is in. */
struct regsd {
	struct hoy_json_doc doc;
};
#define REGSD_INIT { HOY_JSON_DOC_INIT }
/* Read directory DIR, or (NULL) the user's, or the system's. Without any: it is empty. */
int regsd_load(struct regsd *d, const char *dir, struct hoy_err *err);
static inline void hoy_cleanup_regsd_(struct regsd *d) { hoy_json_release(&d->doc); }
#define cleanup_regsd __attribute__((cleanup(hoy_cleanup_regsd_)))
/* What is said of SCOPES (the most exact first) under the KEYS (tried in order), or by default-docker; NULL: nothing. */
const struct hoy_json *regsd_find(const struct regsd *d, const struct hoy_strv *scopes, const char *const *keys);

/* The signatures of the manifest DIGEST of the repository of REF (complete), which R reaches, appended to RET. */
int registry_signatures(struct registry *r, const struct hoy_ref *ref, const char *digest, const char *registries_d, struct sigs *ret,
			struct hoy_err *err);
/* Put SIGS there: simple ones beside the registry, in place of others, sigstore's as attachments, beside others. */
int registry_put_signatures(struct registry *r, const struct hoy_ref *ref, const char *digest, const char *registries_d,
			    const struct sigs *sigs, struct hoy_err *err);
/*
 * Add SIG, of gpg, to those of the manifest DIGEST of REF: below DIR, or (NULL) where the configuration says that signatures are
 * written. The others stay.
 */
int lookaside_add(const struct hoy_ref *ref, const char *digest, const char *dir, const struct sig *sig, struct hoy_err *err);
/* attach.c: the sigstore attachments alone: the tag sha256-HEX.sig. */
int attach_read(struct registry *r, const char *digest, struct sigs *ret, struct hoy_err *err);
int attach_write(struct registry *r, const char *digest, const struct sigs *sigs, struct hoy_err *err);
