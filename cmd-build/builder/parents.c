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

/* What a path comes to: its components without links. LEFT: paths of directories that it led out of again (DIR/..) and that are missing. */
struct real {
	struct hoy_strv parts, left;
};

static int resolve(int lookup, const char *path, struct real *ret, int links);

static char *joined(const struct hoy_strv *parts)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 16);

	for (size_t i = 0; i < parts->n; i++)
		hoy_buf_printf(&b, "/%s", parts->v[i]);
	hoy_buf_puts(&b, "");
	return hoy_buf_steal(&b);
}

/* WORD in the directory RET: what it is, or where it leads to; it may be missing, and so may what a link leads to. */
static int resolve_one(int lookup, const char *word, struct real *ret, int links)
{
	cleanup_free char *dir = joined(&ret->parts), *path = dir ? hoy_asprintf("%s/%s", dir, word) : NULL;
	cleanup_fd int fd = path ? hoy_open_beneath(lookup, path, O_PATH | O_NOFOLLOW, 0, HOY_IN_ROOT) : -ENOMEM;
	char target[PATH_MAX] = "";
	struct stat st;

	if (fd == -ENOENT || (fd >= 0 && !fstat(fd, &st) && !S_ISLNK(st.st_mode))) {
		hoy_strv_push(&ret->parts, word);
		return ret->parts.error ? -ENOMEM : 0;
	}
	if (fd < 0)
		return fd;
	if (links > 40 || readlinkat(fd, "", target, sizeof(target) - 1) < 0)
		return links > 40 ? -ELOOP : -errno;
	if (*target == '/')
		while (ret->parts.n)
			hoy_strv_remove(&ret->parts, ret->parts.n - 1);
	return resolve(lookup, target, ret, links + 1);
}

static int leave(int lookup, struct real *ret)
{
	cleanup_free char *path = joined(&ret->parts);
	cleanup_fd int fd = path ? hoy_open_beneath(lookup, *path ? path : "/", O_PATH, 0, HOY_IN_ROOT) : -ENOMEM;

	if (fd == -ENOENT)
		hoy_strv_push(&ret->left, path);
	if (ret->parts.n)
		hoy_strv_remove(&ret->parts, ret->parts.n - 1);
	return fd == -ENOMEM || ret->left.error ? -ENOMEM : 0;
}

/* PATH, from the directory RET on. */
static int resolve(int lookup, const char *path, struct real *ret, int links)
{
	cleanup_free char *copy = strdup(path);
	char *save = NULL;
	int r = copy ? 0 : -ENOMEM;

	for (char *word = r ? NULL : strtok_r(copy, "/", &save); word && !r; word = strtok_r(NULL, "/", &save)) {
		if (!strcmp(word, ".."))
			r = leave(lookup, ret);
		else if (strcmp(word, "."))
			r = resolve_one(lookup, word, ret, links);
	}
	return r;
}

static int own(struct putter *p, int fd)
{
	uid_t uid = p->chown ? p->uid : 0;
	gid_t gid = p->chown ? p->gid : 0;
	int r = maps_out(p->to, &uid, &gid, p->err);

	return r ? r : fchown(fd, uid, gid) < 0 || fchmod(fd, 0755) < 0 ? -errno : 0;
}

/* The directory of the components PARTS in ROOT. */
static int make(struct putter *p, const struct spot *root, const struct hoy_strv *parts, struct spot *ret)
{
	struct spot at = { openat(root->to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
			   root->view < 0 ? -1 : openat(root->view, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	int r = at.to < 0 ? -errno : 0;

	for (size_t i = 0; i < parts->n && !r; i++) {
		struct spot next;
		bool made;

		r = spot_below(p, &at, parts->v[i], &next, &made);
		if (!r && made)
			r = own(p, next.to);
		spot_close(&at);
		at = next;
	}
	if (r < 0)
		spot_close(&at);
	*ret = at;
	return r;
}

int put_parents(struct putter *p, int lookup, const struct spot *root, const char *path, struct spot *ret)
{
	struct real real = { HOY_STRV_INIT, HOY_STRV_INIT };
	int r = resolve(lookup, path, &real, 0);

	*ret = SPOT_NONE;
	for (size_t i = 0; i < real.left.n && !r && !p->dry; i++) {
		cleanup_strv struct hoy_strv parts = HOY_STRV_INIT;
		struct spot left;

		hoy_strv_split(&parts, real.left.v[i] + 1, '/');
		r = make(p, root, &parts, &left);
		spot_close(&left);
	}
	if (!r && !p->dry)
		r = make(p, root, &real.parts, ret);
	hoy_strv_release(&real.parts);
	hoy_strv_release(&real.left);
	return r < 0 ? hoy_fail_errno(p->err, -r, "cannot create the directory '%s'", path) : 0;
}
