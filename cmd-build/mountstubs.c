/* cmd-build/mountstubs.c: mount points that a runtime makes are not part of what is built. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-build/build.h"
#include "cmd-build/mounts.h"
#include "common/base/beneath.h"

/* Is PATH there, in the root ROOT? */
static bool is_there(int root, const char *path)
{
	cleanup_fd int fd = hoy_open_beneath(root, path, O_PATH, 0, HOY_IN_ROOT);

	return fd >= 0;
}

static void note(int root, const char *target, struct hoy_strv *ret)
{
	cleanup_free char *path = strdup(target);

	for (char *slash = path ? strchr(path + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (!is_there(root, path) && !hoy_strv_has(ret, path))
			hoy_strv_push(ret, path);
		*slash = '/';
	}
	if (path && !is_there(root, path) && !hoy_strv_has(ret, path))
		hoy_strv_push(ret, path);
}

void stubs_note(struct state *s, struct run_mounts *m)
{
	cleanup_fd int root = open(s->work->root, O_PATH | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; root >= 0 && i < m->n; i++)
		note(root, m->v[i].target, &m->stubs);
}

/* PATH was made beneath these directories, which overlayfs has copied up for it. */
static void note_parents(struct work *w, const char *path)
{
	cleanup_free char *dir = strdup(path + 1);

	for (char *slash = dir ? strrchr(dir, '/') : NULL; slash; slash = strrchr(dir, '/')) {
		*slash = '\0';
		if (!hoy_strv_has(&w->parents, dir))
			hoy_strv_push(&w->parents, dir);
	}
}

void stubs_drop(struct state *s, struct run_mounts *m)
{
	cleanup_fd int root = m->stubs.n && s->work->root ? open(s->work->root, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

	for (size_t i = m->stubs.n; root >= 0 && i; i--) {
		const char *path = m->stubs.v[i - 1], *name = strrchr(path, '/') + 1;
		cleanup_free char *above = strndup(path, name - path);
		/* The command may have put links there: they lead nowhere but into the container. */
		cleanup_fd int dir = above ? hoy_open_beneath(root, above, O_PATH | O_DIRECTORY, 0, HOY_IN_ROOT) : -1;
		struct stat st;

		if (dir < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		note_parents(s->work, path);
		if (S_ISDIR(st.st_mode))
			(void)unlinkat(dir, name, AT_REMOVEDIR);
		else if (S_ISREG(st.st_mode) && !st.st_size)
			(void)unlinkat(dir, name, 0);
	}
}
