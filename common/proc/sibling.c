#include "common/proc/sibling.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"

char *hoy_sibling(const char *name)
{
	char exe[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *path;

	if (n <= 0)
		return strdup(name);
	exe[n] = '\0';
	slash = strrchr(exe, '/');
	path = slash ? hoy_asprintf("%.*s/%s", (int)(slash - exe), exe, name) : NULL;
	if (path && !access(path, X_OK))
		return path;
	free(path);
	return strdup(name);
}

int hoy_exec_sibling(const char *name, char **argv)
{
	cleanup_free char *path = hoy_sibling(name);
	char *own = argv[0];

	if (!path)
		return -ENOMEM;
	argv[0] = (char *)name;
	execvp(path, argv);
	argv[0] = own; /* the caller may own it */
	return -errno;
}
