/* A file of its own: who links statically has no getpwuid(3), and knows names from elsewhere. */
#include "common/conf/subid.h"

#include <pwd.h>
#include <stdio.h>

size_t hoy_subids(const char *file, uid_t uid, struct hoy_idrange *ret, size_t max)
{
	struct passwd *pw = getpwuid(uid);
	char number[24];
	size_t n = pw ? hoy_subids_of(file, pw->pw_name, ret, max) : 0;

	snprintf(number, sizeof(number), "%u", (unsigned)uid);
	return n + hoy_subids_of(file, number, ret + n, max - n);
}
