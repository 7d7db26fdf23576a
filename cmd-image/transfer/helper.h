/* cmd-image/transfer/helper.h: programs of others that answer on stdout what they are asked on stdin: credential helpers, key providers. */
#pragma once
#include "common/base/buf.h"

/* Run ARGV (found by PATH; NULL-terminated) with LEN bytes at INPUT on its stdin. RET gets what it prints. Its exit status, or an error. */
int helper_ask(char **argv, const void *input, size_t len, struct hoy_buf *ret);
