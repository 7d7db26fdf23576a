/* common/base/strv.h: a growing, NULL-terminated vector of strings that it owns; fit for execve(). */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "common/base/cleanup.h"

struct hoy_strv {
	char **v; /* NULL while empty */
	size_t n, cap;
	int error; /* 0 or ENOMEM; sticky, like hoy_buf's */
};
#define HOY_STRV_INIT { NULL, 0, 0, 0 }

void hoy_strv_release(struct hoy_strv *s);
static inline void hoy_cleanup_strv_(struct hoy_strv *s) { hoy_strv_release(s); }
#define cleanup_strv __attribute__((cleanup(hoy_cleanup_strv_)))

/* Append a copy of STR, of its first LEN bytes, of a formatted text. */
void hoy_strv_push(struct hoy_strv *s, const char *str);
void hoy_strv_pushn(struct hoy_strv *s, const char *str, size_t len);
void hoy_strv_pushf(struct hoy_strv *s, const char *fmt, ...) HOY_PRINTF(2, 3);
/* Append STR itself, whose ownership moves here (freed on failure; NULL counts as out of memory). */
void hoy_strv_take(struct hoy_strv *s, char *str);
/* Insert a copy of STR in front of element AT. */
void hoy_strv_insert(struct hoy_strv *s, size_t at, const char *str);
void hoy_strv_remove(struct hoy_strv *s, size_t at);
/* Index of STR, or -1. */
long hoy_strv_find(const struct hoy_strv *s, const char *str);
static inline bool hoy_strv_has(const struct hoy_strv *s, const char *str) { return hoy_strv_find(s, str) >= 0; }
/* Split STR at each SEP; empty parts are kept, an empty STR gives nothing. */
void hoy_strv_split(struct hoy_strv *s, const char *str, char sep);
/* "KEY=value" lists: the value of KEY or NULL; replace or append KEY=VALUE; remove KEY. */
const char *hoy_env_get(const struct hoy_strv *s, const char *key);
void hoy_env_set(struct hoy_strv *s, const char *key, const char *value);
void hoy_env_unset(struct hoy_strv *s, const char *key);
/* Put the strings in order by strcmp(). */
void hoy_strv_sort(struct hoy_strv *s);
/* Is STR in it? It must be sorted so. */
bool hoy_strv_has_sorted(const struct hoy_strv *s, const char *str);
