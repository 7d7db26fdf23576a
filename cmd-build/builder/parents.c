/* cmd-build/builder/parents.c: the directory that something is copied to, made if it isn't there. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-build/builder/builder.h"
#include "common/base/beneath.h"
#include "common/base/err.h"
#include "common/base/fd.h"

static int parents(struct putter *p, int rootfd, const char *path, int links);

/* WORD in the directory SOFAR (a path from the root) is a link to what isn't there: it's made, there. */
static int through_link(struct putter *p, int rootfd, int dir, const char *sofar, const char *word, int links)
{
	char target[PATH_MAX] = "";
	cleanup_free char *path = NULL;

	if (links > 40 || readlinkat(dir, word, target, sizeof(target) - 1) < 0)
		return links > 40 ? -ELOOP : -errno;
	path = *target == '/' ? strdup(target) : hoy_path_join(sofar, target);
	return path ? parents(p, rootfd, path, links + 1) : -ENOMEM;
}

static int make_one(struct putter *p, int dir, const char *word)
{
	if (!strcmp(word, "..") || mkdirat(dir, word, 0755) < 0)
		return 0; /* it's there, or opening it tells */
	if (fchownat(dir, word, p->chown ? p->uid : 0, p->chown ? p->gid : 0, AT_SYMLINK_NOFOLLOW) < 0 || fchmodat(dir, word, 0755, 0) < 0)
		return -errno;
	return 0;
}

static int parents(struct putter *p, int rootfd, const char *path, int links)
{
	cleanup_free char *copy = strdup(path);
	char *save = NULL, *word = copy ? strtok_r(copy, "/", &save) : NULL;
	cleanup_buf struct hoy_buf sofar = HOY_BUF_INIT(1 << 16);
	int fd = copy ? hoy_open_beneath(rootfd, ".", O_RDONLY | O_DIRECTORY, 0, HOY_IN_ROOT) : -ENOMEM;

	hoy_buf_puts(&sofar, "/");
	for (; word && fd >= 0; word = strtok_r(NULL, "/", &save)) {
		size_t before = sofar.len;
		int next = make_one(p, fd, word);

		hoy_buf_printf(&sofar, "%s/", word);
		if (!next)
			next = sofar.error ? -ENAMETOOLONG : hoy_open_beneath(rootfd, hoy_buf_str(&sofar), O_RDONLY | O_DIRECTORY, 0, HOY_IN_ROOT);
		if (next == -ENOENT) {
			cleanup_free char *dir = strndup(sofar.data, before);

			next = dir ? through_link(p, rootfd, fd, dir, word, links) : -ENOMEM;
		}
		hoy_close(fd);
		fd = next;
	}
	return fd;
}

int put_parents(struct putter *p, int rootfd, const char *path)
{
	int fd = parents(p, rootfd, path, 0);

	return fd < 0 ? hoy_fail_errno(p->err, -fd, "cannot create the directory '%s'", path) : fd;
}
