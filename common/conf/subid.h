/* common/conf/subid.h: the ranges of subordinate ids that a user has, by subuid(5) and subgid(5). */
#pragma once
#include <stddef.h>
#include <sys/types.h>

struct hoy_err;
struct hoy_idmap;

struct hoy_idrange {
	unsigned long start, count;
};

/* Ranges of user UID in FILE ("/etc/subuid"), listed by name or number; at most MAX. The count, 0 if there are none. */
size_t hoy_subids(const char *file, uid_t uid, struct hoy_idrange *ret, size_t max);
/* The same for who is listed as NAME. */
size_t hoy_subids_of(const char *file, const char *name, struct hoy_idrange *ret, size_t max);
/* All of NAME's ranges in FILE as lines of RET, whose ids inside go up from 0; that there are none is -ENOENT. 0 or an error. */
int hoy_subids_map(const char *file, const char *name, struct hoy_idmap *ret, struct hoy_err *err);
