#include "common/base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/base/buf.h"
#include "common/base/err.h"

ssize_t hoy_read_full(int fd, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(fd, (char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += n;
	}
	return (ssize_t)done;
}

int hoy_write_full(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= n;
	}
	return 0;
}

/* Most files are read whole by the first read(): who got the SIZE that the file has need not ask for its end. */
static ssize_t read_some(int fd, char *p, size_t len, off_t size)
{
	ssize_t n = read(fd, p, len), more;

	if (n < 0)
		return errno == EINTR ? hoy_read_full(fd, p, len) : -errno;
	if (n == 0 || n == size || (size_t)n == len)
		return n;
	more = hoy_read_full(fd, p + n, len - n);
	return more < 0 ? more : n + more;
}

int hoy_read_fd(int fd, const char *name, size_t max, char **ret_data, size_t *ret_len, struct hoy_err *err)
{
	struct hoy_buf b = HOY_BUF_INIT(max + 1);
	struct stat st;
	size_t chunk;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return hoy_fail_errno(err, errno, "cannot stat '%s'", name);
	if (!S_ISREG(st.st_mode))
		return hoy_fail(err, S_ISDIR(st.st_mode) ? EISDIR : EINVAL, "'%s' is not a regular file", name);
	if ((size_t)st.st_size > max)
		return hoy_fail(err, EFBIG, "'%s' is larger than %zu bytes", name, max);
	chunk = st.st_size ? (size_t)st.st_size + 1 : 4096;
	do {
		char *p;

		if (chunk > max + 1 - b.len)
			chunk = max + 1 - b.len;
		p = hoy_buf_reserve(&b, chunk);
		if (p)
			hoy_populate(p, chunk);
		n = p ? read_some(fd, p, chunk, st.st_size) : -b.error;
		if (n > 0)
			b.len += n;
	} while (n == (ssize_t)chunk && b.len <= max);
	if (n >= 0 && b.len > max)
		n = -EFBIG;
	if (n < 0) {
		hoy_buf_release(&b);
		return hoy_fail_errno(err, (int)-n, "cannot read '%s'", name);
	}
	b.data[b.len] = '\0';
	if (ret_len)
		*ret_len = b.len;
	*ret_data = b.data;
	return 0;
}

int hoy_read_file(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_len, struct hoy_err *err)
{
	cleanup_fd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return hoy_fail_errno(err, errno, "cannot open '%s'", path);
	return hoy_read_fd(fd, path, max, ret_data, ret_len, err);
}

ssize_t hoy_read_small(int dirfd, const char *path, char *buf, size_t size)
{
	cleanup_fd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = hoy_read_full(fd, buf, size - 1);
	if (n < 0)
		return n;
	while (n > 0 && buf[n - 1] == '\n')
		n--;
	buf[n] = '\0';
	return n;
}

int hoy_write_small(int dirfd, const char *path, const char *str)
{
	cleanup_fd int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = write(fd, str, strlen(str));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static int write_tmp(int dirfd, const char *tmp, const void *data, size_t len, mode_t mode, bool sync)
{
	cleanup_fd int fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return -errno;
	/*
	 * ext4 starts writing back a file that replaces another one, unless its blocks are allocated already. What need
	 * not last should not wait for a disk. Its size is left to the write: a power cut then leaves an empty file, not one
	 * full of zeros.
	 */
	if (!sync && len)
		(void)fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)len);
	r = hoy_write_full(fd, data, len);
	if (!r && sync && fdatasync(fd) < 0)
		r = -errno;
	if (!r && mode != 0600 && fchmod(fd, mode) < 0)
		r = -errno;
	return r;
}

