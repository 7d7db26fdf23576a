/* cmd-build/builder/builder.h: the parts of hoy-builder, which puts files into the root of a working container. */
#pragma once
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cmd-build/builder/ignore.h"
#include "common/base/buf.h"
#include "common/base/links.h"
#include "common/base/strv.h"
#include "common/cli/opts.h"
#include "common/data/tar_write.h"
#include "common/proc/idmap.h"

struct hoy_err;

/* Whose the files are to be: USER[:GROUP] by the passwd and group files beneath ROOTFD. 0 or -EINVAL, -ENOENT with a sentence. */
int owner_parse(int rootfd, const char *text, uid_t *uid, gid_t *gid, struct hoy_err *err);

/* ---- what is copied: sources.c ---- */

enum item_kind {
	ITEM_PATH,    /* beneath the context */
	ITEM_DOC,     /* a here-document: a file in the directory for these */
	ITEM_FETCHED, /* a file there that was fetched, with its time */
	ITEM_TREE,    /* a directory there */
};
struct items {
	struct item {
		char *path;
		enum item_kind kind;
		size_t skip; /* components that --parents leaves out */
	} *v;
	size_t n;
	int context;
	const struct ignore *ignore;
	const char *where, *ignored_by; /* names of these for messages */
};
void items_release(struct items *it);
/* Add what ARG stands for: a path or pattern; "<<NAME", "<@NAME", "<+NAME" are the other kinds. That it is nothing is an error. */
int items_add(struct items *it, const char *arg, struct hoy_err *err);

/* ---- archive.c ---- */

/* Is the file FD a tar, perhaps compressed? */
bool is_archive(int fd);
/* Unpack it into the directory TO (-1: only digest it) with the owners that it names; "file:HEX" is added to SUMS. */
int unpack_archive(int fd, int to, struct hoy_strv *sums, struct hoy_err *err);

/* ---- how: put.c, parents.c, mode.c, xattrs.c ---- */

struct putter {
	int from; /* root of what is copied: context, stage, image; borrowed */
	const struct ignore *ignore; /* NULL: nothing is left out */
	bool chown, keep_owner; /* to uid and gid; neither: to root */
	uid_t uid;
	gid_t gid;
	const struct hoy_idmaps *of, *to; /* what the ids of sources are shifted by, and those of the root; NULL or empty: by nothing */
	const char *chmod; /* NULL: modes stay as they are */
	bool forced; /* all have the time TIME */
	int64_t time;
	bool keep_setid, times; /* times: they are part of the digest */
	bool dry; /* nothing is written: only the digest is wanted */
	EVP_MD_CTX *md; /* of the tar that the item at hand would be; NULL: nobody wants to know */
	struct hoy_links links;
	struct hoy_buf name; /* in it */
	struct hoy_err *err;
};
/* Is TEXT what chmod(1) takes: an octal number, or "u+x,go=r"? 0 or -EINVAL with a sentence. */
int chmod_check(const char *text, struct hoy_err *err);
/* What it makes of MODE, which also says whether it is a directory's. */
mode_t chmod_mode(const char *text, mode_t mode);

#define XATTRS_MAX 64
struct xattrs {
	struct tar_xattr_out v[XATTRS_MAX];
	size_t n;
	char names[4096], *values[XATTRS_MAX];
};
/* Those of FD that an image keeps, sorted. */
void read_xattrs(int fd, struct xattrs *x);
void set_xattrs(int fd, const struct xattrs *x);
void xattrs_release(struct xattrs *x);

/* Lists of lines, as userns_map_argv() of hoy-build writes them, as maps; 0 or -EINVAL with a sentence. */
int maps_parse(const struct hoy_strv *uids, const struct hoy_strv *gids, struct hoy_idmaps *ret, struct hoy_err *err);
/* The owner that UID and GID, ids inside, are on the disk; -EINVAL with a sentence, or 0. */
int maps_out(const struct hoy_idmaps *m, uid_t *uid, gid_t *gid, struct hoy_err *err);

/* What is in the directory DIR, sorted, into RET; 0 or -errno. */
int list_names(int dir, struct hoy_strv *ret);
/*
 * A directory that is written to, and what shows through there: the same directory of the layers below an overlay's upper directory
 * (-1: nothing does). Nothing is in such a place, but for what we put there.
 */
struct spot {
	int to, view; /* to: -1 if p->dry */
};
#define SPOT_NONE ((struct spot){ -1, -1 })
void spot_close(struct spot *at);
/* The directory NAME in AT, made (as what shows through, if there is such a directory) or opened; *MADE: it is all new. */
int spot_below(struct putter *p, const struct spot *at, const char *name, struct spot *ret, bool *made);
/*
 * Put the directory or file PATH (beneath p->from, symlinks followed) into AT: a directory's entries, or (WHOLE) itself as NAME, or a
 * file as NAME. The digest of that goes to p->md; what p->name holds stands in front of all names there. 0 or an error.
 */
int put_item(struct putter *p, const char *path, const struct spot *at, const char *name, bool whole);
/* The file FD gets ST's time, to the second. */
void put_time(const struct putter *p, int fd, const struct stat *st);
/* The directory PATH, without what is in it, as NAME in AT; p->name goes on with it. It is *RET. */
int put_parent(struct putter *p, const char *path, const struct spot *at, const char *name, struct spot *ret);
/*
 * mkdir -p of PATH in the root ROOT, new directories being P's owner's: *RET. Links are those of the root LOOKUP: the same one, or all
 * that shows in an overlay, whose upper directory ROOT is.
 */
int put_parents(struct putter *p, int lookup, const struct spot *root, const char *path, struct spot *ret);

extern const struct hoy_verb verb_copy, verb_checksum, verb_name, verb_hash, verb_mkdir, verb_unpack;
