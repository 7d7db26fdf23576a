#include "common/data/digest.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

bool hoy_is_hex(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
			return false;
	return true;
}

bool hoy_is_id(const char *s)
{
	return s && strlen(s) == HOY_ID_LEN && hoy_is_hex(s, HOY_ID_LEN);
}

const char *hoy_digest_hex(const char *s)
{
	size_t want;

	if (!s)
		return NULL;
	if (!strncmp(s, "sha256:", 7))
		want = 64;
	else if (!strncmp(s, "sha512:", 7))
		want = 128;
	else
		return NULL;
	return strlen(s + 7) == want && hoy_is_hex(s + 7, want) ? s + 7 : NULL;
}

bool hoy_is_digest(const char *s)
{
	return hoy_digest_hex(s) != NULL;
}

void hoy_hex(char *ret, const unsigned char *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*ret++ = digits[bytes[i] >> 4];
		*ret++ = digits[bytes[i] & 15];
	}
	*ret = '\0';
}

int hoy_random_id(char ret[HOY_ID_SIZE])
{
	unsigned char raw[HOY_ID_LEN / 2];

	do {
		if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
			return -errno;
		hoy_hex(ret, raw, sizeof(raw));
	} while (strspn(ret, "0123456789") >= 12);
	return 0;
}
