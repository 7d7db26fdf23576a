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

struct hoy_err;

/* Whose the files are to be: USER[:GROUP] by the passwd and group files beneath ROOTFD. 0 or -EINVAL, -ENOENT with a sentence. */
int owner_parse(int rootfd, const char *text, uid_t *uid, gid_t *gid, struct hoy_err *err);

struct putter {
	int from; /* root of what is copied: context, stage, image; borrowed */
	const struct ignore *ignore; /* NULL: nothing is left out */
	bool chown, keep_owner; /* to uid and gid; neither: to root */
	uid_t uid;
	gid_t gid;
	bool chmod, keep_setid;
	bool dry; /* nothing is written: only the digest is wanted */
	mode_t mode;
	EVP_MD_CTX *md; /* of the tar that the item at hand would be */
	struct hoy_links links;
	struct hoy_buf name; /* in it */
	struct hoy_err *err;
};
/* What is in the directory DIR, sorted, into RET; 0 or -errno. */
int list_names(int dir, struct hoy_strv *ret);
/*
 * Put the directory or file PATH (beneath p->from, symlinks followed) into the open directory TO: a directory's entries, or a file
 * as NAME. The digest of that goes to p->md. TO may be -1 if p->dry. 0 or an error.
 */
int put_item(struct putter *p, const char *path, int to, const char *name);
/* mkdir -p of PATH in ROOTFD, new directories being P's owner's. Its descriptor or an error. */
int put_parents(struct putter *p, int rootfd, const char *path);

extern const struct hoy_verb verb_copy, verb_checksum, verb_name, verb_hash;
