#include "common/conf/subid.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/proc/idmap.h"

#define MAX_RANGES 32

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

int hoy_subids_map(const char *file, const char *name, struct hoy_idmap *ret, struct hoy_err *err)
{
	struct hoy_idrange r[MAX_RANGES];
	size_t n = hoy_subids_of(file, name, r, MAX_RANGES);
	uint64_t at = 0;

	if (!n)
		return hoy_fail(err, ENOENT, "no %s ranges found for user \"%s\" in %s", strrchr(file, '/') + 1, name, file);
	for (size_t i = 0; i < n; i++, at += r[i - 1].count)
		if (r[i].start > UINT32_MAX || r[i].count > UINT32_MAX || hoy_idmap_add(ret, (uint32_t)at, (uint32_t)r[i].start, (uint32_t)r[i].count) < 0)
			return hoy_fail(err, EINVAL, "the ranges of user \"%s\" in %s cannot be used", name, file);
	return 0;
}
