/*
 * cmd-image/transfer/provider.h: programs that wrap and unwrap keys, named in the file of OCICRYPT_KEYPROVIDER_CONFIG (ocicrypt's
 * docs/keyprovider.md). SPEC is "NAME[:TEXT]"; TEXT is for the program.
 */
#pragma once
#include "common/base/buf.h"
#include "common/base/strv.h"

struct hoy_err;

/* Is there a program of that name? */
int provider_check(const char *spec, struct hoy_err *err);
/* DATA as the program of SPEC wraps it, appended to RET. */
int provider_seal(const char *spec, const void *data, size_t len, struct hoy_buf *ret, struct hoy_err *err);
/* What the provider NAME makes of LEN bytes at DATA; SPECS are all that the user has named. Appended to RET. */
int provider_open(const char *name, const struct hoy_strv *specs, const void *data, size_t len, struct hoy_buf *ret, struct hoy_err *err);
