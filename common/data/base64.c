#include "common/data/base64.h"

#include <errno.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* What a character stands for; -1: nothing. */
static int value(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52 :
	       c == '+' ? 62 : c == '/' ? 63 : -1;
}

void hoy_base64(struct hoy_buf *b, const void *data, size_t len)
{
	char *to = hoy_buf_reserve(b, (len + 2) / 3 * 4), *start = to;
	const unsigned char *s = data;

	if (!to)
		return;
	for (; len; s += 3, len -= len < 3 ? len : 3) {
		unsigned v = (unsigned)s[0] << 16 | (len > 1 ? (unsigned)s[1] << 8 : 0) | (len > 2 ? s[2] : 0);

		*to++ = digits[v >> 18];
		*to++ = digits[v >> 12 & 63];
		*to++ = len > 1 ? digits[v >> 6 & 63] : '=';
		*to++ = len > 2 ? digits[v & 63] : '=';
	}
	b->len += to - start;
	b->data[b->len] = '\0';
}

int hoy_unbase64(struct hoy_buf *b, const char *text, size_t len)
{
	size_t pad = 0, old = b->len;
	unsigned v = 0;
	char *to;

	if (len % 4)
		return -EINVAL;
	while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
		pad++;
	to = hoy_buf_reserve(b, len / 4 * 3);
	if (!to)
		return -ENOMEM;
	for (size_t i = 0; i < len; i++) {
		int c = i < len - pad ? value(text[i]) : 0;

		if (c < 0) {
			b->data[old] = '\0';
			return -EINVAL;
		}
		v = v << 6 | c;
		if (i % 4 == 3) {
			*to++ = v >> 16;
			*to++ = v >> 8;
			*to++ = v;
		}
	}
	b->len = to - b->data - pad;
	b->data[b->len] = '\0';
	return 0;
}

int hoy_unbase64_new(const char *text, char **ret, size_t *ret_len)
{
	size_t len = strlen(text);
	struct hoy_buf b = HOY_BUF_INIT(len + 8);
	int r = hoy_unbase64(&b, text, len);

	if (r < 0) {
		hoy_buf_release(&b);
		return r;
	}
	*ret_len = b.len;
	*ret = hoy_buf_steal(&b);
	return *ret ? 0 : -ENOMEM;
}
