/* cmd-image/transfer/flow.h: one blob from where it is to a destination: checked, packed, digested, and taken up again where the link was cut. */
#pragma once
#include "cmd-image/transfer/chunked.h"
#include "cmd-image/transfer/crypt.h"
#include "cmd-image/transfer/layer.h"
#include "cmd-image/transfer/transport.h"

/* What can be read from its start, more than once if need be: a blob of SRC, or else LEN bytes at DATA, or else of the file FD. */
struct origin {
	struct source *src;
	const struct desc *d;
	int layer;	 /* its number; -1: the config */
	bool inflate;	 /* what is inside of it is wanted */
	const struct layer_key *key; /* of a layer that is to be decrypted: its HMAC is checked in the place of WANT; or NULL */
	const char *want; /* the digest that this must have, and its size (-1: unknown) */
	int64_t want_size;
	const void *data;
	int fd;
	int64_t len;
	struct meter *meter; /* that shows how much has been read; or NULL */
};
struct packing {
	const char *suffix; /* "+gzip", "+zstd"; NULL: as it is */
	int64_t level;
	bool first;	    /* before it is sent, to ask for it first */
	struct encryptor *crypt; /* goes over what comes out, which then is no longer what FROM wants; or NULL */
	struct chunked_notes *notes; /* "+zstd" with a table of its files, whose place is noted there; or NULL */
};
struct flowed {
	char digest[SHA_DIGEST_SIZE];
	int64_t size;
};
/* Bring it to DST, packed as P says. What isn't packed has the digest that FROM wants. */
int flow(struct dest *dst, const struct origin *from, const struct packing *p, struct flowed *ret, struct hoy_err *err);
