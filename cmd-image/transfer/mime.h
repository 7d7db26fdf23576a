/* cmd-image/transfer/mime.h: what a file is, by its first bytes: Go's http.DetectContentType, which is https://mimesniff.spec.whatwg.org/. */
#pragma once
#include <stddef.h>

#define MIME_LOOK 512 /* so many bytes are looked at */

/* The media type of what begins with the LEN bytes at DATA; static. */
const char *mime_of(const void *data, size_t len);
