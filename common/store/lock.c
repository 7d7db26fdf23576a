#include "common/store/lock.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/data/time.h"

int hoy_lock_open(struct hoy_lock *l, int dirfd, const char *name, bool rdonly)
{
	if (l->fd >= 0)
		return 0;
	l->fd = openat(dirfd, name, (rdonly ? O_RDONLY : O_RDWR) | O_CREAT | O_CLOEXEC, 0644);
	return l->fd < 0 ? -errno : 0;
}

static int lock(struct hoy_lock *l, bool write, int how)
{
	struct flock fl = { .l_type = write ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET };

	while (fcntl(l->fd, how, &fl) < 0)
		if (errno != EINTR)
			return errno == EACCES ? -EAGAIN : -errno;
	l->held = true;
	l->write = write;
	return 0;
}

int hoy_lock_take(struct hoy_lock *l, bool write) { return lock(l, write, F_OFD_SETLKW); }
int hoy_lock_try(struct hoy_lock *l, bool write) { return lock(l, write, F_OFD_SETLK); }

void hoy_lock_drop(struct hoy_lock *l)
{
	struct flock fl = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	if (l->held)
		fcntl(l->fd, F_OFD_SETLK, &fl);
	l->held = false;
}

void hoy_lock_close(struct hoy_lock *l)
{
	hoy_close(l->fd);
	*l = (struct hoy_lock)HOY_LOCK_INIT;
}

int hoy_stamp_read(const struct hoy_lock *l, struct hoy_stamp *ret)
{
	ssize_t n = l->fd < 0 ? 0 : pread(l->fd, ret->bytes, HOY_STAMP_SIZE, 0);

	if (n < 0)
		return -errno;
	ret->len = (int)n;
	return 0;
}

bool hoy_stamp_same(const struct hoy_stamp *a, const struct hoy_stamp *b)
{
	return a->len >= 0 && a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}

bool hoy_stamp_fresh(const struct hoy_lock *l, struct hoy_stamp *seen)
{
	struct hoy_stamp now = { .len = -1 };

	if (hoy_stamp_read(l, &now) < 0)
		return false;
	if (hoy_stamp_same(&now, seen))
		return true;
	*seen = now;
	return false;
}

int hoy_stamp_write(const struct hoy_lock *l, struct hoy_stamp *ret)
{
	static uint64_t counter;
	struct __attribute__((packed)) {
		uint64_t time, counter;
		uint32_t pid;
		unsigned char random[HOY_STAMP_SIZE - 20];
	} s = { htole64((uint64_t)hoy_now()), htole64(++counter), htole32((uint32_t)getpid()), { 0 } };

	if (getrandom(s.random, sizeof(s.random), 0) < 0)
		return -errno;
	if (pwrite(l->fd, &s, sizeof(s), 0) != (ssize_t)sizeof(s))
		return errno ? -errno : -EIO;
	ret->len = HOY_STAMP_SIZE;
	memcpy(ret->bytes, &s, sizeof(s));
	return 0;
}
