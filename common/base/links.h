/* common/base/links.h: which name a file of several names had first, for those who walk a tree. */
#pragma once
#include <sys/stat.h>

struct hoy_links {
	void *root; /* NULL: none yet */
};
/*
 * The file that ST tells of is met as NAME: *RET is the name that it was met as before, valid until the release, or NULL, and
 * then NAME is remembered (copied) if the file has more than one. 0 or -ENOMEM.
 */
int hoy_links_name(struct hoy_links *l, const struct stat *st, const char *name, const char **ret);
void hoy_links_release(struct hoy_links *l);
