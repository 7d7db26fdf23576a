/* common/data/units.h: sizes as docker's tools read and write them. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* "64m", "1.5g", "512kb", "1024": bytes, powers of 1024; false if S is no size or does not fit. */
bool hoy_size_parse(const char *s, int64_t *ret);
/* The same in powers of 1000, which few options are read in. */
bool hoy_size_parse_decimal(const char *s, int64_t *ret);
/* "4.5 MB": powers of 1000, three significant digits, as podman prints sizes. Returns BUF. */
const char *hoy_size_human(int64_t bytes, char buf[32]);
/* "379.7MB": powers of 1000, four significant digits and no blank, as `system df` and the prunes print them. Returns BUF. */
const char *hoy_size_tight(int64_t bytes, char buf[32]);
