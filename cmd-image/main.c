/* hoy-image: images of the store; what moves bytes is done by hoy-transfer, which takes the same command line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/image.h"
#include "common/base/err.h"
#include "common/base/msg.h"
#include "common/data/ref.h"
#include "common/proc/sibling.h"

static char **whole_argv;

/* The command line goes on unchanged: hoy-transfer parses it with the same globals. */
static int hand_over(const struct hoy_verb *v, int argc, char **argv)
{
	int r;

	(void)v;
	(void)argc;
	(void)argv;
	r = hoy_exec_sibling("hoy-transfer", whole_argv);
	hoy_error("cannot run hoy-transfer: %s", hoy_strerror(-r));
	return 125;
}

#define HEAVY(verb_name, text) \
	&(const struct hoy_verb){ .name = verb_name, .summary = text, .synopsis = "[options] ...", .run = hand_over, .flags = HOY_VERB_COMMAND | HOY_VERB_ELSEWHERE }
/* The verbs of skopeo, with its options before them. */
#define SKOPEO(verb_name, text) \
	&(const struct hoy_verb){ .name = verb_name, .summary = text, .synopsis = "[options] ...", .run = hand_over, \
				  .flags = HOY_VERB_COMMAND | HOY_VERB_COPIES | HOY_VERB_ELSEWHERE }

static const struct hoy_verb *const verbs[] = {
	&verb_images, &verb_image_ls, &verb_image_list, &verb_inspect, &verb_image_inspect, &verb_tag, &verb_image_tag,
	&verb_untag, &verb_image_untag, &verb_rmi, &verb_image_rm, &verb_exists, &verb_history, &verb_image_history,
	&verb_mount, &verb_unmount, &verb_umount, &verb_prune, &verb_system_check, &verb_image_tree, &verb_image_du, &verb_image_scp, &verb_diff, &verb_image_diff, &verb_container_diff,
	&verb_artifact_ls, &verb_artifact_list, &verb_artifact_inspect, &verb_artifact_rm, &verb_artifact_remove,
	HEAVY("artifact add", "Make an artifact of files"), HEAVY("artifact extract", "Write the files of an artifact"),
	HEAVY("artifact pull", "Pull an artifact from a registry"), HEAVY("artifact push", "Push an artifact to a registry"),
	HEAVY("pull", "Pull an image from a registry"), HEAVY("image pull", NULL),
	HEAVY("push", "Push an image to a registry"), HEAVY("image push", NULL),
	SKOPEO("copy", "Copy an image between registries, archives and the store"),
	HEAVY("save", "Save images to an archive or directory"), HEAVY("image save", NULL),
	HEAVY("load", "Load images from an archive or directory"), HEAVY("image load", NULL),
	HEAVY("import", "Make an image from a tar archive of a root file system"), HEAVY("image import", NULL),
	SKOPEO("login", "Log in to a registry"), SKOPEO("logout", "Log out of a registry"),
	SKOPEO("delete", "Delete an image from a registry, a layout or a store"),
	SKOPEO("sync", "Copy all images of a source to a registry or directory"),
	HEAVY("search", "Search registries for an image"), HEAVY("image search", NULL),
	SKOPEO("list-tags", "List the tags of a repository"),
	SKOPEO("experimental-image-proxy", "Serve images to a program over a socket"),
	SKOPEO("standalone-sign", "Sign a manifest in a file with a key of gpg"),
	SKOPEO("standalone-verify", "Verify a signature in a file"),
	SKOPEO("generate-sigstore-key", "Make a key pair for sigstore signatures"),
	HEAVY("image sign", "Sign images of a registry"),
	HEAVY("image trust show", "Show which images may come in"),
	HEAVY("image trust set", "Say which images of a registry may come in"),
	SKOPEO("manifest-digest", "Print the digest of a manifest file"),
	HEAVY("manifest create", "Make a list of images"), HEAVY("manifest add", "Add images to a list"),
	HEAVY("manifest annotate", "Say more of an image in a list"), HEAVY("manifest remove", "Take an image out of a list"),
	HEAVY("manifest rm", "Remove lists"), HEAVY("manifest exists", "Is there such a list? Exit status 0 or 1"),
	HEAVY("manifest inspect", "Print a list"), HEAVY("manifest push", "Push a list and its images"),
	SKOPEO("manifest get", "Print a manifest or list as it is"), SKOPEO("manifest put", "Store a manifest or list from stdin"),
	SKOPEO("blob get", "Print a blob"), SKOPEO("blob exists", "Is there such a blob? Exit status 0 or 1"),
	SKOPEO("blob put", "Store a blob from stdin"),
	SKOPEO("layer unpack", "Unpack a layer from stdin and print its diffID"),
	SKOPEO("layer diff", "Print the tar of what DIR has and BASE has not"),
	SKOPEO("layer digest", "Print digest, size and diffID of a layer from stdin"),
	SKOPEO("explain", "Show the route that the name of an image takes"),
	NULL,
};

int main(int argc, char **argv)
{
	cleanup_strv struct hoy_strv copy = HOY_STRV_INIT;

	/* Parsing moves the words of argv about. */
	for (int i = 0; i < argc; i++)
		hoy_strv_push(&copy, argv[i]);
	if (copy.error)
		return 125;
	whole_argv = copy.v;
	if (hoy_inspects_transport(argv))
		return hand_over(NULL, argc, argv);
	return hoy_tool_main("hoy-image", "Images: list, inspect, name, remove, and copy between registries, archives and the store",
			     verbs, argc, argv);
}
