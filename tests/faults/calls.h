/* tests/faults/calls.h: the system calls that change something, and what they would change. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum call_flags {
	CALL_SPACE = 1 << 0, /* needs space: may end in ENOSPC */
	CALL_DISK = 1 << 1,  /* writes to a file system: may end in EIO */
	CALL_OPEN = 1 << 2,  /* only with O_CREAT, O_TRUNC or O_TMPFILE */
};

struct call {
	long nr;
	const char *name;
	int fd, path; /* which argument is the descriptor (or the directory of PATH), which the path; -1: none */
	unsigned flags;
};

/* The entry of call NR with ARGS, NULL if it changes nothing. */
const struct call *call_find(uint64_t nr, const uint64_t args[6]);
/* A printable name of what the call of TID is about: a path or where its descriptor leads. */
void call_target(const struct call *c, pid_t tid, const uint64_t args[6], char *ret, size_t size);
/* Is that on the file system DEV? */
bool call_on(const struct call *c, pid_t tid, const uint64_t args[6], dev_t dev);
