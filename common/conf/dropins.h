/* common/conf/dropins.h: the files of directories like registries.conf.d. */
#pragma once
#include "common/base/strv.h"

/*
 * The paths of all "*.conf" in the N directories DIRS, in the order of their file names, appended to RET. Of files with one
 * name that of the later directory counts. Directories that are not there are empty. 0 or -ENOMEM.
 */
int hoy_dropins(const char *const *dirs, size_t n, struct hoy_strv *ret);
