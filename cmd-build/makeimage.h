/* cmd-build/makeimage.h: an image in the store, made by `hoy-transfer commit`. */
#pragma once
#include "common/data/digest.h"

struct hoy_err;
struct hoy_json;
struct hoy_strv;

/*
 * Have the image made that SPEC describes (hoy-transfer(1)); WORDS go behind `commit --spec=...`: options, and a name. ID becomes the
 * new image's. What hoy-transfer told the user is -HOY_EREMOTE without a sentence.
 */
int make_image_of(const struct hoy_json *spec, const struct hoy_strv *words, char id[HOY_ID_SIZE], struct hoy_err *err);
