#include "common/store/tempdir.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"

static void names(const char *num, char lock[48], char dir[48])
{
	snprintf(lock, 48, "lock-%s", num);
	snprintf(dir, 48, "temp-dir-%s", num);
}

static int make_pair(struct hoy_tempdir *t)
{
	char lock[48], dir[48];
	struct stat st;
	unsigned rnd;
	int r;

	if (getrandom(&rnd, sizeof(rnd), 0) < 0)
		return -errno;
	snprintf(t->num, sizeof(t->num), "%u", rnd);
	names(t->num, lock, dir);
	t->lock.fd = openat(t->rootfd, lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (t->lock.fd < 0)
		return -errno;
	r = hoy_lock_try(&t->lock, true);
	/* A recoverer may have had it between the two calls, and have unlinked it: it would protect nothing. */
	if (!r && (fstat(t->lock.fd, &st) < 0 || !st.st_nlink))
		r = -EAGAIN;
	if (!r && mkdirat(t->rootfd, dir, 0700) < 0)
		r = -errno;
	if (!r && (t->dirfd = openat(t->rootfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		r = -errno;
	if (r) {
		unlinkat(t->rootfd, dir, AT_REMOVEDIR);
		unlinkat(t->rootfd, lock, 0);
		hoy_lock_close(&t->lock);
	}
	return r;
}

int hoy_tempdir_new(struct hoy_tempdir *t, int homefd, const char *root)
{
	int r, tries = 16;

	*t = (struct hoy_tempdir)HOY_TEMPDIR_INIT;
	t->rootfd = hoy_open_dir_p(homefd, root, 0700);
	if (t->rootfd < 0)
		return t->rootfd;
	/* A recoverer may take a lock file between our open and our lock: draw another number. */
	do
		r = make_pair(t);
	while ((r == -EEXIST || r == -EAGAIN || r == -ENOENT) && --tries);
	if (r < 0) {
		hoy_close(t->rootfd);
		*t = (struct hoy_tempdir)HOY_TEMPDIR_INIT;
	}
	return r;
}

int hoy_tempdir_take(struct hoy_tempdir *t, int dirfd, const char *name)
{
	const char *base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
	char to[300];

	snprintf(to, sizeof(to), "%d-%s", t->used, base);
	if (renameat(dirfd, name, t->dirfd, to) < 0)
		return errno == ENOENT ? 0 : -errno;
	t->used++;
	return 0;
}

void hoy_tempdir_free(struct hoy_tempdir *t)
{
	char lock[48], dir[48];

	if (t->dirfd >= 0) {
		names(t->num, lock, dir);
		hoy_remove_tree(t->rootfd, dir);
		unlinkat(t->rootfd, lock, 0);
		hoy_close(t->dirfd);
	}
	hoy_lock_close(&t->lock);
	hoy_close(t->rootfd);
	*t = (struct hoy_tempdir)HOY_TEMPDIR_INIT;
}

static void recover_one(int rootfd, const char *num)
{
	struct hoy_lock l = HOY_LOCK_INIT;
	char lock[48], dir[48];

	names(num, lock, dir);
	if (!hoy_lock_open(&l, rootfd, lock, false) && !hoy_lock_try(&l, true)) {
		hoy_remove_tree(rootfd, dir);
		unlinkat(rootfd, lock, 0);
	}
	hoy_lock_close(&l);
}

/* N of "lock-N" and "temp-dir-N"; NULL for other names. */
static const char *number_of(const char *name)
{
	const char *num = !strncmp(name, "lock-", 5) ? name + 5 : !strncmp(name, "temp-dir-", 9) ? name + 9 : "";

	return *num && strlen(num) < 24 && strspn(num, "0123456789") == strlen(num) ? num : NULL;
}

void hoy_tempdir_recover(int homefd, const char *root)
{
	int fd = openat(homefd, root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d))) {
		const char *num = number_of(e->d_name);
		char copy[24];

		if (num)
			recover_one(dirfd(d), strcpy(copy, num));
	}
}

static bool owned(int rootfd, const char *num)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char lock[48], dir[48];
	cleanup_fd int fd = -1;

	names(num, lock, dir);
	fd = openat(rootfd, lock, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && (fcntl(fd, F_OFD_GETLK, &fl) < 0 || fl.l_type != F_UNLCK);
}

int hoy_tempdir_dead(int homefd, const char *root, struct hoy_strv *ret)
{
	int fd = openat(homefd, root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	cleanup_strv struct hoy_strv suspects = HOY_STRV_INIT;
	struct dirent *e;

	if (!d)
		return fd < 0 && errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d))) {
		const char *num = number_of(e->d_name);

		if (num && !owned(dirfd(d), num))
			hoy_strv_push(&suspects, e->d_name);
	}
	/* Owners make a lock file before they lock it, and unlink a pair one after the other: only what stays so is dead. */
	if (suspects.n)
		nanosleep(&(struct timespec){ 0, 30000000 }, NULL);
	for (size_t i = 0; i < suspects.n; i++)
		if (hoy_exists(dirfd(d), suspects.v[i]) && !owned(dirfd(d), number_of(suspects.v[i])))
			hoy_strv_push(ret, suspects.v[i]);
	return suspects.error || ret->error ? -ENOMEM : 0;
}
