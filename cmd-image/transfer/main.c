/* hoy-transfer: the heavy half of hoy-image: everything that moves the bytes of images. */
#include <sys/resource.h>
#include <sys/stat.h>

#include "cmd-image/transfer/http.h"
#include "cmd-image/transfer/proxy.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/msg.h"

static const struct hoy_verb *const verbs[] = {
	&verb_pull, &verb_image_pull, &verb_load, &verb_image_load, &verb_import, &verb_image_import,
	&verb_list_tags, &verb_login, &verb_logout, &verb_push, &verb_image_push, &verb_copy,
	&verb_save, &verb_image_save, &verb_remote_inspect, &verb_remote_image_inspect,
	&verb_manifest_digest, &verb_check_layers, &verb_mend, &verb_commit, &verb_delete, &verb_sync,
	&verb_manifest_create, &verb_manifest_add, &verb_manifest_annotate, &verb_manifest_remove, &verb_manifest_rm,
	&verb_manifest_exists, &verb_manifest_inspect, &verb_manifest_push, &verb_search, &verb_image_search,
	&verb_image_proxy, &verb_standalone_sign, &verb_standalone_verify, &verb_generate_sigstore_key, &verb_image_sign, &verb_trust_show, &verb_trust_set,
	&verb_blob_get, &verb_blob_exists, &verb_blob_put, &verb_manifest_get, &verb_manifest_put,
	&verb_layer_unpack, &verb_layer_diff, &verb_layer_digest, &verb_explain, &verb_fetch,
	&verb_artifact_add, &verb_artifact_extract, &verb_artifact_pull, &verb_artifact_push,
	&verb_source_create, &verb_source_add, &verb_source_push, &verb_source_pull, NULL,
};

int main(int argc, char **argv)
{
	struct rlimit files;

	/* Modes come from the layers; every other file that is made here says its own. */
	umask(0);
	/* A layer in the making holds eight descriptors. */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if (proxy_env() < 0) {
		hoy_error("out of memory");
		return 125;
	}
	return hoy_tool_main("hoy-transfer", "Images: pull, push, copy, save, load", verbs, argc, argv);
}
