/*
 * common/oci/artifacts.h: OCI artifacts where podman keeps them: GRAPHROOT/artifacts, an OCI layout whose entries have the artifacts'
 * names, behind the lock index.lock.
 */
#pragma once
#include "common/conf/storage.h"
#include "common/oci/layout.h"
#include "common/store/lock.h"

#define HOY_TITLE "org.opencontainers.image.title"
#define HOY_CREATED "org.opencontainers.image.created"

struct hoy_artifacts {
	char *path;
	int dirfd; /* -1: there are none yet */
	struct hoy_lock lock;
	struct hoy_json_doc index;
};
#define HOY_ARTIFACTS_INIT { NULL, -1, HOY_LOCK_INIT, HOY_JSON_DOC_INIT }

/* Those of the store that ARGS mean; MAKE: to change them, with a place for them if there is none. */
int hoy_artifacts_open(struct hoy_artifacts *a, const struct hoy_storage_args *args, bool make, struct hoy_err *err);
/* Take the lock and read the index. Entries are valid until the next time. */
int hoy_artifacts_lock(struct hoy_artifacts *a, bool write, struct hoy_err *err);
void hoy_artifacts_unlock(struct hoy_artifacts *a);
void hoy_artifacts_release(struct hoy_artifacts *a);
static inline void hoy_cleanup_artifacts_(struct hoy_artifacts *a) { hoy_artifacts_release(a); }
#define cleanup_artifacts __attribute__((cleanup(hoy_cleanup_artifacts_)))

/* The entry of that very name, or NULL. */
const struct hoy_json *hoy_artifact_named(const struct hoy_artifacts *a, const char *name);
/* The entry that NAME means: its name, or the beginning of its digest's hex. -ENOENT, -HOY_EAMBIGUOUS. */
int hoy_artifact_find(const struct hoy_artifacts *a, const char *name, const struct hoy_json **ret, struct hoy_err *err);
/* The manifest of ENTRY: of an artifact and well-formed, each of its "layers" an object with a digest and a size. */
int hoy_artifact_manifest(const struct hoy_artifacts *a, const struct hoy_json *entry, struct hoy_json_doc *ret, struct hoy_err *err);
/* MANIFEST as Go writes it: the members that it knows, in its order. */
void hoy_artifact_put(struct hoy_jw *w, const char *key, const struct hoy_json *manifest);
