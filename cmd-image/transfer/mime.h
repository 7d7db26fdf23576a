/* cmd-image/transfer/mime.h: what a file is, by its first bytes: Go's http.DetectContentType, which is https://mimesniff.spec.whatwg.org/. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define MIME_LOOK 512 /* so many bytes are looked at */

/* The media type of what begins with the LEN bytes at DATA; static. */
const char *mime_of(const void *data, size_t len);

#define MIME_MAX 128
/* The media type that NAME's ending stands for, by Go's own table and this system's (globs2, or mime.types), into RET; false: none. */
bool mime_by_name(const char *name, char ret[MIME_MAX]);
