/*
 * cmd-image/transfer/unpack_impl.h: what the pieces of unpack_tar() share: unpack.c goes through the tar, unpack_dirs.c finds
 * the place of an entry and makes way for it, unpack_put.c puts it there.
 */
#pragma once
#include <time.h>

#include "cmd-image/transfer/posmap.h"
#include "cmd-image/transfer/split.h"
#include "cmd-image/transfer/tar.h"
#include "cmd-image/transfer/unpack.h"

#define DIRS 8

struct dir {
	char *path; /* NULL: unused */
	int fd;
	bool setgid;
	unsigned used;
};

/* A directory whose mtime is set when nothing more is put into it. */
struct late {
	size_t path; /* in the buffer of paths */
	int64_t sec, ns;
};

struct unpack {
	struct tar tar;
	struct split split;
	bool record;
	int rootfd, splitfd, spool;
	off_t spool_end;
	const struct unpack_opts *o;
	struct unpack_result *res;
	struct dir dirs[DIRS];
	unsigned clock;
	struct posmap inodes; /* inode of a file with data -> position of its line in the tar-split */
	struct posmap names;  /* hash of a clean name -> position of its line */
	struct split_drop *drops;
	size_t n_drops, drops_cap;
	struct late *late;
	size_t n_late, late_cap;
	struct hoy_buf paths;
	/* the entry at hand */
	char path[TAR_NAME_MAX + 1];
	const char *base;
	int parent;
	bool parent_setgid;
	uint64_t crc;
	bool on_disk; /* its data is in a file of its name */
};

/* ---- unpack.c ---- */
/* What stands for a clean name in u->names. */
uint64_t name_hash(const char *clean);

/* ---- unpack_apply.c: whiteouts that take away what is there (WHITEOUTS_APPLY) ---- */
/* u->path and the directories that it is in are this layer's own. */
int remember_names(struct unpack *u);
/* The entry at hand is a whiteout: what it names goes, if the layers below brought it. */
int apply_whiteout(struct unpack *u, struct hoy_err *err);

/* ---- unpack_dirs.c ---- */
/* Close the directories that are kept open: what their names lead to may have changed. */
void forget_dirs(struct unpack *u);
/* The directory PATH beneath the root, made if it is missing, from the few that were used last. The fd stays the cache's. */
int get_dir(struct unpack *u, const char *path, bool *setgid);
/* Split u->path into its open parent and its last component. -ENOTDIR has no message: a whiteout may do without a parent. */
int enter(struct unpack *u, struct hoy_err *err);
/* The same after make_way() has closed the parent. */
static inline int retry_parent(struct unpack *u, struct hoy_err *err) { return u->parent < 0 ? enter(u, err) : 0; }
/* Something is there already. 1: a directory, and one is wanted; 0: it is gone now. */
int make_way(struct unpack *u, bool want_dir);
/* The file of the line POS of the tar-split is gone; LEN bytes of it are kept in the spool from AT on. */
int drop_line(struct unpack *u, uint64_t pos, off_t at, int64_t len);

/* ---- unpack_put.c ---- */
/* Make what the entry at hand says. What fails without a message returns its errno. */
int put_entry(struct unpack *u, struct hoy_err *err);
int put_whiteout(struct unpack *u, struct hoy_err *err);
