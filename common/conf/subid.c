#include "common/conf/subid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"

size_t hoy_subids_of(const char *file, const char *name, struct hoy_idrange *ret, size_t max)
{
	cleanup_file FILE *f = fopen(file, "re");
	char line[512];
	size_t n = 0;

	while (f && n < max && fgets(line, sizeof(line), f)) {
		char *whose = strtok(line, ":"), *start = strtok(NULL, ":"), *count = strtok(NULL, ":\n");

		if (!whose || !start || !count || strcmp(whose, name))
			continue;
		ret[n] = (struct hoy_idrange){ strtoul(start, NULL, 10), strtoul(count, NULL, 10) };
		if (ret[n].start && ret[n].count)
			n++;
	}
	return n;
}
