#include "common/conf/subid.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"

size_t hoy_subids(const char *file, uid_t uid, struct hoy_idrange *ret, size_t max)
{
	cleanup_file FILE *f = fopen(file, "re");
	struct passwd *pw = getpwuid(uid);
	char number[24], line[512];
	size_t n = 0;

	snprintf(number, sizeof(number), "%u", (unsigned)uid);
	while (f && n < max && fgets(line, sizeof(line), f)) {
		char *name = strtok(line, ":"), *start = strtok(NULL, ":"), *count = strtok(NULL, ":\n");

		if (!name || !start || !count || (strcmp(name, number) && !(pw && !strcmp(name, pw->pw_name))))
			continue;
		ret[n] = (struct hoy_idrange){ strtoul(start, NULL, 10), strtoul(count, NULL, 10) };
		if (ret[n].start && ret[n].count)
			n++;
	}
	return n;
}
