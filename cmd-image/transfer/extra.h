/* cmd-image/transfer/extra.h: files from outside that a commit puts into the image: a tar of them. */
#pragma once
#include "cmd-image/transfer/stream.h"

struct hoy_json;
/*
 * The tar of FILES, objects with "source" (a file here) and "path" (in the image), of root and of the time MTIME, in the order of
 * their paths. BEHIND (NULL: nothing; else a tar) follows them in the same one, and is the stream's afterwards, whatever is returned.
 */
int extra_tar(const struct hoy_json *files, int64_t mtime, struct stream *behind, struct stream **ret, struct hoy_err *err);
