/* cmd-image/transfer/web.h: what web servers have that are no registries: archives to import, layers that aren't to be distributed. */
#pragma once
#include "cmd-image/transfer/stream.h"
#include "common/data/json.h"

/* A stream of what is at URL (http:// or https://), which is asked for without credentials; SIZE -1: unknown. NULL on failure. */
struct stream *web_stream(const char *url, int64_t size, struct hoy_err *err);
/* The first such address in the "urls" of a layer's descriptor D; NULL: it has none. */
const char *web_address(const struct hoy_json *d);
