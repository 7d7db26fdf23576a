/* cmd-build/publish.h: an image that was built leaves the store: to registries (docker's --push), into an archive or layout. */
#pragma once
#include "cmd-build/build.h"
#include "cmd-build/outspec.h"

/* Can O be done for what B describes? Names that O gives become those of the image. EINVAL with a sentence. */
int publish_check(struct build *b, const struct outspec *o);
/* Does the image get its names in the store? */
bool publish_names(const struct build *b);
/* Does any output need one image for all platforms, and names it by -t alone? Then that is a list. */
bool publish_needs_list(const struct build *b);
/*
 * Carry out what the outputs say of the image ID; LIST: that is a list of images, known by that name (else NULL). The digest that a
 * registry has of it is in b->pushed then.
 */
int publish(struct build *b, const char *id, const char *list);
