/* common/data/time.h: times as Go's programs write them. Nanoseconds since 1970 throughout. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define HOY_NS 1000000000LL
#define HOY_TIME_ZERO INT64_MIN /* Go's zero time, 0001-01-01T00:00:00Z */
#define HOY_TIME_SIZE 64

int64_t hoy_now(void);
/* RFC 3339 with up to nine digits of a second and any offset; false if S is none. */
bool hoy_time_parse(const char *s, int64_t *ret);
/* RFC 3339, UTC, trailing zeros of the fraction dropped ("2026-11-23T19:10:52.7748Z"). */
const char *hoy_time_format(int64_t t, char buf[HOY_TIME_SIZE]);
/* The same in the local zone with its offset, as podman's inspect and event output. */
const char *hoy_time_local(int64_t t, char buf[HOY_TIME_SIZE]);
/* Go's Time.String(): "2026-11-23 19:10:52.7748 +0000 UTC". */
const char *hoy_time_string(int64_t t, char buf[HOY_TIME_SIZE]);
/* docker's human duration: "About a minute", "3 days"; NS is a length of time. */
const char *hoy_time_human(int64_t ns, char buf[HOY_TIME_SIZE]);
/* Go duration ("1h30m", "500ms", "10") in ns; a bare number is seconds; false if S is none. */
bool hoy_duration_parse(const char *s, int64_t *ret);
/*
 * A point in time as --since, --until and the filter "until" take it: RFC 3339, a local date or date and time without
 * a zone, seconds since 1970, or a duration before now. False if S is none of them.
 */
bool hoy_moment_parse(const char *s, int64_t *ret);
