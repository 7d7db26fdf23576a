/* cmd-build/builder/put_in.h: between put.c, which walks through trees, and put_file.c, which puts what it meets. All return 0 or -errno, with a sentence. */
#pragma once
#include <sys/stat.h>

#include "cmd-build/builder/builder.h"

/* "cannot WHAT 'what p->name holds, and NAME'": CODE is why. Returns -CODE. */
int put_fail(struct putter *p, int code, const char *what, const char *name);
/* The entry that is called what p->name holds goes to the digest: a file of tar's TYPE as ST tells, LINK is where it leads; X: its attributes, or NULL. */
int put_header(struct putter *p, const struct stat *st, char type, const char *link, const struct xattrs *x);
/* Owner, mode and time of NAME in the directory TO are as P wants them of ST. */
int put_finish(struct putter *p, int to, const char *name, const struct stat *st);
/* What is in the way of NAME goes; a directory only if it is empty. */
int put_room(struct putter *p, const struct spot *at, const char *name);
/* The open file IN, the link to the file FIRST beneath BASE that is there already, or the link, FIFO or device NAME of DIR, as NAME into AT. */
int put_regular(struct putter *p, int in, const struct stat *st, const struct spot *at, const char *name);
int put_link(struct putter *p, const struct stat *st, int base, const char *first, const struct spot *at, const char *name);
int put_special(struct putter *p, int dir, const struct stat *st, const struct spot *at, const char *name);
