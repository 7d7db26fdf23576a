#include "common/conf/subid.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"

static size_t ranges(const char *file, const char *one, const char *other, struct hoy_idrange *ret, size_t max)
{
	cleanup_file FILE *f = fopen(file, "re");
	char line[512];
	size_t n = 0;

	while (f && n < max && fgets(line, sizeof(line), f)) {
		char *name = strtok(line, ":"), *start = strtok(NULL, ":"), *count = strtok(NULL, ":\n");

		if (!name || !start || !count || (strcmp(name, one) && !(other && !strcmp(name, other))))
			continue;
		ret[n] = (struct hoy_idrange){ strtoul(start, NULL, 10), strtoul(count, NULL, 10) };
		if (ret[n].start && ret[n].count)
			n++;
	}
	return n;
}

size_t hoy_subids(const char *file, uid_t uid, struct hoy_idrange *ret, size_t max)
{
	struct passwd *pw = getpwuid(uid);
	char number[24];

	snprintf(number, sizeof(number), "%u", (unsigned)uid);
	return ranges(file, number, pw ? pw->pw_name : NULL, ret, max);
}

size_t hoy_subids_of(const char *file, const char *name, struct hoy_idrange *ret, size_t max)
{
	return ranges(file, name, NULL, ret, max);
}
