/* cmd-image/image.h: the verbs of hoy-image that need only the store's records. */
#pragma once
#include "common/cli/opts.h"
#include "common/store/images.h"

extern const struct hoy_verb verb_images, verb_image_ls, verb_image_list, verb_inspect, verb_image_inspect, verb_tag,
	verb_image_tag, verb_untag, verb_image_untag, verb_rmi, verb_image_rm, verb_exists, verb_history, verb_image_history,
	verb_mount, verb_unmount, verb_umount, verb_prune, verb_system_check,
	verb_image_tree, verb_image_du, verb_image_scp, verb_diff, verb_image_diff, verb_container_diff,
	verb_artifact_ls, verb_artifact_list, verb_artifact_inspect, verb_artifact_rm, verb_artifact_remove;

/* Open the store for reading and load PARTS without a lock; complains. NULL on failure. */
struct hoy_store *open_reader(unsigned parts);
/* Repository and tag of a stored name: "docker.io/library/x", "latest" ("<none>" for a digest); new memory. */
void split_name(const char *name, char **ret_repo, char **ret_tag);
/* "RepoDigests": REPOSITORY@DIGEST for each repository that the image has a name in, sorted. */
void put_repo_digests(struct hoy_jw *w, const struct hoy_json *rec);
/* Open the store for writing; complains. NULL on failure. */
struct hoy_store *open_writer(void);

/* ---- filter.c ---- */
/* Complain about filters that no image could be asked: 0 or -EINVAL. */
int image_filters_check(const struct hoy_store *s, const struct hoy_strv *filters, struct hoy_err *err);
/* 1 if REC passes all FILTERS (checked before), 0 if not, or an error. */
int image_wanted(const struct hoy_store *s, const struct hoy_strv *filters, const struct hoy_json *rec, struct hoy_err *err);
/* By their configs and histories: was CHILD built from PARENT in one step? */
bool image_is_child(const struct hoy_store *s, const struct hoy_json *parent, const struct hoy_json *child);
/* The image that REC was built from in one step, or NULL. */
struct hoy_json *image_parent(const struct hoy_store *s, const struct hoy_json *rec);
bool image_has_children(const struct hoy_store *s, const struct hoy_json *rec);
/* No name, and other images were built from it: a step of a build. */
bool image_intermediate(const struct hoy_store *s, const struct hoy_json *rec);
/* The names of an image are gone. */
bool image_nameless(const struct hoy_json *rec);

/* ---- garbage.c ---- */
/* Remove what no record names, and layers that nothing has used for a day. No lock is held. *RET_FREED is their size. */
int drop_garbage(struct hoy_store *s, int64_t *ret_freed, struct hoy_err *err);
