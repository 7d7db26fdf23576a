/* common/conf/subid.h: the ranges of subordinate ids that a user has, by subuid(5) and subgid(5). */
#pragma once
#include <stddef.h>
#include <sys/types.h>

struct hoy_idrange {
	unsigned long start, count;
};

/* Ranges of user UID in FILE ("/etc/subuid"), listed by name or number; at most MAX. The count, 0 if there are none. */
size_t hoy_subids(const char *file, uid_t uid, struct hoy_idrange *ret, size_t max);
/* The same for who is listed as NAME. */
size_t hoy_subids_of(const char *file, const char *name, struct hoy_idrange *ret, size_t max);
