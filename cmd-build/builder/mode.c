/* cmd-build/builder/mode.c: --chmod: modes as chmod(1) has them, octal or symbolic. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-build/builder/builder.h"
#include "common/base/err.h"

static bool octal(const char *text, mode_t *ret)
{
	char *end;
	unsigned long v = strtoul(text, &end, 8);

	if (*text < '0' || *text > '7' || *end || v > 07777)
		return false;
	*ret = (mode_t)v;
	return true;
}

/* The bits for which WHO ("ug", nothing is all) may speak. */
static mode_t who_mask(const char *who, size_t len)
{
	mode_t mask = 0;

	for (size_t i = 0; i < len; i++)
		mask |= who[i] == 'u' ? 04700 : who[i] == 'g' ? 02070 : who[i] == 'o' ? 01007 : 07777;
	return len ? mask : 07777;
}

/* The bits of WHAT ("rwX", or "u", "g", "o": what these have in MODE), for everybody. */
static mode_t what_bits(const char *what, size_t len, mode_t mode)
{
	mode_t bits = 0;

	for (size_t i = 0; i < len; i++)
		switch (what[i]) {
		case 'r': bits |= 0444; break;
		case 'w': bits |= 0222; break;
		case 'x': bits |= 0111; break;
		case 'X': bits |= S_ISDIR(mode) || (mode & 0111) ? 0111 : 0; break;
		case 's': bits |= 06000; break;
		case 't': bits |= 01000; break;
		case 'u': bits |= (mode >> 6 & 7) * 0111; break;
		case 'g': bits |= (mode >> 3 & 7) * 0111; break;
		case 'o': bits |= (mode & 7) * 0111; break;
		}
	return bits;
}

/* One or more "[ugoa]*[-+=]PERMS" with the same who; NULL if P begins with none. It moves behind them. */
static bool clause(const char **p, mode_t *mode)
{
	const char *who = *p, *s = who + strspn(who, "ugoa");
	mode_t mask = who_mask(who, s - who);

	if (!*s || !strchr("-+=", *s))
		return false;
	while (*s && strchr("-+=", *s)) {
		char op = *s++;
		size_t len = strspn(s, "ugo");
		mode_t bits;

		if (len > 1)
			return false;
		if (!len)
			len = strspn(s, "rwxXst");
		bits = what_bits(s, len, *mode) & mask;
		/* As chmod(1): = leaves a directory its set-id bits. */
		if (op == '=')
			*mode &= ~(mask & (S_ISDIR(*mode) ? 01777 : 07777));
		*mode = op == '-' ? *mode & ~bits : *mode | bits;
		s += len;
	}
	*p = s;
	return true;
}

static bool apply(const char *text, mode_t *mode)
{
	for (;;) {
		if (!clause(&text, mode))
			return false;
		if (!*text)
			return true;
		if (*text++ != ',')
			return false;
	}
}

int chmod_check(const char *text, struct hoy_err *err)
{
	mode_t mode = 0;

	return octal(text, &mode) || apply(text, &mode) ? 0 : hoy_fail(err, EINVAL, "parsing chmod \"%s\": invalid syntax", text);
}

mode_t chmod_mode(const char *text, mode_t mode)
{
	mode_t ret = mode;

	if (octal(text, &ret))
		return ret;
	(void)apply(text, &ret);
	return ret & 07777;
}
