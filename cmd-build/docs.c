/* cmd-build/docs.c: a directory that goes with the build, and here-documents as files in it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-build/build.h"
#include "cmd-build/lease.h"
#include "common/base/fd.h"

int need_tmp(struct build *b)
{
	const char *dir = getenv("TMPDIR");
	cleanup_free char *path = NULL;
	char id[HOY_ID_SIZE];
	int r;

	if (b->tmp)
		return 0;
	path = hoy_random_id(id) < 0 ? NULL : hoy_asprintf("%s/hoy-build-%.12s", dir && *dir ? dir : "/var/tmp", id);
	r = !path ? hoy_fail_oom(&b->err) : b->s ? lease_take(b->s, LEASE_DIR, path, &b->err) : 0;
	if (!r && mkdir(path, 0700) < 0)
		r = hoy_fail_errno(&b->err, errno, "cannot make a temporary directory");
	if (!r)
		b->tmp = steal_ptr(&path);
	return r;
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
