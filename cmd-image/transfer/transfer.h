/* cmd-image/transfer/transfer.h: the verbs of hoy-transfer. */
#pragma once
#include "cmd-image/transfer/store_in.h"
#include "cmd-image/transfer/transport.h"
#include "common/cli/opts.h"

extern const struct hoy_verb verb_pull, verb_image_pull, verb_load, verb_image_load, verb_import, verb_image_import,
	verb_list_tags, verb_login, verb_logout, verb_push, verb_image_push, verb_copy, verb_save, verb_image_save,
	verb_remote_inspect, verb_remote_image_inspect, verb_manifest_digest, verb_check_layers, verb_mend,
	verb_commit, verb_delete, verb_sync, verb_manifest_create, verb_manifest_add, verb_manifest_annotate, verb_manifest_remove, verb_manifest_rm,
	verb_manifest_exists, verb_manifest_inspect, verb_manifest_push, verb_search, verb_image_search,
	verb_image_proxy, verb_standalone_sign, verb_standalone_verify, verb_generate_sigstore_key, verb_image_sign, verb_trust_show, verb_trust_set,
	verb_blob_get, verb_blob_exists, verb_blob_put, verb_manifest_get, verb_manifest_put, verb_layer_unpack, verb_layer_diff, verb_layer_digest, verb_explain, verb_fetch,
	verb_artifact_add, verb_artifact_extract, verb_artifact_pull, verb_artifact_push,
	verb_source_create, verb_source_add, verb_source_push, verb_source_pull;

/* NAME as the store keeps names: a short one gets "localhost/" (podman's rule for archives), and ":latest" if it has no tag. NULL: malformed. */
char *local_name(const char *name);
/* NAME completed docker's way (docker.io/library/..., :latest). NULL: malformed. */
char *full_name(const char *name);
/* Pull the image of transport name FROM (not a registry) into S with the names it brings along. */
int pull_files(struct hoy_store *s, const char *from, const struct platform *p, const struct store_in *o,
	       struct hoy_strv *ret_names, char ret_id[HOY_ID_SIZE], struct hoy_err *err);
/* The tags of repository NAME, in the registry's order. */
int list_tags(const char *name, const struct reg_opts *o, struct hoy_strv *ret, struct hoy_err *err);