/* By way of a temporary file beside NAME, called ".tmp-NAME" and END. */
static int replace(int dirfd, const char *name, const char *end, const void *data, size_t len, mode_t mode, bool sync)
{
	const char *base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
	char tmp[PATH_MAX];
	int r;

	if (snprintf(tmp, sizeof(tmp), "%.*s.tmp-%.200s%s", (int)(base - name), name, base, end) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	r = write_tmp(dirfd, tmp, data, len, mode, sync);
	if (r == -EEXIST && !*end && !unlinkat(dirfd, tmp, 0))
		r = write_tmp(dirfd, tmp, data, len, mode, sync);
	if (!r && renameat(dirfd, tmp, dirfd, name) < 0)
		r = -errno;
	if (r)
		unlinkat(dirfd, tmp, 0);
	return r;
}

int hoy_replace_file(int dirfd, const char *name, const void *data, size_t len, mode_t mode, bool sync)
{
	unsigned long long rnd = 0;
	char end[24];

	if (getrandom(&rnd, sizeof(rnd), 0) < 0)
		return -errno;
	snprintf(end, sizeof(end), "%llu", rnd);
	return replace(dirfd, name, end, data, len, mode, sync);
}

int hoy_replace_locked(int dirfd, const char *name, const void *data, size_t len, mode_t mode, bool sync)
{
	return replace(dirfd, name, "", data, len, mode, sync);
}

static int mkdir_exact(int dirfd, const char *path, mode_t mode)
{
	if (mkdirat(dirfd, path, mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	/* The umask may have taken bits away that the format asks for. */
	return fchmodat(dirfd, path, mode, 0) < 0 ? -errno : 0;
}

static int mkdir_p_at(int dirfd, const char *path, mode_t mode)
{
	cleanup_free char *copy = NULL;
	struct stat st;

	if (!fstatat(dirfd, path, &st, 0))
		return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	for (char *p = copy + 1; *p; p++) {
		int r;

		if (*p != '/')
			continue;
		*p = '\0';
		r = faccessat(dirfd, copy, F_OK, 0) < 0 ? mkdir_exact(dirfd, copy, mode) : 0;
		*p = '/';
		if (r < 0)
			return r;
	}
	return mkdir_exact(dirfd, copy, mode);
}

int hoy_mkdir_p(const char *path, mode_t mode)
{
	return mkdir_p_at(AT_FDCWD, path, mode);
}

int hoy_open_dir_p(int dirfd, const char *path, mode_t mode)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd >= 0 || errno != ENOENT)
		return fd >= 0 ? fd : -errno;
	r = mkdir_p_at(dirfd, path, mode);
	if (r < 0)
		return r;
	fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void keep_first(int *r, int err)
{
	if (!*r && err && err != ENOENT)
		*r = -err;
}

/* A tree may be deeper than we may have descriptors: what lies deeper than this is moved up and removed from there. */
#define REMOVE_DEPTH 64

struct removal {
	int topfd;
	unsigned moved;
	int r;
};

static int open_here(int dirfd, const char *name)
{
	/* No mount, be it of the same file system: what is bound there is somebody else's. */
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_NO_XDEV };
	int fd = (int)syscall(SYS_openat2, dirfd, name, &how, sizeof(how));

	if (fd < 0 && errno == EXDEV)
		errno = EBUSY;
	return fd;
}

static int open_sub(int dirfd, const char *name)
{
	int fd = open_here(dirfd, name);

	/* A directory without permission bits, in a tree that is ours. */
	if (fd < 0 && errno == EACCES && !fchmodat(dirfd, name, 0700, 0))
		fd = open_here(dirfd, name);
	return fd;
}

/* Where that is impossible, it is removed where it is. */
static int move_up(struct removal *m, int dirfd, const char *name)
{
	char to[32];
	int r;

	do
		snprintf(to, sizeof(to), ".hoy-deep-%u", m->moved++);
	while ((r = renameat2(dirfd, name, m->topfd, to, RENAME_NOREPLACE)) < 0 && errno == EEXIST);
	return r;
}

static void empty_dir(struct removal *m, int fd, int depth);

static void remove_sub(struct removal *m, int dirfd, const char *name, int depth)
{
	int sub = open_sub(dirfd, name);

	if (sub < 0) {
		keep_first(&m->r, errno);
		return;
	}
	empty_dir(m, sub, depth);
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0)
		keep_first(&m->r, errno);
}

/* Empty the directory FD (owned, closed here). */
static void empty_dir(struct removal *m, int fd, int depth)
{
	cleanup_dir DIR *d = fdopendir(fd);
	struct dirent *e;
	unsigned moved;

	if (!d) {
		keep_first(&m->r, errno);
		hoy_close(fd);
		return;
	}
	do {
		moved = m->moved;
		rewinddir(d);
		while ((e = readdir(d))) {
			if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
				continue;
			if (!unlinkat(dirfd(d), e->d_name, 0))
				continue;
			if (errno != EISDIR && errno != EPERM)
				keep_first(&m->r, errno);
			else if (depth < REMOVE_DEPTH || move_up(m, dirfd(d), e->d_name))
				remove_sub(m, dirfd(d), e->d_name, depth + 1);
		}
	} while (!depth && m->moved != moved && !m->r);
}

int hoy_remove_tree(int dirfd, const char *path)
{
	struct removal m = { 0 };
	int fd;

	if (!unlinkat(dirfd, path, 0) || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	m.topfd = fd;
	empty_dir(&m, fd, 0);
	if (unlinkat(dirfd, path, AT_REMOVEDIR) < 0 && errno != ENOENT && !m.r)
		m.r = -errno;
	return m.r;
}

ssize_t hoy_copy_fd(int in, int out)
{
	cleanup_free char *buf = NULL;
	ssize_t n, total = 0;

	while ((n = copy_file_range(in, NULL, out, NULL, (size_t)1 << 30, 0)) > 0)
		total += n;
	if (!n && total)
		return total;
	buf = malloc(1 << 17);
	if (!buf)
		return -ENOMEM;
	while ((n = read(in, buf, 1 << 17)) != 0) {
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		r = hoy_write_full(out, buf, n);
		if (r < 0)
			return r;
		total += n;
	}
	return total;
}

bool hoy_exists(int dirfd, const char *path)
{
	struct stat st;

	return !fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW);
}

int hoy_set_cloexec(int fd, bool on)
{
	return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0 ? -errno : 0;
}

char *hoy_path_join(const char *dir, const char *name)
{
	size_t len = strlen(dir);

	while (len && dir[len - 1] == '/')
		len--;
	while (*name == '/')
		name++;
	return hoy_asprintf("%.*s/%s", (int)len, dir, name);
}
