#include "common/base/buf.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void hoy_buf_release(struct hoy_buf *b)
{
	int saved = errno;

	free(b->data);
	b->data = NULL;
	b->len = b->cap = 0;
	errno = saved;
}

void hoy_populate(void *at, size_t size)
{
	uintptr_t page = sysconf(_SC_PAGESIZE), from = ((uintptr_t)at + page - 1) & ~(page - 1), to = ((uintptr_t)at + size) & ~(page - 1);

	if (to > from + 8 * page)
		madvise((void *)from, to - from, MADV_POPULATE_WRITE);
}

char *hoy_buf_reserve(struct hoy_buf *b, size_t more)
{
	size_t want, cap;
	char *p;

	if (b->error)
		return NULL;
	if (more > b->max || b->len > b->max - more) {
		b->error = EFBIG;
		return NULL;
	}
	want = b->len + more + 1;
	if (want <= b->cap)
		return b->data + b->len;
	cap = b->cap ? b->cap : 64;
	while (cap < want)
		cap *= 2;
	p = realloc(b->data, cap);
	if (!p) {
		b->error = ENOMEM;
		return NULL;
	}
	b->data = p;
	b->cap = cap;
	b->data[b->len] = '\0';
	return b->data + b->len;
}

void hoy_buf_add(struct hoy_buf *b, const void *data, size_t len)
{
	char *p = hoy_buf_reserve(b, len);

	if (!p)
		return;
	if (len)
		memcpy(p, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void hoy_buf_puts(struct hoy_buf *b, const char *s)
{
	hoy_buf_add(b, s, strlen(s));
}

void hoy_buf_putc(struct hoy_buf *b, char c)
{
	hoy_buf_add(b, &c, 1);
}

void hoy_buf_vprintf(struct hoy_buf *b, const char *fmt, va_list ap)
{
	va_list again;
	char *p;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0) {
		b->error = EINVAL;
		return;
	}
	p = hoy_buf_reserve(b, n);
	if (!p)
		return;
	vsnprintf(p, n + 1, fmt, ap);
	b->len += n;
}

void hoy_buf_printf(struct hoy_buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	hoy_buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void hoy_buf_reset(struct hoy_buf *b)
{
	b->len = 0;
	b->error = 0;
	if (b->data)
		b->data[0] = '\0';
}

void hoy_buf_cut(struct hoy_buf *b, size_t len)
{
	if (!b->error && b->data && len < b->len)
		b->data[b->len = len] = '\0';
}

const char *hoy_buf_str(const struct hoy_buf *b)
{
	return b->data ? b->data : "";
}

char *hoy_buf_steal(struct hoy_buf *b)
{
	char *p;

	if (!hoy_buf_reserve(b, 0))
		return NULL;
	p = b->data;
	b->data = NULL;
	b->len = b->cap = 0;
	return p;
}

char *hoy_asprintf(const char *fmt, ...)
{
	struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	va_list ap;
	char *s;

	va_start(ap, fmt);
	hoy_buf_vprintf(&b, fmt, ap);
	va_end(ap);
	s = hoy_buf_steal(&b);
	if (!s)
		hoy_buf_release(&b);
	return s;
}
