/* cmd-image/transfer/proxy_image.h: an image that experimental-image-proxy has open. */
#pragma once
#include "cmd-image/transfer/allow.h"

struct proxy_image;

/* NAME with its transport, if T lets it in. The one reference is the caller's. HOY_ENOIMAGE: there is none. */
int proxy_image_open(struct proxy_image **ret, const char *name, const struct reg_opts *o, const struct trust *t, struct hoy_err *err);
struct proxy_image *proxy_image_ref(struct proxy_image *p);
void proxy_image_unref(struct proxy_image *p);

/* The manifest as OCI has it, for this machine's platform; *RET_DIGEST, the original's, lives as long as P. */
int proxy_image_manifest(struct proxy_image *p, struct hoy_buf *ret, const char **ret_digest, struct hoy_err *err);
/* The config as OCI has it; WHOLE or only its "config". */
int proxy_image_config(struct proxy_image *p, bool whole, struct hoy_buf *ret, struct hoy_err *err);
/* [{"digest", "size", "media_type"}, ...]: what to ask proxy_image_blob() for. */
int proxy_image_layers(struct proxy_image *p, struct hoy_buf *ret, struct hoy_err *err);
/* A blob, unchecked, whose first bytes are there. *RET_SIZE -1: it isn't known. */
int proxy_image_blob(struct proxy_image *p, const char *digest, struct stream **ret, int64_t *ret_size, struct hoy_err *err);
