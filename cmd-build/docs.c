/* cmd-build/docs.c: a directory that goes with the build, and here-documents as files in it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/build.h"
#include "common/base/fd.h"

int need_tmp(struct build *b)
{
	const char *dir = getenv("TMPDIR");
	cleanup_free char *made = hoy_asprintf("%s/hoy-build-XXXXXX", dir && *dir ? dir : "/var/tmp");

	if (b->tmp)
		return 0;
	if (!made || !mkdtemp(made))
		return hoy_fail_errno(&b->err, errno, "cannot make a temporary directory");
	b->tmp = steal_ptr(&made);
	return 0;
}

int doc_file(struct build *b, const char *name, const char *text, mode_t mode)
{
	cleanup_free char *path = NULL;
	int r = need_tmp(b);

	if (r < 0)
		return r;
	if (strchr(name, '/') || !strcmp(name, "..") || !strcmp(name, "."))
		return hoy_fail(&b->err, EINVAL, "'%s' cannot be the name of a file", name);
	path = hoy_path_join(b->tmp, name);
	r = path ? hoy_replace_file(AT_FDCWD, path, text, strlen(text), mode, false) : -ENOMEM;
	return r < 0 ? hoy_fail_errno(&b->err, -r, "cannot write '%s'", name) : 0;
}
