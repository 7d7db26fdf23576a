/* cmd-image/transfer/web.h: what web servers have that are no registries: archives to import, layers that aren't to be distributed. */
#pragma once
#include "cmd-image/transfer/stream.h"

/* A stream of what is at URL (http:// or https://), which is asked for without credentials; SIZE -1: unknown. NULL on failure. */
struct stream *web_stream(const char *url, int64_t size, struct hoy_err *err);
