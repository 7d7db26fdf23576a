/* cmd-build/extra.h: files that a commit or a build adds to its image: --add-file, and what a scanner has written. */
#pragma once
#include <stdbool.h>

#include "common/base/strv.h"

struct build;
struct hoy_err;
struct hoy_json;
struct hoy_json_doc;
/* Can PATH be that of a file in the image, and of nothing else? */
bool extra_inside(const char *path);
/* Add "SOURCE[:PATH]" of --add-file to FILES, where sources and paths alternate. 0, or an error with its sentence. */
int extra_parse(struct hoy_strv *files, const char *text, struct hoy_err *err);
/* FILES as hoy-transfer is told, in the object BUILD of D. -ENOMEM. */
int extra_write(struct hoy_json_doc *d, struct hoy_json *build, const struct hoy_strv *files);
/*
 * Put FILES as a layer of their own on the image ID of B's store, which becomes the new one's; it is left as it is, and the new one
 * has its times. MTIME (-1: now): of the files. An error has its sentence in b->err.
 */
int extra_layer(struct build *b, char *id, const struct hoy_strv *files, int64_t mtime);
