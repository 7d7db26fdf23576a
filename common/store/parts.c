#include "common/store/parts.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/data/time.h"

struct old {
	char name[NAME_MAX + 1];
	int64_t at, size;
};

static int by_age(const void *a, const void *b)
{
	const struct old *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

static bool drop_unused(int dirfd, const char *name)
{
	struct hoy_lock l = HOY_LOCK_INIT;
	bool gone;

	l.fd = openat(dirfd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	gone = l.fd >= 0 && !hoy_lock_try(&l, true) && !unlinkat(dirfd, name, 0);
	hoy_lock_close(&l);
	return gone;
}

static size_t list(DIR *d, struct old **ret)
{
	struct dirent *e;
	struct stat st;
	size_t n = 0;

	*ret = NULL;
	while ((e = readdir(d))) {
		struct old *more;

		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			continue;
		more = reallocarray(*ret, n + 1, sizeof(*more));
		if (!more)
			break;
		*ret = more;
		snprintf(more[n].name, sizeof(more[n].name), "%s", e->d_name);
		more[n].at = st.st_mtim.tv_sec * HOY_NS + st.st_mtim.tv_nsec;
		more[n++].size = st.st_size;
	}
	return n;
}

void hoy_parts_prune(const struct hoy_store *s, int64_t max_age, int64_t max_bytes, int64_t *freed)
{
	int fd = openat(s->graphfd, HOY_PARTS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	cleanup_free struct old *v = NULL;
	int64_t all = 0, now = hoy_now();
	size_t n = d ? list(d, &v) : 0;

	for (size_t i = 0; i < n; i++)
		all += v[i].size;
	if (n)
		qsort(v, n, sizeof(*v), by_age);
	for (size_t i = 0; i < n && (all > max_bytes || now - v[i].at > max_age); i++) {
		all -= v[i].size;
		if (drop_unused(dirfd(d), v[i].name) && freed)
			*freed += v[i].size;
	}
}

void hoy_parts_drop(const struct hoy_store *s, const char *digest)
{
	cleanup_fd int dirfd = openat(s->graphfd, HOY_PARTS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name[NAME_MAX + 1];

	if (dirfd >= 0 && snprintf(name, sizeof(name), "%s.part", digest) < (int)sizeof(name))
		drop_unused(dirfd, name);
}
