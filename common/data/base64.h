/* common/data/base64.h: base64 as RFC 4648, section 4, has it: padded, no line ends. */
#pragma once
#include "common/base/buf.h"

/* LEN bytes at DATA, encoded and appended to B. */
void hoy_base64(struct hoy_buf *b, const void *data, size_t len);
/* The bytes that LEN characters at TEXT stand for, appended to B. -EINVAL: it is no base64 (nothing is appended); -ENOMEM. */
int hoy_unbase64(struct hoy_buf *b, const char *text, size_t len);
/* The same of a string, in new memory with a NUL behind it. -EINVAL or -ENOMEM. */
int hoy_unbase64_new(const char *text, char **ret, size_t *ret_len);
