/*
 * cmd-image/transfer/referrers.h: what refers to an image goes with it: manifests that have it for their subject (by OCI's referrers
 * API, the tag that stands in for it, or a layout's index), what refers to those, and cosign's tags.
 */
#pragma once
#include "cmd-image/transfer/copy.h"

/* The tag of what refers to DIGEST where a registry has no API for it ("sha256-HEX"), with ENDING (".sig") behind. */
#define REFERRERS_TAG_SIZE 96
void referrers_tag(const char *digest, const char *ending, char ret[REFERRERS_TAG_SIZE]);
/* Does M say that it refers to DIGEST? */
bool refers_to(const struct manifest *m, const char *digest);
/* The list of what refers to something, as bytes: LIST (NULL: there is none yet) with M in it. 1: it is in there already. */
int referrers_add(const struct manifest *list, const struct manifest *m, struct hoy_buf *ret, struct hoy_err *err);

/*
 * copy_image() of an image that stays as it is, behind all that refers to it: once the image is there, so are they. What cannot be had
 * of them, or doesn't refer to it, is a warning.
 */
int copy_with_referrers(struct source *src, struct dest *dst, const struct copy_opts *o, char ret_digest[SHA_DIGEST_SIZE], struct hoy_err *err);
