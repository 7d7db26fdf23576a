#include "common/data/time.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t hoy_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * HOY_NS + ts.tv_nsec;
}

static bool digits(const char **s, int n, int *ret)
{
	*ret = 0;
	while (n--) {
		if (!isdigit((unsigned char)**s))
			return false;
		*ret = *ret * 10 + *(*s)++ - '0';
	}
	return true;
}

static bool fraction(const char **s, int64_t *ns)
{
	int64_t unit = HOY_NS / 10;

	*ns = 0;
	if (**s != '.')
		return true;
	if (!isdigit((unsigned char)*++*s))
		return false;
	for (; isdigit((unsigned char)**s); (*s)++, unit /= 10)
		*ns += unit * (**s - '0');
	return true;
}

static bool offset(const char **s, int *seconds)
{
	int h, m, sign = **s == '-' ? -1 : 1;

	*seconds = 0;
	if (**s == 'Z' || **s == 'z') {
		(*s)++;
		return true;
	}
	if (**s != '+' && **s != '-')
		return false;
	(*s)++;
	if (!digits(s, 2, &h) || *(*s)++ != ':' || !digits(s, 2, &m) || h > 23 || m > 59)
		return false;
	*seconds = sign * (h * 3600 + m * 60);
	return true;
}

bool hoy_time_parse(const char *s, int64_t *ret)
{
	struct tm tm = { 0 };
	int64_t ns;
	time_t t;
	int off;

	if (!s || !digits(&s, 4, &tm.tm_year) || *s++ != '-' || !digits(&s, 2, &tm.tm_mon) || *s++ != '-' ||
	    !digits(&s, 2, &tm.tm_mday) || (*s != 'T' && *s != 't' && *s != ' '))
		return false;
	s++;
	if (!digits(&s, 2, &tm.tm_hour) || *s++ != ':' || !digits(&s, 2, &tm.tm_min) || *s++ != ':' ||
	    !digits(&s, 2, &tm.tm_sec) || !fraction(&s, &ns) || !offset(&s, &off) || *s)
		return false;
	if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
	    tm.tm_sec > 60)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	t = timegm(&tm) - off;
	/* What 64 bits of nanoseconds cannot hold is "never": Go's zero time above all. */
	*ret = t < -9000000000LL || t > 9000000000LL ? HOY_TIME_ZERO : t * HOY_NS + ns;
	return true;
}

static void split(int64_t t, time_t *sec, long *ns)
{
	*sec = t / HOY_NS;
	*ns = t % HOY_NS;
	if (*ns < 0) {
		*ns += HOY_NS;
		--*sec;
	}
}

static char *put_fraction(char *p, long ns)
{
	if (!ns)
		return p;
	p += sprintf(p, ".%09ld", ns);
	while (p[-1] == '0')
		p--;
	*p = '\0';
	return p;
}

static const char *format(int64_t t, char buf[HOY_TIME_SIZE], bool local, const char *pattern, const char *zone)
{
	struct tm tm;
	time_t sec;
	long ns;
	char *p;

	split(t, &sec, &ns);
	if (local)
		localtime_r(&sec, &tm);
	else
		gmtime_r(&sec, &tm);
	p = buf + strftime(buf, HOY_TIME_SIZE, pattern, &tm);
	p = put_fraction(p, ns);
	if (zone)
		strcpy(p, zone);
	else if (!tm.tm_gmtoff)
		strcpy(p, "Z");
	else
		sprintf(p, "%c%02ld:%02ld", tm.tm_gmtoff < 0 ? '-' : '+', labs(tm.tm_gmtoff) / 3600 % 100,
			labs(tm.tm_gmtoff) / 60 % 60);
	return buf;
}

const char *hoy_time_format(int64_t t, char buf[HOY_TIME_SIZE])
{
	if (t == HOY_TIME_ZERO)
		return strcpy(buf, "0001-01-01T00:00:00Z");
	return format(t, buf, false, "%Y-%m-%dT%H:%M:%S", "Z");
}

