/*
 * cmd-image/transfer/stream.h: bytes on their way through a pipeline of threads.
 *
 * A stream is pulled: stream_peek() shows the next bytes in place, stream_take() passes over them; nothing is copied
 * on the way from the network's buffer to write(2). A ring is a stream whose other end another thread fills.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/cleanup.h"
#include "common/base/err.h"

struct stream {
	/* The number of bytes at *RET (at least one), 0 at the end, or -errno with a sentence. */
	ssize_t (*peek)(struct stream *s, const unsigned char **ret, struct hoy_err *err);
	void (*take)(struct stream *s, size_t n);
	void (*free)(struct stream *s);
	/* Pass over N bytes without reading them; NULL where that is impossible. */
	int (*skip)(struct stream *s, int64_t n, struct hoy_err *err);
};

/* Set once one part of the work has failed, or a signal came: all other parts end soon with ECANCELED. */
extern _Atomic bool transfer_cancelled;

static inline ssize_t stream_peek(struct stream *s, const unsigned char **ret, struct hoy_err *err)
{
	return s->peek(s, ret, err);
}
static inline void stream_take(struct stream *s, size_t n) { s->take(s, n); }
void stream_free(struct stream *s); /* NULL is fine */
static inline void hoy_cleanup_stream_(struct stream **s) { stream_free(*s); }
#define cleanup_stream __attribute__((cleanup(hoy_cleanup_stream_)))

/* LEN bytes (-1: all there are) of FD from AT (-1: from where it stands; then by read). FD is the stream's if OWNED. */
struct stream *stream_fd(int fd, bool owned, off_t at, off_t len, const char *name);
/* LEN bytes of memory, which must outlive the stream. */
struct stream *stream_mem(const void *data, size_t len);
/* Up to LEN bytes into BUF; fewer only at the end. */
ssize_t stream_read(struct stream *s, void *buf, size_t len, struct hoy_err *err);

/* A bounded buffer between one writing and one reading thread. */
struct ring {
	struct stream stream; /* the reading end; stream_free() on it frees the ring: the writer must have ended */
	pthread_mutex_t mu;
	pthread_cond_t readable, writable;
	unsigned char *buf;
	size_t size, rd, fill;
	size_t give; /* the writer publishes in steps of so much, to spare wake-ups */
	bool ended, stopped, reader_waits, writer_waits;
	struct hoy_err err; /* code != 0: why it ended */
};
struct ring *ring_new(size_t size);
/* Room to write to; waits until there is some. -EPIPE once the reader has stopped. */
ssize_t ring_room(struct ring *r, unsigned char **ret);
void ring_add(struct ring *r, size_t n);
int ring_write(struct ring *r, const void *data, size_t n);
/* The writer is done; ERR, if given and set, is what the reader gets behind the last byte. */
void ring_end(struct ring *r, const struct hoy_err *err);
/* The reader wants no more. */
void ring_stop(struct ring *r);

/* sha256 as it goes. */
struct sha {
	void *ctx;
};
#define SHA_DIGEST_SIZE 72 /* "sha256:" + 64 + NUL */
int sha_init(struct sha *s);
void sha_add(struct sha *s, const void *data, size_t n);
void sha_end(struct sha *s, char ret[SHA_DIGEST_SIZE]); /* releases too */
void sha_release(struct sha *s);
void sha_of(const void *data, size_t n, char ret[SHA_DIGEST_SIZE]);
