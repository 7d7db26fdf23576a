#include "common/cli/prompt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/cleanup.h"

int hoy_confirm(const char *warning)
{
	cleanup_free char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	printf("%sAre you sure you want to continue? [y/N] ", warning);
	fflush(stdout);
	n = getline(&line, &cap, stdin);
	if (n <= 0 || line[n - 1] != '\n')
		return -ENODATA;
	return line[0] == 'y' || line[0] == 'Y';
}
