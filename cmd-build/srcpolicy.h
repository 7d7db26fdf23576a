/* cmd-build/srcpolicy.h: --source-policy-file: which images and addresses a build may use, and what it uses in their place. */
#pragma once

struct build;

/* Read and check the file, if one is given. */
int srcpolicy_load(struct build *b);
/*
 * What the first rule that is about image NAME (not a stage, or scratch) says: *RET is the name to use in its place, in new memory, or
 * NULL. -EPERM with a sentence: it's denied.
 */
int srcpolicy_image(struct build *b, const char *name, char **ret);
/* The same for the address of an ADD. */
int srcpolicy_url(struct build *b, const char *url, char **ret);
