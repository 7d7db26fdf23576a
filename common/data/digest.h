/* common/data/digest.h: digests and ids as text. Nothing here hashes; that belongs to the heavy halves. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define HOY_ID_LEN 64
#define HOY_ID_SIZE (HOY_ID_LEN + 1)

/* 64 lower-case hex digits and nothing else. */
bool hoy_is_id(const char *s);
/* LEN lower-case hex digits at S. */
bool hoy_is_hex(const char *s, size_t len);
/* "sha256:" + 64 lower-case hex digits (or sha512 + 128). */
bool hoy_is_digest(const char *s);
/* The hex part behind the colon, or NULL if S is no digest. */
const char *hoy_digest_hex(const char *s);
/* A random id; never one whose first 12 digits are all decimal (containers/storage draws those again). 0 or -errno. */
int hoy_random_id(char ret[HOY_ID_SIZE]);
/* LEN bytes as 2*LEN lower-case hex digits and a NUL. */
void hoy_hex(char *ret, const unsigned char *bytes, size_t len);
