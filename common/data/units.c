#include "common/data/units.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse(const char *s, int base, int64_t *ret)
{
	static const char letters[] = "bkmgtp";
	const char *unit;
	double v;
	char *end;

	if (!s || !isdigit((unsigned char)*s))
		return false;
	v = strtod(s, &end);
	if (*end == ' ')
		end++;
	if (*end) {
		unit = strchr(letters, tolower((unsigned char)*end));
		if (!unit)
			return false;
		for (const char *u = letters; u < unit; u++)
			v *= base;
		end++;
		if (unit != letters && tolower((unsigned char)*end) == 'i')
			end++;
		if (unit != letters && tolower((unsigned char)*end) == 'b')
			end++;
	}
	if (*end || v >= 9.2e18)
		return false;
	*ret = (int64_t)v;
	return true;
}

bool hoy_size_parse(const char *s, int64_t *ret) { return parse(s, 1024, ret); }
bool hoy_size_parse_decimal(const char *s, int64_t *ret) { return parse(s, 1000, ret); }

static const char *human(int64_t bytes, const char *form, char buf[32])
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
	double v = (double)bytes;
	int i = 0;

	for (; v >= 1000 && i < 6; i++)
		v /= 1000;
	snprintf(buf, 32, form, v, units[i]);
	return buf;
}

const char *hoy_size_human(int64_t bytes, char buf[32]) { return human(bytes, "%.3g %s", buf); }
const char *hoy_size_tight(int64_t bytes, char buf[32]) { return human(bytes, "%.4g%s", buf); }
