/* cmd-image/transfer/unpack_apply.c: whiteouts in a tree that holds the layers below: what they name is removed. */
#include "cmd-image/transfer/unpack_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fd.h"
#include "common/base/strv.h"

#define MAX_DEPTH 2000

int remember_names(struct unpack *u)
{
	char name[TAR_NAME_MAX + 1];
	char *slash;
	uint64_t was;

	strcpy(name, u->path);
	do {
		uint64_t h = name_hash(name);

		if (posmap_get(&u->names, h, &was))
			return 0; /* and so are the directories above */
		if (posmap_put(&u->names, h, 0) < 0)
			return -ENOMEM;
		slash = strrchr(name, '/');
		if (slash)
			*slash = '\0';
	} while (slash);
	return 0;
}

static int list(int dirfd, struct hoy_strv *ret)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d)
		return -errno;
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			hoy_strv_push(ret, e->d_name);
	return ret->error ? -ENOMEM : 0;
}

/* All in DIRFD (the directory PATH) that this layer hasn't brought. */
static int remove_others(struct unpack *u, int dirfd, const char *path, int depth)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	int r = depth > MAX_DEPTH ? -ELOOP : list(dirfd, &names);

	for (size_t i = 0; i < names.n && !r; i++) {
		cleanup_free char *full = *path ? hoy_path_join(path, names.v[i]) : strdup(names.v[i]);
		cleanup_fd int sub = -1;
		uint64_t pos;

		if (!full)
			return -ENOMEM;
		if (!posmap_get(&u->names, name_hash(full), &pos))
			r = hoy_remove_tree(dirfd, names.v[i]);
		else if ((sub = openat(dirfd, names.v[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) >= 0)
			r = remove_others(u, sub, full, depth + 1);
	}
	return r;
}

int apply_whiteout(struct unpack *u, struct hoy_err *err)
{
	const char *name = u->base + 4;
	char path[TAR_NAME_MAX + 1];
	int r;

	if (!strcmp(name, ".wh..opq")) {
		size_t len = u->base > u->path ? u->base - u->path - 1 : 0;

		memcpy(path, u->path, len);
		path[len] = '\0';
		r = remove_others(u, u->parent, path, 0);
		forget_dirs(u);
		return r;
	}
	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return hoy_fail(err, HOY_EFORMAT, "the whiteout '%s' names nothing", u->path);
	memmove((char *)u->base, name, strlen(name) + 1);
	return make_way(u, false);
}
