/*
 * common/base/buf.h: one growing byte buffer, created with the largest size it may reach.
 *
 * Appending never needs a check: a failed append (no memory, too large) sets BUF->error and makes all
 * later ones do nothing; whoever uses the result looks once. The data is always NUL-terminated.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>

#include "common/base/cleanup.h"

struct hoy_buf {
	char *data; /* NULL while empty and never written */
	size_t len, cap, max;
	int error; /* 0, ENOMEM or EFBIG */
};

#define HOY_BUF_INIT(max_size) { NULL, 0, 0, (max_size), 0 }
/* For results whose size we determine ourselves: a guard against a runaway only. */
#define HOY_BUF_OURS ((size_t)256 << 20)

void hoy_buf_release(struct hoy_buf *b);
static inline void hoy_cleanup_buf_(struct hoy_buf *b) { hoy_buf_release(b); }
#define cleanup_buf __attribute__((cleanup(hoy_cleanup_buf_)))

/* Room for MORE bytes behind the data; returns where they go, or NULL with b->error set. */
char *hoy_buf_reserve(struct hoy_buf *b, size_t more);
void hoy_buf_add(struct hoy_buf *b, const void *data, size_t len);
void hoy_buf_puts(struct hoy_buf *b, const char *s);
void hoy_buf_putc(struct hoy_buf *b, char c);
void hoy_buf_printf(struct hoy_buf *b, const char *fmt, ...) HOY_PRINTF(2, 3);
void hoy_buf_vprintf(struct hoy_buf *b, const char *fmt, va_list ap);
/* Forget the content, keep the memory. */
void hoy_buf_reset(struct hoy_buf *b);
/* Forget what is behind the first LEN bytes. */
void hoy_buf_cut(struct hoy_buf *b, size_t len);
/* The text so far, never NULL. */
const char *hoy_buf_str(const struct hoy_buf *b);
/* Hand the NUL-terminated data over to the caller (free()); NULL when b->error is set. */
char *hoy_buf_steal(struct hoy_buf *b);

/* Ask for the pages of fresh memory at once if they are many: one by one, they may cost more than what is done with them. */
void hoy_populate(void *at, size_t size);

/* printf into new memory; NULL without memory. */
char *hoy_asprintf(const char *fmt, ...) HOY_PRINTF(1, 2);