const char *hoy_time_local(int64_t t, char buf[HOY_TIME_SIZE])
{
	if (t == HOY_TIME_ZERO)
		return strcpy(buf, "0001-01-01T00:00:00Z");
	return format(t, buf, true, "%Y-%m-%dT%H:%M:%S", NULL);
}

const char *hoy_time_string(int64_t t, char buf[HOY_TIME_SIZE])
{
	if (t == HOY_TIME_ZERO)
		return strcpy(buf, "0001-01-01 00:00:00 +0000 UTC");
	return format(t, buf, false, "%Y-%m-%d %H:%M:%S", " +0000 UTC");
}

const char *hoy_time_human(int64_t ns, char buf[HOY_TIME_SIZE])
{
	long long s = ns / HOY_NS, m = s / 60, h = (s + 1800) / 3600;

	if (s < 1)
		strcpy(buf, "Less than a second");
	else if (s == 1)
		strcpy(buf, "1 second");
	else if (s < 60)
		sprintf(buf, "%lld seconds", s);
	else if (m == 1)
		strcpy(buf, "About a minute");
	else if (m < 60)
		sprintf(buf, "%lld minutes", m);
	else if (h == 1)
		strcpy(buf, "About an hour");
	else if (h < 48)
		sprintf(buf, "%lld hours", h);
	else if (h < 24 * 7 * 2)
		sprintf(buf, "%lld days", h / 24);
	else if (h < 24 * 30 * 2)
		sprintf(buf, "%lld weeks", h / 24 / 7);
	else if (h < 24 * 365 * 2)
		sprintf(buf, "%lld months", h / 24 / 30);
	else
		sprintf(buf, "%lld years", s / 3600 / 24 / 365);
	return buf;
}

bool hoy_duration_parse(const char *s, int64_t *ret)
{
	static const struct { const char *name; double ns; } units[] = {
		{ "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 }, { "m", 60e9 }, { "h", 3600e9 }, { "", 1e9 },
	};
	double total = 0, sign = 1;

	if (!s || !*s)
		return false;
	if (*s == '-' || *s == '+')
		sign = *s++ == '-' ? -1 : 1;
	do {
		char *end;
		double v = strtod(s, &end);
		size_t n, i;

		if (end == s || !(isdigit((unsigned char)*s) || *s == '.'))
			return false;
		for (n = 0; isalpha((unsigned char)end[n]); n++)
			;
		for (i = 0; i < sizeof(units) / sizeof(*units); i++)
			if (strlen(units[i].name) == n && !strncmp(units[i].name, end, n))
				break;
		if (i == sizeof(units) / sizeof(*units) || (!n && total))
			return false;
		total += v * units[i].ns;
		s = end + n;
	} while (*s);
	if (total > 9e18)
		return false;
	*ret = (int64_t)(sign * total);
	return true;
}

static bool local_date(const char *s, int64_t *ret)
{
	static const char *const forms[] = { "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d" };

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		struct tm tm = { .tm_isdst = -1 };
		const char *end = strptime(s, forms[i], &tm);
		int64_t ns = 0;

		if (!end || !fraction(&end, &ns) || *end)
			continue;
		*ret = (int64_t)mktime(&tm) * HOY_NS + ns;
		return true;
	}
	return false;
}

bool hoy_moment_parse(const char *s, int64_t *ret)
{
	int64_t d;

	if (!s || !*s)
		return false;
	if (hoy_time_parse(s, ret))
		return true;
	if (isdigit((unsigned char)*s) && strspn(s, "0123456789.") == strlen(s)) {
		double v = strtod(s, NULL);

		*ret = v < 9e9 ? (int64_t)(v * HOY_NS) : INT64_MAX;
		return true;
	}
	if (local_date(s, ret))
		return true;
	if (!hoy_duration_parse(s, &d))
		return false;
	*ret = hoy_now() - d;
	return true;
}
