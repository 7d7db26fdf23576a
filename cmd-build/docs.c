/* cmd-build/docs.c: here-documents as files in a directory that goes with the build. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/build.h"
#include "common/base/fd.h"

int doc_file(struct build *b, const char *name, const char *text, mode_t mode)
{
	const char *dir = getenv("TMPDIR");
	cleanup_free char *path = NULL;
	int r;

	if (!b->tmp) {
		cleanup_free char *made = hoy_asprintf("%s/hoy-build-XXXXXX", dir && *dir ? dir : "/var/tmp");

		if (!made || !mkdtemp(made))
			return hoy_fail_errno(&b->err, errno, "cannot make a temporary directory");
		b->tmp = steal_ptr(&made);
	}
	if (strchr(name, '/') || !strcmp(name, "..") || !strcmp(name, "."))
		return hoy_fail(&b->err, EINVAL, "'%s' cannot be the name of a file", name);
	path = hoy_path_join(b->tmp, name);
	r = path ? hoy_replace_file(AT_FDCWD, path, text, strlen(text), mode, false) : -ENOMEM;
	return r < 0 ? hoy_fail_errno(&b->err, -r, "cannot write '%s'", name) : 0;
}
