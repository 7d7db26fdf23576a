/*
 * common/store/lock.h: the lock files of containers/storage and the stamps in them.
 *
 * A lock is an open-file-description lock over the whole file: it excludes and is excluded by the POSIX record locks
 * of other engines, survives threads, and goes with the descriptor when its holder dies.
 */
#pragma once
#include <stdbool.h>

#define HOY_STAMP_SIZE 64

struct hoy_stamp {
	int len; /* 0 to 64; -1: never read */
	unsigned char bytes[HOY_STAMP_SIZE];
};

struct hoy_lock {
	int fd; /* -1: not opened */
	bool held, write;
};
#define HOY_LOCK_INIT { -1, false, false }

/* Open (0644, created if need be; O_RDONLY if RDONLY) NAME in DIRFD; 0 or -errno. */
int hoy_lock_open(struct hoy_lock *l, int dirfd, const char *name, bool rdonly);
/* Wait for the lock; 0 or -errno. */
int hoy_lock_take(struct hoy_lock *l, bool write);
/* The same without waiting: -EAGAIN if somebody else has it. */
int hoy_lock_try(struct hoy_lock *l, bool write);
void hoy_lock_drop(struct hoy_lock *l);
void hoy_lock_close(struct hoy_lock *l);

/* Read the stamp; needs no lock. */
int hoy_stamp_read(const struct hoy_lock *l, struct hoy_stamp *ret);
bool hoy_stamp_same(const struct hoy_stamp *a, const struct hoy_stamp *b);
/* Is what we have in memory, of the stamp SEEN, still what is on disk? If not, the stamp seen now is remembered. */
bool hoy_stamp_fresh(const struct hoy_lock *l, struct hoy_stamp *seen);
/* Write a new stamp, always before the files that it announces; it is remembered in RET. */
int hoy_stamp_write(const struct hoy_lock *l, struct hoy_stamp *ret);
