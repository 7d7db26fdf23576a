/*
 * cmd-image/transfer/part.h: blobs on their way into the store.
 *
 * What arrives of a layer's blob is appended to graphroot/hoy/blobs/DIGEST.part until the layer is committed: a pull that
 * was interrupted goes on there. The lock on that file is the lease: who has it fetches the blob, others wait for the
 * layer and take over when the holder dies. What a part holds is never trusted: the digest decides.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "common/store/store.h"

/* The directory, for one pull. */
struct parts {
	int fd; /* -1: no parts are kept (no space, no extended attributes, a store that can't be written) */
};
/* Open it and drop what is too old or too much. SIZE: bytes of all blobs that may come; without plenty of space beyond, none are kept. */
void parts_open(struct parts *d, const struct hoy_store *s, int64_t size);
void parts_close(struct parts *d);

/* One blob's file and lease. All is fine with a blank one: nothing is kept then. */
struct part {
	const struct parts *dir;
	const char *digest; /* borrowed */
	struct hoy_lock lock;
	int64_t have;	/* bytes that the file has */
	char *buf;	/* what comes next, so that the file grows by large pieces */
	size_t n_buf;
	int64_t synced; /* of them, those that outlive the power */
	int64_t old;	/* of them, those that were there when it was opened */
	bool full;	/* the disk was: nothing more is added */
};
#define PART_INIT { .lock = HOY_LOCK_INIT }

/* Take the lease of DIGEST, a blob of SIZE bytes: 0, or -EAGAIN: somebody else has it. Where no part can be kept, P stays blank. */
int part_take(struct part *p, const struct parts *d, const char *digest, int64_t size);
static inline bool part_kept(const struct part *p) { return p->lock.fd >= 0; }
/* N more bytes have arrived. When the disk is full, what is there stays and nothing more is added. */
void part_add(struct part *p, const void *data, size_t n);
/* What was added is in the file now. */
void part_flush(struct part *p);
/* What the file had was wrong: begin again with nothing. */
void part_empty(struct part *p);
/* End the lease; the file stays for the next attempt. */
void part_leave(struct part *p);
/* End the lease and remove the file. */
void part_drop(struct part *p);
