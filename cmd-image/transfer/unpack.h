/*
 * cmd-image/transfer/unpack.h: a layer's tar becomes files beneath one directory, as overlay wants them
 * (formats/storage.md 4.7), and never a file anywhere else: each name is resolved with that directory as "/".
 */
#pragma once
#include "cmd-image/transfer/share.h"
#include "cmd-image/transfer/stream.h"

struct id_set {
	unsigned *v;
	size_t n, cap;
};

/* What ".wh.NAME" becomes: overlayfs's whiteout, the removal of NAME, or a file called so. */
enum whiteouts { WHITEOUTS_OVERLAY, WHITEOUTS_APPLY, WHITEOUTS_KEEP };

struct unpack_opts {
	bool userns;		  /* no device nodes; user.overlay.* */
	bool ignore_chown_errors;
	bool there;		  /* its files are in their places: only the tar-split is made */
	bool own;		  /* all belongs to who unpacks it */
	enum whiteouts whiteouts;
	bool share;		  /* list the files that could be shared */
	int64_t max_sparse;	  /* the size that a file with holes may have; 0: any */
};
struct unpack_result {
	struct id_set uids, gids; /* sorted */
	uint64_t entries;
	struct share_list files;
};
/*
 * Unpack the plain tar TAR (borrowed; read to its end) into DIFFFD and record its tar-split in SPLITFD (-1: don't).
 * RET is to be released whatever is returned.
 */
int unpack_tar(struct stream *tar, int difffd, int splitfd, const struct unpack_opts *o, struct unpack_result *ret,
	       struct hoy_err *err);
void unpack_result_release(struct unpack_result *r);
